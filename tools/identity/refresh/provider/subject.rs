//! Whose an ID token is.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// Whether `claim` of this ID token says `subject` (OpenID Connect Core §12.2). The token came over
/// TLS from the endpoint that the provider's own metadata names, so its signature is not checked
/// again (§3.1.3.7); it is compared with what the login, which did check one, left in the row. A row
/// that names nobody has nothing to compare.
#[must_use]
pub(crate) fn is(id_token: &str, claim: &str, subject: &str) -> bool {
    let Some(found) = read(id_token, claim) else {
        return false;
    };
    subject.is_empty() || found == subject
}

fn read(id_token: &str, claim: &str) -> Option<String> {
    let payload = id_token.split('.').nth(1)?;
    let payload = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    match serde_json::from_slice::<Value>(&payload).ok()?.get(claim)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_claim_that_is_configured_tells_whose_it_is() {
        let payload = URL_SAFE_NO_PAD.encode(r#"{"sub":"pairwise-1","oid":"alice"}"#);
        let token = format!("e30.{payload}.c2ln");
        assert!(is(&token, "oid", "alice"));
        assert!(!is(&token, "sub", "alice"));
        assert!(!is(&token, "email", "alice"), "a claim that is not there");
        assert!(is(&token, "sub", ""), "nobody to compare with");
        for garbage in ["", "x", "a.b.c", "a.!.c"] {
            assert!(!is(garbage, "sub", "alice"));
        }
    }
}
