//! What a run says: a table, and whether anything was lost or done twice. Pure.

use std::fmt::Write as _;

use serde::Serialize;

use super::Used;
use super::asker::Asked;
use crate::arguments::TasksArguments;
use crate::histogram::Percentiles;
use crate::verdict::Verdict;

#[derive(Debug, Serialize)]
pub(super) struct TasksReport {
    users: u32,
    workers: u32,
    credits: u32,
    worker_command: Option<String>,
    /// Requests in a second that were offered; none: as many as were answered.
    offered_hz: Option<u32>,
    duration_s: u32,
    answered: u64,
    /// Tasks in a second.
    done_hz: f64,
    refused: u64,
    lost: u64,
    doubled: u64,
    latency_us: Option<Percentiles>,
    /// CPU of the shards, and of the workers, for one task.
    shard_us: f64,
    worker_us: f64,
    pub(super) verdict: Verdict,
}

/// Of tasks that were answered and those that their objects have counted: how many were lost, and how many
/// were done twice, or done and not answered.
pub(super) fn lost_and_doubled(answered: u64, counted: u64) -> (u64, u64) {
    (answered.saturating_sub(counted), counted.saturating_sub(answered))
}

impl TasksReport {
    pub(super) fn new(
        arguments: &TasksArguments,
        asked: &Asked,
        (counted, elapsed_ns): (u64, u64),
        used: &Used,
    ) -> Self {
        let (lost, doubled) = lost_and_doubled(asked.answered + asked.answered_before, counted);
        let is_whole = lost + doubled + asked.refused == 0 && asked.answered > 0;
        let each_us = |ns: u64| ns as f64 / 1e3 / asked.answered.max(1) as f64;
        Self {
            users: arguments.users,
            workers: arguments.workers,
            credits: arguments.credits,
            worker_command: arguments.worker_command.clone(),
            offered_hz: arguments.rate,
            duration_s: arguments.duration,
            answered: asked.answered,
            done_hz: asked.answered as f64 * 1e9 / elapsed_ns as f64,
            refused: asked.refused,
            lost,
            doubled,
            latency_us: asked.latencies.percentiles_us(),
            shard_us: each_us(used.shard_ns),
            worker_us: each_us(used.worker_ns),
            verdict: if is_whole { Verdict::Pass } else { Verdict::Fail },
        }
    }

    pub(super) fn to_table(&self) -> String {
        let mut text = String::new();
        let offered = self.offered_hz.map(|rate_hz| format!("{rate_hz} a second"));
        let offered = offered.unwrap_or_else(|| "as many as are answered".to_owned());
        let _ = writeln!(text, "users           {}, {offered}", self.users);
        let workers = self.worker_command.as_deref().unwrap_or("native");
        let _ = writeln!(text, "workers         {}, {workers}", self.workers);
        let _ = writeln!(text, "done            {:.0} a second", self.done_hz);
        if let Some(Percentiles { p50, p99, p999, max, .. }) = self.latency_us {
            let _ = writeln!(
                text,
                "latency, us     p50 {p50:.0}, p99 {p99:.0}, p99.9 {p999:.0}, max {max:.0}"
            );
        }
        let (shard_us, worker_us) = (self.shard_us, self.worker_us);
        let _ = writeln!(text, "cpu, us a task  {shard_us:.1} shard, {worker_us:.1} worker");
        let Self { lost, doubled, refused, .. } = self;
        let _ = writeln!(text, "lost {lost}, doubled {doubled}, refused {refused}");
        let _ = writeln!(text, "{}", self.verdict.label());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_objects_have_not_counted_is_lost_and_what_nobody_heard_is_doubled() {
        assert_eq!(lost_and_doubled(10, 10), (0, 0));
        assert_eq!(lost_and_doubled(10, 8), (2, 0));
        assert_eq!(lost_and_doubled(10, 12), (0, 2));
    }
}
