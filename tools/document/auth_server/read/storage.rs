//! Where the sessions lie.

use std::time::Duration;

use upstream_inject::config::Node;

use super::Reader;
use super::spot::Spot;
use crate::auth_server::{Redis, SecretRef, Storage, Tls, Topology};

impl Reader {
    pub(super) fn storage(&mut self, at: &Spot<'_>) -> Storage {
        if !at.is_absent() && !self.is_map(at) {
            return Storage::Memory(at.path.clone());
        }
        let kind_at = at.key("type");
        match self.text(&kind_at).as_str() {
            "" | "memory" => {}
            "redis" => {
                if let Some(redis) = self.redis(&at.key("redis_config")) {
                    return Storage::Redis(Box::new(redis));
                }
            }
            other => {
                let text = format!("unknown type {other:?} (must be redis or memory)");
                self.problem(&kind_at, text);
            }
        }
        Storage::Memory(kind_at.path)
    }

    fn redis(&mut self, at: &Spot<'_>) -> Option<Redis> {
        if at.is_absent() {
            self.problem(at, "missing, though the type is redis");
        }
        if !self.is_map(at) {
            return None;
        }
        let topology = self.topology(at);
        let acl = at.key("acl_user_config");
        let (mut username_env, mut password_env) = (None, None);
        if acl.is_absent() {
            self.warn(
                &acl,
                "missing: ToolHive itself refuses that; nobody authenticates",
            );
        } else if self.is_map(&acl) {
            let at = acl.key("username_env_var");
            let name = self.text(&at);
            username_env = (!name.is_empty()).then_some(SecretRef::Env(name, at.path));
            let at = acl.key("password_env_var");
            let name = self.needed(&at);
            password_env = Some(SecretRef::Env(name, at.path));
        }
        let prefix_at = at.key("key_prefix");
        let key_prefix = self.text(&prefix_at);
        let is_cluster = matches!(topology, Some(Topology::Cluster(_)));
        if is_cluster && !has_hash_tag(&key_prefix) {
            self.warn(
                &prefix_at,
                "without a hash tag ({…}) in it, a cluster spreads the keys of a session over \
                 its nodes, and neither ToolHive nor this can write them together",
            );
        }
        self.duration(&at.key("write_timeout"), Duration::from_secs(3));
        Some(Redis {
            username_env,
            password_env,
            key_prefix,
            dial_timeout: self.duration(&at.key("dial_timeout"), Duration::from_secs(5)),
            read_timeout: self.duration(&at.key("read_timeout"), Duration::from_secs(3)),
            tls: self.tls(&at.key("tls")),
            topology: topology?,
        })
    }

    fn topology(&mut self, at: &Spot<'_>) -> Option<Topology> {
        let (addr_at, sentinel) = (at.key("addr"), at.key("sentinel_config"));
        let addr = self.text(&addr_at);
        let is_cluster = self.flag(&at.key("cluster_mode"));
        if sentinel.is_absent() {
            if addr.is_empty() {
                self.problem(&addr_at, "missing, and no sentinel_config either");
                return None;
            }
            let address = self.address(&addr_at, &addr)?;
            return Some(if is_cluster {
                Topology::Cluster(address)
            } else {
                Topology::Standalone(address)
            });
        }
        if !addr.is_empty() {
            self.problem(
                &addr_at,
                "given beside sentinel_config; only one of them may be",
            );
        }
        if is_cluster {
            self.problem(
                &at.key("cluster_mode"),
                "given beside sentinel_config; only one of them may be",
            );
        }
        if !self.is_map(&sentinel) {
            return None;
        }
        let master = self.needed(&sentinel.key("master_name"));
        let addresses = sentinel.key("sentinel_addrs");
        self.texts(&addresses);
        let spots = addresses.items();
        if spots.is_empty() {
            self.problem(&addresses, "not a single Sentinel");
        }
        let mut sentinels = Vec::new();
        for spot in &spots {
            if let Some(Node::String(text)) = spot.node {
                sentinels.extend(self.address(spot, text));
            }
        }
        Some(Topology::Sentinel {
            master,
            sentinels,
            tls: self.tls(&at.key("sentinel_tls")),
            db: self.database(&sentinel.key("db")),
        })
    }

    fn database(&mut self, at: &Spot<'_>) -> u32 {
        match at.node {
            None => 0,
            // A small whole number.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            Some(Node::Number(number))
                if number.fract() == 0.0 && (0.0..65536.0).contains(number) =>
            {
                *number as u32
            }
            Some(_) => {
                self.problem(at, "must be the number of a database");
                0
            }
        }
    }

    fn tls(&mut self, at: &Spot<'_>) -> Option<Tls> {
        if !self.is_map(at) {
            return None;
        }
        let ca_at = at.key("ca_cert_file");
        let ca = self.text(&ca_at);
        let insecure_at = at.key("insecure_skip_verify");
        let insecure_skip_verify = self.flag(&insecure_at);
        if insecure_skip_verify {
            self.warn(&insecure_at, "whoever answers is taken for the store");
        }
        Some(Tls {
            ca_cert_file: (!ca.is_empty()).then_some((ca, ca_at.path)),
            insecure_skip_verify,
        })
    }

    fn address(&mut self, at: &Spot<'_>, text: &str) -> Option<(String, u16)> {
        let address = text.rsplit_once(':').and_then(|(host, port)| {
            let host = host
                .strip_prefix('[')
                .and_then(|host| host.strip_suffix(']'))
                .unwrap_or(host);
            let port = port.parse().ok().filter(|port| *port != 0)?;
            (!host.is_empty() && !host.contains('/')).then(|| (host.to_owned(), port))
        });
        if address.is_none() {
            self.problem(at, "must be HOST:PORT");
        }
        address
    }

    fn duration(&mut self, at: &Spot<'_>, usual: Duration) -> Duration {
        let text = self.text(at);
        if text.is_empty() {
            return usual;
        }
        match go_duration(&text) {
            // Go's client takes zero for its default.
            Some(Duration::ZERO) => usual,
            Some(duration) => duration,
            None => {
                self.problem(at, "must be a duration such as 500ms, 3s or 1m30s");
                usual
            }
        }
    }
}

/// Whether a cluster takes a part of the key for all of it.
fn has_hash_tag(prefix: &str) -> bool {
    prefix
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'))
        .is_some_and(|(tag, _)| !tag.is_empty())
}

/// A duration as Go writes them: numbers with units, one after the other.
fn go_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|character: char| !character.is_ascii_digit() && character != '.')?;
        let (number, unit) = rest.split_at_checked(end)?;
        let number: f64 = number.parse().ok()?;
        let end = unit
            .find(|character: char| character.is_ascii_digit() || character == '.')
            .unwrap_or(unit.len());
        let (unit, left) = unit.split_at_checked(end)?;
        seconds += number
            * match unit {
                "ns" => 1e-9,
                "us" | "µs" | "μs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        rest = left;
    }
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for (text, milliseconds) in [
            ("5s", Some(5_000)),
            ("1m30s", Some(90_000)),
            ("1.5h", Some(5_400_000)),
            ("250ms", Some(250)),
            ("0", Some(0)),
            ("5", None),
            ("s", None),
            ("5 s", None),
            ("-5s", None),
            ("1d", None),
            ("", Some(0)),
        ] {
            let duration = go_duration(text).map(|duration| duration.as_millis());
            assert_eq!(duration, milliseconds, "{text}");
        }
    }
}
