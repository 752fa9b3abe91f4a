//! The client's credential at a token endpoint, judged where it is configured.

use super::Called;
use super::keys::{ASSERTION_AUDIENCE, CERTIFICATE_ENV, Method};
use crate::config::draft::{Draft, checked};
use crate::config::format::TextOf;
use crate::config::problem::{Reported, Wrong};
use crate::config::section::{Optional, Section};
use crate::exchange::ClientAuth;
use crate::exchange::client::assertion::Assertion;
use crate::exchange::client::certificate::Certificate;
use crate::exchange::client::key::SigningKey;
use crate::exchange::endpoint::Endpoint;

impl Called<'_, '_> {
    pub(super) fn client(
        &self,
        endpoint: Option<&Endpoint>,
        draft: &Draft<'_>,
    ) -> Result<ClientAuth, Reported> {
        let (block, keys) = (self.block, self.keys);
        let id = block.get(&keys.client_id);
        let (inline, variable) = (&keys.client_secret, &keys.client_secret_env);
        let secret = draft.secret(block, inline, variable);
        let method = block.get(&keys.auth_method);
        // A secret that is there but wrong has been reported for what is wrong with it.
        let has_secret = block.has(inline) || block.has(variable);
        let has_key = block.has(&keys.key_env);
        if (has_secret || has_key) && !block.has(&keys.client_id) {
            let what = if has_secret {
                "a client secret"
            } else {
                "a client's key"
            };
            let text = format!("missing; {what} needs it");
            block.error(&keys.client_id, Wrong::new(text));
        }
        let key = keys.key_env.name;
        let either = format!("{} or {}", inline.name, variable.name);
        let misfit = match method {
            Ok(Some(Method::Basic | Method::Post | Method::None)) if has_key => {
                Some(format!("must be private_key_jwt with {key}"))
            }
            Ok(Some(Method::Basic | Method::Post)) if !has_secret => {
                Some(format!("needs {either}"))
            }
            Ok(Some(Method::None)) if has_secret => Some(format!("must not be none with {either}")),
            Ok(Some(Method::PrivateKey)) if has_secret => {
                Some(format!("must not be private_key_jwt with {either}"))
            }
            Ok(Some(Method::PrivateKey)) if !has_key => Some(format!("needs {key}")),
            Ok(None) if has_secret && has_key => Some(format!(
                "missing; {either} and {key} are for two different methods"
            )),
            _ => None,
        };
        let misfit = misfit.map(|text| block.error(&keys.auth_method, Wrong::new(text)));
        if has_key {
            let signed = self.signed(id, endpoint, draft);
            return misfit.map_or(signed, Err);
        }
        if let Some(reported) = misfit {
            return Err(reported);
        }
        // Whoever names one has it, also where it is not needed.
        pem(block, &CERTIFICATE_ENV, draft, Certificate::from_pem)?;
        let client_id = id?.map(str::to_owned);
        Ok(match (client_id, secret?, method?.unwrap_or(keys.usual)) {
            (Some(client_id), Some(client_secret), Method::Post) => ClientAuth::Post {
                client_id,
                client_secret,
            },
            (Some(client_id), Some(client_secret), _) => ClientAuth::Basic {
                client_id,
                client_secret,
            },
            (client_id, _, _) => ClientAuth::None { client_id },
        })
    }

    /// `private_key_jwt`: the key and its certificate are judged here, not at the first request.
    fn signed(
        &self,
        id: Result<Option<&str>, Reported>,
        endpoint: Option<&Endpoint>,
        draft: &Draft<'_>,
    ) -> Result<ClientAuth, Reported> {
        let (block, keys) = (self.block, self.keys);
        let key = pem(block, &keys.key_env, draft, SigningKey::from_pem);
        let certificate = pem(block, &CERTIFICATE_ENV, draft, Certificate::from_pem);
        let key_id = block.get(&keys.key_id);
        let audience = block.get(&ASSERTION_AUDIENCE);
        let (Some(key), certificate) = (key?, certificate?) else {
            return Err(block.error(&keys.key_env, Wrong::new("missing")));
        };
        let owns = |certificate: &Certificate| {
            let told = key.owns(certificate);
            told.or_else(|| draft.environment.owns(&key, certificate))
        };
        if certificate.as_ref().and_then(owns) == Some(false) {
            let text = format!("is not the certificate of the key in {}", keys.key_env.name);
            return Err(block.error(&CERTIFICATE_ENV, Wrong::new(text)));
        }
        if let Err(cannot) = draft.environment.can_sign(&key) {
            return Err(block.error(&keys.key_env, Wrong::new(cannot)));
        }
        let url = endpoint.map_or("", |endpoint| &endpoint.url);
        let without_query = url.split('?').next().unwrap_or(url);
        Ok(ClientAuth::PrivateKey(Assertion {
            // A client without an id has been reported.
            client_id: id?.unwrap_or_default().to_owned(),
            audience: audience?.unwrap_or(without_query).to_owned(),
            key,
            key_id: key_id?.map(str::to_owned),
            thumbprint: certificate.map(|certificate| certificate.thumbprint().to_owned()),
        }))
    }
}

/// What the PEM text holds that is in the environment variable, if one is named.
fn pem<T, E: std::fmt::Display>(
    block: &Section<'_>,
    variable: &Optional<TextOf>,
    draft: &Draft<'_>,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<Option<T>, Reported> {
    let Some(name) = block.get(variable)? else {
        return Ok(None);
    };
    let text = draft.environment.pem(name);
    let text = checked(block, variable, name, text, &TextOf::ANY)?;
    parse(text.reveal()).map(Some).map_err(|problem| {
        let text = format!("what is in that environment variable {problem}");
        block.error(variable, Wrong::new(text))
    })
}
