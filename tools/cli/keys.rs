//! What the filter's table of keys says of the keys that the tool must know.

use document::keys::{blocks, keys_of};
use std::sync::LazyLock;
use upstream_inject::config::Shape;
use upstream_inject::config::doc::Role;
use upstream_inject::strategy::REGISTRY;

/// A key of a strategy's block that is more to the tool than a name.
struct Known {
    block: &'static str,
    key: &'static str,
    role: Role,
}

static OF_STRATEGIES: LazyLock<Vec<Known>> = LazyLock::new(|| {
    let blocks = blocks(REGISTRY).into_iter();
    let known = blocks.flat_map(|block| known(block.name, &block.shape));
    known.collect()
});

/// Whose keys are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    /// Those of strategies' blocks.
    Strategy,
    /// Those of `identity.exchange`, which is no strategy, but calls a token endpoint as well: a block of
    /// `identity`.
    Identity,
}

impl Of {
    fn known(self) -> &'static [Known] {
        match self {
            Of::Strategy => &OF_STRATEGIES,
            Of::Identity => &OF_IDENTITY,
        }
    }
}

static OF_IDENTITY: LazyLock<Vec<Known>> = LazyLock::new(|| {
    let keys = upstream_inject::config::keys().into_iter();
    let identity = keys.filter(|key| key.name == "identity");
    let exchange = identity
        .flat_map(|identity| keys_of(&identity.shape))
        .filter(|key| key.name == "exchange");
    exchange
        .flat_map(|exchange| known("exchange", &exchange.shape))
        .collect()
});

fn known(block: &'static str, shape: &Shape) -> impl Iterator<Item = Known> + use<> {
    let keys = keys_of(shape).into_iter();
    let keys = keys.filter(|key| key.doc.role != Role::Plain);
    keys.map(move |key| Known {
        block,
        key: key.name,
        role: key.doc.role,
    })
}

/// A block, a key of it, and what else goes with that.
type Keys<T> = (&'static str, &'static str, T);

fn having<T>(of: Of, pick: impl Fn(Role) -> Option<T>) -> impl Iterator<Item = Keys<T>> {
    let known = of.known().iter();
    known.filter_map(move |known| Some((known.block, known.key, pick(known.role)?)))
}

/// Where a secret can stand in plain text, and the key that takes it from the environment.
pub(crate) fn secrets(of: Of) -> impl Iterator<Item = Keys<&'static str>> {
    having(of, |role| match role {
        Role::Secret(variable) => Some(variable),
        _ => None,
    })
}

/// The keys that name environment variables: each with what the variable holds.
pub(crate) fn variables(of: Of) -> impl Iterator<Item = Keys<Role>> {
    having(of, |role| {
        let is_variable = matches!(
            role,
            Role::SecretVariable | Role::KeyVariable | Role::CertificateVariable
        );
        is_variable.then_some(role)
    })
}

/// Whether a key of this name says where the private key of a client is.
pub(crate) fn is_of_private_key(key: &str) -> bool {
    let mut all = variables(Of::Strategy).chain(variables(Of::Identity));
    all.any(|(_, known, role)| known == key && role == Role::KeyVariable)
}

/// Where further form fields of a call stand.
pub(crate) fn parameters(of: Of) -> impl Iterator<Item = (&'static str, &'static str)> {
    having(of, |role| (role == Role::Parameters).then_some(())).map(|(block, key, ())| (block, key))
}

/// Where a token endpoint's URL stands, and the keys for its cluster and for plain http.
pub(crate) fn token_endpoints(of: Of) -> impl Iterator<Item = Keys<(&'static str, &'static str)>> {
    having(of, |role| match role {
        Role::TokenUrl(cluster, insecure) => Some((cluster, insecure)),
        _ => None,
    })
}

/// The keys that name a provider whose token is used.
pub(crate) fn providers() -> impl Iterator<Item = (&'static str, &'static str)> {
    having(Of::Strategy, |role| (role == Role::Provider).then_some(()))
        .map(|(block, key, ())| (block, key))
}

/// The keys that name the header that the credential goes into.
pub(crate) fn headers() -> impl Iterator<Item = (&'static str, &'static str)> {
    having(Of::Strategy, |role| (role == Role::Header).then_some(()))
        .map(|(block, key, ())| (block, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_that_names_a_variable_says_what_the_variable_holds() {
        let known: Vec<_> = variables(Of::Strategy)
            .map(|(block, key, _)| (block, key))
            .collect();
        for block in blocks(REGISTRY) {
            let keys = keys_of(&block.shape).into_iter();
            for key in keys.filter(|key| key.name.ends_with("Env")) {
                assert!(known.contains(&(block.name, key.name)), "{}", key.name);
            }
        }
        for (block, key, variable) in secrets(Of::Strategy) {
            assert!(known.contains(&(block, variable)), "{block}.{key}");
        }
        assert_eq!(variables(Of::Identity).count(), 3);
        assert_eq!(token_endpoints(Of::Identity).count(), 1);
    }

    #[test]
    fn every_url_of_a_token_endpoint_has_its_cluster() {
        let endpoints: Vec<_> = token_endpoints(Of::Strategy).collect();
        for known in [
            ("tokenExchange", "tokenUrl", ("cluster", "insecureTokenUrl")),
            ("xaa", "idpTokenUrl", ("idpCluster", "insecureIdpTokenUrl")),
        ] {
            assert!(endpoints.contains(&known), "{known:?}");
        }
        for block in blocks(REGISTRY) {
            let keys = keys_of(&block.shape).into_iter();
            for key in keys.filter(|key| key.name.ends_with("okenUrl")) {
                let is_known = |of: &Keys<_>| (of.0, of.1) == (block.name, key.name);
                let is_switch = key.name.starts_with("insecure");
                assert_eq!(endpoints.iter().any(is_known), !is_switch, "{}", key.name);
            }
        }
    }
}
