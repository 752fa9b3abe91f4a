//! Where in the configuration a problem is.

use std::fmt;

/// The way from the document's root to one value, printed as
/// `outgoingAuth.backends["a.b"].tokenExchange.scopes[0]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Step {
    Key(String),
    Index(usize),
}

impl Path {
    /// The document itself.
    pub fn root() -> Self {
        Self::default()
    }

    /// The path of `key` in the map at this path.
    pub fn key(&self, key: &str) -> Self {
        self.then(Step::Key(key.to_owned()))
    }

    /// The path of element `index` of the list at this path.
    pub fn index(&self, index: usize) -> Self {
        self.then(Step::Index(index))
    }

    fn then(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("(root)");
        }
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if is_plain(key) => {
                    if position > 0 {
                        f.write_str(".")?;
                    }
                    f.write_str(key)?;
                }
                // A JSON string, so that a key with a quote or a line break stays one line that can
                // be pasted back.
                Step::Key(key) => write!(f, "[{}]", serde_json::Value::from(key.as_str()))?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

fn is_plain(key: &str) -> bool {
    !key.is_empty()
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_can_be_read_and_pasted_back() {
        let root = Path::root();
        for (path, printed) in [
            (root.clone(), "(root)"),
            (root.key("a").key("b-c_1"), "a.b-c_1"),
            (root.key("a").key("b.c").key("d"), r#"a["b.c"].d"#),
            (root.key("a.b"), r#"["a.b"]"#),
            (root.key("a").key(""), r#"a[""]"#),
            (root.key("a").key("q\"\n"), r#"a["q\"\n"]"#),
            (root.key("a").index(3).key("b"), "a[3].b"),
        ] {
            assert_eq!(path.to_string(), printed);
        }
    }
}
