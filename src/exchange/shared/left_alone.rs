//! Until when token endpoints want to be left alone: what one of them has told a worker, all keep to.

use super::super::digest::sha256;
use super::super::settings::TokenCall;
use super::wire::{Reader, Value, Writer};
use crate::time::Steady;
use std::time::Duration;

/// So many are listed; the one that may be called first makes room.
const LISTED: usize = 64;
/// An end that is further off was told by no clock of ours.
const FURTHEST_END: Duration = Duration::from_secs(60);

/// Names a token endpoint, the same for all workers and configurations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EndpointName([u8; 32]);

impl EndpointName {
    /// The endpoint that `call` goes to.
    pub(crate) fn of(call: &TokenCall) -> Self {
        let name = [call.cluster.as_bytes(), b"\0", call.token_url.as_bytes()];
        Self(sha256(&name.concat()))
    }
}

/// The list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LeftAlone(Vec<(EndpointName, Steady)>);

impl LeftAlone {
    /// Until when the endpoint is not called.
    pub(crate) fn until(&self, endpoint: EndpointName, now: Steady) -> Option<Steady> {
        let told = self.0.iter().find(|(name, _)| *name == endpoint);
        told.map(|(_, until)| (*until).min(now.plus(FURTHEST_END)))
            .filter(|until| now < *until)
    }

    /// The endpoint wants to be left alone until then. False if that is known.
    pub(crate) fn add(&mut self, endpoint: EndpointName, until: Steady, now: Steady) -> bool {
        if self.until(endpoint, now) >= Some(until) {
            return false;
        }
        self.0
            .retain(|(name, until)| *name != endpoint && now < *until);
        if self.0.len() >= LISTED {
            let ends = self.0.iter().map(|(_, until)| *until);
            let first = ends.enumerate().min_by_key(|(_, until)| *until);
            if let Some((place, _)) = first {
                self.0.remove(place);
            }
        }
        self.0.push((endpoint, until));
        true
    }
}

impl Value for LeftAlone {
    fn write(&self, to: &mut Writer) {
        for (name, until) in &self.0 {
            to.0.extend_from_slice(&name.0);
            to.steady(*until);
        }
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let mut list = Vec::new();
        while !from.0.is_empty() {
            list.push((EndpointName(from.array()?), from.steady()?));
        }
        Some(Self(list))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: &[u8; 8] = b"a format";

    fn endpoint(number: u8) -> EndpointName {
        EndpointName([number; 32])
    }

    fn at(seconds: u64) -> Steady {
        Steady::default().plus(Duration::from_secs(seconds))
    }

    #[test]
    fn the_longest_that_was_asked_for_counts_until_it_has_passed() {
        let mut list = LeftAlone::default();
        assert_eq!(list.until(endpoint(1), at(0)), None);
        assert!(list.add(endpoint(1), at(30), at(0)));
        assert!(!list.add(endpoint(1), at(5), at(1)));
        assert!(!list.add(endpoint(1), at(30), at(1)));
        assert!(list.add(endpoint(2), at(5), at(1)));
        assert_eq!(list.until(endpoint(1), at(29)), Some(at(30)));
        assert_eq!(list.until(endpoint(1), at(30)), None);
        assert_eq!(list.until(endpoint(2), at(4)), Some(at(5)));
        assert!(list.add(endpoint(1), at(50), at(40)));
        assert_eq!(list.until(endpoint(1), at(41)), Some(at(50)));
        let read = LeftAlone::of_bytes(&list.to_bytes(FORMAT), FORMAT);
        assert_eq!(read, Some(list));
    }

    #[test]
    fn a_later_end_takes_the_place_of_a_sooner_one_and_what_has_ended_goes() {
        let mut list = LeftAlone::default();
        list.add(endpoint(1), at(30), at(0));
        assert!(list.add(endpoint(1), at(50), at(10)));
        assert_eq!(list.until(endpoint(1), at(11)), Some(at(50)));
        assert!(list.add(endpoint(2), at(70), at(20)));
        assert_eq!(list.until(endpoint(1), at(21)), Some(at(50)));
        assert!(list.add(endpoint(3), at(80), at(50)));
        assert_eq!(list.0, [(endpoint(2), at(70)), (endpoint(3), at(80))]);
    }

    #[test]
    fn the_list_is_bounded_and_what_ends_first_goes_first() {
        let mut list = LeftAlone::default();
        for number in 0..100 {
            assert!(list.add(endpoint(number), at(1 + u64::from(number) % 50), at(0)));
        }
        assert_eq!(list.0.len(), LISTED);
        assert_eq!(list.until(endpoint(0), at(0)), None);
        assert_eq!(list.until(endpoint(99), at(0)), Some(at(50)));
    }

    #[test]
    fn what_others_have_written_keeps_nobody_from_calling_for_long() {
        let mut list = LeftAlone::default();
        list.add(endpoint(1), at(1_000_000), at(0));
        assert_eq!(list.until(endpoint(1), at(0)), Some(at(60)));
        let written = list.to_bytes(FORMAT);
        assert_eq!(LeftAlone::of_bytes(&written, b"another!"), None);
        for end in 0..written.len() {
            let read = LeftAlone::of_bytes(&written[..end], FORMAT);
            assert_ne!(read, Some(list.clone()), "{end}");
        }
    }
}
