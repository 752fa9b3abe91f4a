//! Where in the configuration a problem is.

use crate::quote::shown;
use std::fmt;
use std::rc::Rc;

/// The way from the document's root to one value, printed as
/// `outgoingAuth.backends["a.b"].tokenExchange.scopes[0]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(Vec<Step>);

/// One step of a [`Path`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step<K = String> {
    /// Into a map, to the value of this key.
    Key(K),
    /// Into a list, to this element, counted from 0.
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

    /// The steps from the root, for a front end that knows the position of each value.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Roughly how much memory it takes, in bytes.
    pub(super) fn text_len(&self) -> usize {
        self.0
            .iter()
            .map(|step| match step {
                Step::Key(key) => key.len().saturating_add(size_of::<Step>()),
                Step::Index(_) => size_of::<Step>(),
            })
            .sum()
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
                Step::Key(key) => write!(f, "[{}]", shown(key))?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// A [`Path`] as it grows on the way into a document: it shares its beginning with the places above.
#[derive(Clone, Debug)]
pub(crate) struct Place<'n>(Option<Rc<(Place<'n>, Step<&'n str>)>>);

impl<'n> Place<'n> {
    /// The document itself.
    pub(crate) const ROOT: Place<'static> = Place(None);

    pub(crate) fn key(&self, key: &'n str) -> Self {
        Self(Some(Rc::new((self.clone(), Step::Key(key)))))
    }

    pub(crate) fn index(&self, index: usize) -> Self {
        Self(Some(Rc::new((self.clone(), Step::Index(index)))))
    }

    /// The place of the map or list that this one is in.
    pub(crate) fn above(&self) -> Self {
        match &self.0 {
            Some(last) => last.0.clone(),
            None => Self(None),
        }
    }

    /// This place as a path that can be kept.
    pub(crate) fn path(&self) -> Path {
        let mut steps = Vec::new();
        let mut place = self;
        while let Some(last) = &place.0 {
            steps.push(match last.1 {
                Step::Key(key) => Step::Key(key.to_owned()),
                Step::Index(index) => Step::Index(index),
            });
            place = &last.0;
        }
        steps.reverse();
        Path(steps)
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
    fn a_place_is_the_path_of_its_steps() {
        let index = Place::ROOT.key("a.b").index(2);
        assert_eq!(Place::ROOT.path(), Path::root());
        assert_eq!(index.key("c").path().to_string(), r#"["a.b"][2].c"#);
        assert_eq!(index.above().path().to_string(), r#"["a.b"]"#);
        // Where bytes are damaged, a key may run on into a value.
        let damaged = Place::ROOT.key("a\u{12}\n\u{1a}\u{8}CANARY-b");
        assert_eq!(damaged.path().to_string(), r#"["a…"]"#);
    }

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
