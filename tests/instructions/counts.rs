//! The table of counts, and what a difference to it means.

use std::fmt::Write;
use std::path::PathBuf;

pub(crate) mod tests;

/// Difference that nobody has to explain, in the set-up in which the table was made.
const TOLERANCE: f64 = 0.03;
/// The same in another: compilers and libraries differ by some per cent from version to version.
const TOLERANCE_ELSEWHERE: f64 = 0.25;
const UPDATE: &str = "UPDATE_INSTRUCTIONS=1 cargo test --release --test instructions";

/// One path.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// Of one event.
    pub(crate) instructions: f64,
}

/// Counts of some paths, and the set-up in which they were made.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Counts {
    pub(crate) setup: String,
    pub(crate) rows: Vec<Row>,
}

impl Counts {
    pub(crate) fn read() -> Self {
        Self::parse(&std::fs::read_to_string(file()).expect("the table is there"))
    }

    pub(crate) fn write(&self) {
        std::fs::write(file(), self.text()).expect("the table can be written");
    }

    /// # Panics
    /// When a line is none of the table's.
    fn parse(text: &str) -> Self {
        let mut counts = Self { setup: String::new(), rows: Vec::new() };
        for line in text.lines() {
            if let Some(setup) = line.strip_prefix("# set-up: ") {
                setup.clone_into(&mut counts.setup);
            } else if !line.starts_with('#') {
                let (name, number) = line.split_once(' ').expect("a path and its count");
                let instructions = number.trim().parse().expect("a number");
                counts.rows.push(Row { name: name.to_owned(), instructions });
            }
        }
        counts
    }

    fn text(&self) -> String {
        let mut text = format!(
            "# Instructions of one event in user space, by path. What the paths are: paths.rs.\n\
             # Written by {UPDATE}\n# set-up: {}\n",
            self.setup
        );
        for Row { name, instructions } in &self.rows {
            text += &format!("{name:<28}{instructions:>10.1}\n");
        }
        text
    }

    fn of(&self, name: &str) -> Option<f64> {
        self.rows.iter().find(|row| row.name == name).map(|row| row.instructions)
    }

    /// Holds what was measured against the table, line by line. Where `all` paths were measured the
    /// table has no others.
    ///
    /// # Errors
    /// The same report, when a path costs more or less than it may, or is not in both.
    pub(crate) fn compare(&self, measured: &Self, all: bool) -> Result<String, String> {
        let is_same = self.setup == measured.setup;
        let tolerance = if is_same { TOLERANCE } else { TOLERANCE_ELSEWHERE };
        let mut faults = 0;
        let mut report = format!("{:<28}{:>10}{:>10}\n", "instructions per event", "table", "now");
        for Row { name, instructions } in &measured.rows {
            let known = self.of(name);
            let (line, is_fault) = compare_path(known, *instructions, tolerance);
            faults += usize::from(is_fault);
            report += &format!("{name:<28}{line}\n");
        }
        for Row { name, .. } in &self.rows {
            if all && measured.of(name).is_none() {
                faults += 1;
                report += &format!("{name:<28}is in the table, and measured no longer\n");
            }
        }
        write!(report, "tolerance {:.0} %: {}", 100.0 * tolerance, measured.setup)
            .expect("a string takes all");
        if !is_same {
            report += &format!("\nthe table was made in another set-up: {}", self.setup);
        }
        if faults == 0 {
            return Ok(report + "\n");
        }
        Err(format!(
            "{report}\n{faults} of {} paths differ. What got dearer is to be made cheaper, or its \
             commit says why not. What got cheaper, or is meant to be dearer, goes into the table:\
             \n    {UPDATE}",
            measured.rows.len()
        ))
    }
}

/// What is said of one path, and whether the test fails by it.
fn compare_path(known: Option<f64>, now: f64, tolerance: f64) -> (String, bool) {
    let Some(known) = known else { return (format!("{:>10}{now:>10.1}  NEW", ""), true) };
    let change = now / known - 1.0;
    let word = match change {
        _ if change.abs() <= tolerance => "",
        _ if change > 0.0 => "  DEARER",
        _ => "  CHEAPER",
    };
    (format!("{known:>10.1}{now:>10.1}{:>+8.1} %{word}", 100.0 * change), !word.is_empty())
}

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/instructions/counts.txt")
}
