//! Names of Kubernetes: which rule of which HTTPRoute, which Service.

/// Which rule of which HTTPRoute leads to a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) namespace: String,
    pub(super) route: String,
    pub(super) rule: Option<String>,
}

impl Place {
    /// The name that the filter sees.
    pub(super) fn name(&self) -> String {
        match &self.rule {
            Some(rule) => format!("{}/{}/{rule}", self.namespace, self.route),
            None => format!("{}/{}", self.namespace, self.route),
        }
    }

    /// From `NAMESPACE/HTTPROUTE[/RULENAME]`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let place = Self {
            namespace: parts.next()?.to_owned(),
            route: parts.next()?.to_owned(),
            rule: parts.next().map(str::to_owned),
        };
        let rule = place.rule.as_deref().unwrap_or("none");
        let are_names = [&place.namespace, &place.route, rule]
            .into_iter()
            .all(is_name);
        (parts.next().is_none() && are_names).then_some(place)
    }
}

/// A name of Kubernetes.
pub(super) fn is_name(name: &str) -> bool {
    let is_inner = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.'
    };
    !name.is_empty()
        && name.len() <= 253
        && name.bytes().all(is_inner)
        && !name.starts_with(['-', '.'])
        && !name.ends_with(['-', '.'])
}

/// The Service, and its namespace, that a host of the cluster names.
pub(super) fn service_of(host: &str) -> Option<(String, String)> {
    let mut parts = host.split('.');
    let (service, namespace) = (parts.next()?, parts.next()?);
    let rest: Vec<&str> = parts.collect();
    let is_service = rest.is_empty() || rest == ["svc"] || rest == ["svc", "cluster", "local"];
    (is_service && is_name(service) && is_name(namespace))
        .then(|| (service.to_owned(), namespace.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_route_and_perhaps_a_rule_of_it() {
        for (text, name) in [
            ("mcp/github", "mcp/github"),
            ("a/b/c", "a/b/c"),
            ("a/b/0", "a/b/0"),
        ] {
            assert_eq!(
                Place::parse(text).map(|place| place.name()).as_deref(),
                Some(name)
            );
        }
        for text in [
            "",
            "mcp",
            "mcp/",
            "/x",
            "a/b/c/d",
            "A/b",
            "https://a/b",
            "a/b c",
            "httproute/a/b/rule/0",
        ] {
            assert_eq!(Place::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_host_of_the_cluster_names_a_service() {
        let expected = Some(("vmcp".to_owned(), "mcp".to_owned()));
        for host in ["vmcp.mcp", "vmcp.mcp.svc", "vmcp.mcp.svc.cluster.local"] {
            assert_eq!(service_of(host), expected, "{host}");
        }
        for host in [
            "vmcp",
            "vmcp.example.com",
            "10.0.0.5",
            "vmcp.mcp.svc.example",
        ] {
            assert_eq!(service_of(host), None, "{host}");
        }
    }
}
