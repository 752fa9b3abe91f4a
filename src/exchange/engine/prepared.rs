//! The exchanges of a configuration, and what is worked out of each once.

use super::super::fair_breaker::FairBreaker;
use super::super::request::TokenRequest;
use super::super::settings::{Exchange, ExchangeId, Step, TokenCall};
use crate::table::Table;
use std::rc::Rc;

/// An exchange, and what is worked out of it once.
pub(super) struct Prepared {
    pub exchange: Rc<Exchange>,
    first: Rc<TokenRequest>,
    second: Option<Rc<TokenRequest>>,
    /// The places of the calls' endpoints.
    endpoints: (usize, usize),
    /// Stops an exchange whose client is refused again and again.
    pub pause: FairBreaker,
    /// At which of its calls that was last.
    pub refused_at: Step,
}

impl Prepared {
    /// What is sent at that step.
    pub(super) fn request(&self, step: Step) -> Option<&Rc<TokenRequest>> {
        match step {
            Step::First => Some(&self.first),
            Step::Second => self.second.as_ref(),
        }
    }

    /// The place of the endpoint that the call of that step goes to.
    pub(super) fn endpoint(&self, step: Step) -> usize {
        match step {
            Step::First => self.endpoints.0,
            Step::Second => self.endpoints.1,
        }
    }
}

/// Prepares `exchanges`; how many endpoints there are. `seed` is random.
pub(super) fn prepare(exchanges: Vec<Exchange>, seed: u64) -> (Vec<Prepared>, usize) {
    let mut places: Table<String, usize> = Table::new(seed);
    let mut place = |call: &TokenCall| {
        let next = places.len();
        // No URL has a space in it.
        let endpoint = format!("{} {}", call.cluster, call.token_url);
        places
            .or_insert(endpoint, next)
            .map_or(next, |place| *place)
    };
    let prepared = exchanges
        .into_iter()
        .map(|exchange| {
            let first = place(&exchange.first);
            let second = exchange.second.as_ref();
            Prepared {
                endpoints: (first, second.map_or(first, &mut place)),
                first: Rc::new(TokenRequest::new(&exchange.first)),
                second: second.map(|call| Rc::new(TokenRequest::new(call))),
                exchange: Rc::new(exchange),
                pause: FairBreaker::default(),
                refused_at: Step::First,
            }
        })
        .collect();
    (prepared, places.len())
}

/// The place of an exchange.
pub(super) fn index(exchange: ExchangeId) -> usize {
    usize::try_from(exchange.0).unwrap_or(usize::MAX)
}
