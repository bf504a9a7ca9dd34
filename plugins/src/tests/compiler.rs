//! The compilers of C, C++ and Rust of this machine, for tests.

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

    /// Of a file in Rust, with the crate that plugins in Rust use.
    pub(crate) fn rust(sdk: &Path, source: &Path, arguments: &[&str]) -> Self {
        let rustc = |source: &Path, out: &Path| {
            let mut rustc = Command::new("rustc");
            rustc.args(["--edition=2024", "-Copt-level=2", "-o"]).arg(out).arg(source);
            // As cargo does.
            rustc.env("CARGO_PKG_VERSION", "1.0.0");
            rustc
        };
        let (library, crate_file) = (Self::named("so"), Self::named("rlib"));
        let mut made = rustc(sdk, &crate_file.0);
        run(made.args(["--crate-name=warren_plugin", "--crate-type=rlib"]));
        let mut plugin = rustc(source, &library.0);
        plugin.args(["--crate-name=plugin", "--crate-type=cdylib", "-Dwarnings"]).args(arguments);
        run(plugin.arg("--extern").arg(format!("warren_plugin={}", crate_file.0.display())));
        library
    }

    fn named(extension: &str) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Relaxed);
        let file = format!("libwarren-plugin-{}-{number}.{extension}", std::process::id());
        Self(std::env::temp_dir().join(file))
    }

    fn made_by(mut compiler: Command, include: &Path, source: &Path) -> Self {
        let library = Self::named("so");
        compiler.args(["-pedantic", "-Wall", "-Wextra", "-Werror", "-O1", "-fPIC", "-shared"]);
        compiler.arg("-I").arg(include).arg("-o").arg(&library.0).arg(source);
        run(&mut compiler);
        library
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

fn run(compiler: &mut Command) {
    let output = compiler.output().expect("there are `cc`, `c++` and `rustc`");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

impl Drop for Compiled {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
