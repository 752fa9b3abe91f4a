//! A real Envoy with everything around it that the filter needs, all of it on 127.0.0.1 and on free
//! ports: who starts a [`Bed`] gets an embedded authorization server, echo backends, a scripted STS
//! and an Envoy that knows them.
//!
//! ```text
//! Client ──▶ Envoy: jwt_authn ─ ext_authz ─ router ─ upstream_inject ──▶ Echo (one per backend)
//!               │       │           │                     └─ token exchange ──▶ Sts
//!               │       └ JWKS      └ gRPC ──▶ EmbeddedAs
//! ```
//!
//! Every token and secret is made by [`canary`], which can later prove that none of them is in a
//! log, in a stat or in a reply.

mod as_login;
mod as_server;
pub mod bed;
pub mod bootstrap;
pub mod canary;
mod client;
mod counterpart;
mod echo;
pub mod envoy;
mod freshness;
mod grpc;
mod identity_service;
mod identity_token;
mod installation;
mod listener_file;
mod log_service;
mod login;
mod paths;
mod process;
mod prometheus;
mod redis;
mod runtime;
pub mod scene;
mod static_config;
mod sts;
mod waiting;

pub use as_server::{Asked, EmbeddedAs, LOGIN_SESSION};
pub use bed::{Bed, Placement, Plan};
pub use bootstrap::PluginConfig;
pub use client::{Client, Reply, Request, raw_exchange};
pub use counterpart::{
    Counterpart, KubernetesVerdict, Program, Sdk, egctl, gateway_dumps, kubernetes_verdicts,
    mcp_client, mcp_conformance, mcp_login,
};
pub use echo::{Echo, EventStream, Recorded};
pub use envoy::{Envoy, EnvoyOptions};
pub use grpc::to_struct;
pub use http::Method;
pub use identity_service::{IDENTITY_CLIENT, IdentityService};
pub use identity_token::IdentityIssuer;
pub use log_service::LogService;
pub use login::{LOGIN_BACKENDS, LoginScene, LoginServer, SHORT_LIVES, Stay, credentials_seen};
pub use paths::{artifact, identity_service, repository, scratch, tool};
pub use process::{begin_test, mishaps};
pub use prometheus::{Prometheus, Sample, promtool};
pub use redis::{KEY_PREFIX, Redis, free_port};
pub use runtime::{accept, run, run_within};
pub use static_config::{Neighbours, connection_managers, static_bootstrap};
pub use sts::{Answer, Sts, StsRequest, identity_assertion};
pub use waiting::{PATIENCE, Waiting, eventually, wait_for, within};
