//! Which backends there are, what each is called, and which resource says what it wants.

use super::admission::{Type, admit};
use super::names;
use super::resource::Resource;
use super::virtual_server::VirtualServer;
use super::wanted::{ONE_BY_ONE, Source, Wanted};
use super::workload::Workload;
use super::{Catalogue, Work};
use crate::kubernetes::Kind;
use crate::report::Severity;
use std::collections::BTreeSet;
use upstream_inject::config::Path;

/// What came of looking for them.
#[derive(Default)]
pub(super) struct Selection<'a> {
    pub(super) wanted: Vec<Wanted<'a>>,
    pub(super) default: Option<&'a Resource<'a>>,
    /// Whether references were followed: a resource that nobody refers to is somebody else's.
    pub(super) is_following: bool,
    /// Auth servers of single workloads, which are nobody else's.
    pub(super) used_auth_servers: Vec<&'a Resource<'a>>,
}

/// Finds the backends.
pub(super) fn select<'a>(catalogue: &'a Catalogue<'a>, work: &mut Work) -> Selection<'a> {
    let mut selection = Selection::default();
    if catalogue.servers.is_empty() {
        without_gateway(catalogue, work, &mut selection);
    }
    let mut used = BTreeSet::new();
    for server in &catalogue.servers {
        behind(server, catalogue, work, &mut selection, &mut used);
    }
    if selection.is_following {
        note_unused(catalogue, &used, work);
    }
    names::tell_apart(&mut selection.wanted, work);
    selection
}

/// Resources by themselves become backends of their names.
fn without_gateway<'a>(
    catalogue: &'a Catalogue<'a>,
    work: &mut Work,
    selection: &mut Selection<'a>,
) {
    for config in &catalogue.configs {
        let is_auth_server = is_auth_server(config);
        let users: Vec<_> = catalogue
            .workloads
            .iter()
            .filter(|workload| uses(workload, config, is_auth_server))
            .collect();
        let source = || match is_auth_server {
            true => Source::Upstream(config),
            false => Source::Config(config),
        };
        match users.as_slice() {
            [] if is_auth_server => {}
            // Of several users, each is a backend.
            [_, _, ..] | [_] if is_auth_server || users.len() > 1 => {
                selection.wanted.extend(users.iter().map(|user| Wanted {
                    name: user.resource.name.to_owned(),
                    source: source(),
                    workload: Some(user),
                }));
                if is_auth_server {
                    selection.used_auth_servers.push(config);
                }
            }
            _ => selection.wanted.push(Wanted {
                name: config.name.to_owned(),
                source: source(),
                workload: users.first().copied(),
            }),
        }
    }
    for workload in &catalogue.workloads {
        for (name, at) in workload.reference.iter().chain(&workload.auth_server) {
            find(catalogue, &workload.resource, name, at, work);
        }
        // A server in no group, of which nobody says anything, is nobody's backend.
        let is_grouped = workload.group.is_some() || workload.resource.kind != Kind::Server;
        if workload.reference.is_none() && workload.auth_server.is_none() && is_grouped {
            selection.wanted.push(Wanted {
                name: workload.resource.name.to_owned(),
                source: Source::Nothing,
                workload: Some(workload),
            });
        }
    }
    if selection.wanted.is_empty() {
        let auth_servers = catalogue.configs.iter().filter(|one| is_auth_server(one));
        selection.wanted.extend(auth_servers.map(|config| Wanted {
            name: config.name.to_owned(),
            source: Source::Upstream(config),
            workload: None,
        }));
    }
}

/// Whether it is this resource that says what a workload's requests carry.
fn uses(workload: &Workload<'_>, config: &Resource<'_>, is_auth_server: bool) -> bool {
    let names = |reference: &Option<(&str, Path)>| {
        reference
            .as_ref()
            .is_some_and(|(name, _)| *name == config.name)
    };
    workload.resource.is_neighbour_of(config)
        && (names(&workload.reference)
            || is_auth_server && workload.reference.is_none() && names(&workload.auth_server))
}

pub(super) fn is_auth_server(config: &Resource<'_>) -> bool {
    matches!(admit(config.spec), Ok((_, Type::EmbeddedAuthServer)))
}

/// What is behind a gateway: the workloads of its group, and what it says of others.
fn behind<'a>(
    server: &'a VirtualServer<'a>,
    catalogue: &'a Catalogue<'a>,
    work: &mut Work,
    selection: &mut Selection<'a>,
    used: &mut BTreeSet<String>,
) {
    let resource = &server.resource;
    if let Some(own) = &server.default
        && let Some(target) = own.target
        && let Some(found) = look_up(catalogue, resource, target, &own.at, work, used)
    {
        match selection.default {
            Some(other) if other.title() != found.title() => {
                let text = format!("another default than {}; {ONE_BY_ONE}", other.title());
                return work.add(resource, Severity::Error, &own.at, &text);
            }
            _ => selection.default = Some(found),
        }
    }
    let neighbours: Vec<_> = catalogue
        .workloads
        .iter()
        .filter(|workload| workload.resource.is_neighbour_of(resource))
        .collect();
    let members = neighbours
        .iter()
        .copied()
        .filter(|workload| server.group.is_none() || workload.group == server.group);
    let mut names = BTreeSet::new();
    for workload in members {
        names.insert(workload.resource.name);
        let Some(source) = source_of(server, workload, catalogue, work, used) else {
            continue; // said already
        };
        let source = match source {
            Source::Nothing if server.default.is_some() && selection.default.is_some() => {
                Source::Default
            }
            source => source,
        };
        selection.wanted.push(Wanted {
            name: workload.resource.name.to_owned(),
            source,
            workload: Some(workload),
        });
    }
    for (name, given) in &server.backends {
        if names.contains(name) {
            continue;
        }
        if let Some(target) = given.target
            && let Some(found) = look_up(catalogue, resource, target, &given.at, work, used)
        {
            selection.wanted.push(Wanted {
                name: (*name).to_owned(),
                source: Source::Config(found),
                workload: None,
            });
        }
    }
    if neighbours.is_empty() {
        by_themselves(server, catalogue, used, selection, work);
    } else {
        selection.is_following = true;
    }
}

/// What says what requests to a member of the group carry: the gateway, or the member itself.
fn source_of<'a>(
    server: &VirtualServer<'a>,
    workload: &'a Workload<'a>,
    catalogue: &'a Catalogue<'a>,
    work: &mut Work,
    used: &mut BTreeSet<String>,
) -> Option<Source<'a>> {
    let name = workload.resource.name;
    let given = server
        .backends
        .iter()
        .find(|(key, _)| *key == name)
        .and_then(|(_, given)| Some((given.target?, &given.at)));
    let own = workload.reference.as_ref();
    if let Some((target, at)) = given {
        if let Some((own, _)) = own
            && *own != target
            && server.is_discovered
        {
            let text = format!(
                "{name} refers to {own} itself. This override is what counts here, as the \
                 operator's API says; vMCP with source discovered (v0.44) takes the workload's own \
                 while it runs. Say the same in both"
            );
            work.add(&server.resource, Severity::Warning, at, &text);
        }
        let found = look_up(catalogue, &server.resource, target, at, work, used);
        return found.map(Source::Config);
    }
    match own {
        Some((target, at)) => {
            let found = look_up(catalogue, &workload.resource, target, at, work, used);
            found.map(Source::Config)
        }
        None => Some(Source::Nothing),
    }
}

/// Nobody knows the workloads of the group: each resource is a backend of its own name, unless the
/// gateway says what it is for.
fn by_themselves<'a>(
    server: &VirtualServer<'a>,
    catalogue: &'a Catalogue<'a>,
    used: &BTreeSet<String>,
    selection: &mut Selection<'a>,
    work: &mut Work,
) {
    let before = selection.wanted.len();
    for config in &catalogue.configs {
        if config.is_neighbour_of(&server.resource)
            && !is_auth_server(config)
            && !used.contains(&config.title())
        {
            selection.wanted.push(Wanted {
                name: config.name.to_owned(),
                source: Source::Config(config),
                workload: None,
            });
        }
    }
    if selection.wanted.len() > before {
        work.notes.push(format!(
            "{}: its workloads are not among the files, so backends are named after the resources. \
             With the workloads (kubectl get mcpservers,mcpremoteproxies,mcpserverentries -o yaml) \
             they are named after these, have their addresses, and what belongs to other groups is \
             left out.",
            server.resource.title()
        ));
    }
}

fn look_up<'a>(
    catalogue: &'a Catalogue<'a>,
    from: &Resource<'_>,
    target: &str,
    at: &Path,
    work: &mut Work,
    used: &mut BTreeSet<String>,
) -> Option<&'a Resource<'a>> {
    let found = find(catalogue, from, target, at, work)?;
    used.insert(found.title());
    Some(found)
}

/// The resource that is referred to. References lead nowhere but into the own namespace.
fn find<'a>(
    catalogue: &'a Catalogue<'a>,
    from: &Resource<'_>,
    name: &str,
    at: &Path,
    work: &mut Work,
) -> Option<&'a Resource<'a>> {
    let named = |config: &&Resource<'_>| config.name == name && config.is_neighbour_of(from);
    let mut found = catalogue.configs.iter().filter(named);
    let first = found.next();
    // One without a namespace may be anywhere; the one that says this namespace is meant.
    let exact = found.find(|config| config.namespace == from.namespace);
    if first.is_none() {
        let known = catalogue
            .configs
            .iter()
            .filter(|config| config.is_neighbour_of(from));
        let meant = super::block::meant(name, known.map(|config| config.name));
        let hint = meant.map_or_else(
            || "give its file too".to_owned(),
            |meant| format!("did you mean {meant}?"),
        );
        let text = format!(
            "there is no MCPExternalAuthConfig {} among the files; {hint}",
            serde_json::Value::from(name)
        );
        work.add(from, Severity::Error, at, &text);
    }
    exact.or(first)
}

fn note_unused(catalogue: &Catalogue<'_>, used: &BTreeSet<String>, work: &mut Work) {
    for config in &catalogue.configs {
        if !used.contains(&config.title()) && !is_auth_server(config) {
            work.notes.push(format!(
                "{} is left out: no workload of the group refers to it.",
                config.title()
            ));
        }
    }
}
