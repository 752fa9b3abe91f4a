//! A backend to be, and who says so.

use super::resource::Resource;
use super::workload::Workload;

/// What to do where gateways differ.
pub(super) const ONE_BY_ONE: &str =
    "convert one gateway at a time with --virtual-server [NAMESPACE/]NAME";

/// A backend to be.
#[derive(Clone)]
pub(super) struct Wanted<'a> {
    pub(super) name: String,
    pub(super) source: Source<'a>,
    pub(super) workload: Option<&'a Workload<'a>>,
}

/// What says how requests to it are authenticated.
#[derive(Clone)]
pub(super) enum Source<'a> {
    Config(&'a Resource<'a>),
    /// The first upstream of this auth server: a workload's proxy puts in its token.
    Upstream(&'a Resource<'a>),
    /// `outgoingAuth.default`.
    Default,
    /// Nothing does.
    Nothing,
}

impl<'a> Wanted<'a> {
    /// The resource with its strategy, if one says it.
    pub(super) fn config(&self) -> Option<&'a Resource<'a>> {
        match self.source {
            Source::Config(config) | Source::Upstream(config) => Some(config),
            Source::Default | Source::Nothing => None,
        }
    }

    pub(super) fn namespace(&self) -> Option<&'a str> {
        match self.workload {
            Some(workload) => workload.resource.namespace,
            None => self.config().and_then(|config| config.namespace),
        }
    }

    pub(super) fn source_title(&self) -> String {
        match &self.source {
            Source::Config(config) | Source::Upstream(config) => config.title(),
            Source::Default => "the default".to_owned(),
            Source::Nothing => "nothing".to_owned(),
        }
    }
}
