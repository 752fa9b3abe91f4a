//! The store of what workers share, in Envoy's shared data.
//!
//! Envoy keeps it for the life of the process and frees nothing, so that there is a fixed number of
//! names, and what is no longer needed becomes an empty value. It is common to all VMs of one `vm_id`.

use super::abi::{self, Status};
use crate::exchange::shared::store::{Read, Slot, Store, Unavailable};
use std::borrow::Cow;

/// A version that no value has but one in four thousand million: what is set at it is set only where
/// there is nothing yet. (0 would overwrite what somebody has put there meanwhile.)
const NOTHING_YET: u32 = u32::MAX;

/// Envoy's shared data.
#[derive(Clone, Copy, Debug)]
pub(super) struct SharedData;

impl Store for SharedData {
    fn get(&self, slot: Slot) -> Result<Option<Read>, Unavailable> {
        match abi::shared_data(&name(slot)) {
            Ok((value, version)) => Ok(Some(Read { value, version })),
            Err(Status::NOT_FOUND) => Ok(None),
            Err(_) => Err(Unavailable),
        }
    }

    fn swap(&self, slot: Slot, version: Option<u32>, value: &[u8]) -> Result<bool, Unavailable> {
        let version = version.unwrap_or(NOTHING_YET);
        match abi::set_shared_data(&name(slot), value, version) {
            Ok(()) => Ok(true),
            Err(Status::CAS_MISMATCH) => Ok(false),
            Err(_) => Err(Unavailable),
        }
    }
}

/// Others may share data under the same `vm_id`: ours bears our name.
fn name(slot: Slot) -> Cow<'static, str> {
    match slot {
        Slot::Seed => "upstream_inject.seed".into(),
        Slot::Dropped => "upstream_inject.dropped".into(),
        Slot::LeftAlone => "upstream_inject.left_alone".into(),
        Slot::Bucket(place) => format!("upstream_inject.bucket.{place}").into(),
    }
}
