//! What is counted, and what it is called: all stats of the filter have their names here. Counters are
//! summed here and handed to Envoy now and then: an addition in the VM costs nothing beside a host call
//! per request.

use crate::refusal::Code;

/// Gauge: the tokens in hand, all workers together.
pub const CACHE_ENTRIES: &str = "upstream_inject.cache.entries";

/// Counter: requests that went elsewhere than their credential was for.
pub const MISROUTED: &str = "upstream_inject.misrouted";

/// Histogram: the time of calls to the identity service.
pub const IDENTITY_DURATION: &str = "upstream_inject.identity.duration_ms";

/// Histogram: the time of calls to the STS of the backend whose stat name is `backend`.
pub fn sts_duration(backend: &str) -> String {
    format!("upstream_inject.sts.{backend}.duration_ms")
}

/// What became of a request, in the words of the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It went on with the user's upstream token.
    Injected,
    /// It went on with an exchanged token.
    Exchanged,
    /// It went on with a configured header.
    HeaderInjected,
    /// It went on without a credential, because the backend wants none.
    Unauthenticated,
    /// It went on without a credential, because it is a health check.
    HealthCheck,
    /// It was refused.
    Refused(Code),
}

impl Outcome {
    /// Those of requests that went on.
    pub const SERVED: [Self; 5] = [
        Outcome::Injected,
        Outcome::Exchanged,
        Outcome::HeaderInjected,
        Outcome::Unauthenticated,
        Outcome::HealthCheck,
    ];

    /// The counter's last segment.
    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Injected => "injected",
            Outcome::Exchanged => "exchanged",
            Outcome::HeaderInjected => "header_injected",
            Outcome::Unauthenticated => "unauthenticated",
            Outcome::HealthCheck => "health_check",
            Outcome::Refused(code) => code.as_str(),
        }
    }
}

/// What became of a request at the STS, or of a call to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StsResult {
    /// A call brought a token.
    Ok,
    /// A request went on with a token in hand.
    CacheHit,
    /// A request went on with a token that another worker had obtained, or waited for its call.
    Shared,
    /// A request waited for a call that another had started.
    Joined,
    /// A renewal brought a token.
    Refreshed,
    /// A call was answered with a refusal of the subject.
    Rejected,
    /// A call was answered with a denial.
    Forbidden,
    /// A call was answered with a refusal of this client.
    Misconfigured,
    /// A call got no answer, or the STS cannot serve.
    Unavailable,
    /// A call got no answer in time.
    Timeout,
    /// A call brought nothing usable.
    InvalidResponse,
    /// A request was refused because its subject had been a moment ago.
    NegativeHit,
    /// A request was refused because the breaker is open.
    BreakerOpen,
    /// A call was answered with what the user must do more than to log in.
    StepUp,
    /// The identity service knows no token of this provider.
    NotFound,
}

impl StsResult {
    /// All of them.
    pub const ALL: [Self; 15] = [
        StsResult::Ok,
        StsResult::CacheHit,
        StsResult::Shared,
        StsResult::Joined,
        StsResult::Refreshed,
        StsResult::Rejected,
        StsResult::Forbidden,
        StsResult::Misconfigured,
        StsResult::Unavailable,
        StsResult::Timeout,
        StsResult::InvalidResponse,
        StsResult::NegativeHit,
        StsResult::BreakerOpen,
        StsResult::StepUp,
        StsResult::NotFound,
    ];

    /// The counter's last segment.
    pub const fn as_str(self) -> &'static str {
        match self {
            StsResult::Ok => "ok",
            StsResult::CacheHit => "cache_hit",
            StsResult::Shared => "shared",
            StsResult::Joined => "joined",
            StsResult::Refreshed => "refreshed",
            StsResult::Rejected => "rejected",
            StsResult::Forbidden => "forbidden",
            StsResult::Misconfigured => "misconfigured",
            StsResult::Unavailable => "unavailable",
            StsResult::Timeout => "timeout",
            StsResult::InvalidResponse => "invalid_response",
            StsResult::NegativeHit => "negative_hit",
            StsResult::BreakerOpen => "breaker_open",
            StsResult::StepUp => "step_up",
            StsResult::NotFound => "not_found",
        }
    }
}

/// One counter of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// `upstream_inject.backend.<backend>.<outcome>`
    Backend(Outcome),
    /// `upstream_inject.sts.<backend>.<result>`
    Sts(StsResult),
    /// `upstream_inject.identity.<result>`, whatever the backend.
    Identity(StsResult),
    /// `upstream_inject.identity_absent`, whatever the backend: among the refusals those of requests for
    /// which nobody has left any upstream tokens.
    IdentityAbsent,
}

impl Counter {
    /// The whole name of this counter for a backend whose stat name is `backend`.
    pub fn name(self, backend: &str) -> String {
        match self {
            Counter::Backend(outcome) => {
                format!("upstream_inject.backend.{backend}.{}", outcome.as_str())
            }
            Counter::Sts(result) => format!("upstream_inject.sts.{backend}.{}", result.as_str()),
            Counter::Identity(result) => format!("upstream_inject.identity.{}", result.as_str()),
            Counter::IdentityAbsent => "upstream_inject.identity_absent".to_owned(),
        }
    }
}

/// The sums since they were last taken.
#[derive(Debug, Default)]
pub struct Counters {
    /// Few backends are busy between two flushes, and each has few kinds of outcome: a short list
    /// for each backend, found by its place.
    sums: Vec<Vec<(Counter, u64)>>,
    dirty: Vec<u32>,
}

impl Counters {
    /// Adds one to `counter` of `backend`.
    pub fn add(&mut self, backend: u32, counter: Counter) {
        let place = usize::try_from(backend).unwrap_or(usize::MAX);
        if self.sums.len() <= place {
            self.sums.resize_with(place.saturating_add(1), Vec::new);
        }
        let Some(sums) = self.sums.get_mut(place) else {
            return;
        };
        if sums.is_empty() {
            self.dirty.push(backend);
        }
        match sums.iter_mut().find(|(known, _)| *known == counter) {
            Some((_, sum)) => *sum = sum.saturating_add(1),
            None => sums.push((counter, 1)),
        }
    }

    /// Takes all sums out: backend, counter, and how much was added.
    pub fn take(&mut self) -> Vec<(u32, Counter, u64)> {
        let mut taken = Vec::new();
        for backend in self.dirty.drain(..) {
            let place = usize::try_from(backend).unwrap_or(usize::MAX);
            if let Some(sums) = self.sums.get_mut(place) {
                taken.extend(sums.drain(..).map(|(counter, sum)| (backend, counter, sum)));
            }
        }
        taken
    }
}

/// `name` as a segment of a stat's name: each character outside `[A-Za-z0-9_-]` becomes one `_`, and
/// no name at all does too.
pub fn stat_name(name: &str) -> String {
    if name.is_empty() {
        return "_".to_owned();
    }
    name.chars()
        .map(|c| match c {
            'A'..='Z' | 'a'..='z' | '0'..='9' | '_' | '-' => c,
            _ => '_',
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_taken_once() {
        let mut counters = Counters::default();
        let injected = Counter::Backend(Outcome::Injected);
        let hit = Counter::Sts(StsResult::CacheHit);
        counters.add(7, injected);
        counters.add(7, injected);
        counters.add(7, hit);
        counters.add(0, injected);
        assert_eq!(
            counters.take(),
            [(7, injected, 2), (7, hit, 1), (0, injected, 1)]
        );
        assert_eq!(counters.take(), []);
        counters.add(7, hit);
        assert_eq!(counters.take(), [(7, hit, 1)]);
    }

    #[test]
    fn names_are_safe_for_every_stats_sink() {
        assert_eq!(stat_name("a.b/c dö-E_9"), "a_b_c_d_-E_9");
        let refused = Outcome::Refused(Code::UpstreamTokenNotFound);
        assert_eq!(
            Counter::Backend(refused).name("b"),
            "upstream_inject.backend.b.upstream_token_not_found"
        );
        assert_eq!(
            Counter::Sts(StsResult::NegativeHit).name("b"),
            "upstream_inject.sts.b.negative_hit"
        );
    }

    #[test]
    fn lists_of_all_hold_all_in_the_order_of_their_definition() {
        let results = StsResult::ALL.map(|result| result as usize);
        assert!(results.iter().copied().eq(0..=StsResult::NotFound as usize));
        let codes = Code::ALL.map(|code| code as usize);
        assert!(
            codes
                .iter()
                .copied()
                .eq(0..=Code::IdentityUnreadable as usize)
        );
    }
}
