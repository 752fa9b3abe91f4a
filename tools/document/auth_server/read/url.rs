//! URLs that browsers or the auth server call.

use super::Reader;
use super::spot::Spot;

impl Reader {
    /// An absolute http(s) URL with a host; without TLS only to this machine, or if that is allowed.
    pub(super) fn url(&mut self, at: &Spot<'_>, text: &str, insecure: bool) {
        if text.is_empty() {
            return;
        }
        let rest = match text.split_once("://") {
            Some(("https", rest)) => Some((true, rest)),
            Some(("http", rest)) => Some((false, rest)),
            _ => None,
        };
        let Some((is_tls, rest)) = rest else {
            self.problem(at, "must be an absolute http or https URL");
            return;
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = match authority.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => authority.split(':').next().unwrap_or_default(),
        };
        let is_sound = !host.is_empty()
            && !authority.contains('@')
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_sound {
            self.problem(at, "must be an absolute http or https URL");
        } else if !is_tls && !insecure && !is_local(host) {
            self.problem(
                at,
                "http to another machine; https, or insecure_allow_http: true",
            );
        }
    }
}

fn is_local(host: &str) -> bool {
    host == "localhost"
        || host.ends_with(".localhost")
        || host == "::1"
        || (host.starts_with("127.") && host.parse::<std::net::Ipv4Addr>().is_ok())
}
