//! The repository's files, and Rust source without what is not code.

use std::path::{Path, PathBuf};

/// Folders of the repository that hold source.
const SOURCE_FOLDERS: &[&str] =
    &["bench", "core", "net", "perf-scripts", "plugins", "replication", "src", "storage", "tests"];

/// The root of the repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of Rust source.
pub(crate) struct Source {
    /// From the root, with `/`.
    pub(crate) path: String,
    /// As it is.
    pub(crate) text: String,
    /// The same lines with comments and literals blanked, so that braces and words are code.
    pub(crate) code: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), code: code_only(text) }
    }

    /// Whether all of the file is test code.
    pub(crate) fn is_test(&self) -> bool {
        let path = &self.path;
        path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs")
    }

    /// The code without items that are compiled for tests only.
    pub(crate) fn product_code(&self) -> String {
        if self.is_test() { String::new() } else { without_tests(&self.code) }
    }
}

/// Every Rust file.
pub(crate) fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    for folder in SOURCE_FOLDERS {
        walk(&repository().join(folder), &mut paths);
    }
    paths.sort();
    let sources: Vec<Source> = paths
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| Source::new(&relative(path), &read(path)))
        .collect();
    assert!(!sources.is_empty(), "there is source");
    sources
}

/// Every file below a folder, but for hidden ones, build output, and what npm installs.
pub(crate) fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let entry = entry.expect("the repository can be read");
        let name = entry.file_name();
        if name.to_string_lossy().starts_with('.') || name == "target" || name == "node_modules" {
            continue;
        }
        let path = entry.path();
        if path.is_dir() { walk(&path, files) } else { files.push(path) }
    }
}

/// A path from the root.
pub(crate) fn relative(path: &Path) -> String {
    path.strip_prefix(repository()).unwrap_or(path).to_string_lossy().into_owned()
}

/// The text of a file.
pub(crate) fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The number of the line on which a byte stands, from 1.
pub(crate) fn line_of(text: &str, byte: usize) -> usize {
    text[..byte].matches('\n').count() + 1
}

/// Where `word` stands in `code` as a whole word.
pub(crate) fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let continues = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let bytes = code.as_bytes();
        let starts = *at == 0 || !continues(&bytes[at - 1]) || !continues(&word.as_bytes()[0]);
        let last = word.as_bytes()[word.len() - 1];
        let ends = bytes.get(at + word.len()).is_none_or(|next| !continues(next));
        starts && (ends || !continues(&last))
    })
}

/// The byte after the brace that closes the one at `open`; the end when none does.
pub(crate) fn block_end(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return at + 1,
            b'}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

/// Blanks comments, strings and characters; lines stay where they are.
fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_end(bytes, at);
        if end == at {
            at += 1;
            continue;
        }
        for byte in &mut code[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    // What is blanked is blanked whole, from one ASCII byte to another.
    String::from_utf8(code).expect("still UTF-8")
}

/// The end of the comment or literal that begins at `at`; `at` itself when none does.
fn literal_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let in_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    let length = match rest[0] {
        b'/' if rest.starts_with(b"//") => {
            rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len())
        }
        b'/' if rest.starts_with(b"/*") => block_comment_length(rest),
        b'"' => string_length(rest),
        b'r' if !in_word || matches!(bytes[at - 1], b'b' | b'c') => raw_string_length(rest),
        b'\'' => character_length(rest),
        _ => 0,
    };
    at + length
}

fn block_comment_length(rest: &[u8]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

fn string_length(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    rest.len()
}

/// Of `r"…"`, `r#"…"#` and so on; 0 when it is only a word that begins with `r`.
fn raw_string_length(rest: &[u8]) -> usize {
    let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return 0;
    }
    let body = 2 + hashes;
    let closes = |at: &usize| {
        rest[*at] == b'"'
            && rest[at + 1..].iter().take(hashes).filter(|b| **b == b'#').count() == hashes
    };
    (body..rest.len()).find(closes).map_or(rest.len(), |at| at + 1 + hashes)
}

/// Of `'x'`, `'\n'`; 0 for a lifetime.
fn character_length(rest: &[u8]) -> usize {
    if rest.get(1) == Some(&b'\\') {
        let close = rest.iter().skip(3).position(|byte| *byte == b'\'');
        return close.map_or(rest.len(), |index| index + 4);
    }
    // A character of up to four bytes, and the quote: otherwise it is a lifetime.
    let text = String::from_utf8_lossy(&rest[1..rest.len().min(6)]).into_owned();
    match text.chars().next() {
        Some(first) if text[first.len_utf8()..].starts_with('\'') => first.len_utf8() + 2,
        _ => 0,
    }
}

/// Blanks every item under `#[cfg(test)]`.
fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut kept = code.to_owned();
    while let Some(start) = kept.find(MARK) {
        let after = start + MARK.len();
        let stop = kept[after..].find(['{', ';']).map_or(kept.len(), |index| after + index);
        let end = if kept[stop..].starts_with('{') { block_end(&kept, stop) } else { stop + 1 };
        let end = end.min(kept.len());
        let blank: String =
            kept[start..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        kept.replace_range(start..end, &blank);
    }
    kept
}

#[test]
fn comments_and_literals_are_no_code() {
    for (text, code) in [
        ("a // {\nb", "a b"),
        ("a /* { /* } */ \n */ b", "a b"),
        (r#"a("{\"{", b)"#, "a( , b)"),
        (r##"a(r#"{"{"#, b)"##, "a( , b)"),
        (r#"a(br"{", b)"#, "a(b , b)"),
        ("a('{', '\\'', 'ä', '\\u{1}')", "a( , , , )"),
        ("fn a<'b>(r: &'b str) {}", "fn a<'b>(r: &'b str) {}"),
    ] {
        let found = code_only(text);
        assert_eq!(found.split_whitespace().collect::<Vec<_>>().join(" "), code, "{text}");
        // Lines and bytes stay where they are.
        assert_eq!(found.len(), text.len(), "{text}");
        assert_eq!(found.find('\n'), text.find('\n'), "{text}");
    }
}

#[test]
fn test_items_are_no_product_code() {
    let source = Source::new(
        "net/src/a.rs",
        "fn a() {}\n#[cfg(test)]\nmod tests {\n  fn b() {}\n}\n#[cfg(test)]\nmod more;\nfn c() {}\n",
    );
    let code = source.product_code();
    assert_eq!(code.split_whitespace().collect::<Vec<_>>(), ["fn", "a()", "{}", "fn", "c()", "{}"]);
    assert_eq!(code.lines().count(), 8);
    for path in ["tests/tidy/main.rs", "core/src/ids/tests.rs", "net/tests/a.rs"] {
        assert!(Source::new(path, "").is_test(), "{path}");
    }
}

#[test]
fn words_are_whole() {
    assert_eq!(words("libc glibc libc_ libc::a", "libc").collect::<Vec<_>>(), [0, 17]);
    assert_eq!(words("x.unwrap() unwrap()", ".unwrap()").collect::<Vec<_>>(), [1]);
}
