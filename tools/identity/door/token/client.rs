//! Who may ask at the token door (RFC 6749 §2.3.1).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use percent_encoding::percent_decode_str;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::form::Form;

/// The client that may ask. Digests, so that comparing takes the same time whatever is presented.
pub(crate) struct Credentials {
    id: [u8; 32],
    secret: [u8; 32],
}

/// Why a client may not ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It presents nothing, or not what it should.
    Wrong,
    /// It presents credentials in two places.
    Twice,
}

impl Credentials {
    /// This client and no other.
    #[must_use]
    pub(crate) fn new(id: &str, secret: &str) -> Self {
        Self {
            id: digest(id),
            secret: digest(secret),
        }
    }

    /// Checks what a request presents: Basic, or `client_id` and `client_secret` in the form.
    ///
    /// # Errors
    /// If that is not the client.
    pub(crate) fn check(
        &self,
        authorization: &[HeaderValue],
        form: &Form<'_>,
    ) -> Result<(), Refused> {
        let in_form = form.get("client_secret");
        let (id, secret) = match (authorization, in_form) {
            ([], Some(secret)) => (
                form.get("client_id").unwrap_or_default().to_owned(),
                secret.to_owned(),
            ),
            ([header], None) => {
                let (id, secret) = basic(header).ok_or(Refused::Wrong)?;
                // A client_id in the form as well is allowed, but not another one.
                if form.get("client_id").is_some_and(|other| other != id) {
                    return Err(Refused::Wrong);
                }
                (id, secret)
            }
            ([], None) => return Err(Refused::Wrong),
            _ => return Err(Refused::Twice),
        };
        let is_it = digest(&id).ct_eq(&self.id) & digest(&secret).ct_eq(&self.secret);
        if bool::from(is_it) {
            Ok(())
        } else {
            Err(Refused::Wrong)
        }
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials([redacted])")
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

fn basic(header: &HeaderValue) -> Option<(String, String)> {
    let (scheme, credentials) = header.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let credentials = STANDARD.decode(credentials.trim()).ok()?;
    let credentials = String::from_utf8(credentials).ok()?;
    let (id, secret) = credentials.split_once(':')?;
    let decode = |text: &str| {
        percent_decode_str(&text.replace('+', " "))
            .decode_utf8()
            .ok()
            .map(std::borrow::Cow::into_owned)
    };
    Some((decode(id)?, decode(secret)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: &[&str], form: &str) -> Result<(), Refused> {
        let credentials = Credentials::new("envoy", "s3cr:t &%+");
        let headers: Vec<HeaderValue> = header
            .iter()
            .map(|text| HeaderValue::from_str(text).unwrap())
            .collect();
        credentials.check(&headers, &Form::parse(form.as_bytes()).unwrap())
    }

    fn header(text: &str) -> String {
        format!("Basic {}", STANDARD.encode(text))
    }

    #[test]
    fn basic_and_body_are_taken() {
        assert_eq!(check(&[&header("envoy:s3cr%3At%20%26%25%2B")], ""), Ok(()));
        assert_eq!(
            check(&[&header("envoy:s3cr%3At+%26%25%2B")], "client_id=envoy"),
            Ok(())
        );
        assert_eq!(
            check(&[], "client_id=envoy&client_secret=s3cr%3At+%26%25%2B"),
            Ok(())
        );
    }

    #[test]
    fn anything_else_is_refused() {
        let good = header("envoy:s3cr%3At%20%26%25%2B");
        for (headers, form) in [
            (vec![], ""),
            (vec![], "client_id=envoy"),
            (vec![], "client_secret=s3cr%3At+%26%25%2B"),
            (vec![], "client_id=other&client_secret=s3cr%3At+%26%25%2B"),
            (vec![], "client_id=envoy&client_secret=wrong"),
            (vec!["Bearer abc"], ""),
            (vec!["Basic !!!"], ""),
            (vec!["Basic"], ""),
            (vec![&*good], "client_id=other"),
        ] {
            assert_eq!(
                check(&headers, form),
                Err(Refused::Wrong),
                "{headers:?} {form}"
            );
        }
        let wrong = header("envoy:wrong");
        assert_eq!(check(&[&wrong], ""), Err(Refused::Wrong));
        let twice = "client_id=envoy&client_secret=x";
        assert_eq!(check(&[&good], twice), Err(Refused::Twice));
        assert_eq!(check(&[&good, &good], ""), Err(Refused::Twice));
    }
}
