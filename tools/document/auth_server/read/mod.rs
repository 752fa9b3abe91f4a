//! From the document to a [`RunConfig`], or every problem in it.

mod spot;
mod storage;
mod upstreams;
mod url;

use upstream_inject::config::{Node, Path, Problem, Rule};

use super::keys;
use super::{Names, RunConfig, Warning};
use spot::Spot;

/// Reads a `RunConfig` that stands at `at` in its document, or says every problem that keeps ToolHive,
/// or whoever reads its sessions, from using it. The warnings may be what explains a problem.
pub fn read(node: &Node, at: &Path) -> (Result<RunConfig, Vec<Problem>>, Vec<Warning>) {
    let mut reader = Reader {
        problems: keys::twice(node, at),
        warnings: keys::unknown(node, at),
    };
    let run_config = reader.run_config(&Spot {
        node: Some(node),
        path: at.clone(),
    });
    let read = match reader.problems.is_empty() {
        true => Ok(run_config),
        false => Err(reader.problems),
    };
    (read, reader.warnings)
}

/// Reads what the filter reads of a `RunConfig` as well: nobody is asked to refresh anything, so that
/// providers need no more than their names.
pub fn read_names(node: &Node, at: &Path) -> (Result<Names, Vec<Problem>>, Vec<Warning>) {
    let mut reader = Reader {
        problems: keys::twice(node, at),
        warnings: keys::unknown(node, at),
    };
    let at = Spot {
        node: Some(node),
        path: at.clone(),
    };
    reader.is_map(&at);
    let issuer = reader.text(&at.key("issuer"));
    let names = Names {
        issuer: (!issuer.is_empty()).then_some(issuer),
        allowed_audiences: reader.texts(&at.key("allowed_audiences")),
        upstreams: reader.upstream_names(&at.key("upstreams")),
    };
    let read = match reader.problems.is_empty() {
        true => Ok(names),
        false => Err(reader.problems),
    };
    (read, reader.warnings)
}

struct Reader {
    problems: Vec<Problem>,
    warnings: Vec<Warning>,
}

impl Reader {
    fn problem(&mut self, at: &Spot<'_>, text: impl Into<String>) {
        self.ruled(at, None, text);
    }

    fn ruled(&mut self, at: &Spot<'_>, rule: Option<Rule>, text: impl Into<String>) {
        self.problems.push(Problem {
            path: at.path.clone(),
            rule,
            text: text.into(),
        });
    }

    fn warn(&mut self, at: &Spot<'_>, text: impl Into<String>) {
        self.warnings.push(Warning {
            path: at.path.clone(),
            text: text.into(),
        });
    }

    /// A text, empty if there is none.
    fn text(&mut self, spot: &Spot<'_>) -> String {
        match spot.node {
            None => String::new(),
            Some(Node::String(text)) => text.clone(),
            Some(other) => {
                let next = match other {
                    Node::Number(_) | Node::Bool(_) => ": quote it",
                    _ => "",
                };
                let text = format!("must be a text, not {}{next}", other.kind());
                self.problem(spot, text);
                String::new()
            }
        }
    }

    fn needed(&mut self, spot: &Spot<'_>) -> String {
        let before = self.problems.len();
        let text = self.text(spot);
        if text.is_empty() && self.problems.len() == before {
            self.problem(spot, "missing");
        }
        text
    }

    fn flag(&mut self, spot: &Spot<'_>) -> bool {
        match spot.node {
            None => false,
            Some(Node::Bool(flag)) => *flag,
            Some(other) => {
                self.problem(spot, format!("must be a boolean, not {}", other.kind()));
                false
            }
        }
    }

    fn texts(&mut self, spot: &Spot<'_>) -> Vec<String> {
        match spot.node {
            None => Vec::new(),
            Some(Node::List(_)) => {
                let spots = spot.items();
                spots.iter().map(|item| self.text(item)).collect()
            }
            Some(other) => {
                self.problem(spot, format!("must be a list, not {}", other.kind()));
                Vec::new()
            }
        }
    }

    /// A map; says so if it is something else.
    fn is_map(&mut self, spot: &Spot<'_>) -> bool {
        match spot.node {
            Some(Node::Map(_)) => true,
            None => false,
            Some(other) => {
                self.problem(spot, format!("must be a map, not {}", other.kind()));
                false
            }
        }
    }

    fn run_config(&mut self, at: &Spot<'_>) -> RunConfig {
        self.is_map(at);
        let issuer_at = at.key("issuer");
        let issuer = self.needed(&issuer_at);
        if !issuer.is_empty() {
            self.url(&issuer_at, &issuer, true);
            if issuer.ends_with('/') {
                self.warn(
                    &issuer_at,
                    "a slash at its end: ToolHive's tokens and metadata have none",
                );
            }
        }
        let insecure = self.flag(&at.key("insecure_allow_http"));
        RunConfig {
            allowed_audiences: self.texts(&at.key("allowed_audiences")),
            upstreams: self.upstreams(&at.key("upstreams"), &issuer, insecure),
            storage: self.storage(&at.key("storage")),
            issuer,
        }
    }
}
