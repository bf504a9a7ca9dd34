//! A PostgreSQL of the test's own, which can be asked.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::client::PATIENCE;
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

    /// Waits until a question has this answer.
    #[track_caller]
    #[expect(clippy::disallowed_methods, reason = "the bound of a wait")]
    pub(crate) fn becomes(&self, question: &str, answer: &str) {
        let end = Instant::now() + PATIENCE;
        loop {
            let found = self.sql(question);
            if found.trim() == answer {
                return;
            }
            assert!(Instant::now() < end, "{question} stays {found}");
        }
    }

    /// Begins a transaction with these statements, and leaves it open.
    pub(crate) fn begin(&self, statements: &str) -> OpenTransaction {
        let mut psql = Command::new(program("psql"));
        psql.args(["-XAtq", "-v", "ON_ERROR_STOP=1", &self.connection()]);
        let psql = psql.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut open = OpenTransaction(psql);
        let question = format!("BEGIN; {statements}; SELECT 'begun';\n");
        open.0.stdin.as_mut().unwrap().write_all(question.as_bytes()).unwrap();
        let lines = BufReader::new(open.0.stdout.take().unwrap()).lines();
        assert!(lines.map(Result::unwrap).any(|line| line == "begun"), "{statements}");
        open
    }
}

/// A transaction that is open until it is committed or dropped.
pub(crate) struct OpenTransaction(Child);

impl OpenTransaction {
    pub(crate) fn commit(mut self) {
        self.0.stdin.take().unwrap().write_all(b"COMMIT;\n").unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for OpenTransaction {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
