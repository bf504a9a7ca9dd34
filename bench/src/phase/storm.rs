//! The measured part of a storm: what the server takes from the cut until all are back.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

use super::{Outcome, Reading, Sampler, Setup, Standing, server_counts, watch};
use crate::generator::control::{Report, StormReport};
use crate::memory::{self, Peak};
use crate::metrics::{self, Work};
use crate::pacing::Schedule;
use crate::process::generators::Generators;
use crate::profile::storm::Storm;
use crate::progress::Meter;
use crate::turn_times::LongTurns;
use crate::verdict::StormEvidence;

/// What is read before the cut is read so long before: answering is work of the server's.
const READ_LEAD_NS: u64 = 200_000_000;

/// What a storm has shown.
#[derive(Clone, Debug)]
pub struct Weathered {
    /// How users came back, by the generators' own count.
    pub report: StormReport,
    /// From the cut until the last of those who came back was, in nanoseconds.
    pub all_back_ns: u64,
    /// Users who did not come back.
    pub missing: u32,
    /// From the cut until the last of those who came back had heard all that was missed, in nanoseconds.
    pub all_caught_up_ns: u64,
    /// Users who came back and did not hear all that they missed.
    pub behind: u32,
    /// The highest share of a core that its generators took from the cut until all were back.
    pub generator_cpu: f64,
    /// CPU of the server in that time, in nanoseconds, if its process is known.
    pub server_cpu_ns: Option<u64>,
    /// The most memory of the server until the cut and from it on; if it could not be read, why not.
    pub memory_peaks: Result<[Peak; 2], String>,
    /// How long turns of the server took from the cut until all were back; if it is not known, why not.
    pub turns: Result<LongTurns, String>,
}

/// What was read around a storm.
pub(super) struct Around {
    cut_ns: u64,
    before: Reading,
    after: Reading,
    peak_before: Result<Peak, String>,
    peak: Result<Peak, String>,
    counts: Result<[metrics::Reading; 2], String>,
}

/// Watches the measured part, and reads the server just before the cut and when all are back.
pub(super) fn watch_storm(
    setup: &Setup,
    (storm, schedule): (Storm, &Schedule),
    generators: &Generators,
    standing: &mut Standing,
    meter: &mut Meter,
    sampler: &mut Sampler,
) -> Result<Around> {
    let (from_ns, cut_ns) = (schedule.measure_from_ns, storm.cut_ns(schedule));
    let never = |_: &Standing| false;
    let mut watched = |until_ns, over: fn(&Standing) -> bool| {
        watch(generators, standing, meter, (from_ns, until_ns), Some(&mut *sampler), over)
    };
    watched(cut_ns - READ_LEAD_NS, never)?;
    let counts_before = server_counts(setup);
    let peak_before = peak(setup);
    if let (Ok(_), Some(server)) = (&peak_before, setup.server) {
        memory::peak_reset(server)?;
    }
    watched(cut_ns, never)?;
    let before = Reading::take(setup)?;
    watched(schedule.end_ns, Standing::all_back)?;
    let after = Reading::take(setup).context("after the storm")?;
    let counts = counts_before.and_then(|before| Ok([before, server_counts(setup)?]));
    watched(schedule.end_ns, never)?;
    Ok(Around { cut_ns, before, after, peak_before, peak: peak(setup), counts })
}

/// The most memory that the server had; if it cannot be read, why not.
fn peak(setup: &Setup) -> Result<Peak, String> {
    let process = setup.server.ok_or("nobody said which process the server is")?;
    Peak::take(process).map_err(|error| format!("{error:#}"))
}

impl Weathered {
    pub(super) fn new(setup: &Setup, around: Around, reports: &[Report]) -> Self {
        let Around { cut_ns, before, after, peak_before, peak, counts } = around;
        let mut report = StormReport::default();
        let mut core_shares: BTreeMap<usize, f64> = BTreeMap::new();
        for (part, core) in reports.iter().zip(&setup.pinning.generators) {
            let Some(storm) = &part.storm else { continue };
            report.add(storm);
            *core_shares.entry(*core).or_default() +=
                storm.cpu_ns as f64 / storm.elapsed_ns.max(1) as f64;
        }
        let server_cpu_ns = match (&after.server, &before.server) {
            (Some(after), Some(before)) => {
                Some(after.since(before).iter().map(|thread| thread.cpu_ns).sum())
            }
            _ => None,
        };
        let turns = counts.and_then(|[before, after]| {
            let work = Work::between(&before, &after).map_err(|error| format!("{error:#}"))?;
            Ok(work.turn_times.long_turns().ok_or("the server tells no times of turns")?)
        });
        Self {
            all_back_ns: report.back_last_ns.saturating_sub(cut_ns),
            missing: setup.users.saturating_sub(report.back),
            all_caught_up_ns: report.caught_up_last_ns.saturating_sub(cut_ns),
            behind: report.back.saturating_sub(report.caught_up),
            generator_cpu: core_shares.into_values().fold(0.0, f64::max),
            server_cpu_ns,
            memory_peaks: peak_before.and_then(|before| Ok([before, peak?])),
            turns,
            report,
        }
    }

    /// CPU of the server in microseconds for each user who came back.
    #[must_use]
    pub fn server_cpu_us_per_resume(&self) -> Option<f64> {
        let cpu_ns = self.server_cpu_ns.filter(|_| self.report.back > 0)?;
        Some(cpu_ns as f64 / 1e3 / f64::from(self.report.back))
    }
}

impl Outcome {
    /// What a verdict on a storm is given on.
    #[must_use]
    pub(super) fn storm_evidence(&self) -> Option<StormEvidence> {
        let Weathered { missing, behind, all_caught_up_ns, generator_cpu, .. } =
            *self.storm.as_ref()?;
        Some(StormEvidence { missing, behind, all_caught_up_ns, generator_cpu })
    }
}
