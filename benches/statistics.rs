//! Numbers from many rounds.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

/// The mean of the cheapest quarter.
pub fn cheapest_quarter(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.truncate((values.len() / 4).max(1));
    sorted.iter().sum::<f64>() / sorted.len().max(1) as f64
}

/// The value that `share` (0 to 1) of all values do not exceed.
pub fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = (values.len() as f64 * share).ceil() as usize;
    values
        .get(place.saturating_sub(1))
        .copied()
        .unwrap_or(f64::NAN)
}

/// Random orders, so that nothing is always measured right after the same other thing.
#[derive(Default)]
pub struct Shuffle {
    state: RandomState,
    drawn: u64,
}

impl Shuffle {
    /// The numbers below `count`, in random order.
    pub fn order(&mut self, count: usize) -> Vec<usize> {
        self.drawn += 1;
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by_key(|number| self.state.hash_one((self.drawn, number)));
        order
    }
}
