use super::*;
use crate::strategy::Unauthenticated;
use std::cell::Cell;

/// Attributes in a table, by their path with dots, and how many were read.
struct Table {
    entries: Vec<(&'static str, Attribute)>,
    reads: Cell<u32>,
}

impl Attributes for Table {
    fn read(&self, path: &AttributePath) -> Attribute {
        self.reads.set(self.reads.get() + 1);
        let path = String::from_utf8(path.as_bytes().to_vec()).unwrap();
        let path = path.replace('\0', ".");
        let entry = self.entries.iter().find(|(known, _)| *known == path);
        entry.map_or(Attribute::Absent, |(_, value)| value.clone())
    }
}

const CLUSTER: &str = "xds.cluster_name";
const ROUTE: &str = "xds.route_name";
const METADATA: &str = "xds.route_metadata.filter_metadata.upstream_inject.backend";

fn text(text: &str) -> Attribute {
    Attribute::Bytes(text.as_bytes().to_vec())
}

fn backends(from: BackendFrom, default: bool) -> Backends {
    let strategy = || -> Box<dyn Strategy> { Box::new(Unauthenticated) };
    let listed = ["one", "two"].map(|name| (name.into(), strategy()));
    Backends::new(from, listed, default.then(strategy))
}

fn table(entries: impl IntoIterator<Item = (&'static str, Attribute)>) -> Table {
    Table {
        entries: entries.into_iter().collect(),
        reads: Cell::new(0),
    }
}

/// Where a request goes: the backend's name, and whether it has a strategy.
fn destination(backends: &Backends, table: &Table) -> Option<(String, bool)> {
    match backends.destination(&backends.cluster(table), table) {
        Destination::Backend(backend) => {
            Some((backend.name.to_string(), backend.strategy.is_some()))
        }
        Destination::Envoy => None,
    }
}

#[test]
fn a_request_goes_where_its_cluster_or_route_says() {
    use BackendFrom::*;
    let not_utf8 = Attribute::Bytes(b"one\xff".to_vec());
    for (from, entries, expected) in [
        (
            ClusterName,
            vec![(CLUSTER, text("one"))],
            Some(("one", true)),
        ),
        (
            ClusterName,
            vec![(CLUSTER, text("three"))],
            Some(("three", false)),
        ),
        (
            ClusterName,
            vec![(CLUSTER, not_utf8.clone())],
            Some(("", false)),
        ),
        (ClusterName, vec![(ROUTE, text("one"))], None),
        (
            ClusterName,
            vec![(CLUSTER, Attribute::Failed)],
            Some(("", false)),
        ),
        (
            ClusterName,
            vec![(CLUSTER, Attribute::Unpackable)],
            Some(("", false)),
        ),
        (
            RouteName,
            vec![(CLUSTER, text("one")), (ROUTE, text("two"))],
            Some(("two", true)),
        ),
        (RouteName, vec![(CLUSTER, text("one"))], Some(("", false))),
        (RouteName, vec![(ROUTE, text("two"))], None),
        (
            RouteName,
            vec![(CLUSTER, text("one")), (ROUTE, Attribute::Failed)],
            Some(("", false)),
        ),
        (
            RouteMetadata,
            vec![(CLUSTER, text("x")), (METADATA, text("two"))],
            Some(("two", true)),
        ),
        (
            RouteMetadata,
            vec![(CLUSTER, text("one")), (ROUTE, text("two"))],
            Some(("", false)),
        ),
        (
            RouteMetadata,
            vec![(CLUSTER, text("one")), (METADATA, Attribute::Unpackable)],
            Some(("", false)),
        ),
    ] {
        let found = destination(&backends(from, false), &table(entries));
        let found = found
            .as_ref()
            .map(|(name, strategy)| (name.as_str(), *strategy));
        assert_eq!(found, expected, "{from:?}");
    }
}

#[test]
fn a_default_serves_what_is_not_listed_but_not_what_is_not_known() {
    for (cluster, expected) in [
        (text("three"), ("three", true)),
        (Attribute::Bytes(b"\xff".to_vec()), ("", true)),
        (Attribute::Failed, ("", false)),
    ] {
        let backends = backends(BackendFrom::ClusterName, true);
        let (name, strategy) = destination(&backends, &table([(CLUSTER, cluster)])).unwrap();
        assert_eq!((name.as_str(), strategy), expected);
    }
}

/// `envoy.config.core.v3.Metadata` of a route that Envoy Gateway has written.
fn gateway_metadata(resource: &[(&str, &str)], annotation: Option<&str>) -> Vec<u8> {
    use prost::Message;
    use prost_types::value::Kind;
    use prost_types::{ListValue, Struct, Value};
    #[derive(Clone, PartialEq, Message)]
    struct Metadata {
        #[prost(btree_map = "string, message", tag = "1")]
        filter_metadata: std::collections::BTreeMap<String, Struct>,
    }
    let value = |kind| Value { kind: Some(kind) };
    let text = |text: &str| value(Kind::StringValue(text.to_owned()));
    let mut resource: std::collections::BTreeMap<String, Value> = resource
        .iter()
        .map(|(key, one)| ((*key).to_owned(), text(one)))
        .collect();
    if let Some(annotation) = annotation {
        let fields = [("upstream-inject-backend".to_owned(), text(annotation))].into();
        let annotations = value(Kind::StructValue(Struct { fields }));
        resource.insert("annotations".to_owned(), annotations);
    }
    let values = vec![value(Kind::StructValue(Struct { fields: resource }))];
    let resources = value(Kind::ListValue(ListValue { values }));
    let gateway = Struct {
        fields: [("resources".to_owned(), resources)].into(),
    };
    let filter_metadata = [("envoy-gateway".to_owned(), gateway)].into();
    Metadata { filter_metadata }.encode_to_vec()
}

#[test]
fn a_gateways_route_chooses_within_its_namespace() {
    let strategy = || -> Box<dyn Strategy> { Box::new(Unauthenticated) };
    let listed =
        ["mcp/r", "mcp/r/gh", "mcp/chosen", "chosen"].map(|name| (name.into(), strategy()));
    let backends = Backends::new(BackendFrom::GatewayRoute, listed, None);
    let route = [("namespace", "mcp"), ("name", "r")];
    let rule = |section| [route[0], route[1], ("sectionName", section)];
    for (resource, annotation, expected) in [
        (&route[..], None, "mcp/r"),
        (&rule("gh"), None, "mcp/r/gh"),
        (&rule("other"), None, "mcp/r"),
        (&rule(""), None, "mcp/r"),
        (&rule("gh"), Some("chosen"), "mcp/chosen"),
        (&route, Some("../other/x"), "mcp/../other/x"),
        (&route, Some(""), "mcp/r"),
        (&[("name", "r")], None, ""),
        (&[("name", "r")], Some("chosen"), ""),
        (&[("namespace", "mcp")], None, ""),
        (&[("namespace", "mcp")], Some("chosen"), "mcp/chosen"),
    ] {
        let metadata = Attribute::Bytes(gateway_metadata(resource, annotation));
        let table = table([(CLUSTER, text("x")), ("xds.route_metadata", metadata)]);
        for _ in 0..2 {
            let (name, served) = destination(&backends, &table).unwrap();
            assert_eq!(name, expected, "{resource:?} {annotation:?}");
            assert_eq!(served, !matches!(expected, "" | "mcp/../other/x"));
        }
    }
    for metadata in [text("\u{7}nonsense"), Attribute::Absent, Attribute::Failed] {
        let table = table([(CLUSTER, text("x")), ("xds.route_metadata", metadata)]);
        assert_eq!(destination(&backends, &table), Some((String::new(), false)));
    }
}

#[test]
fn a_selection_reads_no_more_than_it_needs() {
    for (from, reads) in [
        (BackendFrom::ClusterName, 1),
        (BackendFrom::RouteName, 2),
        (BackendFrom::RouteMetadata, 2),
        (BackendFrom::GatewayRoute, 2),
    ] {
        let table = table([(CLUSTER, text("one"))]);
        destination(&backends(from, false), &table);
        assert_eq!(table.reads.get(), reads, "{from:?}");
    }
}

#[test]
fn each_backend_has_an_id_that_leads_back_to_it() {
    let backends = backends(BackendFrom::ClusterName, true);
    let mut ids = Vec::new();
    for name in ["one", "two", "three", "four", "three"] {
        let table = table([(CLUSTER, text(name))]);
        let destination = backends.destination(&backends.cluster(&table), &table);
        let Destination::Backend(backend) = destination else {
            panic!("{name}");
        };
        assert_eq!(&*backends.by_id(backend.id).unwrap().name, name);
        ids.push(backend.id);
    }
    assert_eq!(ids[2], ids[4]);
    ids.pop();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 4);
    assert!(backends.by_id(9999).is_none());
}

#[test]
fn unlisted_names_do_not_grow_without_bound() {
    let backends = backends(BackendFrom::ClusterName, true);
    for n in 0..MAX_UNLISTED * 2 {
        let name = format!("cluster-{n}");
        let (found, served) = destination(&backends, &table([(CLUSTER, text(&name))])).unwrap();
        assert!(served);
        let expected = if n < MAX_UNLISTED { name.as_str() } else { "" };
        assert_eq!(found, expected);
    }
    // Those that are known stay known.
    let known = destination(&backends, &table([(CLUSTER, text("cluster-0"))]));
    assert_eq!(known, Some(("cluster-0".to_owned(), true)));
}

/// Each is worked out once, however many requests come along it.
#[test]
fn a_gateways_routes_are_remembered_and_do_not_grow_without_bound() {
    let backends = Backends::new(BackendFrom::GatewayRoute, [], None);
    let visit = |n: usize| {
        let name = format!("route-{n}");
        let metadata = gateway_metadata(&[("namespace", "mcp"), ("name", &name)], None);
        let route = ("xds.route_metadata", Attribute::Bytes(metadata));
        destination(&backends, &table([(CLUSTER, text("x")), route]))
            .unwrap()
            .0
    };
    let remembered = || backends.gateway_routes.borrow().len();
    for n in 0..MAX_UNLISTED {
        assert_eq!(visit(n), format!("mcp/route-{n}"));
        visit(0);
        assert_eq!(remembered(), n + 1);
    }
    for n in MAX_UNLISTED..MAX_UNLISTED * 3 {
        visit(n);
        assert!((1..=MAX_UNLISTED).contains(&remembered()));
    }
}
