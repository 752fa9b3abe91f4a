//! Keys that may be absent, keys that must be there, and how a table declares them.

#[cfg(not(target_family = "wasm"))]
use super::Described;
use super::{At, Entry, Format, Reading, Section};
use crate::config::doc::Doc;
use crate::config::problem::{Reported, Rule, Wrong};
use crate::config::tree::Node;
use std::marker::PhantomData;

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
        pub(crate) const $name: $crate::config::section::Always<$format> =
            $crate::config::section::Declared::new(
                $key,
                $value,
                $crate::config::section::Absent::Is($default),
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
                $crate::config::section::Absent::IsNothing,
                $crate::config::doc::Doc::new(concat!($($doc),+)) $(.$more($what))*,
            );
        $crate::config::section::keys! { $($rest)* }
    };
    (
        $(#[doc = $doc:literal])+
        required $name:ident $key:literal $(by $rule:path)?: $format:ty = $value:expr
        $(, $more:ident $what:expr)*; $($rest:tt)*
    ) => {
        pub(crate) const $name: $crate::config::section::Always<$format> =
            $crate::config::section::Declared::new(
                $key,
                $value,
                $crate::config::section::Absent::IsWrong(&[$($rule)?]),
                $crate::config::doc::Doc::new(concat!($($doc),+)) $(.$more($what))*,
            );
        $crate::config::section::keys! { $($rest)* }
    };
}
pub(crate) use keys;

/// A declared key. What is read of it is `A` of what its format makes.
pub struct Declared<F, A> {
    pub name: &'static str,
    pub format: F,
    absent: Absent,
    gives: PhantomData<A>,
    #[cfg(not(target_family = "wasm"))]
    doc: Doc,
}

/// What it is that a key is absent.
pub enum Absent {
    /// It is then nothing.
    IsNothing,
    /// It is then what this would be, written there.
    Is(&'static str),
    /// It is wrong, by this numbered rule if by one.
    IsWrong(&'static [Rule]),
}

/// A key that may be nothing.
pub(crate) type Optional<F> = Declared<F, Perhaps>;
/// A key that is something, or reported.
pub(crate) type Always<F> = Declared<F, Surely>;

pub struct Perhaps;
pub(crate) struct Surely;

/// What is read of a key, whose value is a `T` if it is there.
pub trait Gives: Sync {
    type Of<T>;

    fn of<T>(value: T) -> Self::Of<T>;

    /// What is read if neither the key is there nor anything in its place.
    fn of_nothing<T>() -> Option<Self::Of<T>>;
}

impl Gives for Perhaps {
    type Of<T> = Option<T>;

    fn of<T>(value: T) -> Option<T> {
        Some(value)
    }

    fn of_nothing<T>() -> Option<Option<T>> {
        Some(None)
    }
}

impl Gives for Surely {
    type Of<T> = T;

    fn of<T>(value: T) -> T {
        value
    }

    fn of_nothing<T>() -> Option<T> {
        None
    }
}

impl<F, A> Declared<F, A> {
    pub const fn new(name: &'static str, format: F, absent: Absent, doc: Doc) -> Self {
        #[cfg(target_family = "wasm")]
        let _ = doc;
        Self {
            name,
            format,
            absent,
            gives: PhantomData,
            #[cfg(not(target_family = "wasm"))]
            doc,
        }
    }
}

impl<F: Format, A: Gives> Entry for Declared<F, A> {
    fn name(&self) -> &'static str {
        self.name
    }

    #[cfg(not(target_family = "wasm"))]
    fn described(&self) -> Described {
        Described {
            name: self.name,
            doc: self.doc,
            default: match self.absent {
                Absent::Is(written) => Some(written),
                _ => None,
            },
            required: matches!(self.absent, Absent::IsWrong(_)),
            shape: self.format.shape(),
        }
    }

    fn missing(&self, _: &Reading<'_>) -> Option<Wrong> {
        let Absent::IsWrong(rule) = self.absent else {
            return None;
        };
        let text = format!("missing; must be {}", self.format.allowed());
        Some(Wrong::of(rule.first().copied(), text))
    }

    fn check<'n>(&self, node: &'n Node, at: &At<'n>) {
        let _ = self.format.read(node, at);
    }
}

impl<F: Format, A: Gives> Declared<F, A> {
    #[inline(never)]
    pub(super) fn take<'n>(&self, section: &Section<'n>) -> Result<A::Of<F::Value<'n>>, Reported> {
        if let Some(node) = section.claim(self.name) {
            return self.format.read(node, &section.at(self)).map(A::of);
        }
        let instead = match self.absent {
            Absent::Is(written) => self.format.usual(written).map(A::of),
            _ => A::of_nothing(),
        };
        instead.ok_or_else(|| section.miss(self))
    }
}
