//! A configuration put together from the files that it is in: the filter's own form is one file,
//! ToolHive's is two, or a ConfigMap with both.

use std::path::{Path as FilePath, PathBuf};
use std::rc::Rc;

use upstream_inject::config::path::Step;
use upstream_inject::config::{Node, Path};

use crate::auth_server::{self, NotFound};
use crate::located::Located;
use crate::{Document, Position, entries, get, get_text, items};

/// Whose rules a configuration follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One file: an absent subject provider is the TH-JWT.
    Own,
    /// ToolHive's: an absent subject provider is the first upstream, because vMCP writes that name
    /// there before it starts.
    ToolHive,
}

/// A configuration, whole.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// One tree: `authServer.runConfig` is there whichever file it is from, and subject providers that
    /// ToolHive would fill in are filled in.
    pub document: Document,
    /// Whose rules hold.
    pub form: Form,
    /// The file that `authServer` is from, if it is another one, and what that holds.
    pub auth_server_file: Option<(PathBuf, Rc<str>)>,
    /// Where `authServer.runConfig` stands in its own document.
    pub run_config_at: Option<Path>,
    /// Where a subject provider was filled in: its block.
    pub filled: Vec<Path>,
    /// The upstream that was filled in.
    pub first_upstream: Option<String>,
}

impl Configuration {
    /// Puts together what `document`, of which `source` is the text and `file` the place, belongs to;
    /// `auth_server` is a file that was named for its auth server.
    ///
    /// # Errors
    /// If the auth server cannot be read, or there are two.
    pub fn read(
        document: Document,
        source: &str,
        name: &str,
        file: Option<&FilePath>,
        auth_server: Option<&FilePath>,
    ) -> Result<Self, NotFound> {
        if get(&document.root, "authServer").is_some() && auth_server.is_none() {
            return Ok(Self::of_one_file(document));
        }
        let found = match auth_server::find_for(document, source, name, file, auth_server) {
            Ok(found) => found,
            Err(mut not_found) => {
                return match not_found.alone.take() {
                    Some(alone) => Ok(Self::own(*alone, None)),
                    None => Err(not_found),
                };
            }
        };
        let mut configuration = Self {
            document: found.main.unwrap_or_else(Document::empty),
            form: Form::ToolHive,
            auth_server_file: found.file,
            run_config_at: Some(found.at.clone()),
            filled: Vec::new(),
            first_upstream: None,
        };
        if let Some((run_config, place)) = found.document.part(&found.at) {
            let path = ["authServer", "runConfig"];
            configuration.document.put(&path, run_config, place);
        }
        configuration.fill();
        Ok(configuration)
    }

    /// A configuration in our own form, or without an auth server.
    #[must_use]
    pub fn of_one_file(document: Document) -> Self {
        let at = Path::root().key("authServer").key("runConfig");
        Self::own(document, Some(at))
    }

    fn own(document: Document, run_config_at: Option<Path>) -> Self {
        Self {
            document,
            form: Form::Own,
            auth_server_file: None,
            run_config_at,
            filled: Vec::new(),
            first_upstream: None,
        }
    }

    /// The auth server's `RunConfig`.
    #[must_use]
    pub fn run_config(&self) -> Option<&Node> {
        get(&self.document.root, "authServer").and_then(|server| get(server, "runConfig"))
    }

    /// Whether the value at `path` is from [`Self::auth_server_file`].
    #[must_use]
    pub fn is_elsewhere(&self, path: &Path) -> bool {
        let is_auth_server =
            matches!(path.steps().first(), Some(Step::Key(key)) if key == "authServer");
        self.auth_server_file.is_some() && is_auth_server
    }

    /// Writes the first upstream where ToolHive would.
    fn fill(&mut self) {
        let upstreams: Vec<String> = self
            .run_config()
            .and_then(|run_config| get(run_config, "upstreams"))
            .map(items)
            .unwrap_or_default()
            .iter()
            .map(|upstream| {
                let name = get_text(upstream, "name").filter(|name| !name.is_empty());
                name.unwrap_or("default").to_owned()
            })
            .collect();
        let Some(first) = upstreams.first() else {
            return;
        };
        let outgoing = get(&self.document.root, "outgoingAuth");
        let default = outgoing
            .and_then(|outgoing| get(outgoing, "default"))
            .map(|strategy| (vec!["default".to_owned()], strategy));
        let backends = outgoing
            .and_then(|outgoing| get(outgoing, "backends"))
            .map(entries)
            .unwrap_or_default()
            .iter()
            .map(|(name, strategy)| (vec!["backends".to_owned(), name.clone()], strategy));
        let blocks: Vec<Vec<String>> = default
            .into_iter()
            .chain(backends)
            .filter_map(|(path, strategy)| {
                let block = match get_text(strategy, "type") {
                    Some("token_exchange") => "tokenExchange",
                    Some("xaa") if upstreams.len() == 1 => "xaa",
                    _ => return None,
                };
                let is_empty = get(strategy, block).is_some_and(|block| {
                    let subject = get(block, "subjectProviderName");
                    subject.is_none() || subject == Some(&Node::String(String::new()))
                });
                is_empty.then(|| [path, vec![block.to_owned()]].concat())
            })
            .collect();
        for block in blocks {
            let path = block
                .iter()
                .fold(Path::root().key("outgoingAuth"), |path, key| path.key(key));
            let at = self.document.position(&path);
            let steps: Vec<&str> = std::iter::once("outgoingAuth")
                .chain(block.iter().map(String::as_str))
                .chain(std::iter::once("subjectProviderName"))
                .collect();
            let value = Node::String(first.clone());
            self.document.put(&steps, value, Located::leaf(at));
            self.filled.push(path);
        }
        self.first_upstream = Some(first.clone());
    }
}

impl Document {
    fn empty() -> Self {
        Self::new(Node::Map(Vec::new()), Located::leaf(Position::START))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    const AUTH_SERVER: &str =
        "issuer: https://a.example\nupstreams: [{name: corp}, {name: github}]\n";
    const VMCP: &str = "name: x\noutgoingAuth:\n  backends:\n    a:\n      type: token_exchange\n      \
                        tokenExchange: {tokenUrl: https://sts.example/t}\n    b:\n      type: xaa\n      xaa: \
                        {targetAudience: x}\n";

    fn config_map() -> String {
        let indented = |text: &str| {
            let lines = text.lines().map(|line| format!("    {line}\n"));
            lines.collect::<String>()
        };
        format!(
            "apiVersion: v1\nkind: ConfigMap\ndata:\n  config.yaml: |\n{}  authserver-config.yaml: |-\n{}",
            indented(VMCP),
            indented(AUTH_SERVER)
        )
    }

    fn read(text: &str) -> Result<Configuration, NotFound> {
        let document = parse(text.as_bytes()).unwrap().remove(0);
        Configuration::read(document, text, "c.yaml", None, None)
    }

    #[test]
    fn the_first_upstream_is_written_where_vmcp_would_write_it() {
        let configuration = read(&config_map()).unwrap();
        assert_eq!(configuration.form, Form::ToolHive);
        assert_eq!(configuration.first_upstream.as_deref(), Some("corp"));
        // Of two upstreams, xaa names none.
        let filled: Vec<String> = configuration.filled.iter().map(Path::to_string).collect();
        assert_eq!(filled, ["outgoingAuth.backends.a.tokenExchange"]);
        let path = configuration.filled[0].key("subjectProviderName");
        let (subject, _) = configuration.document.part(&path).unwrap();
        assert_eq!(subject, Node::String("corp".to_owned()));
    }

    #[test]
    fn positions_are_those_of_the_config_map() {
        let configuration = read(&config_map()).unwrap();
        let root = Path::root();
        let at = |path: &Path| {
            let at = configuration.document.position(path);
            (at.line, at.column)
        };
        let backend = root.key("outgoingAuth").key("backends").key("a");
        assert_eq!(at(&backend.key("type")), (9, 11));
        let run_config = root.key("authServer").key("runConfig");
        assert_eq!(at(&run_config.key("upstreams").index(1)), (16, 31));
        assert!(!configuration.is_elsewhere(&run_config));
    }

    #[test]
    fn a_config_map_with_vmcps_file_alone_is_that_file() {
        let text = config_map();
        let text = text.split("  authserver-config.yaml").next().unwrap();
        let configuration = read(text).unwrap();
        assert_eq!(configuration.form, Form::Own);
        assert!(configuration.run_config().is_none());
        let path = Path::root().key("outgoingAuth").key("backends").key("a");
        let at = configuration.document.position(&path.key("type"));
        assert_eq!((at.line, at.column), (9, 11));
    }

    #[test]
    fn what_is_broken_in_a_config_map_has_its_key_and_its_line() {
        for (from, to, path, line) in [
            ("name: x\n", "name: [\n", "data[\"config.yaml\"]", 6),
            (
                "upstreams: [",
                "upstreams: ]",
                "data[\"authserver-config.yaml\"]",
                16,
            ),
        ] {
            let not_found = read(&config_map().replace(from, to)).unwrap_err();
            assert_eq!(not_found.path.to_string(), path);
            let at = not_found.at.expect("a place");
            assert!((line..=line + 1).contains(&at.line), "{path}: {at:?}");
            assert!(not_found.file.is_none(), "{not_found:?}");
        }
    }

    #[test]
    fn a_text_of_toolhives_is_what_is_written() {
        for (written, expected) in [
            ("012", Node::String("012".to_owned())),
            ("1795.20", Node::String("1795.20".to_owned())),
            ("true", Node::String("true".to_owned())),
            ("!!int '12'", Node::Number(12.0)),
            ("null", Node::Null),
        ] {
            let text = config_map().replace("name: corp", &format!("name: {written}"));
            let configuration = read(&text).unwrap();
            let run_config = configuration.run_config().unwrap();
            let upstreams = get(run_config, "upstreams").map(items).unwrap_or_default();
            assert_eq!(entries(&upstreams[0])[0].1, expected, "{written}");
        }
        let json = "{\"issuer\": \"https://a.example\", \"upstreams\": [{\"name\": 12e0}]}";
        let configuration = read(json).unwrap();
        let upstreams = configuration
            .run_config()
            .and_then(|node| get(node, "upstreams"));
        let name = upstreams.and_then(|list| get_text(items(list).first()?, "name"));
        assert_eq!(name, Some("12e0"));
    }

    #[test]
    fn our_own_form_is_left_as_it_is() {
        let text = format!("authServer: {{runConfig: {{upstreams: [{{name: corp}}]}}}}\n{VMCP}");
        let configuration = read(&text).unwrap();
        assert_eq!(configuration.form, Form::Own);
        assert!(configuration.filled.is_empty());
        let without = read(VMCP).unwrap();
        assert_eq!(without.form, Form::Own);
        assert!(without.run_config().is_none());
    }

    #[test]
    fn a_bare_run_config_is_an_auth_server_and_nothing_else() {
        let configuration = read(AUTH_SERVER).unwrap();
        assert!(configuration.run_config().is_some());
        assert!(get(&configuration.document.root, "outgoingAuth").is_none());
    }
}
