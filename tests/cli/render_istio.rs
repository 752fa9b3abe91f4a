//! What is particular to Istio in what `render` writes, as far as that shows without it: its rules
//! about hosts, ports and names.

use crate::tool::{Run, Workbench};

const EXCHANGES: &str = "\
authServer: {runConfig: {issuer: \"https://vmcp.example.com\", upstreams: [{name: github}]}}
outgoingAuth:
  backends:
    a: {type: token_exchange, tokenExchange: {tokenUrl: \"https://sts.example.com/token\", subjectProviderName: github}}
    b: {type: token_exchange, tokenExchange: {tokenUrl: \"https://sts.example.com:8443/token\", subjectProviderName: github}}
";

fn render(config: &str, arguments: &[&str]) -> Run {
    let all = [
        &[
            "render",
            "c.yaml",
            "--target=istio",
            "--namespace=mcp",
            "--public-url=https://mcp.example.com",
        ],
        arguments,
    ]
    .concat();
    Workbench::with("c.yaml", config).run(&all)
}

/// The documents of this kind.
fn resources<'a>(run: &'a Run, kind: &str) -> Vec<&'a str> {
    let kind = format!("\nkind: {kind}\n");
    run.stdout
        .split("\n---\n")
        .filter(|text| text.contains(&kind))
        .collect()
}

/// The one of them that is about this host.
fn of_host<'a>(run: &'a Run, kind: &str, host: &str) -> &'a str {
    let about = [format!("  host: {host}\n"), format!("  hosts: [{host}]\n")];
    let found: Vec<&str> = resources(run, kind)
        .into_iter()
        .filter(|text| about.iter().any(|line| text.contains(line)))
        .collect();
    match found.as_slice() {
        [one] => one,
        all => panic!("{kind} {host}: {all:#?}\n{}", run.stdout),
    }
}

#[test]
fn a_host_with_two_ports_has_one_rule_in_which_each_port_keeps_its_tls() {
    let identity = "--identity=https://vmcp.mcp.svc.cluster.local:9193";
    let auth_server = "--auth-server-address=vmcp.mcp.svc:4483";
    let run = render(EXCHANGES, &[identity, auth_server]).expect(0);
    let settings = |port: u16, tls: bool| {
        let end = if tls {
            "        # The certificate must be valid for the host, under the system's roots.\n        tls:\n          mode: SIMPLE\n"
        } else {
            "        # Without TLS, as the URL says.\n"
        };
        (format!("      - port: {{number: {port}}}\n"), end)
    };
    for (host, ports) in [
        ("sts.example.com", [(443, true), (8443, true)]),
        ("vmcp.mcp.svc.cluster.local", [(4483, false), (9193, true)]),
    ] {
        let rule = of_host(&run, "DestinationRule", host);
        let name = format!("  name: upstream-inject-{host}-{}\n", ports[0].0);
        assert!(rule.contains(&name), "{rule}");
        let mut rest = rule;
        for (port, tls) in ports {
            let (begin, end) = settings(port, tls);
            let (_, after) = rest
                .split_once(&begin)
                .unwrap_or_else(|| panic!("{begin}{rule}"));
            let (before, after) = after
                .split_once(end)
                .unwrap_or_else(|| panic!("{end}{rule}"));
            assert!(!before.contains("- port:"), "{rule}");
            rest = after;
        }
    }
    let entry = of_host(&run, "ServiceEntry", "sts.example.com");
    for port in [
        "    - {number: 443, name: https-443, protocol: HTTPS}\n",
        "    - {number: 8443, name: https-8443, protocol: HTTPS}\n",
    ] {
        assert!(
            entry.contains(port) || entry.ends_with(port.trim_end()),
            "{entry}"
        );
    }
}

#[test]
fn one_port_that_would_be_asked_with_tls_and_without_is_an_error() {
    let run = render(
        EXCHANGES,
        &[
            "--identity=https://vmcp.mcp.svc.cluster.local:4483",
            "--auth-server-address=vmcp.mcp.svc.cluster.local:4483",
        ],
    )
    .expect(1);
    let expected = "one with TLS and one without; write https:// of both, or of neither";
    assert!(run.stderr.contains(expected), "{}", run.stderr);
}

#[test]
fn hosts_are_written_in_lower_case_and_what_is_none_is_refused() {
    let config = EXCHANGES.replace("https://sts.example.com/", "https://STS.Example.com/");
    let run = render(&config, &["--identity=https://ID.mcp.svc:9193"]).expect(0);
    for part in [
        "cluster: \"outbound|443||sts.example.com\"",
        "  name: upstream-inject-sts.example.com-443\n",
        "  name: upstream-inject-id.mcp.svc.cluster.local-9193\n",
    ] {
        assert!(run.stdout.contains(part), "{part}\n{}", run.stdout);
    }
    // One host, however it is written.
    let entry = of_host(&run, "ServiceEntry", "sts.example.com");
    assert!(entry.contains("number: 443") && entry.contains("number: 8443"));
    let long = "x".repeat(64);
    for (config, expected) in [
        (
            EXCHANGES.replace("sts.example.com/", "sts_2.example.com/"),
            "The STS of a, sts_2.example.com: Istio takes this for no host",
        ),
        (
            EXCHANGES.replace("    a:", "    x_y:"),
            "--backend x_y=… is missing, and no Service can have its name",
        ),
        (
            EXCHANGES.replace("    a:", &format!("    {long}:")),
            "is missing, and no Service can have its name",
        ),
    ] {
        let run = render(&config, &["--identity=https://id.mcp.svc:9193"]).expect(1);
        assert!(run.stderr.contains(expected), "{expected}\n{}", run.stderr);
    }
}

#[test]
fn a_backend_to_which_nothing_begins_tls_is_named() {
    let note = |host: &str| format!("{host}: nothing in here begins TLS to it");
    let of = |address: &str| {
        let arguments = ["--identity=https://id.mcp.svc:9193", address];
        render(EXCHANGES, &arguments).expect(0)
    };
    let run = of("--backend=b=api.example.com:443");
    let expected = note("the backend b, api.example.com:443");
    assert!(run.stderr.contains(&expected), "{}", run.stderr);
    assert!(run.stdout.contains(&expected), "{}", run.stdout);
    for address in [
        "--backend=b=b.mcp.svc.cluster.local:443",
        "--backend=b=api.example.com:80",
        // The STS's own DestinationRule.
        "--backend=b=sts.example.com:8443",
    ] {
        let run = of(address);
        assert!(!run.stderr.contains("begins TLS"), "{}", run.stderr);
    }
    let vmcp = "\
name: tools
outgoingAuth: {default: {type: unauthenticated}}
backends: [{name: docs, url: 'https://docs.example.com:444/mcp', transport: streamable-http}]
";
    let run = render(vmcp, &["--issuer=https://login.example.com"]).expect(0);
    assert!(
        run.stderr.contains(&note("docs.example.com:444")),
        "{}",
        run.stderr
    );
}

#[test]
fn the_document_of_the_longest_path_comes_first_whatever_the_backends_order() {
    let config = format!(
        "{EXCHANGES}challenge: {{backends: {{a: {{resourceMetadata: \
         \"https://mcp.example.com/.well-known/oauth-protected-resource\"}}}}}}\n"
    );
    let at = |run: &Run, text: &str| {
        run.stdout
            .find(text)
            .unwrap_or_else(|| panic!("{text}\n{}", run.stdout))
    };
    let document = "\"/.well-known/oauth-protected-resource";
    let identity = "--identity=https://id.mcp.svc:9193";
    let selector = "--gateway-selector=istio=ingressgateway";
    let run = render(&config, &[identity, selector]).expect(0);
    let exact = |path: &str| format!("uri: {{exact: {document}{path}\"}}");
    assert!(at(&run, &exact("/b")) < at(&run, &exact("")));
    // Each goes in before what is there.
    let run = render(&config, &[identity]).expect(0);
    let exact = |path: &str| {
        format!("match: {{path_separated_prefix: {document}{path}\"}}\n          direct")
    };
    assert!(at(&run, &exact("")) < at(&run, &exact("/b")));
}
