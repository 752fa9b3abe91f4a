//! What an issuer says of itself: where its keys are, by the discovery document that somebody has fetched.

use super::options::Options;
use super::setup::Setup;
use crate::codes;
use crate::endpoint::{Endpoint, shown};
use crate::input::{self, Input};
use crate::report::{FileReport, Finding, Severity};
use document::get_text;

/// Where an issuer's document is, below the issuer (OpenID Connect Discovery 1.0, section 4).
const WELL_KNOWN: &str = "/.well-known/openid-configuration";

/// Reads the document.
///
/// # Errors
/// If there is no such file; a URL is none.
pub(super) fn read(name: &str) -> Result<Input, FileReport> {
    if !["http://", "https://"]
        .iter()
        .any(|scheme| name.starts_with(scheme))
    {
        return input::read(name);
    }
    let name = &shown(name);
    let url = match name.contains("/.well-known/") {
        true => name.to_owned(),
        false => format!("{}{WELL_KNOWN}", name.trim_end_matches('/')),
    };
    let text = format!(
        "--discovery is a file: this tool calls nobody. Fetch the document, and hand it over: curl -s \
         {url} | upstream-inject render --discovery - …"
    );
    let finding = Finding::about_file(Severity::Error, None, text).coded(&codes::UNREADABLE);
    Err(FileReport::unreadable(name, finding))
}

/// Takes the place of the keys over from the document (OpenID Connect Discovery 1.0, section 3; RFC
/// 8414, section 2), and of the issuer, where nobody has said it.
///
/// # Errors
/// If it is no such document, or that of another issuer: whoever wrote it would choose who signs.
pub(super) fn apply(setup: &mut Setup, options: &Options, input: &Input) -> Result<(), String> {
    let wrong = |text: &str| format!("--discovery {}: {text}", input.name);
    let document = match input.documents.as_slice() {
        [document] => &document.root,
        _ => return Err(wrong("several documents; one is expected")),
    };
    let text = |key| get_text(document, key).filter(|text| !text.is_empty());
    let (Some(issuer), Some(keys_url)) = (text("issuer"), text("jwks_uri")) else {
        return Err(wrong(
            "no discovery document, which has issuer and jwks_uri; fetch \
             ISSUER/.well-known/openid-configuration",
        ));
    };
    match options.issuer.as_ref().or(setup.issuer.as_ref()) {
        Some(known) if known != issuer => {
            return Err(wrong(&format!(
                "is that of the issuer {issuer}, but tokens are issued by {known}: they are compared \
                 letter by letter"
            )));
        }
        Some(_) => {}
        None => setup.issuer = Some(issuer.to_owned()),
    }
    let place = |what: &str, url: &str| {
        Endpoint::of_called(url).map_err(|error| wrong(&format!("{what} {}: {error}", shown(url))))
    };
    if place("issuer", issuer)?.tls && !place("jwks_uri", keys_url)?.tls {
        return Err(wrong(&format!(
            "jwks_uri {keys_url}: keys of an https issuer are not fetched without TLS"
        )));
    }
    setup.keys_url = Some(keys_url.to_owned());
    Ok(())
}
