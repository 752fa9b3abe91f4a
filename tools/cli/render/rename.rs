//! A control plane gives clusters names of its own; the filter must know backends and STS clusters by
//! these.

use super::setup::TokenEndpoint;
use crate::keys::{self, Of};
use document::entries;
use upstream_inject::config::Node;

/// What backends and STS clusters are called.
pub(super) struct Names<B, C> {
    pub(super) backend: B,
    pub(super) cluster: C,
}

impl<B, C> Names<B, C>
where
    B: Fn(&str) -> String,
    C: Fn(&TokenEndpoint) -> String,
{
    /// `plugin` under these names; `endpoints` are those that it names clusters of.
    pub(super) fn apply(&self, plugin: &Node, endpoints: &[&TokenEndpoint]) -> Node {
        let plugin = at_key(plugin, "outgoingAuth", |outgoing| {
            let outgoing = at_key(outgoing, "default", |strategy| {
                self.in_strategy(endpoints, strategy)
            });
            at_key(&outgoing, "backends", |backends| {
                map_entries(backends, |name, strategy| {
                    ((self.backend)(name), self.in_strategy(endpoints, strategy))
                })
            })
        });
        let plugin = at_key(&plugin, "identity", |identity| {
            at_key(identity, "exchange", |exchange| {
                at_key(exchange, "cluster", |cluster| {
                    self.renamed(endpoints, cluster)
                })
            })
        });
        at_key(&plugin, "challenge", |challenge| {
            at_key(challenge, "backends", |backends| {
                map_entries(backends, |name, own| ((self.backend)(name), own.clone()))
            })
        })
    }

    fn renamed(&self, endpoints: &[&TokenEndpoint], cluster: &Node) -> Node {
        endpoints
            .iter()
            .find(|known| *cluster == Node::String(known.cluster.clone()))
            .map_or_else(
                || cluster.clone(),
                |known| Node::String((self.cluster)(known)),
            )
    }

    fn in_strategy(&self, endpoints: &[&TokenEndpoint], strategy: &Node) -> Node {
        keys::token_endpoints(Of::Strategy).fold(
            strategy.clone(),
            |strategy, (block, _, (cluster, _))| {
                at_key(&strategy, block, |block| {
                    at_key(block, cluster, |cluster| self.renamed(endpoints, cluster))
                })
            },
        )
    }
}

/// `map` with another value at `wanted`, if there is one.
fn at_key(map: &Node, wanted: &str, change: impl Fn(&Node) -> Node) -> Node {
    map_entries(map, |key, value| {
        let value = if key == wanted {
            change(value)
        } else {
            value.clone()
        };
        (key.to_owned(), value)
    })
}

fn map_entries(map: &Node, change: impl Fn(&str, &Node) -> (String, Node)) -> Node {
    Node::Map(
        entries(map)
            .iter()
            .map(|(key, value)| change(key, value))
            .collect(),
    )
}
