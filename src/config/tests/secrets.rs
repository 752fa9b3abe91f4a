//! No secret in a line, in a plan's `Debug` output, or in that of a document.

use super::{Variables, cases, lines, parse, plan};

#[test]
fn no_line_and_no_debug_output_holds_a_secret() {
    for case in cases::all() {
        let root = parse(case.text.as_bytes()).unwrap();
        let outcome = plan(&root, &Variables);
        for shown in [
            lines(&outcome.errors).join("\n"),
            lines(&outcome.warnings).join("\n"),
            format!("{outcome:?}"),
            format!("{root:?}"),
        ] {
            assert!(!shown.contains("CANARY"), "{}\n{shown}", case.text);
            assert!(!shown.contains("4711"), "{}\n{shown}", case.text);
        }
    }
}
