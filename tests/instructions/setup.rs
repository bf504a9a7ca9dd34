//! What the numbers depend on besides the code: compiler, C library, Valgrind, and what the
//! processor makes the libraries choose.

use std::process::Command;

/// One line that differs when counts may differ although the code is the same.
pub(crate) fn describe() -> String {
    let incremental = std::env::var("CARGO_INCREMENTAL").is_ok_and(|value| value == "1");
    let build = if incremental { "incremental" } else { "whole" };
    let avx2 = if std::arch::is_x86_feature_detected!("avx2") { "AVX2" } else { "no AVX2" };
    format!("{}, {build}, {}, {}, {avx2}", compiler(), library(), valgrind())
}

/// The compiler that made this program, by what it has left in it.
fn compiler() -> String {
    let path = std::env::current_exe().expect("the program has a path");
    let bytes = std::fs::read(path).expect("the program can be read");
    let mark = b"rustc version ";
    let start = bytes.windows(mark.len()).position(|window| window == mark);
    let version = start.map(|start| &bytes[start + mark.len()..]).unwrap_or_default();
    let end = version.iter().position(|byte| !byte.is_ascii_graphic()).unwrap_or(0);
    format!("rustc {}", String::from_utf8_lossy(&version[..end]))
}

fn library() -> String {
    first_line("getconf", "GNU_LIBC_VERSION")
}

fn valgrind() -> String {
    first_line("valgrind", "--version")
}

/// The first line of what a command prints; that there is none is a set-up too.
fn first_line(command: &str, argument: &str) -> String {
    let printed = Command::new(command).arg(argument).output().map(|output| output.stdout);
    let printed = String::from_utf8(printed.unwrap_or_default()).unwrap_or_default();
    printed.lines().next().map_or_else(|| format!("no {command}"), str::to_owned)
}
