//! One provider's tokens in one session, as ToolHive keeps them: read as its own reader does,
//! written byte for byte as its own writer does.

use std::fmt;
use std::time::Duration;

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// What ToolHive's zero time is in Unix seconds; written by mistake, and it means "none".
const ZERO_TIME: i64 = -62_135_596_800;

/// How long a row outlives its token, so that the refresh token in it can still be used.
const GRACE_MS: i64 = 30 * 24 * 60 * 60 * 1000;

/// The tokens of one provider in one session, and whose they are. Times are Unix seconds, 0 for
/// none; texts are empty for none.
#[derive(Clone, Default)]
pub struct Row {
    /// The upstream's name, as in the configuration.
    pub provider_id: String,
    /// What is sent to backends.
    pub access_token: String,
    /// What is redeemed for a new access token.
    pub refresh_token: String,
    /// What an OpenID provider says of the login.
    pub id_token: String,
    /// When the access token expires.
    pub expires_at: i64,
    /// When the auth server thinks that the session ends; bounds the row's life if nothing else does.
    pub session_expires_at: i64,
    /// The auth server's own name for the user.
    pub user_id: String,
    /// The provider's name for the user.
    pub upstream_subject: String,
    /// The MCP client.
    pub client_id: String,
    /// Members that are not known here, as they were written, so that they survive a refresh.
    pub(crate) others: Vec<(String, Box<RawValue>)>,
}

/// What stands where a row should be.
#[derive(Clone, Debug, PartialEq)]
pub enum RowState {
    /// A row.
    Read(Box<Row>),
    /// Nothing, or ToolHive's mark for a deleted row.
    Gone,
    /// Something that is no row: nobody can say what it was.
    Unreadable,
}

impl RowState {
    /// Reads a row's value.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        match Row::parse(bytes) {
            Ok(Some(row)) => Self::Read(Box::new(row)),
            Ok(None) => Self::Gone,
            Err(Unreadable) => Self::Unreadable,
        }
    }

    /// The row, if there is one.
    #[must_use]
    pub fn row(&self) -> Option<&Row> {
        match self {
            Self::Read(row) => Some(row),
            Self::Gone | Self::Unreadable => None,
        }
    }
}

/// A value that ToolHive's reader would drop too. It says no more, because the value is full of
/// secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

impl Row {
    /// Reads a row: a JSON object whose members may be absent or `null`, whose names match in any
    /// letter case, whose numbers must be integers. `null` is a row that was deleted.
    ///
    /// # Errors
    /// For anything else.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, Unreadable> {
        let mut json = serde_json::Deserializer::from_slice(bytes);
        let row = json.deserialize_any(RowVisitor).map_err(|_| Unreadable)?;
        json.end().map_err(|_| Unreadable)?;
        Ok(row)
    }

    /// The row as ToolHive writes it: compact, its members in its order, all of them always there;
    /// then those of others.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(
            256 + self.access_token.len() + self.refresh_token.len() + self.id_token.len(),
        );
        out.push(b'{');
        text_member(&mut out, "provider_id", &self.provider_id);
        text_member(&mut out, "access_token", &self.access_token);
        text_member(&mut out, "refresh_token", &self.refresh_token);
        text_member(&mut out, "id_token", &self.id_token);
        number_member(&mut out, "expires_at", self.expires_at);
        number_member(&mut out, "session_expires_at", self.session_expires_at);
        text_member(&mut out, "user_id", &self.user_id);
        text_member(&mut out, "upstream_subject", &self.upstream_subject);
        text_member(&mut out, "client_id", &self.client_id);
        for (name, value) in &self.others {
            member_name(&mut out, name);
            out.extend_from_slice(value.get().as_bytes());
        }
        out.push(b'}');
        out
    }

    /// When the access token expires, in Unix seconds; `None` if it does not.
    #[must_use]
    pub fn expiry(&self) -> Option<i64> {
        (self.expires_at != 0 && self.expires_at != ZERO_TIME).then_some(self.expires_at)
    }

    /// How long the store should keep the row when it is written at `now_ms` (Unix milliseconds);
    /// `None` for ever.
    #[must_use]
    pub fn lifetime(&self, now_ms: i64) -> Option<Duration> {
        let session = (self.session_expires_at != 0 && self.session_expires_at != ZERO_TIME)
            .then_some(self.session_expires_at);
        let end = self.expiry().or(session)?;
        let left = end
            .saturating_mul(1000)
            .saturating_sub(now_ms)
            .saturating_add(GRACE_MS);
        let left = u64::try_from(left).unwrap_or(0);
        Some(if left == 0 {
            Duration::from_secs(1)
        } else {
            Duration::from_millis(left)
        })
    }
}

impl PartialEq for Row {
    fn eq(&self, other: &Self) -> bool {
        self.encode() == other.encode()
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row")
            .field("provider_id", &self.provider_id)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

struct RowVisitor;

impl<'de> Visitor<'de> for RowVisitor {
    type Value = Option<Row>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut row = Row::default();
        while let Some(name) = members.next_key::<Name>()? {
            match name {
                Name::Known(member) => member.read_into(&mut row, &mut members)?,
                Name::Other(name) => row.others.push((name, members.next_value()?)),
            }
        }
        Ok(Some(row))
    }
}

/// A member's name. Known ones are not copied: a row is read for each request.
enum Name {
    Known(Member),
    Other(String),
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl Visitor<'_> for NameVisitor {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Name, E> {
                Ok(Member::named(name).map_or_else(|| Name::Other(name.to_owned()), Name::Known))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

/// Which member of a row a name means.
#[derive(Clone, Copy)]
enum Member {
    Text(fn(&mut Row) -> &mut String),
    Number(fn(&mut Row) -> &mut i64),
}

impl Member {
    fn named(name: &str) -> Option<Self> {
        const MEMBERS: [(&str, Member); 9] = [
            ("provider_id", Member::Text(|row| &mut row.provider_id)),
            ("access_token", Member::Text(|row| &mut row.access_token)),
            ("refresh_token", Member::Text(|row| &mut row.refresh_token)),
            ("id_token", Member::Text(|row| &mut row.id_token)),
            ("expires_at", Member::Number(|row| &mut row.expires_at)),
            (
                "session_expires_at",
                Member::Number(|row| &mut row.session_expires_at),
            ),
            ("user_id", Member::Text(|row| &mut row.user_id)),
            (
                "upstream_subject",
                Member::Text(|row| &mut row.upstream_subject),
            ),
            ("client_id", Member::Text(|row| &mut row.client_id)),
        ];
        MEMBERS
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, member)| *member)
    }

    /// `null` leaves what was there before, as it does for ToolHive's reader.
    fn read_into<'de, A: MapAccess<'de>>(
        self,
        row: &mut Row,
        members: &mut A,
    ) -> Result<(), A::Error> {
        match self {
            Self::Text(field) => {
                if let Some(text) = members.next_value::<Option<String>>()? {
                    *field(row) = text;
                }
            }
            Self::Number(field) => {
                if let Some(number) = members.next_value::<Option<i64>>()? {
                    *field(row) = number;
                }
            }
        }
        Ok(())
    }
}

fn member_name(out: &mut Vec<u8>, name: &str) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    text(out, name);
    out.push(b':');
}

fn text_member(out: &mut Vec<u8>, name: &str, value: &str) {
    member_name(out, name);
    text(out, value);
}

fn number_member(out: &mut Vec<u8>, name: &str, value: i64) {
    member_name(out, name);
    out.extend_from_slice(value.to_string().as_bytes());
}

/// A JSON text with the escapes that Go's encoder chooses: those that HTML wants, too, and the two
/// separators that JavaScript takes for line ends.
fn text(out: &mut Vec<u8>, value: &str) {
    out.push(b'"');
    for character in value.chars() {
        match character {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\u{8}' => out.extend_from_slice(b"\\b"),
            '\u{c}' => out.extend_from_slice(b"\\f"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\0'..='\u{1f}' | '<' | '>' | '&' => {
                out.extend_from_slice(format!("\\u{:04x}", u32::from(character)).as_bytes());
            }
            '\u{2028}' => out.extend_from_slice(b"\\u2028"),
            '\u{2029}' => out.extend_from_slice(b"\\u2029"),
            other => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOLHIVES: &str = r#"{"provider_id":"github","access_token":"at","refresh_token":"rt","id_token":"","expires_at":1795644635,"session_expires_at":1795648160,"user_id":"u","upstream_subject":"4711","client_id":"c"}"#;

    fn parse(text: &str) -> RowState {
        RowState::parse(text.as_bytes())
    }

    #[test]
    fn a_row_of_toolhive_is_written_back_byte_for_byte() {
        let row = Row::parse(TOOLHIVES.as_bytes()).unwrap().unwrap();
        assert_eq!(row.access_token, "at");
        assert_eq!(row.expiry(), Some(1_795_644_635));
        assert_eq!(String::from_utf8(row.encode()).unwrap(), TOOLHIVES);
    }

    #[test]
    fn members_that_are_not_ours_are_kept_as_they_were() {
        let text = TOOLHIVES.replace(
            "\"c\"}",
            "\"c\",\"later\":{\"b\":1e400,\"a\":[1.50]},\"x\":null}",
        );
        let row = Row::parse(text.as_bytes()).unwrap().unwrap();
        assert_eq!(String::from_utf8(row.encode()).unwrap(), text);
    }

    #[test]
    fn absent_and_null_members_are_none_and_names_match_in_any_case() {
        let row = Row::parse(br#"{"Access_Token":"a","id_token":null,"EXPIRES_AT":7}"#)
            .unwrap()
            .unwrap();
        assert_eq!(row.access_token, "a");
        assert_eq!(row.id_token, "");
        assert_eq!(row.expires_at, 7);
        let last = Row::parse(br#"{"access_token":"a","access_token":"b","access_token":null}"#);
        assert_eq!(last.unwrap().unwrap().access_token, "b");
    }

    #[test]
    fn null_is_a_row_that_was_deleted() {
        assert_eq!(parse("null"), RowState::Gone);
    }

    #[test]
    fn a_wrong_type_anywhere_makes_that_row_unreadable() {
        for name in [
            "provider_id",
            "access_token",
            "refresh_token",
            "id_token",
            "user_id",
            "upstream_subject",
            "client_id",
        ] {
            for wrong in ["5", "true", "[]", "{}", "1.5"] {
                let text = format!("{{\"{name}\":{wrong}}}");
                assert_eq!(parse(&text), RowState::Unreadable, "{text}");
            }
        }
        for name in ["expires_at", "session_expires_at"] {
            for wrong in [
                "\"1795644635\"",
                "1795643866.0",
                "1.8e9",
                "true",
                "[]",
                "{}",
                "99999999999999999999",
            ] {
                let text = format!("{{\"{name}\":{wrong}}}");
                assert_eq!(parse(&text), RowState::Unreadable, "{text}");
            }
        }
    }

    #[test]
    fn what_is_no_object_is_unreadable() {
        for garbage in [
            "",
            "5",
            "\"x\"",
            "[]",
            "[{}]",
            "true",
            "{",
            "{}{}",
            "{} x",
            "\u{feff}{}",
            "nul",
            "\u{0}",
        ] {
            assert_eq!(parse(garbage), RowState::Unreadable, "{garbage:?}");
        }
        assert_eq!(RowState::parse(b"{\"a\":\"\xff\"}"), RowState::Unreadable);
    }

    #[test]
    fn the_zero_time_means_no_expiry() {
        for none in ["0", "-62135596800"] {
            let text = format!("{{\"expires_at\":{none}}}");
            assert_eq!(parse(&text).row().unwrap().expiry(), None);
        }
        assert_eq!(
            parse(r#"{"expires_at":-5}"#).row().unwrap().expiry(),
            Some(-5)
        );
    }

    #[test]
    fn a_row_lives_thirty_days_longer_than_its_token_or_its_session() {
        const MONTH: u64 = 30 * 24 * 3600;
        let mut row = Row {
            expires_at: 1_000,
            session_expires_at: 5_000,
            ..Row::default()
        };
        assert_eq!(
            row.lifetime(400_000),
            Some(Duration::from_secs(600 + MONTH))
        );
        row.expires_at = 0;
        assert_eq!(
            row.lifetime(400_500),
            Some(Duration::from_millis(4_599_500 + MONTH * 1000))
        );
        row.session_expires_at = ZERO_TIME;
        assert_eq!(row.lifetime(400_000), None);
        row.expires_at = 1;
        let long_after = i64::try_from(MONTH).unwrap() * 1000 + 1_000_000_000;
        assert_eq!(row.lifetime(long_after), Some(Duration::from_secs(1)));
        row.expires_at = i64::MAX;
        assert!(row.lifetime(0).is_some(), "no overflow");
    }

    #[test]
    fn texts_are_escaped_as_go_does() {
        let row = Row {
            access_token: "<a&b>\"\\\u{8}\u{c}\n\r\t\u{1}\u{7f}\u{2028}\u{2029}é😀".to_owned(),
            ..Row::default()
        };
        let text = String::from_utf8(row.encode()).unwrap();
        assert!(
            text.contains(r#""access_token":"\u003ca\u0026b\u003e\"\\\b\f\n\r\t\u0001"#),
            "{text}"
        );
        assert!(text.contains("\u{7f}\\u2028\\u2029é😀\""), "{text}");
        assert_eq!(Row::parse(text.as_bytes()).unwrap().unwrap(), row);
    }

    #[test]
    fn no_token_can_be_printed() {
        let row = Row::parse(TOOLHIVES.replace("\"at\"", "\"SECRET\"").as_bytes());
        assert!(!format!("{row:?}").contains("SECRET"));
    }
}
