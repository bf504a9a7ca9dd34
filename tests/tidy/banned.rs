//! Words that stand in certain places only.

use crate::assert_none;
use crate::source::{Source, line_of, read, relative, repository, sources, walk, words};

/// Words that are banned from product code, where, and why.
struct Ban {
    words: &'static [&'static str],
    /// Whether the rule holds in the file of this path.
    holds: fn(&str) -> bool,
    /// Whether it holds in test code too.
    in_tests: bool,
    why: &'static str,
}

const BANS: &[Ban] = &[
    Ban {
        words: &["Instant::now", "SystemTime::now"],
        holds: |path| {
            // Clients of a server live by their own time.
            let client = ["bench/", "src/demo", "tests/integration/"];
            path != "src/clock.rs" && !client.iter().any(|prefix| path.starts_with(prefix))
        },
        in_tests: true,
        why: "time is a value; src/clock.rs reads it once a turn",
    },
    Ban {
        words: &[".unwrap()"],
        holds: |path| path.starts_with("net/src/"),
        in_tests: false,
        why: "what a client sends must never panic; an invariant says so with expect",
    },
    Ban {
        words: &["todo!", "unimplemented!", "dbg!"],
        holds: |_| true,
        in_tests: true,
        why: "code is finished when it is here",
    },
    Ban {
        words: &["io_uring", "libc"],
        holds: is_server_outside_io,
        in_tests: true,
        why: "net/src/io is the one place with system calls",
    },
    Ban {
        words: &["unsafe"],
        holds: |path| is_server_outside_io(path) && path != "src/allocation_counter.rs",
        in_tests: true,
        why: "net/src/io is the one place that the compiler does not check, but for an allocator",
    },
    Ban {
        words: &["println!", "print!", "eprintln!", "eprint!"],
        holds: |path| {
            !path.starts_with("bench/") && path != "src/main.rs" && !path.starts_with("src/demo")
        },
        in_tests: false,
        why: "what happens is told by the log and the metrics; a terminal is main's and demo's",
    },
];

/// Whether the file is the server's, but not of the one place with system calls. The harness is no
/// part of the server.
fn is_server_outside_io(path: &str) -> bool {
    let server = ["core/src/", "net/src/", "src/"];
    server.iter().any(|folder| path.starts_with(folder))
        && !path.starts_with("net/src/io/")
        && path != "net/src/io.rs"
}

/// Folders whose name says nothing.
const FOLDERS_BANNED: &[&str] = &["common", "helpers", "misc", "util", "utils"];

fn word_findings(source: &Source) -> Vec<String> {
    let product = source.product_code();
    let mut findings = Vec::new();
    for ban in BANS.iter().filter(|ban| (ban.holds)(&source.path)) {
        let code = if ban.in_tests { &source.code } else { &product };
        for word in ban.words {
            for at in words(code, word) {
                let (path, line, why) = (&source.path, line_of(code, at), ban.why);
                findings.push(format!("{path}:{line}: `{word}`: {why}"));
            }
        }
    }
    findings
}

/// Notes to oneself, in comments too.
fn note_findings(source: &Source) -> Vec<String> {
    // Put together here, so that this file has none.
    let notes = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    notes
        .iter()
        .flat_map(|note| words(&source.text, note).map(move |at| (note, at)))
        .map(|(note, at)| {
            format!(
                "{}:{}: {note}: do it, or open an issue",
                source.path,
                line_of(&source.text, at)
            )
        })
        .collect()
}

/// Words that stand for what is still to be written, in a document.
fn placeholder_findings(path: &str, text: &str) -> Vec<String> {
    ["FIGURES", "TBD", concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")]
        .iter()
        .flat_map(|word| words(text, word).map(move |at| (word, line_of(text, at))))
        .map(|(word, line)| format!("{path}:{line}: {word}: write what belongs here"))
        .collect()
}

fn name_finding(path: &str) -> Option<String> {
    let (folders, file) = path.rsplit_once('/').unwrap_or(("", path));
    if file == "mod.rs" {
        return Some(format!("{path}: a module's file stands beside its folder and has its name"));
    }
    let folder = folders.split('/').find(|folder| FOLDERS_BANNED.contains(folder))?;
    Some(format!("{path}: a folder called `{folder}` says nothing about what is in it"))
}

#[test]
fn banned_words_stand_nowhere() {
    assert_none(&sources().iter().flat_map(word_findings).collect::<Vec<_>>());
}

#[test]
fn nothing_is_left_for_later() {
    assert_none(&sources().iter().flat_map(note_findings).collect::<Vec<_>>());
}

#[test]
fn the_readme_is_complete() {
    let text = read(&repository().join("README.md"));
    assert_none(&placeholder_findings("README.md", &text));
}

#[test]
fn files_and_folders_are_named_for_what_they_hold() {
    let mut files = Vec::new();
    walk(repository(), &mut files);
    let findings: Vec<String> =
        files.iter().filter_map(|path| name_finding(&relative(path))).collect();
    assert_none(&findings);
}

#[test]
fn each_banned_word_is_found_where_it_is_banned_only() {
    for (path, text, count) in [
        ("core/src/a.rs", "fn a() { std::time::Instant::now(); }", 1),
        ("tests/simulator/a.rs", "fn a() { SystemTime::now(); }", 1),
        ("src/clock.rs", "fn a() { Instant::now(); SystemTime::now(); }", 0),
        ("bench/src/a.rs", "fn a() { Instant::now(); }", 0),
        ("core/src/a.rs", "/// Not `Instant::now`.\nconst A: &str = \"Instant::now\";", 0),
        ("net/src/gateway/json.rs", "fn a() { b.unwrap(); }", 1),
        ("net/src/gateway/json.rs", "fn a() { b.unwrap_or(1); }", 0),
        ("net/src/gateway/json.rs", "#[cfg(test)]\nmod tests { fn a() { b.unwrap(); } }", 0),
        ("net/src/gateway/tests.rs", "fn a() { b.unwrap(); }", 0),
        ("src/a.rs", concat!("fn a() { to", "do!() }"), 1),
        ("net/src/a.rs", "use io_uring::x; fn a() { unsafe { libc::close(1) } }", 3),
        ("net/src/io/ring.rs", "use io_uring::x; fn a() { unsafe { libc::close(1) } }", 0),
        ("core/src/a.rs", "fn a() { unsafe { libc::close(1) } }", 2),
        ("core/src/lib.rs", "#![forbid(unsafe_code)]", 0),
        ("src/shard_thread.rs", "use io_uring::x; fn a() { unsafe { libc::close(1) } }", 3),
        ("src/allocation_counter.rs", "unsafe impl A for B { fn a() { libc::malloc(1) } }", 1),
        ("bench/src/clock.rs", "fn a() { unsafe { libc::close(1) } }", 0),
        ("src/admin.rs", "fn a() { println!(); eprintln!(); }", 2),
        ("src/demo.rs", "fn a() { println!(); }", 0),
    ] {
        let findings = word_findings(&Source::new(path, text));
        assert_eq!(findings.len(), count, "{path}: {text}: {findings:?}");
    }
}

#[test]
fn notes_are_found_in_comments() {
    let text = format!("// {}: finish\n", concat!("TO", "DO"));
    assert_eq!(note_findings(&Source::new("core/src/a.rs", &text)).len(), 1);
}

#[test]
fn placeholders_are_found_in_documents() {
    for (text, count) in [
        ("## Figures\n\nFIGURES\n", 1),
        ("## Figures\n\n5.1 us per user: figures of `./run bench`\n", 0),
        ("latency: TBD ms, TBD users\n", 2),
        (concat!("TO", "DO: write; XX", "X us\n"), 2),
    ] {
        let findings = placeholder_findings("README.md", text);
        assert_eq!(findings.len(), count, "{text}: {findings:?}");
    }
}

#[test]
fn names_that_say_nothing_are_found() {
    for (path, found) in [
        ("core/src/rooms/mod.rs", true),
        ("net/src/utils/a.rs", true),
        ("tests/common/a.rs", true),
        ("core/src/rooms.rs", false),
        ("docs/common.md", false),
    ] {
        assert_eq!(name_finding(path).is_some(), found, "{path}");
    }
}
