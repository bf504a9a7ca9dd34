//! The structs of the loader and those for plugins in Rust are the header's.

use std::fmt::Write as _;
use std::io::Write as _;
use std::mem::offset_of;
use std::process::{Command, Stdio};

use warren_plugin::raw;

use crate::abi;

/// What the C compiler is to find as it is in Rust: of each struct its size and where its fields are.
macro_rules! claims {
    ($raw:ident: $($struct:ident = $name:ident { $($field:ident),* $(,)? })*) => {{
        let mut claims = String::new();
        $(
            let name = stringify!($name);
            claim(&mut claims, &format!("sizeof({name})"), size_of::<$raw::$struct>());
            $(
                let field = in_c(name, stringify!($field));
                let place = offset_of!($raw::$struct, $field);
                claim(&mut claims, &format!("offsetof({name}, {field})"), place);
            )*
        )*
        claims
    }};
}

macro_rules! claims_of {
    ($raw:ident) => {
        claims! { $raw:
            RawText = warren_text { bytes, length }
            RawValue = warren_value { kind, count, data }
            RawField = warren_field { name, value }
            RawObject = warren_object { size, reserved, version, kind, owner }
            RawBatch = warren_batch {
                size, count, tick, speed, radius, home, dims, numbers, seconds, positions,
                velocities, headings, states,
            }
            RawNeighbour = warren_neighbour { position, velocity, number, is_member }
            RawHost = warren_host {
                size, abi_major, abi_minor, user, time_ms, target, field, fields, object,
                object_field, to_integer, to_number, to_boolean, to_object, set, create, remove,
                emit, reply, fail, neighbours, schedule,
            }
            RawMethod = warren_method {
                size, reserved, name, call, data, priority, attempts_max, limit_ms, deadline_ms,
            }
            RawBehaviour = warren_behaviour { size, reserved, name, think, data }
            RawPlugin = warren_plugin {
                size, abi_major, abi_minor, name, version, methods, method_count, behaviours,
                behaviour_count, self_check,
            }
        }
    };
}

fn claim(claims: &mut String, what: &str, expected: usize) {
    let _ = writeln!(claims, "_Static_assert({what} == {expected}, \"{what} == {expected}\");");
}

/// What the header calls a field.
fn in_c<'f>(name: &str, field: &'f str) -> &'f str {
    match (name, field) {
        ("warren_value", "kind") => "type",
        ("warren_value", "data") => "as",
        _ => field,
    }
}

/// What the compiler says of these claims; nothing when they hold.
fn compiler_says(claims: &str) -> String {
    let include = concat!(env!("CARGO_MANIFEST_DIR"), "/include");
    let mut compiler = Command::new("cc");
    compiler.args(["-std=c11", "-fsyntax-only", "-I", include, "-x", "c", "-"]);
    compiler.stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut compiler = compiler.spawn().expect("there is `cc`");
    let source = format!("#include \"warren_plugin.h\"\n{claims}");
    compiler.stdin.take().unwrap().write_all(source.as_bytes()).unwrap();
    let output = compiler.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.success(), said.is_empty(), "{said}");
    said
}

/// The functions of the host table by minor version: a plugin of a lower one finds all where it was.
const FUNCTIONS: [&[&str]; 2] = [
    &[
        "user",
        "time_ms",
        "target",
        "field",
        "fields",
        "object",
        "object_field",
        "to_integer",
        "to_number",
        "to_boolean",
        "to_object",
        "set",
        "create",
        "remove",
        "emit",
        "reply",
        "fail",
        "neighbours",
    ],
    &["schedule"],
];

#[test]
fn functions_stay_where_they_were() {
    let mut claims = String::new();
    let functions = FUNCTIONS.concat();
    for (number, function) in functions.iter().enumerate() {
        let what = format!("offsetof(warren_host, {function})");
        claim(&mut claims, &what, 8 + number * size_of::<fn()>());
    }
    claim(&mut claims, "sizeof(warren_host)", 8 + functions.len() * size_of::<fn()>());
    assert_eq!(compiler_says(&claims), "");
    assert_eq!(FUNCTIONS.len(), usize::from(abi::ABI_MINOR) + 1);
}

#[test]
fn structs_in_rust_are_those_of_the_header() {
    for claims in [claims_of!(abi), claims_of!(raw)] {
        assert_eq!(compiler_says(&claims), "");
        // Whatever moves is found.
        let said = compiler_says(&claims.replacen("== 16,", "== 24,", 1));
        assert!(said.contains("sizeof(warren_text)"), "{said}");
    }
    assert_eq!((abi::ABI_MAJOR, abi::ABI_MINOR), (raw::ABI_MAJOR, raw::ABI_MINOR));
    let header = include_str!("../../include/warren_plugin.h");
    for (name, number) in [("MAJOR", raw::ABI_MAJOR), ("MINOR", raw::ABI_MINOR)] {
        assert!(header.contains(&format!("#define WARREN_ABI_{name} {number}\n")), "{name}");
    }
}
