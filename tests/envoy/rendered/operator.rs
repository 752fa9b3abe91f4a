//! The whole way of a file that ToolHive's users have, by kind, one trial each: `convert | check
//! --strict | render | envoy --mode validate`.

// What is refused has been tried where the table lives.
#[path = "../../cli/operator/files.rs"]
#[allow(dead_code)]
mod files;

use bed::Envoy;
use files::Outcome;
use libtest_mimic::Trial;

use super::{render, tls, tool};
use crate::trial::trial;

/// A trial for each kind of file that converts.
pub fn trials() -> Vec<Trial> {
    files::files()
        .into_iter()
        .filter(|(_, _, outcome)| matches!(outcome, Outcome::Converts(_)))
        .map(|(what, text, _)| {
            let name: String = what
                .chars()
                .map(|letter| match letter.is_ascii_alphanumeric() {
                    true => letter,
                    false => '_',
                })
                .collect();
            let test = name.clone();
            trial("operator", &name, move || Box::pin(is_accepted(test, text)))
        })
        .collect()
}

async fn is_accepted(name: String, resources: String) {
    let converted = tool(&["convert", "-"], &resources);
    assert_eq!(converted.code, Some(0), "{}", converted.stderr);
    let configuration = converted.stdout;
    let checked = tool(&["check", "--strict", "-"], &configuration);
    assert_eq!(checked.code, Some(0), "{}{configuration}", checked.stdout);

    let authority = tls::Authority::new();
    let ca_file = format!("--ca-file={}", authority.file().display());
    let free = ["--listen=127.0.0.1:0", "--admin=127.0.0.1:0", &ca_file].map(str::to_owned);
    let bootstrap = render("envoy", &configuration, &free);

    let variables = variables(&resources);
    // Kubernetes makes one of another, where a header's value is more than the secret.
    let variables: Vec<_> = variables
        .iter()
        .filter(|name| bootstrap.contains(name.as_str()))
        .map(|name| (name.as_str(), "x"))
        .collect();
    let verdict = Envoy::validate(&name, &bootstrap, &variables).expect("Envoy runs");
    assert!(verdict.accepted, "{}\n{bootstrap}", verdict.output);
    // Without one of them Envoy refuses it: what was validated is the filter's configuration too.
    if let [_, rest @ ..] = variables.as_slice() {
        let verdict = Envoy::validate(&name, &bootstrap, rest).expect("Envoy runs");
        assert!(!verdict.accepted, "a variable is missing\n{bootstrap}");
    }
}

/// The environment variables that the conversion asks for.
fn variables(resources: &str) -> Vec<String> {
    let printed = tool(&["convert", "--print", "json", "-"], resources);
    let json: serde_json::Value = serde_json::from_str(&printed.stdout).expect("JSON");
    let names = json["env"].as_array().expect("a list").iter();
    names
        .map(|variable| variable["name"].as_str().expect("a name").to_owned())
        .collect()
}
