//! Reading a row, as tolerantly as ToolHive's reader and no more.

use std::fmt;

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{Row, Unreadable};

impl Row {
    /// Reads a row: a JSON object whose members may be absent or `null`, whose names match in any
    /// letter case, whose numbers must be integers. `null` is a row that was deleted.
    ///
    /// # Errors
    /// For anything else.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Self>, Unreadable> {
        let mut json = serde_json::Deserializer::from_slice(bytes);
        let row = json.deserialize_any(RowVisitor).map_err(|_| Unreadable)?;
        json.end().map_err(|_| Unreadable)?;
        Ok(row)
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
