//! The C compiler of this machine, for tests.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A library that goes with its test.
pub(crate) struct Compiled(PathBuf);

impl Compiled {
    /// Of `src/tests/NAME.c` of this crate's folder, with these definitions, as strictly as the header has to
    /// bear.
    pub(crate) fn new(folder: &str, name: &str, definitions: &[&str]) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Relaxed);
        let file = format!("warren-plugin-{}-{number}.so", std::process::id());
        let library = Self(std::env::temp_dir().join(file));
        let (include, source) =
            (format!("{folder}/include"), format!("{folder}/src/tests/{name}.c"));
        let mut compiler = Command::new("cc");
        compiler.args(["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-O1", "-fPIC"]);
        compiler.args(["-shared", "-I", &include, "-o"]).arg(&library.0).arg(source);
        compiler.args(definitions.iter().map(|definition| format!("-D{definition}")));
        let output = compiler.output().expect("there is a C compiler, `cc`");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        library
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Compiled {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
