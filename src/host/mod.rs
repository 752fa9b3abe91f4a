//! The one layer that talks to Envoy. It holds no policy: it reads what the logic asks for, and
//! does what the logic decided.

mod abi;
pub mod callbacks;
mod calls;
mod credential;
mod effective;
#[cfg(not(target_family = "wasm"))]
pub mod interface;
mod metrics;
mod own_calls;
mod plugin;
mod plugins;
mod reply;
mod root;
mod second_pass;
mod serving;
mod shared;
pub mod sign;
mod streams;
mod turns;
mod under_way;
mod waiting;
