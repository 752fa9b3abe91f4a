use super::*;
use crate::strategy::{Strategy, Unauthenticated};
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
    match backends.destination(table) {
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

#[test]
fn a_selection_reads_no_more_than_it_needs() {
    for (from, reads) in [
        (BackendFrom::ClusterName, 1),
        (BackendFrom::RouteName, 2),
        (BackendFrom::RouteMetadata, 2),
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
        let Destination::Backend(backend) = backends.destination(&table([(CLUSTER, text(name))]))
        else {
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
