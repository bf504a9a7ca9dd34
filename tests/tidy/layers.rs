//! Who may know whom: the table of `ARCHITECTURE.md`, held against the manifests.

use std::collections::BTreeMap;

use toml::{Table, Value};

use crate::assert_none;
use crate::source::{read, repository};

/// A package of the workspace, and what it may depend on.
struct Layer {
    folder: &'static str,
    package: &'static str,
    /// Packages of the workspace, for tests too.
    siblings: &'static [&'static str],
    /// Other packages; none: any. Tests may use more.
    externals: Option<&'static [&'static str]>,
}

const LAYERS: &[Layer] = &[
    Layer {
        folder: "core",
        package: "warren-core",
        siblings: &[],
        externals: Some(&[
            "base64",
            "ed25519-dalek",
            "hashbrown",
            "libm",
            "rand_chacha",
            "rkyv",
            "siphasher",
            "subtle",
        ]),
    },
    Layer {
        folder: "net",
        package: "warren-net",
        siblings: &["warren-core"],
        externals: Some(&[
            "base64",
            "httparse",
            "io-uring",
            "libc",
            "memchr",
            "quick-xml",
            "rustls",
            "serde",
            "serde_json",
            "sha1",
            "thiserror",
            "tracing",
            "zerocopy",
        ]),
    },
    Layer {
        folder: "storage",
        package: "warren-storage",
        siblings: &["warren-core"],
        externals: Some(&[
            "crc32c",
            "crossbeam-channel",
            "futures-util",
            "glommio-ng",
            "rkyv",
            "rocksdb",
            "rtrb",
            "rustix",
            "serde_json",
            "thiserror",
            "tokio",
            "tokio-postgres",
        ]),
    },
    Layer {
        folder: "replication",
        package: "warren-replication",
        siblings: &["warren-core"],
        externals: Some(&["foca", "rkyv", "thiserror"]),
    },
    Layer {
        folder: "plugins",
        package: "warren-plugins",
        siblings: &["warren-core", "warren-plugin"],
        externals: Some(&["libloading", "rustix", "sha2", "thiserror", "tracing"]),
    },
    // What plugins are built with: it stands alone.
    Layer { folder: "plugins/sdk", package: "warren-plugin", siblings: &[], externals: Some(&[]) },
    Layer {
        folder: ".",
        package: "warren",
        siblings: &[
            "warren-core",
            "warren-net",
            "warren-plugins",
            "warren-replication",
            "warren-storage",
        ],
        externals: None,
    },
    Layer {
        folder: "bench",
        package: "warren-bench",
        siblings: &["warren-core", "warren-net", "warren-plugins"],
        externals: None,
    },
];

/// Packages that only these may use directly.
const RESERVED: &[(&str, &[&str])] = &[
    ("io-uring", &["warren-net"]),
    ("glommio-ng", &["warren-storage"]),
    ("rocksdb", &["warren-storage"]),
    // There for Postgres alone, whose client needs its clock and sockets.
    ("tokio", &["warren", "warren-storage"]),
    ("tokio-postgres", &["warren-storage"]),
];

/// What a manifest depends on: names of packages, and whether for tests only.
fn dependencies(manifest: &Table, renamed: &BTreeMap<String, String>) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    let targets = manifest.get("target").and_then(Value::as_table).into_iter().flatten();
    let tables = targets.filter_map(|(_, target)| target.as_table()).chain([manifest]);
    for table in tables {
        for (section, for_tests) in
            [("dependencies", false), ("build-dependencies", false), ("dev-dependencies", true)]
        {
            let names = table.get(section).and_then(Value::as_table).into_iter().flatten();
            found
                .extend(names.map(|(name, value)| (package_name(name, value, renamed), for_tests)));
        }
    }
    found
}

/// A dependency may have another name here than its package.
fn package_name(name: &str, value: &Value, renamed: &BTreeMap<String, String>) -> String {
    let own = value.get("package").and_then(Value::as_str);
    own.or_else(|| renamed.get(name).map(String::as_str)).unwrap_or(name).to_owned()
}

/// The names that the workspace gives to packages of another name.
fn renamed(root: &Table) -> BTreeMap<String, String> {
    let shared = root.get("workspace").and_then(|workspace| workspace.get("dependencies"));
    shared
        .and_then(Value::as_table)
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| {
            Some((name.clone(), value.get("package")?.as_str()?.to_owned()))
        })
        .collect()
}

fn findings(layer: &Layer, manifest: &Table, renamed: &BTreeMap<String, String>) -> Vec<String> {
    let package = layer.package;
    let is_sibling = |name: &str| LAYERS.iter().any(|layer| layer.package == name);
    let refused = |(name, for_tests): &(String, bool)| {
        let name = name.as_str();
        if is_sibling(name) {
            return !layer.siblings.contains(&name);
        }
        let reserved = RESERVED.iter().find(|(reserved, _)| *reserved == name);
        if reserved.is_some_and(|(_, owners)| !owners.contains(&package)) {
            return true;
        }
        !for_tests && layer.externals.is_some_and(|allowed| !allowed.contains(&name))
    };
    dependencies(manifest, renamed)
        .into_iter()
        .filter(refused)
        .map(|(name, _)| format!("{package} may not depend on {name}: see ARCHITECTURE.md"))
        .collect()
}

fn manifest(folder: &str) -> Option<Table> {
    let path = repository().join(folder).join("Cargo.toml");
    path.exists().then(|| read(&path).parse().expect("a manifest is TOML"))
}

#[test]
fn packages_depend_on_lower_layers_only() {
    let root = manifest(".").expect("the root has a manifest");
    let renamed = renamed(&root);
    let mut all = Vec::new();
    for layer in LAYERS {
        let Some(manifest) = manifest(layer.folder) else { continue };
        assert_eq!(manifest["package"]["name"].as_str(), Some(layer.package), "{}", layer.folder);
        all.extend(findings(layer, &manifest, &renamed));
    }
    assert_none(&all);
}

#[test]
fn every_member_has_a_layer() {
    let root = manifest(".").expect("the root has a manifest");
    for list in ["members", "default-members"] {
        let members = root["workspace"][list].as_array().expect("a list");
        let folders: Vec<&str> = members.iter().filter_map(Value::as_str).collect();
        for folder in &folders {
            assert!(LAYERS.iter().any(|layer| layer.folder == *folder), "{folder} has no layer");
        }
        for layer in LAYERS {
            let exists = repository().join(layer.folder).join("Cargo.toml").exists();
            assert_eq!(folders.contains(&layer.folder), exists, "{list}: {}", layer.folder);
        }
    }
}

#[test]
fn core_is_pure_by_the_compiler_s_word() {
    let text = read(&repository().join("core/src/lib.rs"));
    for attribute in ["#![no_std]", "#![forbid(unsafe_code)]"] {
        assert!(text.lines().any(|line| line == attribute), "core/src/lib.rs: {attribute}");
    }
}

#[test]
fn forbidden_dependencies_are_found() {
    let layer = |package: &str| LAYERS.iter().find(|layer| layer.package == package).unwrap();
    let renamed = BTreeMap::from([("disk".to_owned(), "glommio-ng".to_owned())]);
    for (package, text, count) in [
        ("warren-core", "dependencies.rkyv = '1'", 0),
        ("warren-core", "dependencies.libc = '1'", 1),
        ("warren-core", "dependencies.warren-net = '1'", 1),
        ("warren-core", "dev-dependencies.proptest = '1'", 0),
        ("warren-net", "dependencies.warren-core.workspace = true", 0),
        ("warren-net", "dependencies.warren-storage.workspace = true", 1),
        ("warren-net", "dev-dependencies.warren-storage.workspace = true", 1),
        ("warren-net", "target.'cfg(unix)'.dependencies.tokio = '1'", 1),
        ("warren-net", "dependencies.uring = { package = 'tokio', version = '1' }", 1),
        ("warren-plugins", "build-dependencies.warren-replication = '1'", 1),
        ("warren-bench", "dependencies.warren-net = '1'\ndependencies.warren = '1'", 1),
        ("warren-bench", "dependencies.io-uring = '1'", 1),
        ("warren", "dependencies.io-uring = '1'", 1),
        ("warren", "dependencies.disk.workspace = true", 1),
    ] {
        let manifest: Table = text.parse().unwrap();
        let found = findings(layer(package), &manifest, &renamed);
        assert_eq!(found.len(), count, "{package}: {text}: {found:?}");
    }
}
