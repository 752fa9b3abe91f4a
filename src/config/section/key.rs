//! Keys that may be absent, keys that must be there, and how a table declares them.

use super::{At, Entry, Format, Key, Reading, Section};
use crate::config::described::Doc;
use crate::config::problem::{Reported, Rule, Wrong};
use crate::config::tree::Node;

/// Declares keys of the configuration: `optional` ones and `required` ones, perhaps by a numbered rule.
/// What a key is for, in one sentence, is its comment. A format that needs no words stands alone.
/// After `map NAME:` the keys are those of the map `NAME`; of an `open map`, not all.
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
        $kind:ident $name:ident $key:literal $(by $rule:path)?: $format:ident; $($rest:tt)*
    ) => {
        $crate::config::section::keys! {
            $(@$map [$($names)*])? $(#[doc = $doc])+
            $kind $name $key $(by $rule)?: $format = $format; $($rest)*
        }
    };
    (
        @$map:tt [$($names:ident)*] $(#[doc = $doc:literal])+
        $kind:ident $name:ident $key:literal $(by $rule:path)?: $format:ty = $value:expr;
        $($rest:tt)*
    ) => {
        $crate::config::section::keys! {
            $(#[doc = $doc])+ $kind $name $key $(by $rule)?: $format = $value;
        }
        $crate::config::section::keys! { @$map [$($names)* $name] $($rest)* }
    };
    (
        $(#[doc = $doc:literal])+
        optional $name:ident $key:literal: $format:ty = $value:expr; $($rest:tt)*
    ) => {
        pub(crate) const $name: $crate::config::section::Optional<$format> =
            $crate::config::section::optional($key, $value, concat!($($doc),+));
        $crate::config::section::keys! { $($rest)* }
    };
    (
        $(#[doc = $doc:literal])+
        required $name:ident $key:literal $(by $rule:path)?: $format:ty = $value:expr;
        $($rest:tt)*
    ) => {
        pub(crate) const $name: $crate::config::section::Required<$format> =
            $crate::config::section::required(
                $key,
                $value,
                &[$($rule)?],
                concat!($($doc),+),
            );
        $crate::config::section::keys! { $($rest)* }
    };
}
pub(crate) use keys;

/// A key that may be absent.
pub struct Optional<F> {
    /// The key.
    pub name: &'static str,
    /// What its value may be.
    pub format: F,
    #[cfg_attr(
        target_family = "wasm",
        allow(dead_code, reason = "for the JSON Schema")
    )]
    doc: Doc,
}

/// A key that must be present.
pub struct Required<F> {
    /// The key.
    pub name: &'static str,
    /// What its value may be.
    pub format: F,
    /// The numbered rule that demands it, if one does.
    rule: &'static [Rule],
    #[cfg_attr(
        target_family = "wasm",
        allow(dead_code, reason = "for the JSON Schema")
    )]
    doc: Doc,
}

/// Declares a key that may be absent, and says what it is for.
pub const fn optional<F>(name: &'static str, format: F, doc: &'static str) -> Optional<F> {
    let doc = Doc::new(doc);
    Optional { name, format, doc }
}

/// Declares a key that must be present, by which numbered rule if by one, and says what it is for.
pub const fn required<F>(
    name: &'static str,
    format: F,
    rule: &'static [Rule],
    doc: &'static str,
) -> Required<F> {
    let doc = Doc::new(doc);
    Required {
        name,
        format,
        rule,
        doc,
    }
}

impl<F: Format> Entry for Optional<F> {
    fn name(&self) -> &'static str {
        self.name
    }

    #[cfg(not(target_family = "wasm"))]
    fn doc(&self) -> Doc {
        self.doc
    }

    fn missing(&self, _: &Reading<'_>) -> Option<Wrong> {
        None
    }

    fn check<'n>(&self, node: &'n Node, at: &At<'n>) {
        let _ = self.format.read(node, at);
    }
}

impl<F: Format> Key for Optional<F> {
    type Value<'n> = Option<F::Value<'n>>;

    #[inline(never)]
    fn take<'n>(&self, section: &Section<'n>) -> Result<Self::Value<'n>, Reported> {
        let node = section.claim(self.name);
        node.map(|node| self.format.read(node, &section.at(self)))
            .transpose()
    }
}

impl<F: Format> Entry for Required<F> {
    fn name(&self) -> &'static str {
        self.name
    }

    #[cfg(not(target_family = "wasm"))]
    fn doc(&self) -> Doc {
        self.doc
    }

    fn missing(&self, _: &Reading<'_>) -> Option<Wrong> {
        Some(Wrong {
            rule: self.rule.first().copied(),
            text: format!("missing; must be {}", self.format.allowed()),
        })
    }

    fn check<'n>(&self, node: &'n Node, at: &At<'n>) {
        let _ = self.format.read(node, at);
    }
}

impl<F: Format> Key for Required<F> {
    type Value<'n> = F::Value<'n>;

    #[inline(never)]
    fn take<'n>(&self, section: &Section<'n>) -> Result<Self::Value<'n>, Reported> {
        let node = section.claim_or_miss(self)?;
        self.format.read(node, &section.at(self))
    }
}
