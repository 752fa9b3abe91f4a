//! How findings are told: codes, excerpts, machine formats, what counts and what is silenced.

use crate::tool::{Workbench, repository, run_in};
use serde_json::Value;

/// One error and one warning.
const TEXT: &str = "\
outgoingAuth:
  backends:
    a:
      type: header_injection
      headerInjection: {headerName: X-API-Key, headerValue: hunter2-hunter2}
    b:
      type: upstream_inject
      upstreamInject: {providerName: github}
";
/// The same without the error.
const WARNS: &str = "\
outgoingAuth:
  backends:
    a:
      type: header_injection
      headerInjection: {headerName: X-API-Key, headerValue: hunter2-hunter2}
";

#[test]
fn a_finding_shows_its_line_its_code_and_where_the_page_explains_it() {
    let run = Workbench::with("c.yaml", TEXT)
        .run(&["check", "c.yaml"])
        .expect(1);
    assert!(
        run.stdout
            .contains("\n     6 |     b: …\n       |     ^ [V-01] docs/findings.md#v-01\n")
            || run
                .stdout
                .contains("\n     6 |     b:\n       |     ^ [V-01] docs/findings.md#v-01\n"),
        "{}",
        run.stdout
    );
    assert!(run.stdout.contains("[plain-secret]"), "{}", run.stdout);
    assert!(!run.stdout.contains("hunter2"), "{}", run.stdout);
}

#[test]
fn strict_makes_warnings_count_and_ignore_silences_one() {
    let bench = Workbench::with("c.yaml", WARNS);
    bench.run(&["check", "c.yaml"]).expect(0);
    let run = bench.run(&["check", "--strict", "c.yaml"]).expect(1);
    assert!(run.stdout.contains("c.yaml: invalid"), "{run:#?}");
    let run = bench
        .run(&["check", "--strict", "--ignore", "plain-secret", "c.yaml"])
        .expect(0);
    assert!(!run.stdout.contains("plain-secret"), "{run:#?}");
    let run = bench
        .run(&["check", "--ignore", "plain-secrt", "c.yaml"])
        .expect(2);
    assert!(
        run.stderr.contains("did you mean plain-secret?"),
        "{run:#?}"
    );
    // What the filter refuses stays refused.
    let bench = Workbench::with("c.yaml", TEXT);
    bench
        .run(&["check", "--ignore", "V-01", "c.yaml"])
        .expect(1);
}

/// The options hold for every verb: nothing is written where a warning counts.
#[test]
fn every_verb_takes_them() {
    let bench = Workbench::with("c.yaml", WARNS);
    let run = bench
        .run(&[
            "render", "--target", "envoy", "--strict", "--format", "json", "c.yaml",
        ])
        .expect(1);
    assert_eq!(run.stdout, "");
    let report: Value = serde_json::from_str(&run.stderr).expect("JSON");
    assert_eq!(report["files"][0]["file"], "c.yaml");
    for arguments in [
        &["convert", "--format", "github", "c.yaml"][..],
        &["render", "--target", "envoy", "--format", "sarif", "c.yaml"],
        &["explain", "--backend", "a", "--format", "json", "c.yaml"],
        &["schema", "--format", "json", "--strict"],
    ] {
        assert_ne!(bench.run(arguments).code, 2, "{arguments:?}");
    }
}

#[test]
fn a_pull_request_gets_workflow_commands() {
    let run = Workbench::with("a,b.yaml", TEXT)
        .run(&["check", "--format", "github", "a,b.yaml"])
        .expect(1);
    let line = run
        .stdout
        .lines()
        .find(|line| line.starts_with("::error "))
        .unwrap_or_else(|| panic!("{run:#?}"));
    assert!(
        line.starts_with("::error file=a%2Cb.yaml,line=6,col=5,title=V-01::config: outgoingAuth."),
        "{line}"
    );
    assert!(
        run.stdout.contains("::warning file=a%2Cb.yaml,line=5,"),
        "{run:#?}"
    );
}

#[test]
fn sarif_names_rules_and_places() {
    let run = Workbench::with("a b.yaml", TEXT)
        .run(&["check", "--format", "sarif", "a b.yaml"])
        .expect(1);
    let log: Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    let results = run["results"].as_array().expect("a list");
    let rules: Vec<&str> = run["tool"]["driver"]["rules"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|rule| rule["id"].as_str())
        .collect();
    for result in results {
        let rule = result["ruleId"].as_str().expect("a text");
        assert!(rules.contains(&rule), "{rule}");
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "a%20b.yaml");
        assert!(place["region"]["startLine"].as_u64() > Some(0));
    }
    assert!(results.iter().any(|result| result["level"] == "error"));
}

#[test]
fn every_code_that_is_shown_has_a_section() {
    let page = std::fs::read_to_string(repository().join("docs/findings.md")).expect("there");
    for code in [
        "V-02",
        "plain-secret",
        "backend-list",
        "envoy-door",
        "syntax",
    ] {
        assert!(page.contains(&format!("\n## {code}\n")), "{code}");
    }
}

#[test]
fn folders_are_searched_and_what_is_not_ours_is_left_alone() {
    let bench = Workbench::new();
    for folder in ["d", "d/deep", "d/.git", "d/node_modules"] {
        std::fs::create_dir_all(bench.path(folder)).expect("writable");
    }
    for (name, text) in [
        (
            "d/good.yaml",
            "outgoingAuth: {default: {type: unauthenticated}}\n",
        ),
        ("d/deep/bad.yml", "outgoingAuth: {}\n"),
        ("d/package.json", "{\"name\": \"x\"}\n"),
        ("d/broken-template.yaml", "{{ if }}\na: [\n"),
        ("d/.git/bad.yaml", "outgoingAuth: {}\n"),
        ("d/node_modules/bad.yaml", "outgoingAuth: {}\n"),
    ] {
        std::fs::write(bench.path(name), text).expect("writable");
    }
    let run = bench.run(&["check", "d"]).expect(1);
    assert_eq!(
        run.lines().last().copied(),
        Some("2 files: 1 valid, 1 invalid, 0 unreadable"),
        "{run:#?}"
    );
}

#[test]
fn in_a_folder_what_is_ours_is_told_by_what_it_holds() {
    const VMCP: &str = "name: a\noutgoingAuth: {backends: {a: {type: upstream_inject, upstreamInject: \
                        {providerName: githib}}}}\n";
    const AUTH_SERVER: &str =
        "issuer: https://a.example\nupstreams: [{name: github, type: oauth2}]\n";
    let indented =
        |text: &str| -> String { text.lines().map(|line| format!("    {line}\n")).collect() };
    let config_map = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: vmcp\n  ownerReferences: [{{apiVersion: \
         toolhive.stacklok.dev/v1beta1, kind: VirtualMCPServer, name: a, uid: a}}]\ndata:\n  config.yaml: |\n\
         {}  authserver-config.yaml: |\n{}",
        indented(VMCP),
        indented(AUTH_SERVER)
    );
    let with_schema = format!(
        "compositeTools: [{{name: x, parameters: {{\"$schema\": \"https://json-schema.org/draft-07\"}}}}]\n{VMCP}"
    );
    let listed: String = config_map
        .lines()
        .map(|line| format!("  {line}\n"))
        .collect();
    let list = format!("apiVersion: v1\nkind: List\nitems:\n-\n{listed}");
    // What is ours, and what is wrong in it.
    for (name, text, wrong) in [
        ("cm.yaml", config_map.as_str(), "V-02"),
        ("list.yaml", &list, "V-02"),
        ("config.yaml", &with_schema, "V-01"),
        ("auth.yaml", AUTH_SERVER, "upstreams[0]"),
        (
            "slip.yaml",
            "outgoing_auth: {}\n",
            "outgoing_auth: unknown key",
        ),
        (
            "broken.yaml",
            "outgoingAuth: {backends: {\n",
            "broken.yaml:",
        ),
        ("colon.yaml", "outgoingAuth\n  backends: [\n", "colon.yaml:"),
        (
            "filter.yaml",
            "http_filters: [{name: upstream_inject, typed_config: {\n",
            "filter.yaml:",
        ),
        (
            "envoy.yaml",
            "http_filters: [{name: envoy.filters.http.router}]\nstat_prefix: upstream_inject\n",
            "the filter is nowhere in here",
        ),
        (
            "map.yaml",
            "kind: ConfigMap\napiVersion: v1\ndata:\n  config.yaml: 'outgoingAuth: ['\n",
            "data[\"config.yaml\"]",
        ),
    ] {
        let bench = Workbench::new();
        std::fs::create_dir(bench.path("d")).expect("writable");
        std::fs::write(bench.path("d").join(name), text).expect("writable");
        let run = bench.run(&["check", "d"]);
        assert_ne!(run.code, 0, "{name}: {run:#?}");
        assert!(
            run.stdout.contains(wrong),
            "{name}: wanted {wrong} in {run:#?}"
        );
        // Named it is judged as it is in the folder.
        let named = bench.run(&["check", &format!("d/{name}")]);
        assert_eq!(named.stdout, run.stdout, "{name}");
    }
    // What is not, though it names us.
    let bench = Workbench::new();
    std::fs::create_dir(bench.path("d")).expect("writable");
    for (name, text) in [
        (
            "ours.yaml",
            "outgoingAuth: {default: {type: unauthenticated}}\n",
        ),
        (
            "kustomization.yaml",
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [upstream-inject.yaml]\n",
        ),
        (
            "docker-compose.yaml",
            "services: {identity: {image: \"example.com/upstream-inject-identity:1\"}}\n",
        ),
        (
            "rules.yaml",
            "groups: [{name: upstream-inject, rules: [{record: upstream_inject:requests:total}]}]\n",
        ),
        (
            "resource.yaml",
            "apiVersion: toolhive.stacklok.dev/v1beta1\nkind: MCPExternalAuthConfig\nspec: {type: upstreamInject}\n",
        ),
        (
            "deployment.yaml",
            "apiVersion: apps/v1\nkind: Deployment\nspec: {args: [\"--config=/etc/authserver-config.yaml\"]}\n",
        ),
        (
            "others-config-map.yaml",
            "apiVersion: v1\nkind: ConfigMap\ndata: {config.yaml: \"scrape_configs: [upstream_inject]\"}\n",
        ),
        (
            "route.yaml",
            "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {annotations: \
             {gateway.envoyproxy.io/upstream-inject-backend: a}}\n",
        ),
        (
            "dex.yaml",
            "issuer: https://dex.example\nstorage: {type: memory}\n",
        ),
        ("bootstrap.yaml", "static_resources: {listeners: []}\n"),
        (
            "split.yaml",
            "dynamic_resources: {lds_config: {path: lds.yaml}}\nstats_config: {stats_tags: [{regex: \
             upstream_inject}]}\nstatic_resources: {listeners: [{http_filters: []}]}\n",
        ),
        (
            "cds.yaml",
            "resources: [{\"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster, name: \
             upstream-inject-identity}]\n",
        ),
        (
            "template.yaml",
            "image: {{ .Values.authServer.image }}\nargs: [/etc/authserver-config.yaml\n",
        ),
        ("names.yaml", "authServerImage: [\nname: upstream_inject\n"),
    ] {
        std::fs::write(bench.path("d").join(name), text).expect("writable");
    }
    let run = bench.run(&["check", "d"]).expect(0);
    assert_eq!(
        run.lines(),
        ["d/ours.yaml: valid (read as a plugin configuration)"],
        "{run:#?}"
    );
    // Named it is a mistake.
    bench.run(&["check", "d/rules.yaml"]).expect(1);
}

#[test]
fn what_this_project_ships_passes_as_folders() {
    let run = run_in(repository(), &["check", "envoy", "docs"], b"", &[]).expect(0);
    for file in [
        "envoy/demo.yaml: valid",
        "envoy/updates/listener.yaml: valid",
        "docs/targets/example.yaml: valid",
        "docs/targets/rendered/istio.yaml: valid",
    ] {
        assert!(run.stdout.contains(file), "{file}: {run:#?}");
    }
}

#[test]
fn what_is_written_keeps_links_and_modes_and_never_its_own_input() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let bench = Workbench::with("real.json", "{}");
    std::fs::set_permissions(
        bench.path("real.json"),
        std::fs::Permissions::from_mode(0o600),
    )
    .expect("ours");
    symlink("real.json", bench.path("link.json")).expect("a link");
    bench.run(&["schema", "-o", "link.json"]).expect(0);
    assert!(bench.path("link.json").is_symlink());
    assert!(bench.read("real.json").contains("\"$id\""));
    let mode = std::fs::metadata(bench.path("real.json"))
        .expect("there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let bench = Workbench::with(
        "c.yaml",
        "outgoingAuth: {default: {type: unauthenticated}}\n",
    );
    let run = bench
        .run(&["render", "-t", "envoy", "c.yaml", "-o", "./c.yaml"])
        .expect(2);
    assert!(run.stderr.contains("it is what was read"), "{run:#?}");
    assert!(bench.read("c.yaml").starts_with("outgoingAuth"));
}

/// What one backend costs must not depend on how many there are: the time of the process, for a file
/// and for one four times as long.
#[test]
fn twice_the_findings_take_twice_the_time() {
    const FEW: usize = 5_000;
    let warned = |index: usize| {
        format!(
            "{{type: header_injection, headerInjection: {{headerName: X-Key, headerValue: v{index}}}}}"
        )
    };
    let unserved = |_| "{type: aws_sts, awsSts: {region: eu-central-1}}".to_owned();
    let unknown = |_| "{type: unauthenticaded}".to_owned();
    for (what, code, backend) in [
        ("warned of", 0, &warned as &dyn Fn(usize) -> String),
        ("not served", 1, &unserved),
        ("misspelt", 1, &unknown),
    ] {
        let taken = |count: usize| {
            let backends: String = (0..count)
                .map(|index| format!("    b{index}: {}\n", backend(index)))
                .collect();
            // Half of them are listed with an address too, as in a whole vMCP file.
            let listed: String = (0..count / 2)
                .map(|index| format!("  - {{name: b{index}, url: \"ftp://b{index}\"}}\n"))
                .collect();
            let text = format!(
                "incomingAuth: {{type: anonymous}}\noutgoingAuth:\n  backends:\n{backends}backends:\n\
                 {listed}"
            );
            let bench = Workbench::with("c.yaml", text);
            let (run, taken) = bench.measure(&["check", "c.yaml"]);
            let run = run.expect(code);
            assert!(run.lines().len() > count, "{what}: {}", run.lines().len());
            taken
        };
        let (few, many) = (taken(FEW), taken(4 * FEW));
        assert!(
            many < few * 8,
            "{what}: {FEW} take {few:?}, four times as many {many:?}"
        );
    }
}

#[test]
fn each_verb_shows_two_examples() {
    let bench = Workbench::new();
    for verb in ["check", "convert", "render", "explain", "schema"] {
        let run = bench.run(&["help", verb]).expect(0);
        let examples = run.stdout.split("Examples:").nth(1).unwrap_or_default();
        assert!(
            examples.matches("upstream-inject ").count() >= 2,
            "{run:#?}"
        );
    }
}
