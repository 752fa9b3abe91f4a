//! Which backend a request goes to, and which strategy serves it.

use crate::attributes::{Attribute, AttributePath, Attributes};
use crate::decision::{Credential, Decision, Request, Source, Strategy};
use crate::observe::counters::Outcome;
use crate::protobuf::metadata::{self, Malformed, Value};
use crate::refusal::Refusal;
use crate::table::Table;
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

/// The most backends outside the configuration that get stats of their own. Their names come from
/// routes, not from clients, but nothing in the VM may grow without bound.
const MAX_UNLISTED: usize = 1024;

/// What names the backend of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackendFrom {
    /// The Envoy cluster that the route selected.
    #[default]
    ClusterName,
    /// The route's `name`.
    RouteName,
    /// `filter_metadata["upstream_inject"]["backend"]` of the route.
    RouteMetadata,
    /// What Envoy Gateway writes into each route: the HTTPRoute, its rule, its annotations.
    GatewayRoute,
}

/// One backend.
#[derive(Debug)]
pub struct Backend {
    /// The name, as configured or as the route gives it; empty where the route gives none.
    pub name: Box<str>,
    /// A small number that stands for it in counters.
    pub id: u32,
    /// How its requests are authenticated; `None`: they are refused.
    pub strategy: Option<Rc<dyn Strategy>>,
}

impl Backend {
    /// Decides on a request to this backend.
    ///
    /// A health check has no user, so that whatever a strategy would look for is missing: where the
    /// request would be refused or a token exchanged for it, it goes on without a credential.
    pub fn decide<'a>(&'a self, request: &Request<'_>) -> Decision<'a> {
        let decision = match &self.strategy {
            Some(strategy) => strategy.decide(request),
            None => Decision::Refuse(Refusal::BackendNotConfigured, None),
        };
        let may_be_a_health_check = match &decision {
            Decision::Forward(..) => false,
            Decision::Refuse(..) => true,
            // Where the identity service would be asked, the marker is read once that is certain.
            Decision::Obtain(obtain) => matches!(obtain.subject, Source::InHand(_)),
        };
        match may_be_a_health_check && request.is_health_check() {
            true => Decision::Forward(Credential::None, Outcome::HealthCheck),
            false => decision,
        }
    }
}

/// All backends of a configuration.
pub struct Backends {
    from: BackendFrom,
    /// By the name's bytes, as the host hands them over.
    listed: Table<Box<[u8]>, Rc<Backend>>,
    default: Option<Rc<dyn Strategy>>,
    unlisted: RefCell<Table<Box<[u8]>, Rc<Backend>>>,
    /// By the whole metadata of a route that Envoy Gateway has written: what it says is worked out
    /// once for each.
    gateway_routes: RefCell<Table<Box<[u8]>, Rc<Backend>>>,
    by_id: RefCell<Vec<Rc<Backend>>>,
    /// Stands in for requests whose route gives no usable name, and for all unlisted backends
    /// beyond [`MAX_UNLISTED`].
    others: Rc<Backend>,
    /// Stands in where Envoy could not say which cluster it is: refused.
    unknown: Rc<Backend>,
    cluster_name: Option<AttributePath>,
    route: Option<AttributePath>,
}

/// What a request's route leads to.
#[derive(Clone, Debug)]
pub enum Destination {
    /// A backend.
    Backend(Rc<Backend>),
    /// Nowhere: Envoy answers the request itself (no route, direct response, redirect).
    Envoy,
}

impl Backends {
    /// The backends of a plan.
    pub fn new(
        from: BackendFrom,
        listed: impl IntoIterator<Item = (String, Box<dyn Strategy>)>,
        default: Option<Box<dyn Strategy>>,
    ) -> Self {
        let default: Option<Rc<dyn Strategy>> = default.map(Into::into);
        let by_id = RefCell::default();
        let others = register(&by_id, "", default.clone());
        let unknown = register(&by_id, "", None);
        let listed = listed
            .into_iter()
            .map(|(name, strategy)| {
                let backend = register(&by_id, &name, Some(strategy.into()));
                (name.into_bytes().into(), backend)
            })
            .collect();
        Self {
            from,
            listed,
            default,
            unlisted: RefCell::default(),
            gateway_routes: RefCell::default(),
            by_id,
            others,
            unknown,
            cluster_name: AttributePath::new(&["xds", "cluster_name"]),
            route: match from {
                BackendFrom::ClusterName => None,
                BackendFrom::RouteName => AttributePath::new(&["xds", "route_name"]),
                BackendFrom::RouteMetadata => AttributePath::new(&[
                    "xds",
                    "route_metadata",
                    "filter_metadata",
                    "upstream_inject",
                    "backend",
                ]),
                BackendFrom::GatewayRoute => AttributePath::new(&["xds", "route_metadata"]),
            },
        }
    }

    /// The cluster that the request at hand goes to.
    pub fn cluster(&self, attributes: &dyn Attributes) -> Attribute {
        read(attributes, &self.cluster_name)
    }

    /// Where the request at hand goes, whose [`cluster`](Self::cluster) this is. A request without
    /// one is answered by Envoy itself, whatever its route is called.
    pub fn destination(&self, cluster: &Attribute, attributes: &dyn Attributes) -> Destination {
        let cluster = match cluster {
            Attribute::Bytes(cluster) => cluster,
            Attribute::Absent => return Destination::Envoy,
            // There may be one, so that the request must not pass for one without.
            Attribute::Unpackable | Attribute::Failed => {
                return Destination::Backend(Rc::clone(&self.unknown));
            }
        };
        Destination::Backend(match self.from {
            BackendFrom::ClusterName => self.named(cluster),
            BackendFrom::RouteName | BackendFrom::RouteMetadata => {
                match read(attributes, &self.route) {
                    Attribute::Bytes(name) => self.named(&name),
                    _ => Rc::clone(&self.others),
                }
            }
            BackendFrom::GatewayRoute => match read(attributes, &self.route) {
                Attribute::Bytes(metadata) => self.of_gateway_route(&metadata),
                _ => Rc::clone(&self.others),
            },
        })
    }

    /// The backend of a route with this metadata.
    #[inline(never)]
    fn of_gateway_route(&self, metadata: &[u8]) -> Rc<Backend> {
        if let Some(backend) = self.gateway_routes.borrow().get(metadata) {
            return Rc::clone(backend);
        }
        let backend = match self.gateway_route_name(metadata) {
            Ok(Some(name)) => self.named(&name),
            Ok(None) | Err(Malformed) => Rc::clone(&self.others),
        };
        let mut known = self.gateway_routes.borrow_mut();
        // Routes come and go while the gateway runs.
        if known.len() >= MAX_UNLISTED {
            known.clear();
        }
        known.insert(metadata.into(), Rc::clone(&backend));
        backend
    }

    /// `NAMESPACE/` and the annotation, if the route has one: whoever owns a route chooses within
    /// its namespace. Else the rule, if a backend is listed for it, else the route.
    #[cold]
    fn gateway_route_name(&self, metadata: &[u8]) -> Result<Option<Vec<u8>>, Malformed> {
        let Some(gateway) = metadata::namespace(metadata, "envoy-gateway")? else {
            return Ok(None);
        };
        let resource = match gateway.get("resources")? {
            Some(Value::List(resources)) => resources.first()?,
            _ => None,
        };
        let Some(Value::Map(resource)) = resource else {
            return Ok(None);
        };
        let Some(namespace) = resource.text("namespace")? else {
            return Ok(None);
        };
        let within = |names: &[&[u8]]| [&[namespace], names].concat().join(&b'/');
        let annotation = match resource.map("annotations")? {
            Some(annotations) => annotations.text("upstream-inject-backend")?,
            None => None,
        };
        if let Some(chosen) = annotation {
            return Ok(Some(within(&[chosen])));
        }
        let Some(name) = resource.text("name")? else {
            return Ok(None);
        };
        if let Some(section) = resource.text("sectionName")? {
            let rule = within(&[name, section]);
            if self.listed.contains_key(rule.as_slice()) {
                return Ok(Some(rule));
            }
        }
        Ok(Some(within(&[name])))
    }

    /// The backend that `id` stands for.
    pub fn by_id(&self, id: u32) -> Option<Rc<Backend>> {
        let place = usize::try_from(id).ok()?;
        self.by_id.borrow().get(place).cloned()
    }

    fn named(&self, name: &[u8]) -> Rc<Backend> {
        if let Some(backend) = self.listed.get(name) {
            return Rc::clone(backend);
        }
        let mut unlisted = self.unlisted.borrow_mut();
        if let Some(backend) = unlisted.get(name) {
            return Rc::clone(backend);
        }
        let Ok(text) = std::str::from_utf8(name) else {
            return Rc::clone(&self.others);
        };
        if unlisted.len() >= MAX_UNLISTED {
            return Rc::clone(&self.others);
        }
        let backend = register(&self.by_id, text, self.default.clone());
        unlisted.insert(name.into(), Rc::clone(&backend));
        backend
    }
}

fn read(attributes: &dyn Attributes, path: &Option<AttributePath>) -> Attribute {
    match path {
        Some(path) => attributes.read(path),
        None => Attribute::Failed,
    }
}

fn register(
    by_id: &RefCell<Vec<Rc<Backend>>>,
    name: &str,
    strategy: Option<Rc<dyn Strategy>>,
) -> Rc<Backend> {
    let mut by_id = by_id.borrow_mut();
    let backend = Rc::new(Backend {
        name: name.into(),
        id: u32::try_from(by_id.len()).unwrap_or(u32::MAX),
        strategy,
    });
    by_id.push(Rc::clone(&backend));
    backend
}

impl fmt::Debug for Backends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Backends({} listed)", self.listed.len())
    }
}

#[cfg(test)]
#[path = "backend_tests.rs"]
mod tests;
