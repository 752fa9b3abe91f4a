//! The one credential of a request, put on it, and everything else taken off.

use super::abi::{self, Map};
use super::effective::OnStream;
use crate::attributes::{Attribute, AttributePath, Attributes};
use crate::decision::Credential;

const AUTHORIZATION: &str = "authorization";
/// What servers fold to one variable with a `-` (RFC 3875 §4.1.18).
const SAME_AS_HYPHEN: [char; 3] = ['-', '_', '.'];

/// Every header that carries a credential in some backend's direction.
pub(super) struct CredentialHeaders {
    headers: Vec<SetHeader>,
    connection: Option<AttributePath>,
}

struct SetHeader {
    name: String,
    /// Other names that a server may take for this one.
    aliases: Vec<String>,
}

impl CredentialHeaders {
    /// `authorization`, and what the strategies set.
    pub(super) fn new<'a>(set: impl Iterator<Item = &'a str>) -> Self {
        let mut names: Vec<&str> = vec![AUTHORIZATION];
        for name in set {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Self {
            headers: names.into_iter().map(SetHeader::new).collect(),
            connection: AttributePath::new(&["request", "headers", "connection"]),
        }
    }

    /// Takes every credential off the request: what a client sent, and what an earlier attempt of
    /// the same request has left. False if the host did not do it.
    pub(super) fn clear(&self, stream: &OnStream<'_>) -> bool {
        self.clear_but(stream, None)
    }

    /// Takes every credential off the request's trailers: the door takes it off the header alone, and a
    /// server may make one of both.
    pub(super) fn clear_trailers(&self, stream: &OnStream<'_>) {
        for header in &self.headers {
            for name in std::iter::once(&header.name).chain(&header.aliases) {
                stream.remove_header(Map::RequestTrailers, name);
            }
        }
    }

    fn clear_but(&self, stream: &OnStream<'_>, own: Option<&str>) -> bool {
        for header in &self.headers {
            let name = header.name.as_str();
            if own != Some(name) && !stream.remove_header(Map::Request, name) {
                return false;
            }
        }
        true
    }

    /// Puts `credential` on the request, and nothing else. `has_more` says whether more than header
    /// fields follows. False if the host did not do it.
    pub(super) fn set(
        &self,
        stream: &OnStream<'_>,
        credential: Credential<'_>,
        has_more: bool,
    ) -> bool {
        match credential {
            Credential::None => self.clear(stream),
            Credential::Bearer(token) => {
                let value = token.into_value_bytes();
                let set = self.set_one(stream, AUTHORIZATION, &value, has_more);
                abi::give_back(value);
                set
            }
            Credential::BearerIn(name, value) => {
                self.set_one(stream, name, value.as_bytes(), has_more)
            }
            Credential::Header(name, value) => {
                self.set_one(stream, name, value.reveal().as_bytes(), has_more)
            }
        }
    }

    fn set_one(&self, stream: &OnStream<'_>, name: &str, value: &[u8], has_more: bool) -> bool {
        let header = self.headers.iter().find(|header| header.name == name);
        // Replacing acts on every field of the name, so that it strips as well.
        if !self.clear_but(stream, Some(name)) {
            return false;
        }
        for alias in header.map_or(&[][..], |header| &header.aliases) {
            if !stream.remove_header(Map::Request, alias) {
                return false;
            }
        }
        stream.replace_header(Map::Request, name, value)
            && (!has_more || self.take_nomination_back(stream, name))
    }

    /// On an upgrade Envoy hands `connection` on, and whatever it names is taken off by the next hop
    /// (RFC 9110 §7.6.1): a client could have the credential taken off.
    fn take_nomination_back(&self, stream: &OnStream<'_>, name: &str) -> bool {
        let connection = match self.connection.as_ref().map(|path| stream.read(path)) {
            Some(Attribute::Bytes(connection)) => connection,
            _ => return true,
        };
        match without_option(&connection, name) {
            Some(rest) if rest.is_empty() => stream.remove_header(Map::Request, "connection"),
            Some(rest) => stream.replace_header(Map::Request, "connection", &rest),
            None => true,
        }
    }
}

impl SetHeader {
    fn new(name: &str) -> Self {
        let mut spellings = vec![String::new()];
        for letter in name.chars() {
            let ways: &[char] = match letter {
                '-' => &SAME_AS_HYPHEN,
                _ => &[letter],
            };
            spellings = spellings
                .iter()
                .flat_map(|so_far| ways.iter().map(move |way| format!("{so_far}{way}")))
                .collect();
        }
        spellings.retain(|spelling| spelling != name);
        Self {
            name: name.to_owned(),
            aliases: spellings,
        }
    }
}

/// The field `connection` without the option `name`; `None` if it is not among them.
fn without_option(connection: &[u8], name: &str) -> Option<Vec<u8>> {
    let options: Vec<&[u8]> = connection
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .collect();
    let is_name = |option: &&&[u8]| option.eq_ignore_ascii_case(name.as_bytes());
    options.iter().find(is_name)?;
    let rest: Vec<&[u8]> = options
        .iter()
        .filter(|option| !is_name(option) && !option.is_empty())
        .copied()
        .collect();
    Some(rest.join(&b", "[..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spellings_of_a_header_are_those_that_servers_fold_together() {
        assert_eq!(SetHeader::new("authorization").aliases, [""; 0]);
        assert_eq!(SetHeader::new("x-key").aliases, ["x_key", "x.key"]);
        let three = SetHeader::new("x-a-b-c").aliases;
        assert_eq!(three.len(), 26);
        assert!(three.contains(&"x_a.b-c".to_owned()));
    }

    #[test]
    fn an_option_is_taken_out_of_connection_whatever_its_case() {
        for (connection, rest) in [
            ("Upgrade, X-API-Key", Some("Upgrade")),
            (
                "x-api-key,upgrade , X-Api-Key,keep-alive",
                Some("upgrade, keep-alive"),
            ),
            ("x-api-key", Some("")),
            (",x-api-key,,", Some("")),
            ("upgrade", None),
            ("x-api-key-2, upgrade", None),
            ("", None),
        ] {
            let found = without_option(connection.as_bytes(), "x-api-key");
            assert_eq!(found.as_deref(), rest.map(str::as_bytes), "{connection}");
        }
    }
}
