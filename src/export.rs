//! The exporter's thread, and `warren export`. It follows the delta log into Postgres by a cursor of its
//! own, and no shard knows of it: what it cannot write yet stays in the log.
//!
//! Files: `export/progress.rs` what the metrics tell, `export/commands.rs` the command.

mod commands;
mod progress;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::{oneshot, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};
use warren_storage::postgres::{
    CopyReason, ExportError, ExportRound, ExportSource, Exporter, PostgresPlace,
};

use crate::admin::make_runtime;
use crate::config::ExportConfig;
use crate::fatal::{Fatal, FatalReason};
use crate::metrics::ServerState;
use crate::postgres_access::with_password;
use crate::state::StateFolder;

pub use commands::{ExportArguments, run};
pub use progress::ExportProgress;

use progress::Moments;

/// How often it looks what has become durable, for the lag.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// The first pause after a round that failed; each one more doubles it.
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A failure that goes on is told again after so many.
const FAILURES_PER_LINE: u32 = 20;
/// A server that drains gives the exporter so long for what is left.
const DRAIN_WAIT: Duration = Duration::from_secs(5);
/// What Postgres keeps for a connection is made anew so often.
const RENEWAL_INTERVAL_NS: u64 = 3_600 * 1_000_000_000;
/// The priority of its thread: below that of shards.
const NICENESS: i32 = 10;

/// An exporter that has not begun. From now on the log keeps what it needs.
pub(crate) struct UnstartedExport {
    place: PostgresPlace,
    source: ExportSource,
    interval: Duration,
    log_bytes_max: u64,
}

impl UnstartedExport {
    pub(crate) fn prepare(
        config: &ExportConfig,
        stored: &StateFolder,
        state: &ServerState,
    ) -> Result<Self, Fatal> {
        let place = with_password(&config.place, config.password_file.as_deref())?;
        let source = ExportSource {
            store: Arc::clone(&stored.store),
            log_folder: stored.log_folder.clone(),
            progress: state.log(),
            needs: Arc::clone(&state.snapshots().log_needs),
            log_bytes_max: config.log_bytes_max,
            may_replace: config.replace,
        };
        state.export().is_configured.store(true, Relaxed);
        let interval = Duration::from_millis(config.interval_ms);
        let log_bytes_max = config.log_bytes_max;
        source.needs.exported(0, log_bytes_max);
        Ok(Self { place, source, interval, log_bytes_max })
    }

    /// Starts the thread, once the log is written.
    pub(crate) fn start(self, state: &Arc<ServerState>, seed: u64) -> Result<ExportThread, Fatal> {
        let (drain, drained) = watch::channel(false);
        let (ending, ended) = oneshot::channel();
        let runtime = make_runtime()?;
        let state = Arc::clone(state);
        let body = move || {
            // It may share a core with a shard, which goes first. Where that is refused it still works.
            let _ = rustix::process::setpriority_process(None, NICENESS);
            let Self { place, source, interval, log_bytes_max } = self;
            let follow = || {
                let follower = Follower {
                    exporter: Exporter::new(place.clone(), source.clone()),
                    interval,
                    log_bytes_max,
                    state: Arc::clone(&state),
                    moments: Moments::new(),
                    drained: drained.clone(),
                    failures: 0,
                    copies: 0,
                    random: seed | 1,
                    is_log_warned: false,
                    renewed_ns: state.monotonic_ns(),
                };
                follower.run()
            };
            run_to_end(&runtime, &state.export(), drained.clone(), PAUSE_MAX, follow);
            // A name that is being looked up is nothing to wait for.
            runtime.shutdown_background();
            // Nobody listens any more when the process is on its way out.
            let _ = ending.send(());
        };
        let thread = std::thread::Builder::new()
            .name("export".to_owned())
            .spawn(body)
            .map_err(|error| Fatal::new(FatalReason::SystemRefused, error))?;
        Ok(ExportThread { drain, ended, thread })
    }
}

/// The thread that exports.
#[derive(Debug)]
pub(crate) struct ExportThread {
    drain: watch::Sender<bool>,
    ended: oneshot::Receiver<()>,
    thread: JoinHandle<()>,
}

impl ExportThread {
    /// Everything is in the log: it has a while to export what is left, and says how far it has come.
    /// What is then missing the next start exports.
    pub(crate) async fn drain(self) {
        let Self { drain, ended, thread } = self;
        let _ = drain.send(true);
        // It gives up by itself; a disk that does not answer may keep it.
        if tokio::time::timeout(DRAIN_WAIT + LOOK_INTERVAL, ended).await.is_err() {
            tracing::warn!("the exporter does not end; the next start goes on where it was");
            return;
        }
        if thread.join().is_err() {
            tracing::error!("the thread of the exporter has failed");
        }
    }
}

/// Runs what follows the log to its end. When it fails at something that cannot be, that is told at once,
/// and after a while it begins anew: a copy that is late is better than none, and nothing but the tables,
/// which say where they are, is shared with the next one.
fn run_to_end<F: Future<Output = ()>>(
    runtime: &Runtime,
    progress: &ExportProgress,
    mut drained: watch::Receiver<bool>,
    pause: Duration,
    follow: impl Fn() -> F,
) {
    // What it panics with the hook has told.
    while catch_unwind(AssertUnwindSafe(|| runtime.block_on(follow()))).is_err() {
        progress.is_connected.store(false, Relaxed);
        progress.panics.fetch_add(1, Relaxed);
        tracing::error!("the thread of the exporter has failed, and begins anew");
        let is_over = runtime.block_on(async {
            let drained = drained.wait_for(|is_draining| *is_draining);
            tokio::time::timeout(pause, drained).await.is_ok()
        });
        if is_over {
            return;
        }
    }
}

struct Follower {
    exporter: Exporter,
    interval: Duration,
    log_bytes_max: u64,
    state: Arc<ServerState>,
    moments: Moments,
    drained: watch::Receiver<bool>,
    /// Since it has worked.
    failures: u32,
    /// Full copies since changes were applied or there were none.
    copies: u32,
    random: u64,
    is_log_warned: bool,
    renewed_ns: u64,
}

impl Follower {
    async fn run(mut self) {
        let mut drained = self.drained.clone();
        let mut end = pin!(async move {
            // A server that is gone without a word is over too.
            let _ = drained.wait_for(|is_draining| *is_draining).await;
            sleep(DRAIN_WAIT).await;
        });
        loop {
            // Before the round, which then sees all that is durable.
            let is_draining = *self.drained.borrow() || self.drained.has_changed().is_err();
            let Some(result) = self.round(end.as_mut()).await else { break };
            let pause = self.note(result);
            if is_draining && pause.is_some() {
                break;
            }
            if let Some(pause) = pause {
                self.wait(pause).await;
            }
        }
        let progress = self.state.export();
        let (exported, durable) = (progress.commit.load(Relaxed), self.durable());
        if !progress.is_known.load(Relaxed) {
            tracing::warn!(durable, "Postgres was not reached; the next start goes on");
        } else if exported < durable {
            tracing::warn!(exported, durable, "not everything is exported; the next start goes on");
        } else {
            tracing::info!(exported, "everything is exported");
        }
    }

    /// One round, while the lag is looked at. None: there is no more time.
    async fn round(
        &mut self,
        mut end: Pin<&mut impl Future<Output = ()>>,
    ) -> Option<Result<ExportRound, ExportError>> {
        let mut looks = interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let now_ns = self.state.monotonic_ns();
        let is_old = now_ns.saturating_sub(self.renewed_ns) >= RENEWAL_INTERVAL_NS;
        if is_old {
            self.renewed_ns = now_ns;
        }
        let (state, moments, exporter) = (&self.state, &mut self.moments, &mut self.exporter);
        let mut round = pin!(async {
            if is_old {
                exporter.renew().await?;
            }
            exporter.round().await
        });
        loop {
            tokio::select! {
                result = &mut round => return Some(result),
                () = &mut end => return None,
                _ = looks.tick() => look(state, moments),
            }
        }
    }

    /// Waits, or less when the server begins to drain.
    async fn wait(&mut self, pause: Duration) {
        let mut looks = interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pause = pin!(sleep(pause));
        let mut drained = self.drained.clone();
        loop {
            tokio::select! {
                () = &mut pause => return,
                _ = drained.wait_for(|is_draining| *is_draining) => return,
                _ = looks.tick() => look(&self.state, &mut self.moments),
            }
        }
    }

    /// Tells what a round has done, and says for how long to wait before the next; none: not at all.
    fn note(&mut self, result: Result<ExportRound, ExportError>) -> Option<Duration> {
        let progress = self.state.export();
        // Before the lag: who sees that there is none sees what that took.
        match &result {
            Ok(ExportRound::Applied { commits, objects, .. }) => {
                progress.commits.fetch_add(*commits, Relaxed);
                progress.rows.fetch_add(*objects, Relaxed);
            }
            Ok(ExportRound::Copied { objects, .. }) => {
                progress.rows.fetch_add(*objects, Relaxed);
                progress.full_copies.fetch_add(1, Relaxed);
            }
            Ok(ExportRound::UpToDate) | Err(_) => {}
        }
        if let Some(cursor) = self.exporter.cursor() {
            progress.commit.store(cursor.commit, Relaxed);
            progress.lag_base.store(self.exporter.lag_base(), Relaxed);
            progress.is_known.store(true, Relaxed);
        }
        look(&self.state, &mut self.moments);
        self.warn_of_log();
        let round = match result {
            Ok(round) => round,
            Err(error) => return Some(self.note_failure(&error)),
        };
        // One that has only connected has still to show that it works.
        let has_only_connected = matches!(round, ExportRound::Applied { commits: 0, .. });
        if !has_only_connected {
            progress.is_connected.store(true, Relaxed);
        }
        match round {
            ExportRound::UpToDate => {
                self.note_success();
                Some(self.interval)
            }
            ExportRound::Applied { is_behind, .. } => {
                if !has_only_connected {
                    self.note_success();
                }
                (!is_behind).then_some(self.interval)
            }
            ExportRound::Copied { objects, reason } => {
                let reason = reason.word();
                let is_first = reason == CopyReason::FirstExport.word();
                if is_first {
                    tracing::info!(objects, reason, "copied all objects to Postgres");
                } else {
                    tracing::warn!(objects, reason, "copied all objects to Postgres anew");
                }
                self.note_copy()
            }
        }
    }

    fn note_success(&mut self) {
        self.copies = 0;
        self.note_works();
    }

    fn note_works(&mut self) {
        if self.failures > 0 {
            tracing::info!(failures = self.failures, "the export works again");
            self.failures = 0;
        }
    }

    /// A copy is a success, but for one that follows another with nothing applied between.
    fn note_copy(&mut self) -> Option<Duration> {
        self.copies = self.copies.saturating_add(1);
        if self.copies == 1 {
            self.note_works();
            return None;
        }
        Some(self.back_off())
    }

    fn note_failure(&mut self, error: &ExportError) -> Duration {
        let progress = self.state.export();
        progress.is_connected.store(false, Relaxed);
        progress.failures.fetch_add(1, Relaxed);
        if error.is_divisible() {
            tracing::warn!(%error, "Postgres has not done a round in time; the next is smaller");
            return self.jittered(PAUSE_MIN);
        }
        if error.is_gap() {
            progress.gaps.fetch_add(1, Relaxed);
            tracing::error!(%error, "the export has a gap: all objects are copied anew");
        } else if self.failures.is_multiple_of(FAILURES_PER_LINE) {
            let failures = self.failures + 1;
            tracing::error!(%error, failures, "the export fails; changes stay in the log");
        }
        self.back_off()
    }

    /// How long to wait, once more than the last time.
    fn back_off(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let doubled = PAUSE_MIN.saturating_mul(1 << (self.failures - 1).min(16));
        self.jittered(doubled.min(PAUSE_MAX))
    }

    /// Half of it, and a random part of the other half: servers that lost one Postgres do not come back
    /// to it all at once.
    fn jittered(&mut self, pause: Duration) -> Duration {
        // xorshift64, Marsaglia 2003.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let part = f64::from((self.random >> 40) as u32) / f64::from(1u32 << 24);
        pause.div_f64(2.0) + pause.div_f64(2.0).mul_f64(part)
    }

    /// Says when the log grows because of us, and again when it does no more.
    fn warn_of_log(&mut self) {
        let progress = self.state.export();
        let kept_bytes = self.state.log().kept_bytes.load(Relaxed);
        let is_behind = progress.lag_commits(self.durable()) > 0;
        let is_large = is_behind && kept_bytes > self.log_bytes_max / 2;
        if is_large && !self.is_log_warned {
            let log_bytes_max = self.log_bytes_max;
            tracing::warn!(
                kept_bytes,
                log_bytes_max,
                "the log is kept for the export, and at log_bytes_max no longer"
            );
        }
        self.is_log_warned = is_large;
    }

    fn durable(&self) -> u64 {
        self.state.log().durable_commit()
    }
}

fn look(state: &ServerState, moments: &mut Moments) {
    moments.see(&state.export(), state.log().durable_commit(), state.monotonic_ns());
}

#[cfg(test)]
mod tests;
