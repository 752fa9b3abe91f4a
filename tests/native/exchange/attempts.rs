//! Several attempts of one request, as retries and hedging make them: the filter runs for each, on a
//! request that an earlier one may have changed.

use super::{configuration, of};
use crate::host::{Answer, Outcome, Stream, worker};

/// Carrying out the first refusal ends the request, and with it the second attempt: Envoy would then
/// carry out the second refusal on what is no longer there.
#[test]
fn two_attempts_of_one_request_are_never_decided_in_one_callback() {
    for answer in [
        Answer::error(400, "invalid_grant"),
        Answer::new(503, ""),
        Answer::token("CANARY-1", 300),
    ] {
        worker(|envoy| {
            let plugin = envoy.plugin(&configuration());
            let attempts = [(); 3].map(|()| plugin.request(&of("alice").attempt_of(1)));
            let other = plugin.request(&of("alice").attempt_of(2));
            let waits = |stream: &Stream| stream.outcome() == Outcome::Waits;
            envoy.call().answer(&answer);
            let waiting = |attempts: &[Stream]| attempts.iter().map(waits).collect::<Vec<_>>();
            assert_eq!(waiting(&attempts), [false, true, true]);
            assert!(!waits(&other), "another request has its turn");
            plugin.tick();
            assert_eq!(waiting(&attempts), [false, false, true]);
            // Whoever ends meanwhile is not served.
            attempts[2].end();
            plugin.tick();
        });
    }
}
