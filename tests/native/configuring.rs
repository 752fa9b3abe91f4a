//! A configuration is taken as a whole or not at all, whatever its bytes are.

use crate::host::{Level, Request, worker};
use crate::strategies::configuration;
use prost::Message;
use serde_json::json;

#[test]
fn a_good_one_is_one_info_line_and_its_warnings() {
    worker(|envoy| {
        envoy.plugin(&configuration());
        let lines = envoy.log_from(Level::Info);
        assert_eq!(lines.len(), 1, "{lines:?}");
        for part in [env!("CARGO_PKG_VERSION"), "commit ", "5 backends"] {
            assert!(lines[0].contains(part), "{part} in {}", lines[0]);
        }
        let mut warned = configuration();
        let backend = &mut warned["outgoingAuth"]["backends"]["corporate-api"];
        backend["tokenExchange"]["subjectProviderName"] = json!("");
        envoy.plugin(&warned);
        let lines = envoy.log_from(Level::Warn);
        assert_eq!(lines.len(), 1, "{lines:?}");
        let place = "config: outgoingAuth.backends.corporate-api.tokenExchange.subjectProviderName";
        assert!(
            lines[0].starts_with(&format!("{place}: V-03: ")),
            "{}",
            lines[0]
        );
    });
}

#[test]
fn every_problem_of_a_bad_one_is_an_error_line_and_no_request_passes() {
    worker(|envoy| {
        let mut bad = configuration();
        bad["outgoingAuth"]["backends"]["github-tools"]["upstreamInject"]["providerName"] =
            json!("githib");
        bad["outgoingAuth"]["backends"]["internal-api"]["headerInjection"]["headerName"] =
            json!("host");
        bad["nonsense"] = json!("CANARY");
        assert!(envoy.configure(bad.to_string().as_bytes()).is_none());
        let lines = envoy.log_from(Level::Error);
        assert_eq!(lines.len(), 3, "{lines:#?}");
        assert!(
            lines.contains(
                &"config: outgoingAuth.backends.github-tools.upstreamInject.providerName: V-02: \
              provider \"githib\" is not in authServer.runConfig.upstreams (github, corporate-idp)"
                    .to_owned()
            )
        );
    });
}

#[test]
fn a_bad_one_leaves_the_plugin_that_is_there_at_work() {
    worker(|envoy| {
        let plugin = envoy.plugin(&configuration());
        assert!(envoy.configure(b"{}").is_none());
        assert!(envoy.configure(b"not JSON: CANARY").is_none());
        let request = Request::to("github-tools").tokens(&json!({"github": "CANARY-gho"}));
        let stream = plugin.request(&request);
        assert_eq!(stream.received("authorization"), ["Bearer CANARY-gho"]);
    });
}

#[test]
fn bytes_of_any_kind_are_refused_and_never_quoted() {
    let struct_of = |text: &str| {
        let value = prost_types::Value {
            kind: Some(prost_types::value::Kind::StringValue(text.to_owned())),
        };
        let fields = [("outgoingAuth".to_owned(), value)].into();
        prost_types::Struct { fields }.encode_to_vec()
    };
    let nested = |open: &str, close: &str| {
        let (open, close) = (open.repeat(1000), close.repeat(1000));
        format!("{{\"outgoingAuth\":{open}1{close}}}").into_bytes()
    };
    let large = format!("{{\"outgoingAuth\":\"{}\"}}", "CANARY ".repeat(700_000));
    for bytes in [
        b"".to_vec(),
        b"\n".to_vec(),
        b"CANARY".to_vec(),
        b"\xff\xfe\x00CANARY".to_vec(),
        b"{\"outgoingAuth\": {\"backends\": {\"CANARY".to_vec(),
        b"{\"clientSecret\":\"CANARY\"}{\"x\":1}".to_vec(),
        b"[1]".to_vec(),
        b"null".to_vec(),
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f".to_vec(),
        struct_of("CANARY"),
        nested("[", "]"),
        nested("{\"a\":", "}"),
        large.into_bytes(),
    ] {
        worker(|envoy| {
            assert!(envoy.configure(&bytes).is_none());
            let lines = envoy.log_from(Level::Error);
            assert!(!lines.is_empty());
            for line in lines {
                assert!(line.starts_with("config: "), "{line}");
                assert!(line.len() < 2000, "{} bytes of log", line.len());
            }
            // The VM lives.
            envoy.plugin(&configuration());
        });
    }
}

#[test]
fn a_configuration_that_envoy_does_not_hand_over_is_refused() {
    worker(|envoy| {
        envoy.fails("get_buffer", Some(crate::host::status::NOT_FOUND));
        assert!(envoy.configure(b"{}").is_none());
        envoy.fails("get_buffer", None);
    });
}
