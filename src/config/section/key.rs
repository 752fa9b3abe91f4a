//! Keys that may be absent, keys that must be there, and how a table declares them.

#[cfg(not(target_family = "wasm"))]
use super::Described;
use super::{At, Entry, Format, Key, Reading, Section};
use crate::config::doc::Doc;
use crate::config::problem::{Reported, Rule, Wrong};
use crate::config::tree::Node;

/// Declares keys of the configuration: `optional` ones, which may be something of their own when they
/// are absent (`or`), and `required` ones, perhaps by a numbered rule. What a key is for is its
/// comment, which people and editors are shown as Markdown; what takes its place where that is no
/// value (`absent`) and what the tools must know of it (`is`) may follow. A format that needs no
/// words stands alone. After `map NAME:` the keys are those of the map `NAME`; of an `open map`, not
/// all.
macro_rules! keys {
    () => {};
    (map $map:ident: $($rest:tt)+) => {
        $crate::config::section::keys! { @($map false) [] $($rest)+ }
    };
    (open map $map:ident: $($rest:tt)+) => {
        $crate::config::section::keys! { @($map true) [] $($rest)+ }
    };
    (@($map:ident $open:literal) [$($name:ident)+]) => {
        pub(crate) static $map: $crate::config::section::Object = $crate::config::section::Object {
            keys: &[&[$(&$name),+]],
            open: $open,
        };
    };
    (
        $(@$map:tt [$($names:ident)*])? $(#[doc = $doc:literal])+
        $kind:ident $name:ident $key:literal $(by $rule:path)?: $format:ident
        $(, $more:ident $what:expr)*; $($rest:tt)*
    ) => {
        $crate::config::section::keys! {
            $(@$map [$($names)*])? $(#[doc = $doc])+
            $kind $name $key $(by $rule)?: $format = $format $(, $more $what)*; $($rest)*
        }
    };
    (
        @$map:tt [$($names:ident)*] $(#[doc = $doc:literal])+
        $kind:ident $name:ident $key:literal $(by $rule:path)?: $format:ty = $value:expr
        $(, $more:ident $what:expr)*; $($rest:tt)*
    ) => {
        $crate::config::section::keys! {
            $(#[doc = $doc])+
            $kind $name $key $(by $rule)?: $format = $value $(, $more $what)*;
        }
        $crate::config::section::keys! { @$map [$($names)* $name] $($rest)* }
    };
    (
        $(#[doc = $doc:literal])+
        optional $name:ident $key:literal: $format:ty = $value:expr, or $default:expr
        $(, $more:ident $what:expr)*; $($rest:tt)*
    ) => {
        pub(crate) const $name: $crate::config::section::Usually<$format> =
            $crate::config::section::Declared::new(
                $key,
                $value,
                $crate::config::section::Or($default),
                $crate::config::doc::Doc::new(concat!($($doc),+)) $(.$more($what))*,
            );
        $crate::config::section::keys! { $($rest)* }
    };
    (
        $(#[doc = $doc:literal])+
        optional $name:ident $key:literal: $format:ty = $value:expr
        $(, $more:ident $what:expr)*; $($rest:tt)*
    ) => {
        pub(crate) const $name: $crate::config::section::Optional<$format> =
            $crate::config::section::Declared::new(
                $key,
                $value,
                $crate::config::section::OrNothing,
                $crate::config::doc::Doc::new(concat!($($doc),+)) $(.$more($what))*,
            );
        $crate::config::section::keys! { $($rest)* }
    };
    (
        $(#[doc = $doc:literal])+
        required $name:ident $key:literal $(by $rule:path)?: $format:ty = $value:expr
        $(, $more:ident $what:expr)*; $($rest:tt)*
    ) => {
        pub(crate) const $name: $crate::config::section::Required<$format> =
            $crate::config::section::Declared::new(
                $key,
                $value,
                $crate::config::section::OrWrong(&[$($rule)?]),
                $crate::config::doc::Doc::new(concat!($($doc),+)) $(.$more($what))*,
            );
        $crate::config::section::keys! { $($rest)* }
    };
}
pub(crate) use keys;

/// A declared key.
pub struct Declared<F, A> {
    /// The key.
    pub name: &'static str,
    /// What its value may be.
    pub format: F,
    /// What it is when it is absent.
    absence: A,
    #[cfg(not(target_family = "wasm"))]
    doc: Doc,
}

/// A key that may be absent.
pub type Optional<F> = Declared<F, OrNothing>;
/// A key that may be absent, and is something then.
pub type Usually<F> = Declared<F, Or>;
/// A key that must be present.
pub type Required<F> = Declared<F, OrWrong>;

/// It is then nothing.
pub struct OrNothing;
/// It is then what this would be, written there.
pub struct Or(pub &'static str);
/// It is wrong that it is absent, by this numbered rule if by one.
pub struct OrWrong(pub &'static [Rule]);

/// What a key of this format is when it is absent.
pub trait Absence<F: Format>: Sync {
    /// What reading the key gives.
    type Value<'n>;

    /// What a value becomes.
    fn present<'n>(value: F::Value<'n>) -> Self::Value<'n>;

    /// What takes its place, if anything may.
    fn absent<'n>(&self, format: &F) -> Option<Self::Value<'n>>;

    /// That nothing may, and the numbered rule that says so, if one does.
    fn demanded(&self) -> Option<Option<Rule>> {
        None
    }

    /// The value that takes its place, as it would be written.
    fn written(&self) -> Option<&'static str> {
        None
    }
}

/// A [`Format`] of keys that may be something when they are absent.
pub trait WithDefault: Format {
    /// What this becomes, which stands in the table of keys.
    fn usual<'n>(&self, word: &'static str) -> Option<Self::Value<'n>>;
}

impl<F: Format> Absence<F> for OrNothing {
    type Value<'n> = Option<F::Value<'n>>;

    fn present<'n>(value: F::Value<'n>) -> Self::Value<'n> {
        Some(value)
    }

    fn absent<'n>(&self, _: &F) -> Option<Self::Value<'n>> {
        Some(None)
    }
}

impl<F: WithDefault> Absence<F> for Or {
    type Value<'n> = F::Value<'n>;

    fn present<'n>(value: F::Value<'n>) -> Self::Value<'n> {
        value
    }

    fn absent<'n>(&self, format: &F) -> Option<Self::Value<'n>> {
        format.usual(self.0)
    }

    fn written(&self) -> Option<&'static str> {
        Some(self.0)
    }
}

impl<F: Format> Absence<F> for OrWrong {
    type Value<'n> = F::Value<'n>;

    fn present<'n>(value: F::Value<'n>) -> Self::Value<'n> {
        value
    }

    fn absent<'n>(&self, _: &F) -> Option<Self::Value<'n>> {
        None
    }

    fn demanded(&self) -> Option<Option<Rule>> {
        Some(self.0.first().copied())
    }
}

impl<F, A> Declared<F, A> {
    /// A key of this name and format; what it is when it is absent, and what is said of it.
    pub const fn new(name: &'static str, format: F, absence: A, doc: Doc) -> Self {
        #[cfg(target_family = "wasm")]
        let _ = doc;
        Self {
            name,
            format,
            absence,
            #[cfg(not(target_family = "wasm"))]
            doc,
        }
    }
}

impl<F: Format, A: Absence<F>> Entry for Declared<F, A> {
    fn name(&self) -> &'static str {
        self.name
    }

    #[cfg(not(target_family = "wasm"))]
    fn described(&self) -> Described {
        Described {
            name: self.name,
            doc: self.doc,
            default: self.absence.written(),
            required: self.absence.demanded().is_some(),
            shape: self.format.shape(),
        }
    }

    fn missing(&self, _: &Reading<'_>) -> Option<Wrong> {
        let rule = self.absence.demanded()?;
        let text = format!("missing; must be {}", self.format.allowed());
        Some(Wrong::of(rule, text))
    }

    fn check<'n>(&self, node: &'n Node, at: &At<'n>) {
        let _ = self.format.read(node, at);
    }
}

impl<F: Format, A: Absence<F>> Key for Declared<F, A> {
    type Value<'n> = A::Value<'n>;

    #[inline(never)]
    fn take<'n>(&self, section: &Section<'n>) -> Result<Self::Value<'n>, Reported> {
        match section.claim(self.name) {
            Some(node) => self.format.read(node, &section.at(self)).map(A::present),
            None => {
                let absent = self.absence.absent(&self.format);
                absent.ok_or_else(|| section.miss(self))
            }
        }
    }
}
