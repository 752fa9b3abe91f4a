//! Callbacks that Envoy has no reason to make.

use crate::host::{Answer, Outcome, Request, worker};
use crate::strategies::configuration;
use serde_json::json;

#[test]
fn contexts_that_do_not_exist_are_no_matter() {
    worker(|envoy| {
        envoy.stray_callbacks(77);
        let plugin = envoy.plugin(&configuration());
        for context in [0, 77, u32::MAX] {
            envoy.stray_callbacks(context);
        }
        let request = Request::to("corporate-api").tokens(&json!({"corporate-idp": "CANARY"}));
        let stream = plugin.request(&request);
        let call = envoy.call();
        stream.end();
        envoy.stray_callbacks(stream.context);
        call.answer(&Answer::token("CANARY-exchanged", 300));
        let next = plugin.request(&request);
        assert_eq!(next.received("authorization"), ["Bearer CANARY-exchanged"]);
        plugin.end();
        envoy.stray_callbacks(plugin.root);
        let orphan = plugin.arrive(&request);
        orphan.headers();
        assert_eq!(orphan.outcome(), Outcome::Waits);
    });
}

#[test]
fn a_stream_without_header_fields_ends_quietly() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        plugin.arrive(&Request::to("github-tools")).end();
        plugin.tick();
        assert!(envoy.metrics().is_empty());
    });
}
