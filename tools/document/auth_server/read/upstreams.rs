//! The identity providers, and the client that the auth server is to each.

use upstream_inject::config::{Node, Rule};

use super::Reader;
use super::spot::Spot;
use crate::auth_server::{Client, Kind, Mapping, SecretRef, Upstream};

/// ToolHive's name for an upstream without one.
const DEFAULT_NAME: &str = "default";

impl Reader {
    pub(super) fn upstreams(
        &mut self,
        at: &Spot<'_>,
        issuer: &str,
        insecure: bool,
    ) -> Vec<Upstream> {
        let read = |reader: &mut Self, spot: &Spot<'_>| reader.upstream(spot, issuer, insecure);
        self.each_upstream(at, read, |upstream| &upstream.name)
    }

    /// The upstreams' names alone.
    pub(super) fn upstream_names(&mut self, at: &Spot<'_>) -> Vec<String> {
        self.each_upstream(at, Self::upstream_name, |name| name)
    }

    fn each_upstream<T>(
        &mut self,
        at: &Spot<'_>,
        read: impl Fn(&mut Self, &Spot<'_>) -> Option<T>,
        name: impl Fn(&T) -> &str,
    ) -> Vec<T> {
        if let Some(node) = at.node
            && !matches!(node, Node::List(_))
        {
            self.problem(at, format!("must be a list, not {}", node.kind()));
            return Vec::new();
        }
        let spots = at.items();
        if spots.is_empty() {
            self.ruled(at, Some(Rule::V05), "not a single upstream");
        }
        let mut upstreams: Vec<T> = Vec::new();
        for spot in &spots {
            let Some(upstream) = read(self, spot) else {
                continue;
            };
            if upstreams.iter().any(|other| name(other) == name(&upstream)) {
                let text = format!("a second upstream named {:?}", name(&upstream));
                self.ruled(&spot.key("name"), Some(Rule::V05), text);
            }
            upstreams.push(upstream);
        }
        upstreams
    }

    fn upstream_name(&mut self, at: &Spot<'_>) -> Option<String> {
        if !self.is_map(at) {
            return None;
        }
        let mut name = self.text(&at.key("name"));
        if name.is_empty() {
            DEFAULT_NAME.clone_into(&mut name);
        }
        Some(name)
    }

    fn upstream(&mut self, at: &Spot<'_>, issuer: &str, insecure: bool) -> Option<Upstream> {
        let name = self.upstream_name(at)?;
        let kind_at = at.key("type");
        let (kind, scopes, mapping) = match self.needed(&kind_at).as_str() {
            "oidc" => self.oidc(&at.key("oidc_config"), insecure)?,
            "oauth2" => self.oauth2(&at.key("oauth2_config"), issuer, insecure)?,
            "" => return None,
            other => {
                let text = format!("unknown type {other:?} (must be oidc or oauth2)");
                self.problem(&kind_at, text);
                return None;
            }
        };
        Some(Upstream {
            name,
            at: at.path.clone(),
            kind,
            scopes,
            mapping,
        })
    }

    fn oidc(
        &mut self,
        at: &Spot<'_>,
        insecure: bool,
    ) -> Option<(Kind, Vec<String>, Option<Mapping>)> {
        if at.is_absent() {
            self.problem(at, "missing, though the type is oidc");
        }
        if !self.is_map(at) {
            return None;
        }
        let insecure = self.flag(&at.key("insecure_allow_http")) || insecure;
        let issuer_at = at.key("issuer_url");
        let issuer_url = self.needed(&issuer_at);
        self.url(&issuer_at, &issuer_url, insecure);
        let claim_at = at.key("subject_claim");
        let mut subject_claim = self.text(&claim_at);
        if subject_claim.is_empty() {
            "sub".clone_into(&mut subject_claim);
        } else if !is_claim_name(&subject_claim) {
            self.problem(
                &claim_at,
                "must be letters, digits and _, not beginning with a digit",
            );
        }
        let mut scopes = self.texts(&at.key("scopes"));
        if scopes.is_empty() {
            scopes = ["openid", "offline_access"].map(str::to_owned).to_vec();
        }
        let kind = Kind::Oidc {
            client: self.client(at),
            issuer_url,
            subject_claim,
            insecure,
        };
        Some((kind, scopes, None))
    }

    fn oauth2(
        &mut self,
        at: &Spot<'_>,
        issuer: &str,
        insecure: bool,
    ) -> Option<(Kind, Vec<String>, Option<Mapping>)> {
        if at.is_absent() {
            self.problem(at, "missing, though the type is oauth2");
        }
        if !self.is_map(at) {
            return None;
        }
        let insecure = self.flag(&at.key("insecure_allow_http")) || insecure;
        let scopes = self.texts(&at.key("scopes"));
        let mapping = self.mapping(&at.key("token_response_mapping"));
        let registered = at.key("dcr_config");
        if registered.is_absent() {
            let endpoint_at = at.key("token_endpoint");
            let token_endpoint = self.needed(&endpoint_at);
            self.url(&endpoint_at, &token_endpoint, insecure);
            let kind = Kind::OAuth2 {
                client: self.client(at),
                token_endpoint,
            };
            return Some((kind, scopes, mapping));
        }
        if !self.is_map(&registered) {
            return None;
        }
        if !at.key("client_id").is_absent() {
            self.problem(
                &at.key("client_id"),
                "given beside dcr_config; only one of them may be",
            );
        }
        let discovery_url = self.text(&registered.key("discovery_url"));
        let registration_endpoint = self.text(&registered.key("registration_endpoint"));
        if discovery_url.is_empty() == registration_endpoint.is_empty() {
            self.problem(
                &registered,
                "must have exactly one of discovery_url and registration_endpoint",
            );
        }
        let mut redirect_uri = self.text(&at.key("redirect_uri"));
        if redirect_uri.is_empty() {
            redirect_uri = format!("{issuer}/oauth/callback");
        }
        let kind = Kind::Registered {
            discovery_url,
            registration_endpoint,
            redirect_uri,
        };
        Some((kind, scopes, mapping))
    }

    /// A secret in a file goes before one in the environment, as it does for ToolHive.
    fn client(&mut self, at: &Spot<'_>) -> Client {
        let (file, env) = (
            at.key("client_secret_file"),
            at.key("client_secret_env_var"),
        );
        let (in_file, in_env) = (self.text(&file), self.text(&env));
        if !in_file.is_empty() && !in_env.is_empty() {
            self.warn(&env, "not read: client_secret_file goes before it");
        }
        let secret = if in_file.is_empty() {
            (!in_env.is_empty()).then_some(SecretRef::Env(in_env, env.path))
        } else {
            Some(SecretRef::File(in_file, file.path))
        };
        Client {
            id: self.needed(&at.key("client_id")),
            secret,
        }
    }

    fn mapping(&mut self, at: &Spot<'_>) -> Option<Mapping> {
        if !self.is_map(at) {
            return None;
        }
        self.needed(&at.key("access_token_path"));
        Some(Mapping {
            access_token: self.steps(&at.key("access_token_path")),
            refresh_token: self.steps(&at.key("refresh_token_path")),
            expires_in: self.steps(&at.key("expires_in_path")),
        })
    }

    /// A path of names and indexes with dots between, a backslash before a dot that is none. What
    /// else ToolHive's paths can do (queries, wildcards, modifiers) is not understood here.
    fn steps(&mut self, at: &Spot<'_>) -> Vec<String> {
        let path = self.text(at);
        if path.contains(['#', '*', '?', '@', '|', '{', '[', '!']) {
            self.problem(
                at,
                "only names and indexes with dots between are understood here",
            );
            return Vec::new();
        }
        let mut steps = Vec::new();
        let mut step = String::new();
        let mut characters = path.chars();
        while let Some(character) = characters.next() {
            match character {
                '\\' => step.extend(characters.next()),
                '.' => steps.push(std::mem::take(&mut step)),
                other => step.push(other),
            }
        }
        if !step.is_empty() {
            steps.push(step);
        }
        steps
    }
}

fn is_claim_name(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !text.starts_with(|first: char| first.is_ascii_digit())
}
