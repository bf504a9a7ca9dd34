//! How large files and functions get. The style asks for 600 and 70 lines; here is where it ends.

use crate::assert_none;
use crate::source::{Source, block_end, line_of, sources, words};

/// Lines of a file, its tests not counted.
const FILE_LINES_MAX: usize = 700;
/// Lines of a function, its signature included.
const FUNCTION_LINES_MAX: usize = 80;

/// Functions that may be longer: path, name, and why. An entry that is not needed is a fault.
const FUNCTIONS_EXEMPT: &[(&str, &str, &str)] = &[];

struct Function {
    name: String,
    line: usize,
    lines: usize,
}

/// Every function with a body.
fn functions(code: &str) -> Vec<Function> {
    words(code, "fn")
        .filter_map(|at| {
            let name: String = code[at + 2..]
                .trim_start()
                .chars()
                .take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '$'))
                .collect();
            // `fn(u8)` is a type.
            if name.is_empty() {
                return None;
            }
            let open = body_start(code, at)?;
            let (line, last) = (line_of(code, at), line_of(code, block_end(code, open) - 1));
            Some(Function { name, line, lines: last - line + 1 })
        })
        .collect()
}

/// The brace that opens the body; none when there is only a signature.
fn body_start(code: &str, at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (index, byte) in code.bytes().enumerate().skip(at) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.checked_sub(1)?,
            b'{' if depth == 0 => return Some(index),
            b';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

fn function_findings(source: &Source, exempt: &[(&str, &str, &str)]) -> Vec<String> {
    let path = &source.path;
    let is_exempt = |function: &Function| {
        exempt.iter().any(|(file, name, _)| file == path && *name == function.name)
    };
    functions(&source.product_code())
        .into_iter()
        .filter(|function| function.lines > FUNCTION_LINES_MAX && !is_exempt(function))
        .map(|Function { name, line, lines }| {
            format!("{path}:{line}: `{name}` has {lines} lines, more than {FUNCTION_LINES_MAX}")
        })
        .collect()
}

/// Lines of a file that are not blanked as tests.
fn file_lines(source: &Source) -> usize {
    let product = source.product_code();
    let kept =
        |(code, product): &(&str, &str)| code.trim().is_empty() || !product.trim().is_empty();
    source.code.lines().zip(product.lines()).filter(kept).count()
}

fn file_findings(source: &Source) -> Vec<String> {
    let lines = file_lines(source);
    if source.is_test() || lines <= FILE_LINES_MAX {
        return Vec::new();
    }
    vec![format!("{}: {lines} lines without tests, more than {FILE_LINES_MAX}", source.path)]
}

#[test]
fn files_stay_small() {
    assert_none(&sources().iter().flat_map(file_findings).collect::<Vec<_>>());
}

#[test]
fn functions_stay_small() {
    let findings = sources()
        .iter()
        .flat_map(|source| function_findings(source, FUNCTIONS_EXEMPT))
        .collect::<Vec<_>>();
    assert_none(&findings);
}

#[test]
fn exemptions_are_still_needed() {
    let sources = sources();
    for (path, name, _) in FUNCTIONS_EXEMPT {
        let needed = sources
            .iter()
            .filter(|source| source.path == *path)
            .flat_map(|source| functions(&source.product_code()))
            .any(|function| function.name == *name && function.lines > FUNCTION_LINES_MAX);
        assert!(needed, "{path}: `{name}` needs no exemption");
    }
}

#[test]
fn a_long_file_is_found() {
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "fn t() {}\n".repeat(500));
    let fits = "const A: u8 = 0;\n".repeat(FILE_LINES_MAX) + &tests;
    assert!(file_findings(&Source::new("core/src/a.rs", &fits)).is_empty());
    let long = format!("// One more.\n{fits}");
    assert_eq!(file_findings(&Source::new("core/src/a.rs", &long)).len(), 1);
    assert!(file_findings(&Source::new("core/src/a/tests.rs", &long)).is_empty());
}

#[test]
fn a_long_function_is_found() {
    let body = "    // }\n".repeat(FUNCTION_LINES_MAX - 2);
    let fits = format!("fn short(a: [u8; 2]) -> u8 {{\n{body}}}\n");
    assert!(function_findings(&Source::new("core/src/a.rs", &fits), &[]).is_empty());
    let long = fits.replace("{\n", "{\n    let a: fn(u8);\n");
    let source = Source::new("core/src/a.rs", &long);
    assert_eq!(
        function_findings(&source, &[]),
        ["core/src/a.rs:1: `short` has 81 lines, more than 80"]
    );
    assert!(function_findings(&source, &[("core/src/a.rs", "short", "a table")]).is_empty());
}
