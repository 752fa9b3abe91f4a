//! The tool as it is called: what it prints, and how it ends.
#![allow(clippy::panic)]

use std::process::{Command, Output};

fn artifact(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_artifact"))
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{error}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn what_it_does_not_understand_is_answered_with_its_usage() {
    for arguments in [&[][..], &["shrink"], &["info"], &["info", "a", "b"]] {
        let output = artifact(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).starts_with("usage: artifact finish"));
        assert_eq!(text(&output.stdout), "", "{arguments:?}");
    }
}

#[test]
fn what_it_cannot_read_is_named() {
    for verb in ["info", "exports", "imports", "weigh"] {
        let output = artifact(&[verb, "no/such.wasm"]);
        assert_eq!(output.status.code(), Some(1), "{verb}");
        let said = text(&output.stderr);
        assert!(said.starts_with("error: reading no/such.wasm: "), "{said}");

        // This is no wasm.
        let output = artifact(&[verb, env!("CARGO_BIN_EXE_artifact")]);
        assert_eq!(output.status.code(), Some(1), "{verb}");
        assert!(text(&output.stderr).starts_with("error: "), "{verb}");
    }
}

#[test]
fn capabilities_are_printed_a_name_a_line() {
    let output = artifact(&["capabilities"]);
    assert!(output.status.success());
    let printed = text(&output.stdout);
    let names: Vec<&str> = printed.lines().collect();
    for needed in ["proxy_on_configure", "proxy_http_call", "proxy_log"] {
        assert!(names.contains(&needed), "{needed}: {printed}");
    }
}
