//! The form of a token exchange: read, and judged.

use std::borrow::Cow;

use memchr::memchr2;

use upstream_inject::exchange::grant::GRANT_TYPE;
use upstream_inject::exchange::grant::token_type::{ACCESS_TOKEN, ID_TOKEN, JWT};

use crate::refresh::due::Rejected;

/// Which token is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The provider's access token.
    Access,
    /// Its ID token.
    Id,
}

impl Kind {
    /// The type's URI (RFC 8693 §3).
    #[must_use]
    pub(crate) fn uri(self) -> &'static str {
        match self {
            Self::Access => ACCESS_TOKEN,
            Self::Id => ID_TOKEN,
        }
    }

    /// How it may be used (RFC 8693 §2.2.1): an ID token is no bearer token.
    #[must_use]
    pub(crate) fn token_type(self) -> &'static str {
        match self {
            Self::Access => "Bearer",
            Self::Id => "N_A",
        }
    }
}

/// The parameters of a request.
pub(crate) struct Form<'a> {
    parameters: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

/// What is asked.
pub(crate) struct Exchange<'a> {
    /// Whose token.
    pub subject_token: &'a str,
    /// Which provider's.
    pub provider: &'a str,
    /// Which of its tokens.
    pub kind: Kind,
    /// A token that a backend has rejected.
    pub rejected: Option<Rejected>,
}

impl<'a> Form<'a> {
    /// Reads a form in which no parameter occurs twice (RFC 6749 §3.2). An empty one counts as not
    /// given.
    ///
    /// # Errors
    /// If one does.
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, &'static str> {
        let mut parameters: Vec<(Cow<'a, str>, Cow<'a, str>)> = Vec::new();
        for (name, value) in body.split(|byte| *byte == b'&').filter_map(pair) {
            if parameters.iter().any(|(known, _)| *known == name) {
                return Err("a parameter is given twice");
            }
            parameters.push((name, value));
        }
        Ok(Self { parameters })
    }

    /// A parameter's value.
    #[must_use]
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(known, value)| known == name && !value.is_empty())
            .map(|(_, value)| &**value)
    }

    /// The exchange that is asked for.
    ///
    /// # Errors
    /// An error word of RFC 6749 §5.2, and what is wrong.
    pub(crate) fn exchange(&self) -> Result<Exchange<'_>, (&'static str, &'static str)> {
        const INVALID: &str = "invalid_request";
        match self.get("grant_type") {
            Some(GRANT_TYPE) => {}
            Some(_) => {
                return Err((
                    "unsupported_grant_type",
                    "the only grant type is token exchange (RFC 8693)",
                ));
            }
            None => return Err((INVALID, "grant_type is missing")),
        }
        let subject_token = self
            .get("subject_token")
            .ok_or((INVALID, "subject_token is missing"))?;
        match self.get("subject_token_type") {
            Some(ACCESS_TOKEN | JWT) => {}
            Some(_) => return Err((INVALID, "subject_token_type must be access_token or jwt")),
            None => return Err((INVALID, "subject_token_type is missing")),
        }
        if self.get("actor_token").is_some() {
            return Err((INVALID, "an actor_token is not taken"));
        }
        let provider = self
            .get("audience")
            .ok_or((INVALID, "audience, the provider's name, is missing"))?;
        let kind = match self.get("requested_token_type") {
            None | Some(ACCESS_TOKEN) => Kind::Access,
            Some(ID_TOKEN) => Kind::Id,
            Some(_) => {
                return Err((
                    INVALID,
                    "requested_token_type must be access_token or id_token",
                ));
            }
        };
        let rejected = match self.get("rejected_token_hash") {
            None => None,
            Some(hash) => Some(Rejected::parse(hash).ok_or((
                INVALID,
                "rejected_token_hash must be a SHA-256 in base64url",
            ))?),
        };
        Ok(Exchange {
            subject_token,
            provider,
            kind,
            rejected,
        })
    }
}

/// A parameter's name and value. Most have nothing to decode, and are long.
fn pair(text: &[u8]) -> Option<(Cow<'_, str>, Cow<'_, str>)> {
    match std::str::from_utf8(text) {
        Ok(plain) if memchr2(b'%', b'+', text).is_none() => {
            let (name, value) = plain.split_once('=').unwrap_or((plain, ""));
            (!plain.is_empty()).then_some((name.into(), value.into()))
        }
        _ => form_urlencoded::parse(text).next(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange\
        &subject_token=a.b.c\
        &subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token\
        &audience=github";

    fn judge(form: &str) -> Result<Kind, &'static str> {
        let form = Form::parse(form.as_bytes()).map_err(|_| "twice")?;
        form.exchange()
            .map(|asked| asked.kind)
            .map_err(|(word, _)| word)
    }

    #[test]
    fn an_exchange_names_subject_and_provider() {
        let form = Form::parse(GOOD.as_bytes()).unwrap();
        let asked = form.exchange().unwrap();
        assert_eq!((asked.subject_token, asked.provider), ("a.b.c", "github"));
        assert_eq!(asked.kind, Kind::Access);
        let id = format!(
            "{GOOD}&requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aid_token"
        );
        assert_eq!(judge(&id), Ok(Kind::Id));
        let jwt = GOOD.replace("access_token&audience", "jwt&audience");
        assert_eq!(judge(&jwt), Ok(Kind::Access));
        assert_eq!(
            judge(&format!("{GOOD}&scope=x&resource=&unknown=y")),
            Ok(Kind::Access)
        );
    }

    proptest::proptest! {
        #[test]
        fn a_form_is_read_as_the_library_reads_it(
            body in "[a-c%+=&0-9 \u{e4}]{0,40}",
            junk in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..8),
        ) {
            let body = [body.as_bytes(), &junk].concat();
            let ours: Vec<_> = body.split(|byte| *byte == b'&').filter_map(pair).collect();
            let theirs: Vec<_> = form_urlencoded::parse(&body).collect();
            proptest::prop_assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn what_is_missing_twice_or_unknown_is_refused() {
        for name in [
            "grant_type",
            "subject_token",
            "subject_token_type",
            "audience",
        ] {
            let without: Vec<&str> = GOOD
                .split('&')
                .filter(|pair| pair.split('=').next() != Some(name))
                .collect();
            assert_eq!(judge(&without.join("&")), Err("invalid_request"), "{name}");
            assert_eq!(judge(&format!("{GOOD}&{name}=x")), Err("twice"), "{name}");
        }
        for (change, word) in [
            ("grant_type=refresh_token&", "unsupported_grant_type"),
            (
                "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3AToken-exchange&",
                "unsupported_grant_type",
            ),
        ] {
            let rest = GOOD.split_once('&').unwrap().1;
            assert_eq!(judge(&format!("{change}{rest}")), Err(word));
        }
        for more in [
            "requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Asaml2",
            "actor_token=x",
            "rejected_token_hash=short",
        ] {
            assert_eq!(
                judge(&format!("{GOOD}&{more}")),
                Err("invalid_request"),
                "{more}"
            );
        }
    }
}
