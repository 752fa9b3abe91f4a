//! The documentation is run: every command line that begins with the tool, and every file it is said
//! to write.

use crate::golden;
use crate::tool::{Workbench, repository, run_in};

/// The pages with commands to run, from the repository's root.
const PAGES: [&str; 5] = [
    "docs/targets/envoy.md",
    "docs/targets/envoy-gateway.md",
    "docs/targets/istio.md",
    "docs/MIGRATION.md",
    "docs/OPERATING.md",
];

fn page(name: &str) -> String {
    std::fs::read_to_string(repository().join(name))
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The commands of a page, continued lines joined.
fn commands(page: &str) -> Vec<String> {
    page.replace("\\\n", " ")
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("$ dist/upstream-inject "))
        .map(|command| {
            command
                .split("  #")
                .next()
                .unwrap_or_default()
                .trim()
                .to_owned()
        })
        .collect()
}

#[test]
fn every_command_works_and_writes_the_file_that_is_there() {
    let mut written = 0;
    for name in PAGES {
        let commands = commands(&page(name));
        assert!(!commands.is_empty(), "{name} shows no command");
        for command in commands {
            let (command, file) = match command.split_once(" > ") {
                Some((command, file)) => (command.to_owned(), Some(file.trim().to_owned())),
                None => (command, None),
            };
            let arguments: Vec<&str> = command.split_whitespace().collect();
            let run = run_in(repository(), &arguments, b"", &[]);
            assert_eq!(run.code, 0, "{name}: {command}\n{run:#?}");
            if let Some(file) = file {
                golden::compare(&file, &run.stdout);
                written += 1;
            }
        }
    }
    assert!(written >= 3, "one file for each target");
}

/// What a page calls a configuration is one.
#[test]
fn every_configuration_shown_passes_check() {
    let mut checked = 0;
    for name in PAGES {
        for block in page(name).split("```yaml\n").skip(1) {
            let block = block.split("```").next().unwrap_or_default();
            let keys = ["authServer:", "incomingAuth:", "outgoingAuth:"];
            if keys.iter().any(|key| block.starts_with(key)) {
                let run = Workbench::with("c.yaml", block).run(&["check", "c.yaml"]);
                assert_eq!(run.code, 0, "{name}: {run:#?}");
                checked += 1;
            }
        }
    }
    assert!(checked > 0);
}

#[test]
fn links_lead_somewhere() {
    for name in PAGES {
        let directory = repository().join(name);
        let directory = directory.parent().expect("in a directory");
        for link in page(name).split("](").skip(1) {
            let target = link.split([')', '#']).next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") {
                assert!(directory.join(target).exists(), "{name}: {target}");
            }
        }
    }
}

#[test]
fn the_json_schema_in_envoy_is_current() {
    let run = Workbench::new().run(&["schema"]).expect(0);
    golden::compare("envoy/upstream-inject.schema.json", &run.stdout);
}

/// What a release is made of is what the page lists.
#[test]
fn the_page_on_shipping_lists_every_released_file() {
    let script = page("build.sh");
    let list = script.split("RELEASED=(").nth(1).expect("the list");
    let names: Vec<&str> = list
        .split(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    assert!(names.len() >= 8, "{names:?}");
    let shipping = page("docs/SHIPPING.md");
    let listed: Vec<&str> = shipping
        .lines()
        .skip_while(|line| !line.starts_with("| released file |"))
        .take_while(|line| line.starts_with('|'))
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    assert_eq!(listed, [&names[..], &["SHA256SUMS"]].concat());
}

/// Why Envoy refused a request, why the filter did, and which request it was: in every access log that
/// is shipped or rendered.
#[test]
fn every_access_log_tells_one_refusal_from_another() {
    let mut logs = 0;
    for folder in ["envoy", "envoy/updates", "docs/targets/rendered"] {
        let folder = repository().join(folder);
        for file in std::fs::read_dir(&folder).expect("a folder") {
            let file = file.expect("readable").path();
            if file.extension().is_none_or(|extension| extension != "yaml") {
                continue;
            }
            let text = std::fs::read_to_string(&file).expect("readable");
            let name = file.display();
            if text.contains("http_connection_manager") && text.contains("filter_chains:") {
                assert!(text.contains("access_log:"), "{name} logs nothing");
            }
            if !text.contains("access_log:") && !text.contains("accessLog:") {
                continue;
            }
            logs += 1;
            for operator in [
                "%RESPONSE_CODE_DETAILS%",
                "%REQ(x-request-id)%",
                "%FILTER_STATE(wasm.upstream_inject.outcome:PLAIN)%",
            ] {
                assert!(text.contains(operator), "{name} lacks {operator}");
            }
        }
    }
    assert!(logs >= 9, "{logs}");
}
