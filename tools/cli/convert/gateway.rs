//! Who may come in: issuer and audience must reach what checks tokens, or it takes those that were
//! issued for others.

use super::auth_server::AuthServer;
use super::resource::Resource;
use super::virtual_server::Incoming;
use super::{Catalogue, Work};
use crate::report::Severity;
use upstream_inject::config::{Node, Path};

/// The way in.
pub(super) struct Gateway {
    pub(super) auth_server: Option<AuthServer>,
    /// vMCP's `incomingAuth`, if a gateway says it.
    pub(super) incoming: Option<Node>,
}

impl Work {
    pub(super) fn gateway(
        &mut self,
        catalogue: &Catalogue<'_>,
        mut auth_server: Option<AuthServer>,
    ) -> Gateway {
        let mut all = catalogue
            .servers
            .iter()
            .filter_map(|server| Some((&server.resource, server.incoming.as_ref()?)));
        let Some((resource, incoming)) = all.next() else {
            return Gateway {
                auth_server,
                incoming: None,
            };
        };
        let path = Path::root().key("spec").key("incomingAuth");
        for (other, _) in all.filter(|(_, other)| *other != incoming) {
            let text = format!(
                "lets in others than {} does, and one configuration is one way in: convert one \
                 gateway at a time with --virtual-server [NAMESPACE/]NAME",
                resource.title()
            );
            self.add(other, Severity::Error, &path, &text);
        }
        let incoming = match &mut auth_server {
            Some(server) => self.behind(resource, incoming.clone(), server),
            None => Some(incoming.clone()),
        };
        if let Some(incoming) = &incoming {
            self.note_missing(resource, incoming, auth_server.as_ref());
        }
        let issuer = auth_server
            .as_ref()
            .and_then(|server| server.issuer.as_deref());
        Gateway {
            incoming: incoming.map(|incoming| incoming.node(issuer)),
            auth_server,
        }
    }

    /// The auth server and the gateway must agree on issuer (V-04) and audience (V-07).
    fn behind(
        &mut self,
        resource: &Resource<'_>,
        mut incoming: Incoming,
        server: &mut AuthServer,
    ) -> Option<Incoming> {
        let path = Path::root().key("spec").key("incomingAuth");
        if incoming.is_anonymous {
            let text = "V-05: must be oidc: nothing else accepts the tokens that the auth server \
                        issues";
            self.add(resource, Severity::Error, &path.key("type"), text);
            return None;
        }
        let path = path.key("oidcConfigRef");
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        if let (Some(expected), Some(issuer)) = (&incoming.issuer, &server.issuer)
            && expected != issuer
        {
            let text = format!(
                "V-04: its issuer is {}, but the auth server issues tokens as {}: every one of them \
                 would be refused",
                quoted(expected),
                quoted(issuer)
            );
            self.add(resource, Severity::Error, &path.key("name"), &text);
        }
        if incoming.audience.is_none() {
            incoming.audience.clone_from(&incoming.resource);
        }
        let Some(audience) = &incoming.audience else {
            self.notes.push(
                "No audience is known: a token that the auth server issued for another service \
                 would be accepted. Give `render --audience`."
                    .to_owned(),
            );
            return None;
        };
        if server.audiences.is_empty() {
            let issued_for = incoming.resource.as_ref().unwrap_or(audience);
            server.audiences.push(issued_for.clone());
        }
        if !server.audiences.contains(audience) {
            let allowed: Vec<_> = server.audiences.iter().map(|one| quoted(one)).collect();
            let text = format!(
                "V-07: {} is not among what the auth server issues tokens for ({}, the resourceUrl)",
                quoted(audience),
                allowed.join(", ")
            );
            self.add(resource, Severity::Error, &path.key("audience"), &text);
        }
        Some(incoming)
    }

    fn note_missing(
        &mut self,
        resource: &Resource<'_>,
        incoming: &Incoming,
        auth_server: Option<&AuthServer>,
    ) {
        if incoming.is_anonymous {
            self.notes.push(format!(
                "{}: incomingAuth is anonymous: nobody checks who comes in.",
                resource.title()
            ));
        }
        if let Some(missing) = &incoming.missing
            && auth_server.is_none()
        {
            self.notes.push(format!(
                "{}: {missing} is not among the files, so nobody knows who issues clients' tokens: \
                 give its file too, or `render --issuer`.",
                resource.title()
            ));
        }
    }
}
