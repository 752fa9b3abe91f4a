//! Whatever the tool is given, it says what is wrong in one line, with the right exit code, and
//! without a word of a secret.

use crate::tool::{Workbench, repository};

/// Runs every verb on the file.
fn every_verb(bench: &Workbench, file: &str, code: i32, expected: &str) {
    for arguments in [
        &["check", file][..],
        &["convert", file],
        &["render", "--target", "envoy", file],
        &["convert", "--auth-server", file, file],
    ] {
        let run = bench.run(arguments).expect(code);
        let said = format!("{}{}", run.stdout, run.stderr);
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}

#[test]
fn what_cannot_be_read_is_2() {
    let bench = Workbench::new()
        .file("broken.yaml", "a: 1\nb: [\n")
        .file("tab.yaml", "a:\n\tb: 1\n")
        .file("broken.json", "{\"a\": 1,}")
        .file("latin1.yaml", b"a: \xe9\n")
        .file("binary.yaml", [0u8, 159, 146, 150])
        .file("utf16.yaml", b"\xff\xfea\0:\0 \x001\0")
        .file("tagged.yaml", "a: !!python/object x\n")
        .file("alias.yaml", "a: *missing\n");
    for (file, expected) in [
        (
            "missing.yaml",
            "missing.yaml: error: cannot be read: No such file",
        ),
        ("broken.yaml", "broken.yaml:3:1: error: broken YAML: "),
        ("tab.yaml", "tab.yaml:2:"),
        ("broken.json", "broken.json:1:9: error: broken JSON: "),
        (
            "latin1.yaml",
            "latin1.yaml:1:4: error: a byte that is not UTF-8",
        ),
        ("binary.yaml", "error: "),
        ("utf16.yaml", "the file is UTF-16"),
        (
            "tagged.yaml",
            "tagged.yaml:1:4: error: a tag that is not supported",
        ),
        ("alias.yaml", "alias.yaml:1:4: error: broken YAML: "),
    ] {
        every_verb(&bench, file, 2, expected);
    }
}

/// Whatever is in there, nobody has looked at it.
#[test]
fn in_a_folder_what_cannot_be_opened_is_named() {
    let bench = Workbench::new();
    std::fs::create_dir(bench.path("d")).expect("writable");
    let text = "outgoingAuth: {default: {type: unauthenticated}}\n";
    std::fs::write(bench.path("d/ours.yaml"), text).expect("writable");
    let link = |name: &str, to: &str| {
        std::os::unix::fs::symlink(to, bench.path("d").join(name)).expect("writable");
    };
    link("nothing.yaml", "gone.yaml");
    bench.run(&["check", "d"]).expect(0);
    link("circle.yaml", "circle.yaml");
    let run = bench.run(&["check", "d"]).expect(2);
    assert!(
        run.stdout
            .contains("d/circle.yaml: error: cannot be read: "),
        "{run:#?}"
    );
}

#[test]
fn a_folder_without_a_configuration_is_2() {
    let bench = Workbench::new();
    std::fs::create_dir(bench.path("folder")).expect("writable");
    for (arguments, expected) in [
        (
            &["check", "folder"][..],
            "folder: error: nothing in this folder is a configuration",
        ),
        (
            &["convert", "folder"],
            "folder: error: cannot be read: Is a directory",
        ),
        (
            &["render", "--target", "envoy", "folder"],
            "folder: error: cannot be read: Is a directory",
        ),
    ] {
        let run = bench.run(arguments).expect(2);
        let said = format!("{}{}", run.stdout, run.stderr);
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}

#[test]
fn what_is_no_configuration_is_1() {
    let bench = Workbench::new()
        .file("empty.yaml", "")
        .file("list.yaml", "- a\n")
        .file("text.yaml", "just words\n")
        .file("two.yaml", "outgoingAuth: {}\n---\noutgoingAuth: {}\n")
        .file(
            "secret.yaml",
            "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\ndata: {k: aHVudGVyMg==}\n",
        );
    for file in [
        "empty.yaml",
        "list.yaml",
        "text.yaml",
        "two.yaml",
        "secret.yaml",
    ] {
        every_verb(&bench, file, 1, "error: ");
    }
    let run = bench.run(&["check", "two.yaml"]).expect(1);
    assert!(
        run.stdout.starts_with("two.yaml:3:1: error: 2 documents"),
        "{run:#?}"
    );
    let run = bench.run(&["check", "secret.yaml"]).expect(1);
    assert!(run.stdout.contains("upstream-inject convert"), "{run:#?}");
    let envoy = repository().join("docs/targets/rendered/envoy.yaml");
    let envoy = envoy.to_str().expect("UTF-8");
    let run = bench.run(&["render", "-t", "envoy", envoy]).expect(1);
    assert!(run.stderr.contains("a configuration of Envoy"), "{run:#?}");
    let run = bench.run(&["convert", "secret.yaml"]).expect(1);
    assert!(
        run.stderr
            .contains("kind \"Secret\" in \"v1\" cannot be converted"),
        "{run:#?}"
    );
}

#[test]
fn a_key_given_twice_is_an_error_wherever_it_stands() {
    let text = "outgoingAuth:\n  backends:\n    a: {type: unauthenticated}\n    a: {type: unauthenticated}\n";
    let run = Workbench::with("c.yaml", text)
        .run(&["check", "c.yaml"])
        .expect(1);
    assert!(
        run.stdout
            .starts_with("c.yaml:4:5: error: config: outgoingAuth.backends.a: "),
        "{run:#?}"
    );
}

#[test]
fn anchors_and_merge_keys_are_what_they_stand_for() {
    let text = "\
authServer: {runConfig: {issuer: https://a.example, upstreams: [{name: github}]}}
outgoingAuth:
  backends:
    one: &github
      type: upstream_inject
      upstreamInject: {providerName: github}
    two: *github
    three: {<<: *github}
    four: {<<: *github, upstreamInject: {providerName: githib}}
";
    let run = Workbench::with("c.yaml", text)
        .run(&["check", "c.yaml"])
        .expect(1);
    // Three merge keys, of which Envoy's own reader knows nothing.
    assert_eq!(run.lines().len(), 4, "{run:#?}");
    assert!(
        run.stdout.contains(
            "c.yaml:9:42: error: config: outgoingAuth.backends.four.upstreamInject.providerName: V-02"
        ),
        "{run:#?}"
    );
}

#[test]
fn ten_megabytes_and_a_bomb_are_survived() {
    let backends: String = (0..100_000)
        .map(|index| format!("    backend-{index}: {{type: upstream_inject, upstreamInject: {{providerName: p}}}}\n"))
        .collect();
    let head = "authServer: {runConfig: {issuer: https://a.example, upstreams: [{name: p}]}}\noutgoingAuth:\n  backends:\n";
    let padding = format!("# {}\n", "x".repeat(98)).repeat(35_000);
    let big = format!("{padding}{head}{backends}");
    assert!(big.len() > 10 * 1024 * 1024 - 300_000, "{}", big.len());
    let bomb: String = (1..60)
        .map(|level| {
            format!(
                "a{level}: &a{level} [{}]\n",
                format!("*a{},", level - 1).repeat(9)
            )
        })
        .collect();
    let bench = Workbench::with("big.yaml", big).file("bomb.yaml", format!("a0: &a0 x\n{bomb}"));
    bench.run(&["check", "big.yaml"]).expect(0);
    let run = bench.run(&["check", "bomb.yaml"]).expect(2);
    assert!(
        run.stdout.contains("aliases expand to more than"),
        "{run:#?}"
    );
}

#[test]
fn names_that_need_quoting_are_quoted_and_cannot_fake_a_line() {
    let text = "outgoingAuth: {backends: {\"a\\nb.yaml: valid \\u001b[2J\": {type: x}}}";
    let run = Workbench::with("c\u{1b}.yaml", text)
        .run(&["check", "c\u{1b}.yaml"])
        .expect(1);
    // The type, the name itself, and the verdict.
    assert_eq!(run.lines().len(), 3, "{run:#?}");
    assert!(!run.stdout.contains('\u{1b}'), "{run:#?}");
    assert!(
        run.stdout
            .contains(r#"outgoingAuth.backends["a\nb.yaml: valid "#),
        "{run:#?}"
    );
}

/// A secret in every place where one can be, right or wrong.
#[test]
fn no_secret_is_ever_printed() {
    const SECRET: &str = "hunter2-hunter2";
    let exchange = |settings: &str| {
        format!(
            "outgoingAuth: {{backends: {{a: {{type: token_exchange, tokenExchange: {{tokenUrl: \
             https://sts.example/t, {settings}}}}}}}}}"
        )
    };
    let header = |settings: &str| {
        format!(
            "outgoingAuth: {{backends: {{a: {{type: header_injection, headerInjection: {{headerName: \
             X-API-Key, {settings}}}}}}}}}"
        )
    };
    let texts = [
        exchange(&format!("clientId: x, clientSecret: {SECRET}")),
        exchange(&format!("clientSecret: {SECRET}")),
        exchange(&format!("clientId: x, clientSecret: [{SECRET}]")),
        exchange(&format!("clientId: x, clientSecret: {{a: {SECRET}}}")),
        exchange(&format!(
            "clientId: x, clientSecret: {SECRET}, clientSecret: {SECRET}"
        )),
        exchange(&format!(
            "clientId: x, clientSecret: {SECRET}, clientSecretEnv: X"
        )),
        exchange(&format!("clientId: x, clientSecret: \"{SECRET}\\u0001\"")),
        exchange(&format!("clientId: x, clientSecert: {SECRET}")),
        exchange(&format!(
            "clientId: x, clientSecret: &s {SECRET}, audience: *none"
        )),
        exchange(&format!("clientId: x, clientSecret: !vault {SECRET}")),
        exchange(&format!("clientId: x, clientSecret: \"{SECRET}")),
        header(&format!("headerValue: {SECRET}")),
        header(&format!("headerValue: \"{SECRET}ü\"")),
        header(&format!("headerValue: [{SECRET}]")),
        header(&format!("headerValue: {SECRET}\n{SECRET}: {SECRET}")),
        format!("{{\"outgoingAuth\": \"{SECRET}"),
        format!("{{\"outgoingAuth\": {SECRET}}}"),
        format!(
            "apiVersion: toolhive.stacklok.dev/v1beta1\nkind: MCPExternalAuthConfig\nmetadata: \
             {{name: a}}\nspec: {{type: headerInjection, headerInjection: {{headerName: X-API-Key, \
             value: {SECRET}}}}}\n"
        ),
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: a}}\nstringData: {{key: {SECRET}}}\n"
        ),
    ];
    for text in texts {
        let bench = Workbench::with("c.yaml", &text);
        for arguments in [
            &["check", "c.yaml"][..],
            &["check", "--env", "c.yaml"],
            &["check", "--format", "json", "c.yaml"],
            &["check", "--format", "sarif", "c.yaml"],
            &["check", "--format", "github", "c.yaml"],
            &["check", "--as", "vmcp", "c.yaml"],
            &["explain", "--backend", "a", "c.yaml"],
            &["explain", "--backend", "a", "--format", "json", "c.yaml"],
            &["convert", "c.yaml"],
            &[
                "convert",
                "--format",
                "json",
                "--auth-server",
                "c.yaml",
                "c.yaml",
            ],
            &["render", "--target", "envoy", "c.yaml"],
            &["render", "--target", "envoy-gateway", "c.yaml"],
            &["render", "--target", "istio", "c.yaml"],
        ] {
            let run = bench.run(arguments);
            let said = format!("{}{}", run.stdout, run.stderr);
            assert!(
                !said.contains("hunter2"),
                "{arguments:?} on {text}:\n{said}"
            );
            assert!(!said.is_empty());
        }
    }
}

/// A key where the header's name belongs is a key nonetheless.
#[test]
fn a_header_name_is_not_repeated() {
    for name in ["hunter2-hunter2", "Bearer hunter2", "X-hunter2-a-b-c-d"] {
        let text = format!(
            "outgoingAuth: {{backends: {{a: {{type: header_injection, headerInjection: {{headerName: \
             \"{name}\", headerValue: X-API-Key}}}}}}}}"
        );
        let bench = Workbench::with("c.yaml", &text);
        for format in ["text", "json", "github", "sarif"] {
            let run = bench.run(&["check", "--format", format, "c.yaml"]);
            assert!(run.stdout.contains("headerName"), "{run:#?}");
            assert!(!run.stdout.contains("hunter2"), "{run:#?}");
        }
    }
}

#[test]
fn the_standard_input_has_one_reader() {
    let bench = Workbench::with(
        "c.yaml",
        "outgoingAuth: {default: {type: unauthenticated}}\n",
    );
    for (arguments, expected) in [
        (
            &["explain", "-", "--backend", "a", "--metadata", "-"][..],
            "--metadata - and FILE -: the standard input is one of the two",
        ),
        (
            &["convert", "-", "--auth-server", "-"],
            "--auth-server - and FILE -: the standard input is one of the two",
        ),
        (&["check", "-", "-"], "FILE - and FILE -"),
        (
            &["check", "c.yaml", "--auth-server", "-"],
            "--auth-server -: name a file",
        ),
        (
            &["render", "-t", "envoy", "c.yaml", "--auth-server", "-"],
            "--auth-server -: name a file",
        ),
        (
            &["explain", "c.yaml", "--backend", "a", "--auth-server", "-"],
            "--auth-server -: name a file",
        ),
    ] {
        let run = bench.run(arguments).expect(2);
        assert!(run.stderr.contains(expected), "{expected}\n{run:#?}");
        assert_eq!(run.stdout, "");
    }
}

#[test]
fn a_wrong_command_line_is_2_and_help_is_0() {
    let bench = Workbench::new();
    for arguments in [
        &[][..],
        &["check"],
        &["chekc", "a"],
        &["check", "--format", "xml", "a"],
        &["render", "a"],
        &["render", "--target", "nginx", "a"],
        &["render", "--target", "envoy", "--backend", "nothing", "a"],
        &["render", "--target", "istio", "--namespace", "{{>x}}", "a"],
    ] {
        bench.run(arguments).expect(2);
    }
    for arguments in [
        &["--help"][..],
        &["--version"],
        &["check", "--help"],
        &["help", "render"],
    ] {
        let run = bench.run(arguments).expect(0);
        assert!(!run.stdout.is_empty() && run.stderr.is_empty(), "{run:#?}");
    }
}
