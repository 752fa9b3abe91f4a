//! upstream-inject: an Envoy filter that gives every backend the credential it wants.
//!
//! It carries out RFC THV-0054 for any stock Envoy. The way of a request:
//!
//! ```text
//!   Envoy                                              this crate
//!   ─────                                              ──────────
//!   plugin configuration ─────▶ config/ ──▶ plan.rs    once: every problem at once, or a Plan
//!
//!   request headers ──▶ host/callbacks.rs
//!                         │  backend.rs                which backend, which strategy
//!                         │  strategy/                 one file each: what this backend wants
//!                         │  identity/                 who is it? whose upstream token?
//!                         ▼
//!                       decision.rs ───┬─ Forward ───▶ host/credential.rs   all credentials off, one on
//!                                      ├─ Refuse ────▶ refusal/ ───▶ host/reply.rs
//!                                      └─ Obtain ────▶ host/calls.rs: the subject, the actor, the token
//!                                                        exchange/engine/, for each of them
//!                                                        │ token in hand, or another worker's
//!                                                        │   (exchange/shared/) ──▶ use it
//!                                                        │ call under way ─▶ wait for it, bare
//!                                                        └ none ──▶ token endpoint
//!   its answer ───────▶ host/calls.rs ──▶ exchange/answer/ ───▶ the second call, or
//!                                                        host/turns.rs: who waited, a few at a time,
//!                                                        and host/serving.rs: what becomes of each
//!   response headers ─▶ host/plugin.rs                 a backend's challenge goes, ours comes; a 401
//!                                                      makes its token be forgotten; a failure that
//!                                                      Envoy may send on is marked (second_pass.rs)
//!   end of stream ────▶ host/plugin.rs                 who waited leaves; did it go where it should?
//!   timer ────────────▶ host/root.rs                   observe/: counters go to Envoy
//! ```
//!
//! Only `host/` calls Envoy, through the trait [`attributes::Attributes`] where the logic has to
//! ask. Everything else takes values and returns values.
// What is `pub` is for tools and tests.
#![deny(unreachable_pub)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

pub mod attributes;
pub mod backend;
pub mod challenge;
pub mod config;
pub mod decision;
pub mod exchange;
pub mod host;
pub mod identity;
pub mod observe;
pub mod plan;
pub mod protobuf;
mod quote;
pub mod refusal;
mod secret;
pub mod strategy;
mod table;
pub mod time;
pub mod token;
