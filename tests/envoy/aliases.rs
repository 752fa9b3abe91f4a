//! Headers that many servers fold to the name of one that the filter sets: none arrives beside it.

use bed::{Bed, PluginConfig, Request, canary, raw_exchange};
use serde_json::json;

use crate::plugin;
use crate::trial::{SharedBed, trials};

trials!("aliases":
    no_spelling_of_the_header_arrives_beside_it,
    what_is_no_alias_stays,
    an_upgrade_does_not_nominate_the_credential,
);

/// Headers of one, two and three hyphens.
const HEADERS: [&str; 3] = ["X-Key", "X-API-Key", "X-Internal-API-Key"];

static BED: SharedBed = SharedBed::new();

async fn bed() -> &'static Bed {
    BED.get(|| async {
        let mut backends = json!({"open": plugin::open()});
        for (index, header) in HEADERS.iter().enumerate() {
            backends[format!("key-{index}")] =
                plugin::header(header, &canary::token("key-", &index.to_string()));
        }
        backends["exchanged"] = json!({"type": "token_exchange", "tokenExchange": {
            "tokenUrl": "http://localhost/token", "cluster": "sts",
            "subjectProviderName": "corp", "externalTokenHeaderName": "X-Upstream-Token",
        }});
        let config = PluginConfig::Json(plugin::config(&["corp"], backends));
        // Envoy lets such names through here: the filter alone removes them.
        let mut plan = Bed::with("aliases", config)
            .backend("open")
            .backend("exchanged")
            .manager(&json!({"upgrade_configs": [{"upgrade_type": "websocket"}]}));
        for index in 0..HEADERS.len() {
            plan = plan.backend(&format!("key-{index}"));
        }
        plan.start().await
    })
    .await
}

/// Every way to write `_` or `.` for some of the hyphens.
fn aliases(header: &str) -> Vec<String> {
    let mut spellings = vec![String::new()];
    for character in header.to_ascii_lowercase().chars() {
        let choices: &[char] = if character == '-' {
            &['-', '_', '.']
        } else {
            &[character]
        };
        spellings = spellings
            .iter()
            .flat_map(|it| choices.iter().map(move |choice| format!("{it}{choice}")))
            .collect();
    }
    spellings.retain(|it| it != &header.to_ascii_lowercase());
    spellings
}

fn seen(request: &bed::Recorded, names: &[String]) -> Vec<String> {
    let found = request.headers.iter().map(|(name, _)| name.clone());
    found.filter(|name| names.contains(name)).collect()
}

async fn no_spelling_of_the_header_arrives_beside_it() {
    let bed = bed().await;
    let jwt = bed.login("alice", json!({"corp": canary::token("corp_", "aliases")}));
    let targets = HEADERS
        .iter()
        .enumerate()
        .map(|(index, header)| (format!("key-{index}"), *header))
        .chain([("exchanged".to_owned(), "X-Upstream-Token")]);
    for (backend, header) in targets {
        let names = aliases(header);
        assert_eq!(
            names.len(),
            3usize.pow(header.matches('-').count() as u32) - 1
        );
        let path = format!("/{backend}/aliases");
        let mut raw = format!(
            "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\nauthorization: Bearer {jwt}\r\n"
        );
        let mut request = Request::get(&path).bearer(&jwt).header(header, "mine");
        for name in &names {
            raw.push_str(&format!("{}: mine\r\n", name.to_ascii_uppercase()));
            request = request.header(name, "mine").header(name, "mine too");
        }
        raw.push_str(&format!("{header}: mine\r\n\r\n"));
        let answer = raw_exchange(bed.address(), raw.as_bytes(), |_| false)
            .await
            .expect("a connection");
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{header}");
        let reply = bed.http2().send(request).await;
        assert_eq!(reply.status, 200, "{header}: {}", reply.text());
        let arrived = bed.backend(&backend).requests_with("/aliases");
        assert_eq!(arrived.len(), 2, "{header}");
        for request in arrived {
            assert_eq!(seen(&request, &names), [""; 0], "{header}");
            let values = request.values(&header.to_ascii_lowercase());
            assert_eq!(values.len(), 1, "{header}: {values:?}");
            assert!(!values[0].contains("mine"), "{header}: {values:?}");
        }
    }
}

/// Only what this backend's strategy sets is anybody's alias.
async fn what_is_no_alias_stays() {
    let bed = bed().await;
    let jwt = bed.login("alice", json!({}));
    for name in ["x_other", "x.key.other", "xkey", "x_keys"] {
        let request = Request::get("/key-0/stays").bearer(&jwt).header(name, "v");
        let reply = bed.http1().send(request).await;
        assert_eq!(reply.seen(name), ["v"], "{name}");
    }
}

/// A server that takes `connection` at its word would drop the credential as a hop-by-hop header.
async fn an_upgrade_does_not_nominate_the_credential() {
    let bed = bed().await;
    let jwt = bed.login("alice", json!({}));
    for connection in [
        "Upgrade, x-key",
        "x-key, upgrade",
        "UPGRADE,X-Key , keep-alive",
    ] {
        let before = bed.backend("key-0").requests_with("/upgraded").len();
        let request = format!(
            "GET /key-0/upgraded HTTP/1.1\r\nhost: a\r\nconnection: {connection}\r\n\
             upgrade: websocket\r\nauthorization: Bearer {jwt}\r\n\r\n"
        );
        let answered = |bytes: &[u8]| bytes.windows(4).any(|four| four == b"\r\n\r\n");
        let answer = raw_exchange(bed.address(), request.as_bytes(), answered)
            .await
            .expect("a connection");
        assert!(!answer.is_empty(), "{connection}: no answer");
        let requests = bed.backend("key-0").requests_with("/upgraded");
        let request = requests.get(before).expect("the request");
        assert_eq!(request.values("x-key"), [canary::token("key-", "0")]);
        let nominated = request.values("connection").join(",").to_ascii_lowercase();
        assert!(!nominated.contains("x-key"), "{nominated}");
        assert!(nominated.contains("upgrade"), "{nominated}");
    }
}
