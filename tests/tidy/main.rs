//! Rules of the project that are tests: who may depend on whom, how large files and functions
//! get, which calls stand where, and that documents are true. They read the source; nothing runs.
//!
//! Each rule is a function from text to findings, with a test on a small bad example beside it.

mod banned;
mod documents;
mod layers;
mod planted;
mod reasons;
mod sizes;
mod source;

/// Fails with all findings at once.
#[track_caller]
fn assert_none(findings: &[String]) {
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}
