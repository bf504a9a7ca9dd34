//! The bugs that the simulator has to find (`tests/simulator/planted/`) can still be planted: each patch
//! fits the source as it is. To plant them all (`tests/simulator/planted.sh`) takes a build for each.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::assert_none;
use crate::source::{read, relative, repository, walk};

fn patches() -> Vec<PathBuf> {
    let mut files = Vec::new();
    walk(&repository().join("tests/simulator/planted"), &mut files);
    files.retain(|path| path.extension().is_some_and(|extension| extension == "patch"));
    files.sort();
    files
}

/// What Git says against a patch of the source.
fn patch_findings(path: &str, patch: &str) -> Vec<String> {
    let mut git = Command::new("git")
        .args(["apply", "--check", "-"])
        .current_dir(repository())
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("git is installed");
    let mut input = git.stdin.take().expect("it is piped");
    input.write_all(patch.as_bytes()).expect("git reads the patch");
    drop(input);
    let said = git.wait_with_output().expect("git ends");
    if said.status.success() {
        return Vec::new();
    }
    let said = String::from_utf8_lossy(&said.stderr);
    vec![format!("{path}: make it anew, it does not fit the source\n{}", said.trim())]
}

#[test]
fn planted_bugs_fit_the_source() {
    let patches = patches();
    assert!(!patches.is_empty(), "there are patches");
    let findings: Vec<String> =
        patches.iter().flat_map(|path| patch_findings(&relative(path), &read(path))).collect();
    assert_none(&findings);
}

#[test]
fn a_patch_of_what_is_no_more_is_found() {
    let patch = |line: &str| {
        format!(
            "What it breaks.\n\n--- a/tests/tidy/planted.rs\n+++ b/tests/tidy/planted.rs\n\
             @@ -6,3 +6,2 @@\n {line}\n-use std::path::PathBuf;\n use std::process::{{Command, Stdio}};\n"
        )
    };
    let there = "use std::io::Write as _;";
    assert_none(&patch_findings("a.patch", &patch(there)));
    for (text, said) in [
        (patch("use std::io::Read as _;"), "patch does not apply"),
        (patch(there).replace("tidy/planted.rs", "tidy/gone.rs"), "tests/tidy/gone.rs"),
        (String::from("no patch"), "No valid patches"),
    ] {
        let findings = patch_findings("a.patch", &text);
        assert!(findings.len() == 1 && findings[0].contains(said), "{findings:?}");
    }
}
