//! The compilers of C and C++ of this machine, for tests.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A library that goes with its test.
pub(crate) struct Compiled(PathBuf);

impl Compiled {
    /// Of `src/tests/NAME.c` of this crate's folder, with these definitions, as strictly as the header has to
    /// bear.
    pub(crate) fn new(folder: &str, name: &str, definitions: &[&str]) -> Self {
        let source = format!("{folder}/src/tests/{name}.c");
        let mut compiler = Command::new("cc");
        compiler.arg("-std=c99").args(definitions.iter().map(|word| format!("-D{word}")));
        Self::made_by(compiler, format!("{folder}/include").as_ref(), source.as_ref())
    }

    /// Of a file in C++.
    pub(crate) fn cpp(include: &Path, source: &Path) -> Self {
        let mut compiler = Command::new("c++");
        compiler.arg("-std=c++17");
        Self::made_by(compiler, include, source)
    }

    fn made_by(mut compiler: Command, include: &Path, source: &Path) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Relaxed);
        let file = format!("warren-plugin-{}-{number}.so", std::process::id());
        let library = Self(std::env::temp_dir().join(file));
        compiler.args(["-pedantic", "-Wall", "-Wextra", "-Werror", "-O1", "-fPIC", "-shared"]);
        compiler.arg("-I").arg(include).arg("-o").arg(&library.0).arg(source);
        let output = compiler.output().expect("there are `cc` and `c++`");
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
