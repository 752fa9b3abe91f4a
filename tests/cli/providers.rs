//! The page on vendors: each block in it is a strategy that `check` has nothing to say against.

use crate::tool::{Workbench, repository};

const PAGE: &str = "docs/providers.md";

/// The blocks of the page, each with the heading that it stands under.
fn blocks(page: &str) -> Vec<(&str, &str)> {
    page.split("\n## ")
        .skip(1)
        .flat_map(|section| {
            let heading = section.lines().next().unwrap_or_default();
            section
                .split("```yaml\n")
                .skip(1)
                .map(move |block| (heading, block.split("```").next().unwrap_or_default()))
        })
        .collect()
}

/// A configuration with this block under `outgoingAuth.backends`.
fn configuration(block: &str) -> String {
    let mut text =
        String::from("authServer:\n  runConfig:\n    issuer: https://vmcp.example.com\n");
    text.push_str("    upstreams:\n");
    let mut providers: Vec<&str> = block
        .lines()
        .filter_map(|line| line.trim().split_once(": "))
        .filter(|(key, _)| key.to_lowercase().ends_with("providername"))
        .map(|(_, name)| name)
        .collect();
    providers.sort_unstable();
    providers.dedup();
    assert!(!providers.is_empty(), "whose token? {block}");
    for name in providers {
        text.push_str(&format!("    - name: {name}\n"));
    }
    text.push_str("outgoingAuth:\n  backends:\n");
    for line in block.lines() {
        text.push_str(&format!("    {line}\n"));
    }
    text
}

#[test]
fn every_block_passes_check_and_is_rendered() {
    let page = std::fs::read_to_string(repository().join(PAGE)).expect("the page");
    let blocks = blocks(&page);
    assert!(blocks.len() >= 13, "{} blocks", blocks.len());
    for (vendor, block) in blocks {
        let bench = Workbench::with("c.yaml", configuration(block));
        let run = bench.run(&["check", "c.yaml"]);
        assert_eq!(run.code, 0, "{vendor}: {run:#?}");
        assert!(!run.stdout.contains("warning"), "{vendor}: {run:#?}");
        // Keys and certificates are not at hand here either.
        for target in ["envoy", "envoy-gateway", "istio"] {
            let run = bench.run(&["render", "--target", target, "c.yaml"]);
            assert_eq!(run.code, 0, "{vendor}, {target}: {run:#?}");
        }
    }
}

/// Each vendor of the table has a section with a block, what to register, and what its refusals become.
#[test]
fn every_vendor_of_the_table_has_all_that_it_takes() {
    let page = std::fs::read_to_string(repository().join(PAGE)).expect("the page");
    let vendors: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| ["))
        .filter_map(|row| row.split_once(']'))
        .map(|(vendor, _)| vendor)
        .collect();
    assert!(vendors.len() >= 13, "{vendors:?}");
    for vendor in vendors {
        let heading = format!("\n## {vendor}");
        let (_, section) = page
            .split_once(&heading)
            .unwrap_or_else(|| panic!("no section on {vendor}"));
        let section = section.split("\n## ").next().unwrap_or_default();
        for part in ["```yaml\n", "- **Register**:", "- **Refusals**:"] {
            assert!(section.contains(part), "{vendor} lacks {part}");
        }
    }
}
