//! A PostgreSQL of the test's own, which can be asked.

use std::process::Command;

use crate::postgres_process::{PostgresProcess, program};

/// A running PostgreSQL, removed with its test.
pub(crate) struct PostgresServer(PostgresProcess);

impl PostgresServer {
    /// Makes a new one, and waits until it answers.
    pub(crate) fn start() -> Self {
        Self(PostgresProcess::create().expect("PostgreSQL runs: install postgresql"))
    }

    /// Starts it again.
    pub(crate) fn run(&mut self) {
        self.0.run().unwrap();
    }

    /// Ends it as a crash of the machine would.
    pub(crate) fn end(&mut self) {
        self.0.end().unwrap();
    }

    /// Stops all of its processes where they are, until [`go_on`](Self::go_on).
    pub(crate) fn stop(&self) {
        self.0.stop().unwrap();
    }

    pub(crate) fn go_on(&self) {
        self.0.go_on().unwrap();
    }

    /// What a server is told to reach it.
    pub(crate) fn connection(&self) -> String {
        self.0.connection()
    }

    /// Runs statements, and returns what they print: a row a line, columns with `|` between.
    pub(crate) fn sql(&self, statements: &str) -> String {
        let mut psql = Command::new(program("psql"));
        let output = psql.args(["-XAtq", "-c", statements, &self.connection()]).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{statements}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }
}
