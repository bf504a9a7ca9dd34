//! Progress on standard error while a run takes place: a bar on a terminal, else a line now and
//! then.

use std::io::{IsTerminal as _, stderr};

use indicatif::{ProgressBar, ProgressStyle};

use crate::clock;
use crate::generator::control::Progress;

/// Time between two lines when there is no terminal.
const LINE_NS: u64 = 5_000_000_000;

/// Where a phase stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Users connect, log in and join. Counted in users.
    Ramp,
    /// The load before the measured part. Counted in nanoseconds, as the others.
    WarmUp,
    /// The measured part.
    Measure,
    /// What was said is still being heard.
    Drain,
}

impl Stage {
    fn label(self) -> &'static str {
        match self {
            Self::Ramp => "ramp",
            Self::WarmUp => "warm-up",
            Self::Measure => "measuring",
            Self::Drain => "drain",
        }
    }
}

/// Shows how far a phase has come.
pub struct Meter {
    phase: &'static str,
    stage: Stage,
    total: u64,
    bar: Option<ProgressBar>,
    line_at_ns: u64,
}

impl Meter {
    /// A meter for the phase of this name.
    #[must_use]
    pub fn new(phase: &'static str) -> Self {
        let bar = stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{prefix:>18} {bar:30} {percent:>3} %  {msg}");
            ProgressBar::new(0).with_style(style.expect("the template is well-formed"))
        });
        Self { phase, stage: Stage::Ramp, total: 0, bar, line_at_ns: 0 }
    }

    /// A stage begins that is over at `total`.
    pub fn begin(&mut self, stage: Stage, total: u64) {
        (self.stage, self.total) = (stage, total);
        self.line_at_ns = 0;
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            bar.set_position(0);
            bar.set_prefix(format!("{} {}", self.phase, stage.label()));
        }
    }

    /// The stage has come to `position`.
    pub fn show(&mut self, position: u64, progress: &Progress) {
        let text = describe(progress);
        if let Some(bar) = &self.bar {
            bar.set_position(position.min(self.total));
            bar.set_message(text);
            return;
        }
        let now_ns = clock::monotonic_ns();
        if now_ns >= self.line_at_ns {
            self.line_at_ns = now_ns + LINE_NS;
            let percent = (position.min(self.total) * 100).checked_div(self.total);
            let percent = percent.map_or(String::new(), |percent| format!(" {percent} %"));
            eprintln!("{} {}{percent}: {text}", self.phase, self.stage.label());
        }
    }

    /// The phase is over.
    pub fn end(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn describe(progress: &Progress) -> String {
    let mut text =
        format!("{} users in, {} said, {} heard", progress.joined, progress.sent, progress.heard);
    if progress.latency_max_ns > 0 {
        text.push_str(&format!(", slowest {:.1} ms", progress.latency_max_ns as f64 / 1e6));
    }
    if progress.disconnects > 0 {
        text.push_str(&format!(", {} connections lost", progress.disconnects));
    }
    text
}
