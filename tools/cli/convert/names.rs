//! What backends are called, where more than one could have a name.

use super::Work;
use super::wanted::{ONE_BY_ONE, Wanted};
use crate::report::Severity;
use std::collections::{BTreeMap, BTreeSet};
use upstream_inject::config::Path;

/// Equal names of two namespaces get their namespaces; what is wanted twice alike is wanted once;
/// what is wanted twice otherwise is an error.
pub(super) fn tell_apart(wanted: &mut Vec<Wanted<'_>>, work: &mut Work) {
    let mut namespaces: BTreeMap<String, BTreeSet<Option<String>>> = BTreeMap::new();
    for one in wanted.iter() {
        let namespace = one.namespace().map(str::to_owned);
        namespaces
            .entry(one.name.clone())
            .or_default()
            .insert(namespace);
    }
    for one in wanted.iter_mut() {
        let is_shared = namespaces.get(&one.name).is_some_and(|all| all.len() > 1);
        if is_shared && let Some(namespace) = one.namespace() {
            one.name = format!("{namespace}/{}", one.name);
        }
    }
    let shared: Vec<_> = namespaces
        .iter()
        .filter(|(_, all)| all.len() > 1)
        .map(|(name, _)| name.as_str())
        .collect();
    if !shared.is_empty() {
        work.notes.push(format!(
            "In more than one namespace, and therefore named NAMESPACE/NAME: {}.",
            shared.join(", ")
        ));
    }
    let mut seen: BTreeMap<String, (String, Option<String>)> = BTreeMap::new();
    wanted.retain(|one| {
        let (what, who) = (
            one.source_title(),
            one.workload.map(|one| one.resource.title()),
        );
        match seen.get(&one.name) {
            None => {
                seen.insert(one.name.clone(), (what, who));
                true
            }
            Some((source, workload)) => {
                let is_same_workload = who.is_none() || workload.is_none() || *workload == who;
                if *source != what || !is_same_workload {
                    let place = one
                        .workload
                        .map_or_else(|| one.config(), |one| Some(&one.resource));
                    if let Some(place) = place {
                        let path = Path::root().key("metadata").key("name");
                        let text = format!(
                            "another resource has this name ({}); backends are named after it. \
                             If two gateways differ about it, {ONE_BY_ONE}",
                            workload.as_deref().unwrap_or(source)
                        );
                        work.add(place, Severity::Error, &path, &text);
                    }
                }
                false
            }
        }
    });
}
