//! Who checks the TH-JWT: issuer, keys, and what a token must have been issued for.

use super::backend::{AuthServer, Backend};
use super::options::Options;
use super::setup::Setup;
use crate::endpoint::{Endpoint, shown};

/// How the TH-JWT is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Authentication {
    pub(super) issuer: String,
    /// Where the issuer's keys are fetched.
    pub(super) keys_url: String,
    pub(super) keys: Endpoint,
    /// Everything that a token may be issued for; empty: anything.
    pub(super) audiences: Vec<String>,
    /// The same for requests to no backend in particular.
    pub(super) gateway_audiences: Vec<String>,
    /// Whether a token serves only the backend that it was issued for.
    pub(super) is_bound: bool,
    /// Where in its namespace the checked payload is put.
    pub(super) payload_key: String,
}

impl Authentication {
    /// As the file and the options have it; nothing, if no issuer is known.
    ///
    /// # Errors
    /// If the issuer, or where its keys are, is no URL.
    pub(super) fn of(
        setup: &mut Setup,
        options: &Options,
        public: Option<&Endpoint>,
        backends: &[Backend],
        auth_server: Option<&AuthServer>,
    ) -> Result<Option<Self>, String> {
        let Some(issuer) = setup.issuer.clone() else {
            setup.notes.push(
                "no issuer is known, so nothing in here checks who a request comes from: give \
                 --issuer, or see to it before the filter"
                    .to_owned(),
            );
            if let Some(url) = &options.jwks_url {
                return Err(format!(
                    "--jwks-url {}: whose keys? give --issuer",
                    shown(url)
                ));
            }
            return Ok(None);
        };
        Endpoint::of_url(&issuer)
            .map_err(|error| format!("the issuer {}: {error}", shown(&issuer)))?;
        let keys_url = keys_url(setup, options, &issuer, auth_server);
        let keys = Endpoint::of_called(&keys_url)
            .map_err(|error| format!("keys at {}: {error}", shown(&keys_url)))?;
        if !keys.tls && !keys.is_loopback() {
            setup.notes.push(format!(
                "the keys come from {} in plain text: whoever can change them on the way can sign \
                 tokens; write https, or see to it that nobody can",
                shown(&keys_url)
            ));
        }
        let gateway_audiences = public.map_or_else(Vec::new, |public| {
            let url = public.url();
            vec![url.clone(), format!("{url}/")]
        });
        let resources: Vec<String> = backends
            .iter()
            .filter_map(|backend| Some(backend.resource.as_ref()?.url()))
            .collect();
        let is_bound =
            !options.shared_audience && resources.len() == backends.len() && public.is_some();
        let is_all = [gateway_audiences.as_slice(), resources.as_slice()].concat();
        let audiences = if is_bound || setup.audiences.is_empty() {
            is_all
        } else {
            setup.audiences.clone()
        };
        note_audiences(setup, is_bound, &resources, &audiences);
        Ok(Some(Self {
            gateway_audiences: if is_bound {
                gateway_audiences
            } else {
                audiences.clone()
            },
            payload_key: setup.payload_key(),
            issuer,
            keys_url,
            keys,
            audiences,
            is_bound,
        }))
    }
}

/// Where the issuer publishes its keys. ToolHive's auth server does it here.
fn keys_url(
    setup: &mut Setup,
    options: &Options,
    issuer: &str,
    auth_server: Option<&AuthServer>,
) -> String {
    const PATH: &str = "/.well-known/jwks.json";
    if let Some(url) = &options.jwks_url {
        return url.clone();
    }
    if let Some(server) = auth_server {
        return format!("{}{PATH}", server.endpoint.origin());
    }
    if let Some(url) = &setup.keys_url {
        return url.clone();
    }
    let url = format!("{}{PATH}", issuer.trim_end_matches('/'));
    if !setup.has_auth_server() {
        setup.notes.push(format!(
            "the issuer's keys are looked for at {url}; if it publishes them elsewhere (jwks_uri of its \
             /.well-known/openid-configuration), give --jwks-url, or that document with --discovery"
        ));
    }
    url
}

fn note_audiences(setup: &mut Setup, is_bound: bool, resources: &[String], audiences: &[String]) {
    if audiences.is_empty() {
        setup.notes.push(
            "no audience is known, so a token that was issued for another service is accepted: \
             give --audience, or --public-url"
                .to_owned(),
        );
    }
    let unknown: Vec<&str> = resources
        .iter()
        .filter(|resource| !setup.audiences.contains(resource))
        .map(String::as_str)
        .collect();
    if is_bound && !setup.audiences.is_empty() && !unknown.is_empty() {
        setup.notes.push(format!(
            "a token serves the backend that it was issued for, but none is issued for {}: add that to \
             the auth server's allowed_audiences, or give --shared-audience",
            unknown.join(", ")
        ));
    }
}
