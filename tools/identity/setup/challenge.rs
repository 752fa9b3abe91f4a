//! What clients are told at the `ext_authz` door: the flags', or the configuration's.

use document::auth_server::Found;
use document::get_text;

use super::Problems;
use crate::challenge::Challenge;
use crate::options::Options;

pub(super) fn challenge(
    options: &Options,
    found: Option<&Found>,
    problems: &mut Problems,
) -> Option<Challenge> {
    let configured = found.and_then(Found::challenge);
    let choose = |flag: &Option<String>, key: &str| {
        flag.clone().or_else(|| {
            let text = get_text(configured?, key)?;
            Some(text.to_owned())
        })
    };
    let metadata = choose(&options.resource_metadata, "resourceMetadata");
    let is_url = metadata.as_deref().is_none_or(|metadata| {
        url::Url::parse(metadata)
            .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
    });
    if !is_url {
        problems.flag(
            "--resource-metadata (or challenge.resourceMetadata)",
            "must be an absolute http or https URL",
        );
    }
    let realm = choose(&options.realm, "realm");
    let scope = choose(&options.scope, "scope");
    Challenge::new(realm.as_deref(), scope.as_deref(), metadata.as_deref())
        .map_err(|name| {
            problems.flag(
                &format!("--{} (or challenge)", name.replace('_', "-")),
                "cannot stand in a quoted string of a header",
            );
        })
        .ok()
}
