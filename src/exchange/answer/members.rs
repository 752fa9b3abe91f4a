//! The members of an answer that are understood.

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// The longest `claims` that are handed on, in bytes.
pub(super) const MAX_CLAIMS: usize = 4096;

/// What Entra adds to `invalid_grant` where a login alone would not help.
const STEP_UP_SUBERRORS: [&str; 4] = [
    "basic_action",
    "additional_action",
    "consent_required",
    "user_password_expired",
];

pub(super) fn text(raw: &RawValue) -> Option<String> {
    serde_json::from_slice(raw.get().as_bytes()).ok()
}

/// The members that are understood, each still raw, so that nonsense in one does not spoil the
/// document. A member given twice does: which one counts would be a guess.
#[derive(Default)]
pub(super) struct Members<'a> {
    pub access_token: Option<&'a RawValue>,
    pub token_type: Option<&'a RawValue>,
    pub issued_token_type: Option<&'a RawValue>,
    pub expires_in: Option<&'a RawValue>,
    pub error: Option<&'a RawValue>,
    pub suberror: Option<&'a RawValue>,
    pub claims: Option<&'a RawValue>,
    pub max_age: Option<&'a RawValue>,
    pub acr_values: Option<&'a RawValue>,
    pub interaction_uri: Option<&'a RawValue>,
}

/// The members of a JSON object, behind one byte order mark or none.
pub(super) fn members(body: &[u8]) -> Option<Members<'_>> {
    const MARK: &[u8] = b"\xef\xbb\xbf";
    serde_json::from_slice(body.strip_prefix(MARK).unwrap_or(body)).ok()
}

/// Whether a member holds an object or a text, of any length, that is not empty.
pub(super) fn is_something(raw: &RawValue) -> bool {
    match raw.get().strip_prefix('{') {
        Some(rest) => !rest.trim_start().starts_with('}'),
        None => text(raw).is_some_and(|text| !text.is_empty()),
    }
}

impl Members<'_> {
    /// `claims` (OpenID Connect Core §5.5), which some send as an object and some as a text.
    pub(super) fn claims(&self) -> Option<String> {
        let raw = self.claims?;
        let claims = match raw.get().starts_with('{') {
            true => raw.get().to_owned(),
            false => text(raw)?,
        };
        Some(claims).filter(|claims| (1..=MAX_CLAIMS).contains(&claims.len()))
    }

    /// Whether `suberror` asks for more than a login.
    pub(super) fn asks_for_more(&self) -> bool {
        let suberror = self.suberror.and_then(text);
        suberror.is_some_and(|word| STEP_UP_SUBERRORS.contains(&word.as_str()))
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = Members::default();
        while let Some(key) = map.next_key::<String>()? {
            let member = match key.as_str() {
                "access_token" => &mut members.access_token,
                "token_type" => &mut members.token_type,
                "issued_token_type" => &mut members.issued_token_type,
                "expires_in" => &mut members.expires_in,
                "error" => &mut members.error,
                "suberror" => &mut members.suberror,
                "claims" => &mut members.claims,
                "max_age" => &mut members.max_age,
                "acr_values" => &mut members.acr_values,
                "interaction_uri" => &mut members.interaction_uri,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            let value: &RawValue = map.next_value()?;
            if value.get() == "null" {
                continue;
            }
            if member.replace(value).is_some() {
                return Err(serde::de::Error::custom("a member stands twice"));
            }
        }
        Ok(members)
    }
}
