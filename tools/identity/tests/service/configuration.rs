//! The files it takes, and what it says of those that it does not.

use serde_json::{Value, json};

use crate::bed::service::{Bed, Directory, Service, run_config, run_to_its_end, standalone};
use crate::bed::session::{put, row};

fn lines(directory: &Directory, file: &str, more: &[&str]) -> (Option<i32>, String) {
    let config = directory.path().join(file).display().to_string();
    let mut all = vec!["--config", &config, "--admin", "off"];
    all.extend(more);
    let (code, _, log) = run_to_its_end(&all);
    (code, log)
}

#[tokio::test]
async fn every_form_of_the_configuration_is_taken() {
    let bed = Bed::new().await;
    put(
        &mut bed.redis.connect().await,
        "S",
        "github",
        &row("github", |_| {}),
    )
    .await;
    let config = run_config(&bed.provider, &standalone(&bed.redis));
    let vmcp = json!({
        "name": "tools", "groupRef": "tools",
        "incomingAuth": {"type": "oidc", "oidc": {"issuer": "x", "clientId": "", "audience": "y"}},
        "outgoingAuth": {"source": "inline", "backends": {
            "b": {"type": "token_exchange", "tokenExchange": {
                "tokenUrl": "https://sts.example", "clientId": "c", "clientSecretEnv": "NOT_SET_HERE",
            }},
        }},
    });
    let ours = json!({
        "authServer": {"runConfig": config},
        "outgoingAuth": {"default": {"type": "unauthenticated"}},
        "challenge": {"realm": "ours"},
    });
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "vmcp"},
        "data": {"config.yaml": vmcp.to_string(), "authserver-config.yaml": config.to_string()},
    });
    // As `kubectl get configmaps -o yaml` prints it, with a neighbour.
    let neighbour = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "other"},
        "data": {"config.yaml": "server: {port: 80}"},
    });
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [neighbour, map]});
    let directories: Vec<Directory> = (0..7).map(|_| Directory::new()).collect();
    directories[0].write("plugin.yaml", &ours.to_string());
    directories[1].write("config.yaml", &vmcp.to_string());
    directories[1].write("authserver-config.yaml", &config.to_string());
    directories[2].write("config.yaml", &vmcp.to_string());
    let elsewhere = directories[2].write("elsewhere.yaml", &config.to_string());
    directories[3].write("bare.yaml", &config.to_string());
    directories[4].write("map.yaml", &format!("# comment\n{map}"));
    directories[5].write("stream.yaml", &format!("---\n{neighbour}\n---\n{map}"));
    directories[6].write("list.yaml", &list.to_string());
    let elsewhere = elsewhere.display().to_string();
    for (directory, file, more) in [
        (&directories[0], "plugin.yaml", vec![]),
        (&directories[1], "config.yaml", vec![]),
        (
            &directories[2],
            "config.yaml",
            vec!["--auth-server", &elsewhere],
        ),
        (&directories[3], "bare.yaml", vec![]),
        (&directories[4], "map.yaml", vec![]),
        (&directories[5], "stream.yaml", vec![]),
        (&directories[6], "list.yaml", vec![]),
    ] {
        let file = directory.path().join(file).display().to_string();
        let jwks = bed.provider.url("/jwks.json");
        let mut all = vec!["--config", &file, "--jwks-url", &jwks];
        all.extend(more);
        let service = Service::start(&all).await;
        let answer = service.ask(&bed.token("S"), "github", &[]).await;
        assert_eq!(answer.token(), "github-at", "{file}");
    }
}

/// What is made of a good configuration.
type Change<'a> = &'a dyn Fn(&mut Value);

#[tokio::test]
async fn every_problem_is_told_in_a_line_with_its_place() {
    let bed = Bed::new().await;
    let good = run_config(&bed.provider, &standalone(&bed.redis));
    let directory = Directory::new();
    let judge = |change: Change<'_>| {
        let mut config = good.clone();
        change(&mut config);
        directory.write("authserver-config.yaml", &config.to_string());
        lines(&directory, "authserver-config.yaml", &[])
    };
    let none = directory.write("none.pem", "no certificate\n");
    let no_authority = |config: &mut Value| {
        config["storage"]["redis_config"]["tls"] = json!({"ca_cert_file": none});
    };
    let cases: Vec<(Change<'_>, &str)> = vec![
        (&|c| c["issuer"] = json!(null), "issuer: missing"),
        (
            &|c| c["issuer"] = json!("mcp.example.com"),
            "issuer: must be an absolute",
        ),
        (&|c| c["upstreams"] = json!([]), "upstreams: V-05"),
        (
            &|c| c["upstreams"][1]["name"] = json!("corp"),
            "upstreams[1].name: V-05",
        ),
        (
            &|c| c["upstreams"][0]["type"] = json!("saml"),
            "upstreams[0].type: unknown type",
        ),
        (
            &|c| c["upstreams"][0]["oidc_config"]["issuer_url"] = json!("http://idp.example.com"),
            "upstreams[0].oidc_config.issuer_url: http to another machine",
        ),
        (
            &|c| c["upstreams"][0]["oidc_config"]["client_id"] = json!(null),
            "upstreams[0].oidc_config.client_id: missing",
        ),
        (
            &|c| c["upstreams"][0]["oidc_config"]["client_secret_env_var"] = json!("NOT_SET"),
            "upstreams[0].oidc_config.client_secret_env_var: environment variable NOT_SET is not set",
        ),
        (
            &|c| c["upstreams"][1]["oauth2_config"]["client_secret_file"] = json!("/nowhere"),
            "upstreams[1].oauth2_config.client_secret_file: /nowhere cannot be read",
        ),
        (
            &|c| {
                c["upstreams"][1]["oauth2_config"]["dcr_config"] =
                    json!({"discovery_url": "https://x"})
            },
            "upstreams[1].oauth2_config.client_id: given beside dcr_config",
        ),
        (
            &|c| c["storage"] = json!(null),
            "storage.type: memory lives inside",
        ),
        (
            &|c| c["storage"]["type"] = json!("etcd"),
            "storage.type: unknown type",
        ),
        (
            &|c| c["storage"]["redis_config"]["addr"] = json!("localhost"),
            "storage.redis_config.addr: must be HOST:PORT",
        ),
        (
            &|c| {
                c["storage"]["redis_config"]["sentinel_config"] =
                    json!({"master_name": "m", "sentinel_addrs": ["a:1"]})
            },
            "storage.redis_config.addr: given beside sentinel_config",
        ),
        (
            &|c| c["storage"]["redis_config"]["dial_timeout"] = json!("5 seconds"),
            "storage.redis_config.dial_timeout: must be a duration",
        ),
        (
            &|c| {
                c["storage"]["redis_config"]["acl_user_config"]["password_env_var"] =
                    json!("NOT_SET")
            },
            "storage.redis_config.acl_user_config.password_env_var: environment variable NOT_SET",
        ),
        (
            &|c| c["storage"]["redis_config"]["tls"] = json!({"ca_cert_file": "/nowhere.pem"}),
            "storage.redis_config.tls.ca_cert_file: /nowhere.pem cannot be read",
        ),
        (&no_authority, "storage.redis_config.tls.ca_cert_file: "),
        (
            &|c| c["allowed_audiences"] = json!("x"),
            "allowed_audiences: must be a list",
        ),
    ];
    for (change, line) in cases {
        let (code, log) = judge(change);
        assert_eq!(code, Some(2), "{line}: {log}");
        assert!(
            log.contains(&format!("ERROR config: {line}")),
            "wanted {line} in {log}"
        );
    }
    let (code, log) = judge(&|c| {
        c["issuer"] = json!(5);
        c["storage"]["type"] = json!("x");
    });
    assert_eq!(
        (code, log.matches("ERROR config: ").count()),
        (Some(2), 2),
        "all at once: {log}"
    );
}

#[tokio::test]
async fn files_that_are_none_are_told() {
    let bed = Bed::new().await;
    let directory = Directory::new();
    let config = run_config(&bed.provider, &standalone(&bed.redis));
    directory.write("broken.yaml", "issuer: [\n");
    directory.write("empty.yaml", "");
    directory.write("vmcp.yaml", "outgoingAuth: {}\n");
    let twice = "issuer: https://a\nissuer: https://b\nupstreams: [{name: x, name: y}]\n";
    directory.write("twice.yaml", twice);
    directory.write(
        "both.yaml",
        &json!({"authServer": {"runConfig": config}}).to_string(),
    );
    let other = directory
        .write("other.yaml", &config.to_string())
        .display()
        .to_string();
    for (file, more, text) in [
        ("missing.yaml", vec![], "cannot be read"),
        ("broken.yaml", vec![], "line "),
        ("empty.yaml", vec![], "nothing is in it"),
        ("vmcp.yaml", vec![], "no auth server"),
        ("twice.yaml", vec![], "issuer: given twice"),
        ("twice.yaml", vec![], "upstreams[0].name: given twice"),
        (
            "both.yaml",
            vec!["--auth-server", &other],
            "only one may be given",
        ),
    ] {
        let (code, log) = lines(&directory, file, &more);
        assert_eq!(code, Some(2), "{file}: {log}");
        assert!(
            log.contains("ERROR config: ") && log.contains(text),
            "{file}: {log}"
        );
        assert!(log.contains(file), "{file}: {log}");
    }
}

#[tokio::test]
async fn with_sessions_from_a_file_providers_need_no_more_than_their_names() {
    let bed = Bed::new().await;
    let jwks = bed.provider.url("/jwks.json");
    let sessions = bed
        .directory
        .write("sessions.yaml", "sessions: {S: {github: gho_of-s}}\n");
    let config = |name: &str, run_config: &str| {
        let text = format!("authServer:\n  runConfig: {run_config}\n");
        let file = bed.directory.write(name, &text);
        file.display().to_string()
    };
    let sessions = sessions.display().to_string();
    for (name, run_config) in [
        (
            "names.yaml",
            "{upstreams: [{name: github}, {name: corporate-idp}]}",
        ),
        (
            "secrets.yaml",
            "{issuer: 'https://mcp.example.com', upstreams: [{name: github, type: oauth2, \
             oauth2_config: {client_id: x, client_secret_env_var: NOT_SET_HERE}}]}",
        ),
    ] {
        let config = config(name, run_config);
        let arguments = ["--sessions", &sessions, "--config", &config];
        let service = Service::start(&[&arguments[..], &["--jwks-url", &jwks]].concat()).await;
        let token = bed.token("S");
        assert_eq!(service.ask(&token, "github", &[]).await.token(), "gho_of-s");
        let answer = service.ask(&token, "gitlab", &[]).await;
        assert_eq!(answer.error(), "invalid_target");
    }
    for (name, run_config, more, problem) in [
        (
            "names.yaml",
            "{upstreams: [{name: github}]}",
            &[][..],
            "--jwks-url: needed",
        ),
        (
            "none.yaml",
            "{upstreams: []}",
            &["--jwks-url", &jwks],
            "authServer.runConfig.upstreams: V-05: not a single upstream",
        ),
        (
            "twins.yaml",
            "{upstreams: [{name: github}, {name: github}]}",
            &["--jwks-url", &jwks],
            "authServer.runConfig.upstreams[1].name: V-05: a second",
        ),
    ] {
        config(name, run_config);
        let arguments = [&["--sessions", sessions.as_str()][..], more].concat();
        let (code, log) = lines(&bed.directory, name, &arguments);
        assert_eq!(code, Some(2), "{log}");
        assert!(log.contains(problem), "{log}");
    }
}

/// As with a configuration that names it.
#[tokio::test]
async fn a_provider_whose_only_row_is_deleted_is_a_provider_without_a_token() {
    let bed = Bed::new().await;
    let text = "sessions: {S: {github: null, corp: x}}\n";
    let sessions = bed.directory.write("sessions.yaml", text);
    let sessions = sessions.display().to_string();
    let jwks = bed.provider.url("/jwks.json");
    let service = Service::start(&["--sessions", &sessions, "--jwks-url", &jwks]).await;
    let token = bed.token("S");
    let answer = service.ask(&token, "github", &[]).await;
    assert_eq!(answer.error(), "upstream_token_not_found");
    assert_eq!(service.ask(&token, "corp", &[]).await.token(), "x");
    let answer = service.ask(&token, "gitlab", &[]).await;
    assert_eq!(answer.error(), "invalid_target");
}

#[test]
fn what_is_wrong_with_the_command_line_is_told_in_the_format_that_it_asks_for() {
    for (arguments, is_json) in [
        (&["--log-format", "json", "--bogus"][..], true),
        (&["--bogus", "--log-format=json"], true),
        (&["--bogus", "--log-format", "text"], false),
        (&["--log-format", "xml"], false),
        (&["--bogus"], false),
    ] {
        let (code, _, log) = run_to_its_end(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {log}");
        assert_eq!(log.lines().count(), 1, "{arguments:?}: {log}");
        let record = serde_json::from_str::<Value>(&log);
        assert_eq!(record.is_ok(), is_json, "{arguments:?}: {log}");
        if let Ok(record) = record {
            assert_eq!(record["level"], "error", "{log}");
            assert!(
                record["message"].as_str().unwrap().starts_with("config: "),
                "{log}"
            );
        }
    }
}

#[test]
fn a_command_line_that_is_wrong_is_told_in_a_line() {
    let directory = Directory::new();
    let sessions = directory.write("sessions.yaml", "sessions: {A: {g: x}}\n");
    let good = ["--sessions", sessions.to_str().unwrap(), "--jwks-url"];
    for (more, text) in [
        (&["--config"][..], "--jwks-url"),
        (&["http://127.0.0.1:1/", "--unknown"], "--unknown"),
        (
            &["http://127.0.0.1:1/", "--store-timeout", "5"],
            "--store-timeout",
        ),
        (
            &["http://127.0.0.1:1/", "--client-id", "x"],
            "--client-secret-env",
        ),
        (
            &["http://127.0.0.1:1/", "--payload-key", ""],
            "--payload-key: empty",
        ),
        (
            &["http://127.0.0.1:1/", "--health-check-path", "healthz"],
            "--health-check-path: ",
        ),
        (&["ftp://127.0.0.1/"], "--jwks-url: must be"),
    ] {
        let arguments = [&good[..], more].concat();
        let (code, _, log) = run_to_its_end(&arguments);
        assert_eq!(code, Some(2), "{more:?}: {log}");
        assert_eq!(log.lines().count(), 1, "{more:?}: {log}");
        assert!(
            log.contains("ERROR config: ") && log.contains(text),
            "{log}"
        );
    }
    assert_eq!(run_to_its_end(&[]).0, Some(2));
    for asked in ["--help", "--version"] {
        let (code, out, log) = run_to_its_end(&[asked]);
        assert_eq!(code, Some(0), "{asked}");
        assert!(!out.is_empty() && log.is_empty(), "{asked}: {log}");
    }
}

#[test]
fn a_file_of_sessions_is_read_with_the_same_care() {
    let directory = Directory::new();
    for (text, line) in [
        (
            "sessions: {A: {g: x}}\nisuer: https://x\n",
            "isuer: unknown key",
        ),
        (
            "issuer: 5\nsessions: {A: {g: x}}\n",
            "issuer: must be a text",
        ),
        ("sessions: [x]\n", "sessions: must be a map"),
        ("session: {}\n", "sessions: must be a map"),
        ("sessions: {A: [x]}\n", "sessions[0]: must be a map"),
        ("sessions: {A: {g: 5}}\n", "sessions[0].g: must be a token"),
        (
            "sessions: {A: {\"\": x}}\n",
            "sessions[0]: a provider without",
        ),
        (
            "sessions: {\"a:b\": {g: x}}\n",
            "sessions[0]: a session's id",
        ),
        (
            "sessions: {A: {g: {acces_token: x}}}\n",
            "sessions[0].g.acces_token: unknown key",
        ),
        (
            "sessions: {A: {g: {expires_at: 1.5}}}\n",
            "sessions[0].g.expires_at: must be seconds",
        ),
        (
            "sessions: {A: {g: {provider_id: h}}}\n",
            "sessions[0].g.provider_id: must be the provider",
        ),
        (
            "sessions: {A: {g: x}}\n---\nsessions: {}\n",
            "(root): must be one document",
        ),
        (
            "sessions: {A: {g: x}, A: {}}\n",
            "sessions: a key given twice",
        ),
        ("sessions: {\n", "(root): "),
    ] {
        let file = directory.write("sessions.yaml", text);
        let file = file.to_str().unwrap();
        let arguments = ["--sessions", file, "--jwks-url", "http://127.0.0.1:1/"];
        let (code, _, log) = run_to_its_end(&arguments);
        assert_eq!(code, Some(2), "{text}: {log}");
        let wanted = format!("ERROR config: {line}");
        assert!(log.contains(&wanted), "wanted {wanted} in {log}");
        assert!(log.contains("sessions.yaml"), "{log}");
        assert!(
            !log.contains("a:b"),
            "a session's id is a credential: {log}"
        );
    }
}

#[test]
fn a_problem_in_a_session_is_told_at_its_line_without_the_sessions_id() {
    let directory = Directory::new();
    let text = "sessions:\n  SESSIONID:\n    g:\n      access_token: a\n      expires_at: soon\n";
    let file = directory.write("sessions.yaml", text);
    let file = file.to_str().unwrap();
    let arguments = ["--sessions", file, "--jwks-url", "http://127.0.0.1:1/"];
    let (code, _, log) = run_to_its_end(&arguments);
    assert_eq!(code, Some(2), "{log}");
    let wanted = "sessions[0].g.expires_at: must be seconds since 1970 (";
    assert!(log.contains(wanted), "wanted {wanted} in {log}");
    assert!(log.contains("sessions.yaml:5:7)"), "{log}");
    assert!(!log.contains("SESSIONID"), "{log}");
}

#[test]
fn a_misspelt_key_is_named_beside_the_error_that_it_causes() {
    let directory = Directory::new();
    let text = "schema_version: v0.1.0\nissuer: https://mcp.example.com\nupstreams:\n- name: corp\n  \
                type: oidc\n  oidc_config: {issuer_url: \"https://login.example.net\", clientid: cid}\n\
                storage: {type: redis, redis_config: {addr: \"r:6379\", key_prefix: \"p:\"}}\n";
    directory.write("authserver-config.yaml", text);
    let (code, log) = lines(&directory, "authserver-config.yaml", &[]);
    assert_eq!(code, Some(2), "{log}");
    for line in [
        "ERROR config: upstreams[0].oidc_config.client_id: missing",
        "WARN config: upstreams[0].oidc_config.clientid: unknown key, which ToolHive drops without a \
         word; did you mean client_id?",
    ] {
        assert!(log.contains(line), "wanted {line} in {log}");
    }
}

#[tokio::test]
async fn what_toolhive_would_drop_without_a_word_is_said() {
    let bed = Bed::new().await;
    let mut config = run_config(&bed.provider, &standalone(&bed.redis));
    config["allowedAudiences"] = json!(["x"]);
    config["upstreams"][0]["oidc_config"]["client_secret_env"] = json!("X");
    config["storage"]["redis_config"]["keyprefix"] = json!("X");
    config["issuer"] = json!("https://mcp.example.com/");
    let config = bed
        .directory
        .write("authserver-config.yaml", &config.to_string());
    let service = Service::start(&["--config", &config.display().to_string()]).await;
    let log = service.log();
    for line in [
        "WARN config: allowedAudiences: unknown key, which ToolHive drops without a word; did you mean allowed_audiences?",
        "WARN config: upstreams[0].oidc_config.client_secret_env: unknown key",
        "WARN config: storage.redis_config.keyprefix: unknown key, which ToolHive drops without a word; did you mean key_prefix?",
        "WARN config: issuer: a slash at its end",
    ] {
        assert!(log.contains(line), "wanted {line} in {log}");
    }
}
