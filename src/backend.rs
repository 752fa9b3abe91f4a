//! Which backend a request goes to, and which strategy serves it.

use crate::attributes::{Attribute, AttributePath, Attributes};
use crate::plan::BackendFrom;
use crate::strategy::Strategy;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

/// The most backends outside the configuration that get stats of their own. Their names come from
/// routes, not from clients, but nothing in the VM may grow without bound.
const MAX_UNLISTED: usize = 1024;

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

/// All backends of a configuration.
pub struct Backends {
    from: BackendFrom,
    /// By the name's bytes, as the host hands them over.
    listed: HashMap<Box<[u8]>, Rc<Backend>, FixedState>,
    default: Option<Rc<dyn Strategy>>,
    unlisted: RefCell<HashMap<Box<[u8]>, Rc<Backend>, FixedState>>,
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
        listed: impl IntoIterator<Item = (Box<str>, Box<dyn Strategy>)>,
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
                (name.into(), backend)
            })
            .collect();
        Self {
            from,
            listed,
            default,
            unlisted: RefCell::default(),
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
            },
        }
    }

    /// Where the request at hand goes. A request without a cluster is answered by Envoy itself,
    /// whatever its route is called.
    pub fn destination(&self, attributes: &dyn Attributes) -> Destination {
        let read = |path: &Option<AttributePath>| match path {
            Some(path) => attributes.read(path),
            None => Attribute::Failed,
        };
        let cluster = match read(&self.cluster_name) {
            Attribute::Bytes(cluster) => cluster,
            Attribute::Absent => return Destination::Envoy,
            // There may be one, so that the request must not pass for one without.
            Attribute::Unpackable | Attribute::Failed => {
                return Destination::Backend(Rc::clone(&self.unknown));
            }
        };
        let name = match self.from {
            BackendFrom::ClusterName => Attribute::Bytes(cluster),
            BackendFrom::RouteName | BackendFrom::RouteMetadata => read(&self.route),
        };
        Destination::Backend(match name {
            Attribute::Bytes(name) => self.named(&name),
            _ => Rc::clone(&self.others),
        })
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
