//! The command `compare`: reports of `run` or `floor` against others, figure by figure, and whether what
//! differs matters.

pub mod figures;
pub mod interval;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Serialize;
use serde_json::Value;

use self::figures::{Better, KINDS, Kind, SETTINGS};
use self::interval::Difference;
use crate::arguments::CompareArguments;

/// What a comparison comes to, or one of its figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Judgement {
    /// It changed for the better, and that matters.
    Better,
    /// It changed for the worse, and that matters.
    Worse,
    /// No change that matters.
    Same,
    /// It changed, beyond chance, and is neither good nor bad.
    Changed,
    /// A run was generator-bound: the figures are not the server's.
    GeneratorBound,
}

impl Judgement {
    /// The exit status of the harness, for the whole comparison.
    #[must_use]
    pub fn exit_status(self) -> u8 {
        match self {
            Self::Better | Self::Same | Self::Changed => 0,
            Self::Worse => 1,
            Self::GeneratorBound => 3,
        }
    }

    /// The word in the report.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Same => "same",
            Self::Changed => "changed",
            Self::GeneratorBound => "generator-bound",
        }
    }
}

/// One figure of both sides.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// Its name in the table.
    pub label: &'static str,
    /// Where it is in the reports.
    pub pointer: &'static str,
    /// The means, in the report's unit, and the interval of their difference.
    #[serde(flatten)]
    pub difference: Difference,
    /// The difference as a fraction of the old mean.
    pub change: Option<f64>,
    /// The interval in the same terms.
    pub interval_change: Option<[f64; 2]>,
    /// Whether it matters.
    pub judgement: Judgement,
}

/// A comparison of reports.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// What was played, in words.
    pub load: String,
    /// Number of reports of each side.
    pub reports: [usize; 2],
    /// A smaller change than this fraction does not matter.
    pub tolerance: f64,
    /// Every figure that all reports have.
    pub figures: Vec<Figure>,
    /// What was not the same, and was allowed.
    pub differences: Vec<String>,
    /// What reports say besides their figures: of which side, and rules that were broken.
    pub broken: Vec<String>,
    /// What it comes to.
    pub judgement: Judgement,
}

/// Reads the reports and compares them.
///
/// # Errors
/// When one cannot be read, is no report of one run, or is of something else.
pub fn run(arguments: &CompareArguments) -> Result<Judgement> {
    let read = |paths: &[PathBuf]| paths.iter().map(|path| read(path)).collect::<Result<Vec<_>>>();
    let (old, new) = (read(&arguments.old.0)?, read(&arguments.new.0)?);
    let differences = differences(&old, &new);
    ensure!(
        differences.is_empty() || arguments.allow_different,
        "these reports are not of the same load, machine and settings (--allow-different compares \
         them all the same):\n  {}",
        differences.join("\n  ")
    );
    let tolerance = arguments.tolerance / 100.0;
    let comparison = Comparison::new(&old, &new, differences, tolerance);
    print!("{}", comparison.to_table());
    if let Some(path) = &arguments.json {
        let json = serde_json::to_string_pretty(&comparison)? + "\n";
        fs::write(path, json).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(comparison.judgement)
}

fn read(path: &Path) -> Result<Value> {
    let name = path.display();
    let bytes = fs::read(path).with_context(|| format!("reading {name}"))?;
    let report: Value =
        serde_json::from_slice(&bytes).with_context(|| format!("reading {name}"))?;
    if ["profile", "subject", "users", "verdict"].iter().any(|key| report.get(key).is_none()) {
        bail!("{name} is no report of `run` or `floor`");
    }
    Ok(report)
}

/// What is not the same in all reports: which setting, and its values.
fn differences(old: &[Value], new: &[Value]) -> Vec<String> {
    let mut differences = Vec::new();
    for pointer in SETTINGS {
        let mut values: Vec<String> = Vec::new();
        for report in old.iter().chain(new) {
            // What a report does not have is not known: the same as null.
            let value = report.pointer(pointer).unwrap_or(&Value::Null).to_string();
            if !values.contains(&value) {
                values.push(value);
            }
        }
        if values.len() > 1 {
            let name = pointer.trim_start_matches('/').replace('/', ".");
            differences.push(format!("{name}: {}", values.join(", ")));
        }
    }
    differences
}

impl Comparison {
    /// Compares reports, each side of which has one at least.
    #[must_use]
    pub fn new(old: &[Value], new: &[Value], differences: Vec<String>, tolerance: f64) -> Self {
        let verdict_is = |report: &Value, verdict| report["verdict"] == verdict;
        let any = |reports: &[Value], verdict| reports.iter().any(|it| verdict_is(it, verdict));
        let bound = any(old, "generator-bound") || any(new, "generator-bound");
        let figures: Vec<Figure> = KINDS
            .iter()
            .filter_map(|kind| figure(kind, old, new, tolerance))
            .map(|figure| match bound {
                true => Figure { judgement: Judgement::GeneratorBound, ..figure },
                false => figure,
            })
            .collect();
        let fails = |reports: &[Value]| any(reports, "fail");
        let is = |judgement| figures.iter().any(|figure| figure.judgement == judgement);
        let judgement = if (fails(new) && !fails(old)) || is(Judgement::Worse) {
            Judgement::Worse
        } else if bound {
            Judgement::GeneratorBound
        } else if (fails(old) && !fails(new)) || is(Judgement::Better) {
            Judgement::Better
        } else {
            Judgement::Same
        };
        let broken = ["old", "new"].into_iter().zip([old, new]);
        Self {
            load: load(&new[0]),
            reports: [old.len(), new.len()],
            tolerance,
            figures,
            differences,
            broken: broken.flat_map(|(side, reports)| broken_rules(side, reports)).collect(),
            judgement,
        }
    }

    /// The table for the terminal.
    #[must_use]
    pub fn to_table(&self) -> String {
        let [old, new] = self.reports;
        let mut text = format!(
            "{}\nmeans of {old} old and {new} new reports\n\n\
             {:<20}  {:>12}  {:>12}  {:>9}  {:>20}\n",
            self.load, "", "old", "new", "change", "95 % interval"
        );
        let percent = |fraction: f64| format!("{:+.1} %", fraction * 100.0);
        for figure in &self.figures {
            let kind = KINDS.iter().find(|kind| kind.pointer == figure.pointer);
            let unit = kind.map_or(1.0, |kind| kind.unit);
            let Difference { old, new, .. } = figure.difference;
            let change = figure.change.map_or("-".to_owned(), percent);
            let interval = figure.interval_change.map_or("-".to_owned(), |[least, greatest]| {
                format!("{:+.1} .. {}", least * 100.0, percent(greatest))
            });
            let judgement = match figure.judgement {
                Judgement::Same => "",
                other => other.label(),
            };
            let row = format!(
                "{:<20}  {:>12.3}  {:>12.3}  {change:>9}  {interval:>20}  {judgement}",
                figure.label,
                old / unit,
                new / unit,
            );
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{}", row.trim_end());
        }
        text.push('\n');
        for broken in &self.broken {
            let _ = writeln!(text, "{broken}");
        }
        for difference in &self.differences {
            let _ = writeln!(text, "note: not the same: {difference}");
        }
        if self.reports.contains(&1) {
            text.push_str(
                "note: one report says nothing of its spread: a change has to be larger than what \
                 single runs differ by\n",
            );
        }
        let _ = writeln!(text, "result: {}", self.judgement.label());
        text
    }
}

/// A figure that all reports have.
fn figure(kind: &Kind, old: &[Value], new: &[Value], tolerance: f64) -> Option<Figure> {
    let of = |reports: &[Value]| -> Option<Vec<f64>> {
        reports.iter().map(|report| report.pointer(kind.pointer)?.as_f64()).collect()
    };
    let difference = Difference::of(&of(old)?, &of(new)?)?;
    let change = difference.change();
    let large = change.is_none_or(|change| change.abs() >= tolerance && change != 0.0);
    let less = difference.new < difference.old;
    let judgement = match kind.better {
        _ if !large || !difference.is_beyond(kind.chance) => Judgement::Same,
        Better::Neither => Judgement::Changed,
        better if (better == Better::Less) == less => Judgement::Better,
        _ => Judgement::Worse,
    };
    Some(Figure {
        label: kind.label,
        pointer: kind.pointer,
        difference,
        change,
        interval_change: difference.interval_change(),
        judgement,
    })
}

fn load(report: &Value) -> String {
    let text = |key: &str| match report.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => "?".to_owned(),
    };
    format!(
        "{} over {}{}, {} users on {} shards ({}), {} s after {} s",
        text("profile"),
        text("protocol"),
        if report["tls"] == true { " in TLS" } else { "" },
        text("users"),
        text("shards"),
        text("subject"),
        text("duration_s"),
        text("warm_up_s"),
    )
}

/// The rules that each report of a side says were broken.
fn broken_rules(side: &str, reports: &[Value]) -> Vec<String> {
    let reports = reports.iter().zip(1..).filter(|(report, _)| report["verdict"] != "pass");
    let line = |(report, number): (&Value, u32)| {
        let reasons = report["reasons"].as_array().into_iter().flatten();
        let reasons: Vec<&str> = reasons.filter_map(Value::as_str).collect();
        let verdict = report["verdict"].as_str().unwrap_or("no verdict");
        format!("{side} {number}: {verdict}: {}", reasons.join("; "))
    };
    reports.map(line).collect()
}

#[cfg(test)]
mod tests;
