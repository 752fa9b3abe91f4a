//! A control plane gives clusters names of its own; the filter must know backends and STS clusters by
//! these.

use super::setup::{Setup, TokenEndpoint};
use crate::check::TOKEN_ENDPOINTS;
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
    /// The plugin configuration under these names.
    pub(super) fn apply(&self, setup: &Setup) -> Node {
        at_key(&setup.plugin, "outgoingAuth", |outgoing| {
            let outgoing = at_key(outgoing, "default", |strategy| {
                self.in_strategy(setup, strategy)
            });
            at_key(&outgoing, "backends", |backends| {
                map_entries(backends, |name, strategy| {
                    ((self.backend)(name), self.in_strategy(setup, strategy))
                })
            })
        })
    }

    fn in_strategy(&self, setup: &Setup, strategy: &Node) -> Node {
        let renamed = |cluster: &Node| {
            setup
                .token_endpoints
                .iter()
                .find(|known| *cluster == Node::String(known.cluster.clone()))
                .map_or_else(
                    || cluster.clone(),
                    |known| Node::String((self.cluster)(known)),
                )
        };
        TOKEN_ENDPOINTS
            .iter()
            .fold(strategy.clone(), |strategy, (block, _, cluster, _)| {
                at_key(&strategy, block, |block| at_key(block, cluster, renamed))
            })
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
