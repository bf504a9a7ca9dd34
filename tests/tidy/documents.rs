//! Documents are true: what they link to exists, and tables that the code knows are the code's.
//!
//! `UPDATE_DOCS=1 cargo test --test tidy` writes the generated tables anew.

use std::path::{Path, PathBuf};

use warren::config::{Overrides, ServerConfig, keys_table};
use warren_core::reason::Reason;

use crate::assert_none;
use crate::source::{read, relative, repository, walk};

const UPDATE_VARIABLE: &str = "UPDATE_DOCS";

/// The project's documents: Markdown at the root, of each folder, and all of `docs`.
fn documents() -> Vec<PathBuf> {
    let mut files = Vec::new();
    walk(repository(), &mut files);
    files.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    files
}

/// The text without fenced blocks, which are examples.
fn prose(text: &str) -> String {
    let mut fenced = false;
    let mut kept = String::new();
    for line in text.lines() {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        if !fenced && !fence {
            kept.push_str(line);
        }
        kept.push('\n');
    }
    kept
}

/// What the text links to by relative path, as `[…](path)`.
fn links(text: &str) -> Vec<&str> {
    let starts = text.match_indices("](").map(|(at, _)| at + 2);
    starts
        .filter_map(|start| text[start..].split([')', ' ', '\n']).next())
        .filter(|target| !target.contains("://") && !target.starts_with("mailto:"))
        .map(|target| target.split('#').next().unwrap_or(target))
        .filter(|target| !target.is_empty())
        .collect()
}

/// Files that the text names in backticks by their path from the root, as `docs/protocol.md`.
fn named_files(text: &str) -> Vec<&str> {
    let quoted = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    quoted
        .filter(|name| name.contains('/') && !name.starts_with(['/', '~', '.']))
        .filter(|name| !name.contains([' ', '*', '<', '…', ':']))
        .filter(|name| name.ends_with(".md") || name.ends_with(".rs"))
        .collect()
}

fn link_findings(path: &str, text: &str, exists: impl Fn(&Path) -> bool) -> Vec<String> {
    let text = prose(text);
    let folder = Path::new(path).parent().unwrap_or(Path::new(""));
    let linked = links(&text).into_iter().map(|link| folder.join(link));
    let named = named_files(&text).into_iter().map(PathBuf::from);
    linked
        .chain(named)
        .filter(|target| !exists(target))
        .map(|target| format!("{path}: {} does not exist", target.display()))
        .collect()
}

fn begin_mark(name: &str) -> String {
    format!("<!-- generated: {name} -->\n")
}

const END_MARK: &str = "<!-- end of generated -->";

/// The text with the generated part `name` replaced; none when it has no such part.
fn with_generated(text: &str, name: &str, table: &str) -> Option<String> {
    let begin = begin_mark(name);
    let start = text.find(&begin)? + begin.len();
    let end = start + text[start..].find(END_MARK)?;
    Some(format!("{}{table}{}", &text[..start], &text[end..]))
}

#[track_caller]
fn check_generated(path: &str, name: &str, table: &str) {
    let file = repository().join(path);
    let text = read(&file);
    let expected = with_generated(&text, name, table)
        .unwrap_or_else(|| panic!("{path} has no part {:?} … {END_MARK:?}", begin_mark(name)));
    if std::env::var_os(UPDATE_VARIABLE).is_some() {
        // Other tests read the document at the same time: they see the old one or the new one.
        let draft = file.with_file_name(format!(".{name}.draft"));
        std::fs::write(&draft, &expected).expect("the document can be written");
        std::fs::rename(&draft, &file).expect("the document can be replaced");
        return;
    }
    assert!(
        text == expected,
        "{path}: the table `{name}` is not what the code says. To write it anew:\n    \
         {UPDATE_VARIABLE}=1 cargo test --test tidy"
    );
}

fn reasons_table() -> String {
    let row = |reason: &Reason| {
        let limit = reason.limit().map_or_else(String::new, |key| format!("`{key}`"));
        let (word, status) = (reason.word(), reason.status());
        let (meaning, advice) = (reason.description(), reason.advice());
        format!("| `{word}` | {status} | {meaning} | {limit} | {advice} |\n")
    };
    let header =
        "| reason | status | meaning | limit | what a client does |\n|---|---|---|---|---|\n";
    [header.to_owned()].into_iter().chain(Reason::ALL.iter().map(row)).collect()
}

#[test]
fn links_lead_somewhere() {
    let exists = |path: &Path| repository().join(path).exists();
    let findings: Vec<String> = documents()
        .iter()
        .flat_map(|path| link_findings(&relative(path), &read(path), exists))
        .collect();
    assert_none(&findings);
}

#[test]
fn the_reasons_are_the_code_s() {
    check_generated("docs/protocol.md", "reasons", &reasons_table());
}

#[test]
fn the_configuration_keys_are_the_code_s() {
    check_generated("docs/configuration.md", "keys", &keys_table());
}

#[test]
fn the_example_configuration_is_valid() {
    let text = read(&repository().join("docs/configuration.md"));
    let examples: Vec<&str> = text
        .split("```toml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap_or(rest))
        .collect();
    assert!(!examples.is_empty());
    for (index, example) in examples.iter().enumerate() {
        let file = std::env::temp_dir().join(format!("warren-{}-{index}.toml", std::process::id()));
        std::fs::write(&file, example).unwrap();
        let loaded = ServerConfig::load(Some(&file), &Overrides::default(), 1);
        std::fs::remove_file(&file).unwrap();
        assert!(loaded.is_ok(), "{}\n{example}", loaded.unwrap_err());
    }
}

#[test]
fn dead_links_are_found() {
    let exists = |path: &Path| path == Path::new("docs/here.md") || path == Path::new("src/a.rs");
    for (text, count) in [
        ("[a](here.md) [b](here.md#part) [c](#part) [d](https://example.org/x.md)", 0),
        ("[a](gone.md)", 1),
        ("[a](../src/gone.rs \"title\")", 1),
        ("see `src/a.rs` and `docs/here.md`", 0),
        ("see `src/gone.rs`", 1),
        ("`a.rs`, `src/*.rs`, `/etc/x.md`, `x y/z.md`", 0),
        ("```\n[a](gone.md)\n```\n", 0),
    ] {
        let findings = link_findings("docs/here.md", text, exists);
        assert_eq!(findings.len(), count, "{text}: {findings:?}");
    }
}

#[test]
fn a_generated_part_is_replaced_and_nothing_else() {
    let text = "a\n<!-- generated: t -->\nold\n<!-- end of generated -->\nb\n";
    let expected = "a\n<!-- generated: t -->\nnew\n<!-- end of generated -->\nb\n";
    let found = with_generated(text, "t", "new\n").unwrap();
    assert_eq!(found, expected);
    assert_eq!(with_generated(&found, "t", "new\n").as_deref(), Some(found.as_str()));
    assert_eq!(with_generated(text, "u", "new\n"), None);
    assert_eq!(with_generated("<!-- generated: t -->\nno end", "t", "new\n"), None);
}
