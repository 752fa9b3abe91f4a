//! `explain`: what the filter would do with a request to one backend, by its own decision code.

mod decide;
mod message;
mod output;
mod request;
mod shown;

pub(crate) use output::{json, text};

use crate::check::{self, Assume, Kind};
use crate::codes;
use crate::input;
use crate::report::{FileReport, Finding, Severity, Verdict};
use document::auth_server::keys_given_twice;
use document::configuration::Form;
use document::{Document, Position, entries, get, get_text, words};
use std::time::Duration;
use upstream_inject::config::{self, Environment, Node, Path};
use upstream_inject::identity::TokenFrom;
use upstream_inject::strategy::REGISTRY;

/// What is asked.
pub(crate) struct Options<'a> {
    pub(crate) file: &'a str,
    pub(crate) auth_server: Option<&'a str>,
    pub(crate) backend: &'a str,
    pub(crate) metadata: Option<&'a str>,
    pub(crate) bearer: Option<&'a str>,
}

/// What the filter would do.
#[derive(Debug, Default)]
pub(crate) struct Explanation {
    file: String,
    backend: String,
    /// The strategy's type, and where it stands; none: nothing is configured.
    strategy: Option<(String, Path, Position)>,
    /// The backend that may be meant, where there is none of this name.
    meant: Option<String>,
    /// Whether it is the default.
    is_default: bool,
    provider: Option<String>,
    /// What was taken for granted.
    assumed: Vec<String>,
    calls: Vec<Call>,
    outcome: String,
    next: Next,
}

/// A call to a token endpoint.
#[derive(Debug)]
struct Call {
    name: &'static str,
    url: String,
    cluster: String,
    timeout: Duration,
    headers: Vec<(String, String)>,
    form: Vec<(String, String)>,
}

/// What becomes of the request.
#[derive(Debug)]
enum Next {
    /// It goes to the backend, with this header and no `authorization` else.
    Backend(Option<(String, String)>),
    /// It is answered.
    Refusal {
        status: u16,
        code: &'static str,
        headers: Vec<(String, String)>,
        body: String,
        hint: &'static str,
    },
}

impl Default for Next {
    fn default() -> Self {
        Next::Backend(None)
    }
}

/// Every variable is its own name: what would come from the environment is shown as `$NAME`.
struct Named;

impl Environment for Named {
    fn var(&self, name: &str) -> Option<String> {
        Some(shown::words(&format!("${name}")))
    }

    fn pem(&self, _name: &str) -> Option<String> {
        Some(check::STAND_IN.to_owned())
    }
}

/// Explains, or says why that cannot be: then there is an error in the reports.
pub(crate) fn explain(options: &Options<'_>) -> (Vec<FileReport>, Option<Explanation>) {
    let input = match input::read(options.file) {
        Ok(input) => input,
        Err(report) => return (vec![report], None),
    };
    let metadata = match options.metadata.map(read_metadata).transpose() {
        Ok(metadata) => metadata,
        Err(report) => return (vec![*report], None),
    };
    let read = match check::configuration(&input, Assume::Auto, options.auth_server) {
        Ok(read) => read,
        Err(report) => return (vec![*report], None),
    };
    let mut reports = check::judged(&input, &read);
    if crate::report::worst(&reports) > Verdict::Valid {
        return (reports, None);
    }
    if read.kind == Kind::AuthServer {
        let text = "only an auth server's configuration: it says nothing of backends";
        reports.push(complaint(&input.name, text));
        return (reports, None);
    }
    let document = &read.configuration.document;
    let filter_part = read.kind.filter_part(&document.root);
    let Some(plan) = config::plan(&filter_part, REGISTRY, &Named).plan else {
        let text = "the configuration is valid, but not with every variable set to its own name; \
                    please report it as a bug";
        reports.push(complaint(&input.name, text));
        return (reports, None);
    };
    let token_from = plan.identity.token_from;
    let bearer = options.bearer.map(without_scheme);
    let mut explanation = decide::decide(plan, options.backend, metadata.as_ref(), bearer);
    explanation.file = input.name.clone();
    explanation.backend = options.backend.to_owned();
    place(&mut explanation, document);
    if bearer.is_some() {
        let text = "jwt_authn has accepted the bearer token (nothing is verified here)";
        explanation.assumed.push(text.to_owned());
    }
    // A strategy that names no provider, and yet asks or wants to ask somebody, has the client's token
    // for its subject.
    let is_exchange = explanation
        .strategy
        .as_ref()
        .is_some_and(|(name, ..)| name == "token_exchange" || name == "obo");
    let is_about_client = is_exchange && explanation.provider.is_none();
    if token_from == TokenFrom::Authorization && is_about_client {
        let text = "the filter stands before the router: in it, as an upstream filter, a strategy that \
                    needs the client's token wants identity.tokenFrom: filter_state";
        explanation.assumed.push(text.to_owned());
    }
    if read.configuration.form == Form::ToolHive {
        on_first_upstream(&mut explanation, &read.configuration);
    }
    (reports, Some(explanation))
}

/// Says whose token it is where the file does not.
fn on_first_upstream(
    explanation: &mut Explanation,
    configuration: &document::configuration::Configuration,
) {
    let Some((_, at, _)) = &explanation.strategy else {
        return;
    };
    let is_filled = configuration
        .filled
        .iter()
        .any(|block| block.steps().starts_with(at.steps()));
    if let Some(first) = configuration.first_upstream.as_ref().filter(|_| is_filled) {
        explanation.assumed.push(format!(
            "no subjectProviderName is written: vMCP takes the first upstream, {first}, and so it is \
             here"
        ));
    }
}

/// Finds the strategy in the file.
fn place(explanation: &mut Explanation, document: &Document) {
    let Some(outgoing) = get(&document.root, "outgoingAuth") else {
        return;
    };
    let path = Path::root().key("outgoingAuth");
    let own = get(outgoing, "backends").and_then(|backends| get(backends, &explanation.backend));
    let (path, strategy) = match (own, get(outgoing, "default")) {
        (Some(strategy), _) => (path.key("backends").key(&explanation.backend), strategy),
        (None, Some(default)) => (path.key("default"), default),
        (None, None) => {
            let backends = get(outgoing, "backends").map(entries).unwrap_or_default();
            let names = backends.iter().map(|(name, _)| name.as_str());
            explanation.meant = words::meant(&explanation.backend, names).map(str::to_owned);
            return;
        }
    };
    explanation.is_default = own.is_none();
    let name = get_text(strategy, "type").unwrap_or_default().to_owned();
    let at = document.position(&path);
    explanation.strategy = Some((name, path, at));
}

fn read_metadata(name: &str) -> Result<Node, Box<FileReport>> {
    let input = input::read(name).map_err(Box::new)?;
    let document = match check::single(&input.documents) {
        Ok(document) => document,
        Err(finding) => return Err(Box::new(FileReport::of(&input.name, None, vec![finding]))),
    };
    match &document.root {
        Node::Map(_) => {}
        // Nothing at all is said of the user.
        Node::Null => return Ok(Node::Map(Vec::new())),
        _ => {
            return Err(Box::new(complaint(
                &input.name,
                "must be a map, as ext_authz answers it: upstream_tokens: {PROVIDER: TOKEN}",
            )));
        }
    }
    let twice = keys_given_twice(&document.root, &Path::root());
    if twice.is_empty() {
        return Ok(document.root.clone());
    }
    let findings = twice.into_iter().map(|problem| {
        let at = document.position(&problem.path);
        let finding = Finding::about_value(Severity::Error, at, &problem.path, problem.text);
        finding.coded(&codes::NO_CONFIGURATION)
    });
    Err(Box::new(FileReport::of(
        &input.name,
        None,
        findings.collect(),
    )))
}

fn complaint(name: &str, text: &str) -> FileReport {
    let finding = Finding::about_file(Severity::Error, None, text);
    FileReport::of(name, None, vec![finding.coded(&codes::NO_CONFIGURATION)])
}

/// The token, also where its scheme was given along.
fn without_scheme(bearer: &str) -> &str {
    match bearer.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => bearer,
    }
}
