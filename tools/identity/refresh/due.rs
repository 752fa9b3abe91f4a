//! When a row's tokens must be refreshed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::session::{Digest, Row};

/// The SHA-256 of a token that a backend has rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rejected([u8; 32]);

impl Rejected {
    /// Reads the hash in base64url, with or without padding.
    #[must_use]
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }

    /// Whether it is this token.
    #[must_use]
    pub(crate) fn is(&self, token: &str) -> bool {
        !token.is_empty() && <[u8; 32]>::from(Sha256::digest(token.as_bytes())) == self.0
    }
}

/// What makes a row due.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Need {
    /// How long before its end a token is renewed.
    pub ahead_ms: i64,
    /// A token that must not be handed out again.
    pub rejected: Option<Rejected>,
    /// An ID token that a refresh has not renewed, so that another one would not either.
    pub kept: Option<Digest>,
}

impl Need {
    /// Whether the row's tokens are due at `now_ms`.
    #[must_use]
    pub(crate) fn is_due(&self, row: &Row, now_ms: i64) -> bool {
        self.is_due_where(row, jwt_expiry(&row.id_token), now_ms)
    }

    /// Whether a row that was read anew is due, as `before` was. Where somebody has refreshed it
    /// since, an old ID token is one that a refresh does not renew.
    #[must_use]
    pub(crate) fn is_due_since(&self, before: &Row, row: &Row, now_ms: i64) -> bool {
        if has_been_refreshed(before, row) {
            self.access_is_due(row, now_ms.saturating_add(self.ahead_ms))
        } else {
            self.is_due(row, now_ms)
        }
    }

    /// The same where it is known already when the row's ID token ends: reading that costs more than
    /// everything else here.
    #[must_use]
    pub(crate) fn is_due_where(&self, row: &Row, id_token_ends: Option<i64>, now_ms: i64) -> bool {
        let soon = now_ms.saturating_add(self.ahead_ms);
        self.access_is_due(row, soon) || self.id_token_is_due(row, id_token_ends, soon)
    }

    fn access_is_due(&self, row: &Row, soon: i64) -> bool {
        row.access_token.is_empty() || ends_by(row.expiry(), soon) || self.is_rejected(row)
    }

    /// Whether the row holds the token that a backend has rejected.
    #[must_use]
    pub(crate) fn is_rejected(&self, row: &Row) -> bool {
        self.rejected
            .is_some_and(|rejected| rejected.is(&row.access_token) || rejected.is(&row.id_token))
    }

    fn id_token_is_due(&self, row: &Row, ends: Option<i64>, soon: i64) -> bool {
        ends_by(ends, soon)
            && self
                .kept
                .is_none_or(|kept| kept != Digest::of(&row.id_token))
    }
}

/// Whether somebody has refreshed the row since it was like `before`.
#[must_use]
pub(crate) fn has_been_refreshed(before: &Row, row: &Row) -> bool {
    row.access_token != before.access_token || row.expires_at != before.expires_at
}

/// Whether the access token can be handed out at `now_ms`.
#[must_use]
pub(crate) fn access_is_good(row: &Row, now_ms: i64) -> bool {
    !row.access_token.is_empty() && !ends_by(row.expiry(), now_ms)
}

/// Whether there is an ID token that can be handed out at `now_ms`.
#[must_use]
pub(crate) fn id_is_good(row: &Row, now_ms: i64) -> bool {
    !row.id_token.is_empty() && !ends_by(jwt_expiry(&row.id_token), now_ms)
}

/// Whether a token that ends then, in Unix seconds, has ended at `at_ms`.
#[must_use]
pub(crate) fn ends_by(end: Option<i64>, at_ms: i64) -> bool {
    end.is_some_and(|end| end.saturating_mul(1000) <= at_ms)
}

/// The `exp` that a JWT claims, in Unix seconds. Nothing is verified: a token that lies about its
/// end harms itself alone.
#[must_use]
pub(crate) fn jwt_expiry(token: &str) -> Option<i64> {
    #[derive(serde::Deserialize)]
    struct Claims {
        exp: Option<serde_json::Number>,
    }
    let payload = token.split('.').nth(1)?;
    let payload = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    let exp = serde_json::from_slice::<Claims>(&payload).ok()?.exp?;
    #[allow(clippy::cast_possible_truncation)] // saturates, as wanted
    exp.as_i64().or_else(|| exp.as_f64().map(|exp| exp as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000_000;

    fn id_token(exp: i64) -> String {
        let payload = URL_SAFE_NO_PAD.encode(format!("{{\"sub\":\"a\",\"exp\":{exp}}}"));
        format!("e30.{payload}.sig")
    }

    fn row(expires_at: i64, id_token: &str) -> Row {
        Row {
            access_token: "at".to_owned(),
            refresh_token: "rt".to_owned(),
            id_token: id_token.to_owned(),
            expires_at,
            ..Row::default()
        }
    }

    const NEED: Need = Need {
        ahead_ms: 30_000,
        rejected: None,
        kept: None,
    };

    #[test]
    fn a_token_is_due_when_it_ends_within_the_lead() {
        let now = NOW / 1000;
        assert!(NEED.is_due(&row(now - 1, ""), NOW));
        assert!(NEED.is_due(&row(now + 30, ""), NOW));
        assert!(!NEED.is_due(&row(now + 31, ""), NOW));
        assert!(!NEED.is_due(&row(0, ""), NOW), "no expiry, never due");
    }

    #[test]
    fn an_id_token_that_ends_makes_the_row_due_unless_a_refresh_does_not_renew_it() {
        let old = id_token(NOW / 1000 - 5);
        assert!(NEED.is_due(&row(0, &old), NOW));
        assert!(!NEED.is_due(&row(0, &id_token(NOW / 1000 + 600)), NOW));
        assert!(!NEED.is_due(&row(0, "no.jwt"), NOW));
        let kept = Need {
            kept: Some(Digest::of(&old)),
            ..NEED
        };
        assert!(!kept.is_due(&row(0, &old), NOW));
        assert!(
            kept.is_due(&row(NOW / 1000, &old), NOW),
            "the access token's turn"
        );
    }

    #[test]
    fn an_id_token_that_anothers_refresh_did_not_renew_is_no_reason_for_one_more() {
        let now = NOW / 1000;
        let old = id_token(now - 5);
        let before = row(now - 5, &old);
        let mut refreshed = row(now + 600, &old);
        refreshed.access_token = "newer".to_owned();
        assert!(NEED.is_due(&refreshed, NOW));
        assert!(!NEED.is_due_since(&before, &refreshed, NOW));
        assert!(NEED.is_due_since(&row(now + 600, &old), &row(now + 600, &old), NOW));
        refreshed.expires_at = now + 10;
        assert!(
            NEED.is_due_since(&before, &refreshed, NOW),
            "the access token's turn"
        );
    }

    #[test]
    fn a_rejected_token_is_due_and_no_other() {
        let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(b"at"));
        let need = Need {
            rejected: Rejected::parse(&hash),
            ..NEED
        };
        assert!(need.is_due(&row(0, ""), NOW));
        let mut other = row(0, "");
        other.access_token = "newer".to_owned();
        assert!(!need.is_due(&other, NOW));
        assert_eq!(Rejected::parse("short"), None);
    }

    #[test]
    fn what_can_be_handed_out() {
        let now = NOW / 1000;
        assert!(access_is_good(&row(now + 1, ""), NOW));
        assert!(!access_is_good(&row(now, ""), NOW));
        assert!(!access_is_good(&Row::default(), NOW));
        assert!(id_is_good(&row(0, &id_token(now + 1)), NOW));
        assert!(!id_is_good(&row(0, &id_token(now)), NOW));
        assert!(id_is_good(&row(0, "opaque"), NOW));
        assert!(!id_is_good(&row(0, ""), NOW));
    }
}
