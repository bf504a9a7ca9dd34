//! What became of the export beside a Postgres that stood still.

use serde::{Deserialize, Serialize};

use crate::metrics::export::ExportCounts;

/// The number of objects somewhere, and their digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Objects {
    /// How many there are.
    pub objects: u64,
    /// Of all of their fields and versions.
    pub digest: String,
}

/// What became of the export.
#[derive(Clone, Debug, Serialize)]
pub struct ExportReport {
    /// After each stall, seconds until all was exported; not told of one after which it was not.
    pub catch_up_s: Vec<f64>,
    /// Whether it was after each, and at the end.
    pub is_caught_up: bool,
    /// What the exporter counted from the server's start to its end.
    pub counts: ExportCounts,
    /// What the server has at the end.
    pub server: Objects,
    /// What is made of the tables then.
    pub tables: Option<Objects>,
    /// Why that could not be made.
    pub import_fault: Option<String>,
}

impl ExportReport {
    /// What may not be. In the measured parts with the stall and without it so many commits were exported.
    #[must_use]
    pub fn faults(&self, [without, with]: [u64; 2]) -> Vec<String> {
        let mut faults = Vec::new();
        let mut check = |broken: bool, words: String| {
            if broken {
                faults.push(words);
            }
        };
        check(
            with > 0,
            format!("{with} commits were exported while Postgres stood still: it did not"),
        );
        check(without == 0, "nothing was exported without the stall".to_owned());
        check(!self.is_caught_up, "the export did not catch up in time".to_owned());
        let ExportCounts { gaps, full_copies, .. } = self.counts;
        check(gaps > 0, format!("{gaps} objects did not go on from the tables"));
        check(full_copies != 1, format!("{full_copies} full copies, and not only the first"));
        if let Some(why) = &self.import_fault {
            check(true, format!("the tables cannot be imported: {why}"));
        }
        check(
            self.tables.as_ref().is_some_and(|tables| *tables != self.server),
            "the tables are not what the server has".to_owned(),
        );
        check(self.server.objects == 0, "there is nothing to export".to_owned());
        faults
    }

    /// Labels and values for the table.
    #[must_use]
    pub fn rows(&self, [without, with]: [u64; 2]) -> Vec<(&'static str, String)> {
        let ExportCounts { rows, failures, gaps, full_copies, .. } = self.counts;
        let seconds: Vec<String> = self.catch_up_s.iter().map(|s| format!("{s:.2}")).collect();
        let words = |objects: &Objects| format!("{}, digest {}", objects.objects, objects.digest);
        let tables = self.tables.as_ref().map_or_else(|| "not to be had".to_owned(), words);
        vec![
            ("commits exported", format!("{without} without the stall, {with} with it")),
            ("  caught up within", format!("{} s", seconds.join(", "))),
            (
                "  in all",
                format!("{rows} rows, {failures} failures, {gaps} gaps, {full_copies} full copies"),
            ),
            ("objects of the server", words(&self.server)),
            ("  of the tables", tables),
        ]
    }
}

#[cfg(test)]
mod tests;
