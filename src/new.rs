//! `warren new`: makes the folder of a project, with a small game in it, its test, and how to run it.
//! What is written is in `templates`.

use std::fs::{File, create_dir_all, read_dir};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::fatal::{Fatal, FatalReason};

const NEW_EXAMPLES: &str = "\
Examples:
  warren new python game      then: game/README.md
  warren new cpp game
  warren new rust game

The folder must be empty or not there.

Exit status: 0 when the project is there; 71 when the folder is not empty or cannot be written.";

/// `warren new …`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = NEW_EXAMPLES)]
pub struct NewArguments {
    /// In which language.
    #[command(subcommand)]
    language: Language,
}

/// In which language a project is.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
enum Language {
    /// Methods that a worker does, in Python
    Python(Folder),
    /// Methods of a native library, in C++
    Cpp(Folder),
    /// Methods of a native library, in Rust
    Rust(Folder),
}

#[derive(Args, Clone, Debug, PartialEq, Eq)]
struct Folder {
    /// The folder to be made
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// A file of a project: its name there, and what is in it.
type TemplateFile = (&'static str, &'static str);

const PYTHON: &[TemplateFile] = &[
    ("README.md", include_str!("../templates/python/README.md")),
    ("game.py", include_str!("../templates/python/game.py")),
    ("test_game.py", include_str!("../templates/python/test_game.py")),
    ("warren.toml", include_str!("../templates/python/warren.toml")),
    ("pyproject.toml", include_str!("../templates/python/pyproject.toml")),
    // Under its own name it would hold for the template too.
    (".gitignore", include_str!("../templates/python/gitignore")),
];

const CPP: &[TemplateFile] = &[
    ("README.md", include_str!("../templates/cpp/README.md")),
    ("combat.cpp", include_str!("../templates/cpp/combat.cpp")),
    ("Makefile", include_str!("../templates/cpp/Makefile")),
    ("warren.toml", include_str!("../templates/cpp/warren.toml")),
    // The folder stands alone: it needs nothing of the repository.
    ("warren_plugin.h", include_str!("../plugins/include/warren_plugin.h")),
    ("warren_plugin.hpp", include_str!("../plugins/include/warren_plugin.hpp")),
    (".gitignore", include_str!("../templates/cpp/gitignore")),
];

/// A file of the crate that projects in Rust are written with: they bring it along.
macro_rules! sdk {
    ($name:literal) => {
        (concat!("vendor/warren-plugin/", $name), include_str!(concat!("../plugins/sdk/", $name)))
    };
}

const RUST: &[TemplateFile] = &[
    ("README.md", include_str!("../templates/rust/README.md")),
    ("Cargo.toml", include_str!("../templates/rust/Cargo.toml")),
    ("src/lib.rs", include_str!("../templates/rust/lib.rs")),
    ("warren.toml", include_str!("../templates/rust/warren.toml")),
    (".gitignore", include_str!("../templates/rust/gitignore")),
    sdk!("Cargo.toml"),
    sdk!("src/batch.rs"),
    sdk!("src/border.rs"),
    sdk!("src/call.rs"),
    sdk!("src/failure.rs"),
    sdk!("src/lib.rs"),
    sdk!("src/panics.rs"),
    sdk!("src/raw.rs"),
    sdk!("src/table.rs"),
    sdk!("src/testing.rs"),
    sdk!("src/testing/host.rs"),
    sdk!("src/tests.rs"),
    sdk!("src/value.rs"),
];

/// Makes the project, and writes to `out` what is there.
///
/// # Errors
/// The named reason why it is not made.
pub fn run(arguments: &NewArguments, out: &mut dyn Write) -> Result<ExitCode, Fatal> {
    let (files, folder) = match &arguments.language {
        Language::Python(Folder { folder }) => (PYTHON, folder),
        Language::Cpp(Folder { folder }) => (CPP, folder),
        Language::Rust(Folder { folder }) => (RUST, folder),
    };
    make(files, folder)?;
    let own = files.iter().map(|(name, _)| *name).filter(|name| !name.starts_with("vendor/"));
    let names: Vec<&str> = own.collect();
    let _ = writeln!(out, "made {}: {}", folder.display(), names.join(", "));
    let _ = writeln!(out, "next: {}", folder.join("README.md").display());
    Ok(ExitCode::SUCCESS)
}

fn make(files: &[TemplateFile], folder: &Path) -> Result<(), Fatal> {
    let unusable = |path: &Path, why: &dyn std::fmt::Display| {
        Fatal::new(FatalReason::SystemRefused, format!("{}: {why}", path.display()))
    };
    create_dir_all(folder).map_err(|error| unusable(folder, &error))?;
    let mut there = read_dir(folder).map_err(|error| unusable(folder, &error))?;
    if there.next().is_some() {
        return Err(unusable(folder, &"it is not empty; a project is made in an empty folder"));
    }
    for (name, text) in files {
        let path = folder.join(name);
        let place = path.parent().unwrap_or(folder);
        create_dir_all(place).map_err(|error| unusable(place, &error))?;
        let made = File::create_new(&path).and_then(|mut file| file.write_all(text.as_bytes()));
        made.map_err(|error| unusable(&path, &error))?;
    }
    Ok(())
}
