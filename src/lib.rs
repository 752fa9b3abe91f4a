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
//!                         │  identity/                 health check? whose upstream token?
//!                         │  strategy/                 one file each: what this backend wants
//!                         ▼
//!                       decision.rs ───┬─ Forward ───▶ host/plugin.rs   one header set, one stripped
//!                                      ├─ Refuse ────▶ refusal.rs ──▶ host/reply.rs
//!                                      └─ Exchange ──▶ exchange/engine.rs
//!                                                        │ token in hand ──▶ Forward
//!                                                        │ call under way ─▶ wait for it
//!                                                        └ none ──▶ host/calls.rs ──▶ STS
//!   STS answer ───────▶ host/calls.rs ──▶ exchange/answer.rs ──▶ host/turns.rs: who waited
//!   end of stream ────▶ host/callbacks.rs              the backend said 401: forget its token
//!   timer ────────────▶ host/root.rs                   observe/: counters go to Envoy
//! ```
//!
//! Only `host/` calls Envoy, through the trait [`attributes::Attributes`] where the logic has to
//! ask. Everything else takes values and returns values.
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
pub mod metadata;
pub mod observe;
pub mod plan;
pub mod quote;
pub mod refusal;
pub mod secret;
pub mod strategy;
pub mod time;
pub mod token;
