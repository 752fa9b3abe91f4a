//! An explanation, for people and for machines.

use super::{Explanation, Next};
use crate::report::printable;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// For people.
pub(crate) fn text(explanation: &Explanation) -> String {
    let mut text = String::new();
    let backend = printable(&explanation.backend);
    let file = printable(&explanation.file);
    match &explanation.strategy {
        Some((name, _, at)) => {
            let by = if explanation.is_default {
                ", by default"
            } else {
                ""
            };
            let _ = writeln!(
                text,
                "{backend}: {name}{by} ({file}:{}:{})",
                at.line, at.column
            );
        }
        None => {
            let meant = explanation
                .meant
                .as_deref()
                .map_or_else(String::new, |meant| {
                    format!("; did you mean {}?", printable(meant))
                });
            let _ = writeln!(text, "{backend}: no strategy ({file}){meant}");
        }
    }
    if let Some(provider) = &explanation.provider {
        let _ = writeln!(text, "provider: {}", printable(provider));
    }
    for assumed in &explanation.assumed {
        let _ = writeln!(text, "assumed: {}", printable(assumed));
    }
    for call in &explanation.calls {
        let step = match call.name {
            "" => String::new(),
            name => format!(" ({name})"),
        };
        let _ = writeln!(
            text,
            "\ncalls{step} {} through the cluster {}, waits {:?}:",
            printable(&call.url),
            printable(&call.cluster),
            call.timeout
        );
        for (name, value) in &call.headers {
            let _ = writeln!(text, "  {name}: {}", printable(value));
        }
        text.push('\n');
        for (name, value) in &call.form {
            let _ = writeln!(text, "  {}={}", printable(name), printable(value));
        }
    }
    match &explanation.next {
        Next::Backend(header) => {
            let _ = writeln!(text, "\nthe backend sees ({}):", explanation.outcome);
            match header {
                Some((name, value)) => {
                    let _ = writeln!(text, "  {name}: {}", printable(value));
                    if name != "authorization" {
                        text.push_str("  no authorization\n");
                    }
                }
                None => text.push_str("  no credential, and no authorization\n"),
            }
        }
        Next::Refusal {
            status,
            headers,
            body,
            hint,
            code,
        } => {
            let _ = writeln!(text, "\nrefused with {status} {code}:");
            for (name, value) in headers {
                let _ = writeln!(text, "  {name}: {}", printable(value));
            }
            let _ = writeln!(text, "\n  {}\n\nlook at: {hint}", printable(body));
        }
    }
    text
}

/// For machines.
pub(crate) fn json(explanation: &Explanation) -> String {
    let pairs = |pairs: &[(String, String)]| -> Vec<Value> {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| json!({"name": name, "value": value}))
            .collect()
    };
    let headers = |pairs: &[(String, String)]| -> Map<String, Value> {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| (name.clone(), value.as_str().into()))
            .collect()
    };
    let calls: Vec<Value> = explanation
        .calls
        .iter()
        .map(|call| {
            json!({
                "step": call.name,
                "tokenUrl": call.url,
                "cluster": call.cluster,
                "timeoutMs": u64::try_from(call.timeout.as_millis()).unwrap_or(u64::MAX),
                "headers": headers(&call.headers),
                "form": pairs(&call.form),
            })
        })
        .collect();
    let (backend_sees, refusal) = match &explanation.next {
        Next::Backend(header) => (json!({"headers": headers(header.as_slice())}), Value::Null),
        Next::Refusal {
            status,
            headers: fields,
            body,
            hint,
            code,
        } => {
            let body: Value = serde_json::from_str(body).unwrap_or_else(|_| body.as_str().into());
            let challenge = fields.iter().find(|(name, _)| name == "www-authenticate");
            let refusal = json!({
                "status": status,
                "code": code,
                "challenge": challenge.map(|(_, value)| value),
                "headers": headers(fields),
                "body": body,
                "hint": hint,
            });
            (Value::Null, refusal)
        }
    };
    let place = explanation.strategy.as_ref();
    let explained = json!({
        "file": explanation.file,
        "backend": explanation.backend,
        "strategy": place.map(|(name, ..)| name),
        "meant": explanation.meant,
        "isDefault": explanation.is_default,
        "path": place.map(|(_, path, _)| path.to_string()),
        "line": place.map(|(.., at)| at.line),
        "column": place.map(|(.., at)| at.column),
        "provider": explanation.provider,
        "assumed": explanation.assumed,
        "calls": calls,
        "outcome": explanation.outcome,
        "backendSees": backend_sees,
        "refusal": refusal,
    });
    let mut text = serde_json::to_string_pretty(&explained).unwrap_or_default();
    text.push('\n');
    text
}
