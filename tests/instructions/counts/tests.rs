//! The comparison, on small tables.

use super::Counts;

const TABLE: &str = "# set-up: here\ncore/a         1000.0\nnet/b           200.5\n";

/// What is measured, whether all paths were, and the words of which the report has each; none: it
/// is no fault.
type Case = (&'static str, bool, &'static [&'static str]);

const CASES: &[Case] = &[
    ("# set-up: here\ncore/a 1029\nnet/b 200.5\n", true, &[]),
    ("# set-up: here\ncore/a 971\nnet/b 200.5\n", true, &[]),
    ("# set-up: here\ncore/a 1031\nnet/b 200.5\n", true, &["core/a", "+3.1 %  DEARER", "1 of 2"]),
    ("# set-up: here\ncore/a 969\nnet/b 300\n", true, &["-3.1 %  CHEAPER", "+49.6 %", "2 of 2"]),
    ("# set-up: here\ncore/a 1000\n", false, &[]),
    ("# set-up: here\ncore/a 1000\n", true, &["net/b", "measured no longer"]),
    ("# set-up: here\ncore/a 1000\nnet/b 200.5\nnet/c 7\n", true, &["7.0  NEW"]),
    // Another compiler may give other numbers, within reason.
    ("# set-up: there\ncore/a 1200\nnet/b 200.5\n", true, &[]),
    ("# set-up: there\ncore/a 1300\nnet/b 200.5\n", true, &["DEARER", "another set-up: here"]),
];

/// Only what differs by more than it may is a fault, and it is named with its difference.
pub(crate) fn differences_are_told_by_path() -> Result<String, String> {
    let table = Counts::parse(TABLE);
    assert_eq!(Counts::parse(&table.text()), table, "what is written is read again");
    for (measured, all, words) in CASES {
        match table.compare(&Counts::parse(measured), *all) {
            Ok(report) if !words.is_empty() => {
                return Err(format!("no fault was found:\n{measured}{report}"));
            }
            Err(report) if words.is_empty() => {
                return Err(format!("a fault was found:\n{measured}{report}"));
            }
            Ok(_) => {}
            Err(report) => {
                let missing = words.iter().find(|word| !report.contains(**word));
                if let Some(word) = missing {
                    return Err(format!("it does not say `{word}`:\n{measured}{report}"));
                }
            }
        }
    }
    Ok(String::new())
}
