//! Token endpoints without TLS: within a cluster they get through, with a warning.

use super::{Builder, Value};
use std::net::IpAddr;

/// Says `insecure` of a strategy whose endpoint at `key` is reached in plain text, where that does
/// not leave the cluster. Elsewhere the filter refuses it.
pub(super) fn let_through(builder: &mut Builder<'_>, key: &'static str, insecure: &'static str) {
    let Some(url) = builder.block.text(key) else {
        return;
    };
    if !is_plain_in_cluster(url) {
        return;
    }
    builder.add(insecure, Value::True, key);
    let text = format!(
        "is called without TLS: tokens and the client's secret cross the cluster's network in plain \
         text ({insecure}: true says that it is meant)"
    );
    let at = builder.block.at(key);
    builder.warnings.push((at, text));
}

fn is_plain_in_cluster(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else {
        return false;
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let authority = rest.get(..end).unwrap_or_default();
    if authority.contains('@') {
        return false;
    }
    let host = match authority.strip_prefix('[') {
        Some(inner) => inner.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => address.is_private(),
        Ok(IpAddr::V6(address)) => address.is_unique_local(),
        Err(_) => is_cluster_name(&host.to_ascii_lowercase()),
    }
}

/// `sts`, `sts.ns.svc`, `sts.ns.svc.cluster.local`; not `localhost`, which needs no way through.
fn is_cluster_name(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    let labels: Vec<_> = host.split('.').collect();
    let is_local = matches!(labels.last(), Some(&"localhost"));
    !host.is_empty()
        && !is_local
        && (labels.len() == 1 || labels.get(2) == Some(&"svc") || host.ends_with(".cluster.local"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stays_in_the_cluster_goes_without_tls() {
        for (url, expected) in [
            ("http://sts/token", true),
            ("http://sts:8080/token", true),
            ("http://sts.auth.svc/token", true),
            ("http://sts.auth.svc.cluster.local:8080/token", true),
            ("http://10.0.0.5:9000/", true),
            ("http://[fd00::1]:9000/", true),
            ("http://sts.example.com/token", false),
            ("http://sts.auth/token", false),
            ("http://8.8.8.8/", false),
            ("http://localhost:9000/", false), // the filter takes it as it is
            ("http://user@sts/", false),
            ("http://sts.svc.example.com/", false),
            ("https://sts/token", false),
            ("http:///token", false),
        ] {
            assert_eq!(is_plain_in_cluster(url), expected, "{url}");
        }
    }
}
