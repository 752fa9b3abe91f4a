//! From the document to a [`RunConfig`], or every problem in it.

use std::time::Duration;

use upstream_inject::config::{Node, Path, Problem, Rule};

use super::keys;
use super::{
    Client, Kind, Mapping, Redis, RunConfig, SecretRef, Storage, Tls, Topology, Upstream, Warning,
};
use crate::{get, items};

/// ToolHive's name for an upstream without one.
const DEFAULT_NAME: &str = "default";

/// Reads a `RunConfig` that stands at `at` in its document.
///
/// # Errors
/// Every problem that keeps ToolHive, or whoever reads its sessions, from using it.
pub fn read(node: &Node, at: &Path) -> Result<(RunConfig, Vec<Warning>), Vec<Problem>> {
    let mut reader = Reader {
        problems: keys::twice(node, at),
        warnings: keys::unknown(node, at),
    };
    let run_config = reader.run_config(&Spot {
        node: Some(node),
        path: at.clone(),
    });
    if reader.problems.is_empty() {
        Ok((run_config, reader.warnings))
    } else {
        Err(reader.problems)
    }
}

/// A place in the document, whether there is a value or not.
struct Spot<'a> {
    node: Option<&'a Node>,
    path: Path,
}

impl<'a> Spot<'a> {
    fn key(&self, name: &str) -> Spot<'a> {
        Spot {
            node: self.node.and_then(|node| get(node, name)),
            path: self.path.key(name),
        }
    }

    fn is_absent(&self) -> bool {
        self.node.is_none()
    }

    fn items(&self) -> Vec<Spot<'a>> {
        let Some(node) = self.node else {
            return Vec::new();
        };
        items(node)
            .iter()
            .enumerate()
            .map(|(index, node)| Spot {
                node: Some(node),
                path: self.path.index(index),
            })
            .collect()
    }
}

struct Reader {
    problems: Vec<Problem>,
    warnings: Vec<Warning>,
}

impl Reader {
    fn problem(&mut self, at: &Spot<'_>, text: impl Into<String>) {
        self.ruled(at, None, text);
    }

    fn ruled(&mut self, at: &Spot<'_>, rule: Option<Rule>, text: impl Into<String>) {
        self.problems.push(Problem {
            path: at.path.clone(),
            rule,
            text: text.into(),
        });
    }

    fn warn(&mut self, at: &Spot<'_>, text: impl Into<String>) {
        self.warnings.push(Warning {
            path: at.path.clone(),
            text: text.into(),
        });
    }

    /// A text, empty if there is none.
    fn text(&mut self, spot: &Spot<'_>) -> String {
        match spot.node {
            None => String::new(),
            Some(Node::String(text)) => text.clone(),
            Some(other) => {
                self.problem(spot, format!("must be a text, not {}", other.kind()));
                String::new()
            }
        }
    }

    fn needed(&mut self, spot: &Spot<'_>) -> String {
        let before = self.problems.len();
        let text = self.text(spot);
        if text.is_empty() && self.problems.len() == before {
            self.problem(spot, "missing");
        }
        text
    }

    fn flag(&mut self, spot: &Spot<'_>) -> bool {
        match spot.node {
            None => false,
            Some(Node::Bool(flag)) => *flag,
            Some(other) => {
                self.problem(spot, format!("must be a boolean, not {}", other.kind()));
                false
            }
        }
    }

    fn texts(&mut self, spot: &Spot<'_>) -> Vec<String> {
        match spot.node {
            None => Vec::new(),
            Some(Node::List(_)) => {
                let spots = spot.items();
                spots.iter().map(|item| self.text(item)).collect()
            }
            Some(other) => {
                self.problem(spot, format!("must be a list, not {}", other.kind()));
                Vec::new()
            }
        }
    }

    /// A map; says so if it is something else.
    fn is_map(&mut self, spot: &Spot<'_>) -> bool {
        match spot.node {
            Some(Node::Map(_)) => true,
            None => false,
            Some(other) => {
                self.problem(spot, format!("must be a map, not {}", other.kind()));
                false
            }
        }
    }

    fn run_config(&mut self, at: &Spot<'_>) -> RunConfig {
        self.is_map(at);
        let issuer_at = at.key("issuer");
        let issuer = self.needed(&issuer_at);
        if !issuer.is_empty() {
            self.url(&issuer_at, &issuer, true);
            if issuer.ends_with('/') {
                self.warn(
                    &issuer_at,
                    "a slash at its end: ToolHive's tokens and metadata have none",
                );
            }
        }
        let insecure = self.flag(&at.key("insecure_allow_http"));
        RunConfig {
            allowed_audiences: self.texts(&at.key("allowed_audiences")),
            upstreams: self.upstreams(&at.key("upstreams"), &issuer, insecure),
            storage: self.storage(&at.key("storage")),
            issuer,
        }
    }

    fn upstreams(&mut self, at: &Spot<'_>, issuer: &str, insecure: bool) -> Vec<Upstream> {
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
        let mut upstreams: Vec<Upstream> = Vec::new();
        for spot in &spots {
            let Some(upstream) = self.upstream(spot, issuer, insecure) else {
                continue;
            };
            if upstreams.iter().any(|other| other.name == upstream.name) {
                let text = format!("a second upstream named {:?}", upstream.name);
                self.ruled(&spot.key("name"), Some(Rule::V05), text);
            }
            upstreams.push(upstream);
        }
        upstreams
    }

    fn upstream(&mut self, at: &Spot<'_>, issuer: &str, insecure: bool) -> Option<Upstream> {
        if !self.is_map(at) {
            return None;
        }
        let mut name = self.text(&at.key("name"));
        if name.is_empty() {
            DEFAULT_NAME.clone_into(&mut name);
        }
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

    fn storage(&mut self, at: &Spot<'_>) -> Storage {
        if !at.is_absent() && !self.is_map(at) {
            return Storage::Memory(at.path.clone());
        }
        let kind_at = at.key("type");
        match self.text(&kind_at).as_str() {
            "" | "memory" => {}
            "redis" => {
                if let Some(redis) = self.redis(&at.key("redis_config")) {
                    return Storage::Redis(Box::new(redis));
                }
            }
            other => {
                let text = format!("unknown type {other:?} (must be redis or memory)");
                self.problem(&kind_at, text);
            }
        }
        Storage::Memory(kind_at.path)
    }

    fn redis(&mut self, at: &Spot<'_>) -> Option<Redis> {
        if at.is_absent() {
            self.problem(at, "missing, though the type is redis");
        }
        if !self.is_map(at) {
            return None;
        }
        let topology = self.topology(at);
        let acl = at.key("acl_user_config");
        let (mut username_env, mut password_env) = (None, None);
        if acl.is_absent() {
            self.warn(
                &acl,
                "missing: ToolHive itself refuses that; nobody authenticates",
            );
        } else if self.is_map(&acl) {
            let at = acl.key("username_env_var");
            let name = self.text(&at);
            username_env = (!name.is_empty()).then_some(SecretRef::Env(name, at.path));
            let at = acl.key("password_env_var");
            let name = self.needed(&at);
            password_env = Some(SecretRef::Env(name, at.path));
        }
        let prefix_at = at.key("key_prefix");
        let key_prefix = self.text(&prefix_at);
        let is_cluster = matches!(topology, Some(Topology::Cluster(_)));
        if is_cluster && !has_hash_tag(&key_prefix) {
            self.warn(
                &prefix_at,
                "without a hash tag ({…}) in it, a cluster spreads the keys of a session over \
                 its nodes, and neither ToolHive nor this can write them together",
            );
        }
        self.duration(&at.key("write_timeout"), Duration::from_secs(3));
        Some(Redis {
            username_env,
            password_env,
            key_prefix,
            dial_timeout: self.duration(&at.key("dial_timeout"), Duration::from_secs(5)),
            read_timeout: self.duration(&at.key("read_timeout"), Duration::from_secs(3)),
            tls: self.tls(&at.key("tls")),
            topology: topology?,
        })
    }

    fn topology(&mut self, at: &Spot<'_>) -> Option<Topology> {
        let (addr_at, sentinel) = (at.key("addr"), at.key("sentinel_config"));
        let addr = self.text(&addr_at);
        let is_cluster = self.flag(&at.key("cluster_mode"));
        if sentinel.is_absent() {
            if addr.is_empty() {
                self.problem(&addr_at, "missing, and no sentinel_config either");
                return None;
            }
            let address = self.address(&addr_at, &addr)?;
            return Some(if is_cluster {
                Topology::Cluster(address)
            } else {
                Topology::Standalone(address)
            });
        }
        if !addr.is_empty() {
            self.problem(
                &addr_at,
                "given beside sentinel_config; only one of them may be",
            );
        }
        if is_cluster {
            self.problem(
                &at.key("cluster_mode"),
                "given beside sentinel_config; only one of them may be",
            );
        }
        if !self.is_map(&sentinel) {
            return None;
        }
        let master = self.needed(&sentinel.key("master_name"));
        let addresses = sentinel.key("sentinel_addrs");
        self.texts(&addresses);
        let spots = addresses.items();
        if spots.is_empty() {
            self.problem(&addresses, "not a single Sentinel");
        }
        let mut sentinels = Vec::new();
        for spot in &spots {
            if let Some(Node::String(text)) = spot.node {
                sentinels.extend(self.address(spot, text));
            }
        }
        Some(Topology::Sentinel {
            master,
            sentinels,
            tls: self.tls(&at.key("sentinel_tls")),
            db: self.database(&sentinel.key("db")),
        })
    }

    fn database(&mut self, at: &Spot<'_>) -> u32 {
        match at.node {
            None => 0,
            // A small whole number.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            Some(Node::Number(number))
                if number.fract() == 0.0 && (0.0..65536.0).contains(number) =>
            {
                *number as u32
            }
            Some(_) => {
                self.problem(at, "must be the number of a database");
                0
            }
        }
    }

    fn tls(&mut self, at: &Spot<'_>) -> Option<Tls> {
        if !self.is_map(at) {
            return None;
        }
        let ca_at = at.key("ca_cert_file");
        let ca = self.text(&ca_at);
        let insecure_at = at.key("insecure_skip_verify");
        let insecure_skip_verify = self.flag(&insecure_at);
        if insecure_skip_verify {
            self.warn(&insecure_at, "whoever answers is taken for the store");
        }
        Some(Tls {
            ca_cert_file: (!ca.is_empty()).then_some((ca, ca_at.path)),
            insecure_skip_verify,
        })
    }

    fn address(&mut self, at: &Spot<'_>, text: &str) -> Option<(String, u16)> {
        let address = text.rsplit_once(':').and_then(|(host, port)| {
            let host = host
                .strip_prefix('[')
                .and_then(|host| host.strip_suffix(']'))
                .unwrap_or(host);
            let port = port.parse().ok().filter(|port| *port != 0)?;
            (!host.is_empty() && !host.contains('/')).then(|| (host.to_owned(), port))
        });
        if address.is_none() {
            self.problem(at, "must be HOST:PORT");
        }
        address
    }

    fn duration(&mut self, at: &Spot<'_>, usual: Duration) -> Duration {
        let text = self.text(at);
        if text.is_empty() {
            return usual;
        }
        match go_duration(&text) {
            // Go's client takes zero for its default.
            Some(Duration::ZERO) => usual,
            Some(duration) => duration,
            None => {
                self.problem(at, "must be a duration such as 500ms, 3s or 1m30s");
                usual
            }
        }
    }

    /// An absolute http(s) URL with a host; without TLS only to this machine, or if that is allowed.
    fn url(&mut self, at: &Spot<'_>, text: &str, insecure: bool) {
        if text.is_empty() {
            return;
        }
        let rest = match text.split_once("://") {
            Some(("https", rest)) => Some((true, rest)),
            Some(("http", rest)) => Some((false, rest)),
            _ => None,
        };
        let Some((is_tls, rest)) = rest else {
            self.problem(at, "must be an absolute http or https URL");
            return;
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = match authority.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => authority.split(':').next().unwrap_or_default(),
        };
        let is_sound = !host.is_empty()
            && !authority.contains('@')
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_sound {
            self.problem(at, "must be an absolute http or https URL");
        } else if !is_tls && !insecure && !is_local(host) {
            self.problem(
                at,
                "http to another machine; https, or insecure_allow_http: true",
            );
        }
    }
}

fn is_local(host: &str) -> bool {
    host == "localhost"
        || host.ends_with(".localhost")
        || host == "::1"
        || (host.starts_with("127.") && host.parse::<std::net::Ipv4Addr>().is_ok())
}

fn is_claim_name(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !text.starts_with(|first: char| first.is_ascii_digit())
}

/// Whether a cluster takes a part of the key for all of it.
fn has_hash_tag(prefix: &str) -> bool {
    prefix
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'))
        .is_some_and(|(tag, _)| !tag.is_empty())
}

/// A duration as Go writes them: numbers with units, one after the other.
fn go_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|character: char| !character.is_ascii_digit() && character != '.')?;
        let (number, unit) = rest.split_at_checked(end)?;
        let number: f64 = number.parse().ok()?;
        let end = unit
            .find(|character: char| character.is_ascii_digit() || character == '.')
            .unwrap_or(unit.len());
        let (unit, left) = unit.split_at_checked(end)?;
        seconds += number
            * match unit {
                "ns" => 1e-9,
                "us" | "µs" | "μs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        rest = left;
    }
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for (text, milliseconds) in [
            ("5s", Some(5_000)),
            ("1m30s", Some(90_000)),
            ("1.5h", Some(5_400_000)),
            ("250ms", Some(250)),
            ("0", Some(0)),
            ("5", None),
            ("s", None),
            ("5 s", None),
            ("-5s", None),
            ("1d", None),
            ("", Some(0)),
        ] {
            let duration = go_duration(text).map(|duration| duration.as_millis());
            assert_eq!(duration, milliseconds, "{text}");
        }
    }
}
