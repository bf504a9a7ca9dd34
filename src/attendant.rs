//! What goes on beside serving, on the admin endpoint's runtime: signals that do not stop the
//! server, and reports to the service manager.

use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::admin::{Access, RELOADS_MAX, ReloadAsker};
use crate::metrics::{Phase, ServerState};
use crate::reload::{Reload, ReloadReport};
use crate::service_manager::ServiceManager;

/// Signals are watched from the moment at which it is made, and heard once it attends.
pub(crate) struct Attendant {
    hangup: Option<Signal>,
    quit: Signal,
    user_one: Signal,
    user_two: Signal,
    /// None while it is at work, on a thread where it may take its time.
    reload: Option<Reload>,
    reloading: Option<Reloading>,
    /// Who asks for a reload over the admin endpoint.
    askers: Option<mpsc::Receiver<ReloadAsker>>,
    manager: Arc<ServiceManager>,
}

/// A reload that is under way.
struct Reloading {
    work: JoinHandle<(Reload, ReloadReport)>,
    asker: Option<ReloadAsker>,
}

/// What goes with the server that is attended to.
pub(crate) struct Attended {
    pub(crate) state: Arc<ServerState>,
    pub(crate) access: Arc<Access>,
    /// What the service manager is told when the server serves.
    pub(crate) status: String,
}

impl Attendant {
    /// Without `reload`, SIGHUP ends the process, as it does a program at a terminal.
    pub(crate) fn watch(reload: Option<Reload>, manager: Arc<ServiceManager>) -> Self {
        let watch = |kind| signal(kind).expect("the runtime was made with io");
        Self {
            hangup: reload.is_some().then(|| watch(SignalKind::hangup())),
            quit: watch(SignalKind::quit()),
            user_one: watch(SignalKind::user_defined1()),
            user_two: watch(SignalKind::user_defined2()),
            reload,
            reloading: None,
            askers: None,
            manager,
        }
    }

    /// The way for those who ask for a reload; none when there is nothing to reload.
    pub(crate) fn reloads(&mut self) -> Option<mpsc::Sender<ReloadAsker>> {
        self.reload.as_ref()?;
        let (sender, askers) = mpsc::channel(RELOADS_MAX);
        self.askers = Some(askers);
        Some(sender)
    }

    /// Tells the service manager that the server serves, and attends until it is dropped.
    pub(crate) async fn attend(mut self, attended: Attended) {
        let Attended { state, access, status } = attended;
        let mut is_told = self.manager.ready(&status);
        let mut reports = tokio::time::interval(self.manager.report_interval());
        reports.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // A drain that hangs must not put its end off for ever.
        let mut drain_reports = self.manager.drain_reports_max();
        loop {
            // What comes while a file is read waits for its turn.
            let is_free = self.reloading.is_none();
            let hangup = self.hangup.as_mut().filter(|_| is_free);
            let askers = self.askers.as_mut().filter(|_| is_free);
            tokio::select! {
                () = received(hangup) => self.reload(&access, None),
                asker = asked(askers) => self.reload(&access, Some(asker)),
                (reload, report) = finished(&mut self.reloading) => {
                    let reloading = self.reloading.take();
                    self.reload = Some(reload);
                    if let Some(asker) = reloading.and_then(|reloading| reloading.asker) {
                        // Whoever asked may have lost patience.
                        let _ = asker.send(report);
                    }
                    is_told = self.manager.ready(&status);
                }
                () = received(Some(&mut self.quit)) => log_state(&state),
                () = received(Some(&mut self.user_one)) => tracing::info!(
                    signal = "SIGUSR1", "the log is standard error: there is no file to reopen"
                ),
                () = received(Some(&mut self.user_two)) => tracing::info!(
                    signal = "SIGUSR2", "this signal means nothing here; SIGTERM drains and stops"
                ),
                _ = reports.tick() => {
                    if !is_told && state.phase() == Phase::Serving {
                        is_told = self.manager.ready(&status);
                    }
                    self.report(&state, &mut drain_reports);
                }
            }
        }
    }

    fn reload(&mut self, access: &Arc<Access>, asker: Option<ReloadAsker>) {
        let Some(mut reload) = self.reload.take() else { return };
        self.manager.reloading();
        let access = Arc::clone(access);
        let work = tokio::task::spawn_blocking(move || {
            let report = reload.run(&access);
            (reload, report)
        });
        self.reloading = Some(Reloading { work, asker });
    }

    fn report(&self, state: &ServerState, drain_reports: &mut u32) {
        let due = Due::now(state, drain_reports);
        if due.alive {
            self.manager.alive();
        }
        if due.draining {
            self.manager.draining();
        }
    }
}

/// What the service manager is to hear at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Due {
    /// Every shard turns, as `/livez` sees it: only then is the watchdog fed.
    alive: bool,
    /// The drain needs more time.
    draining: bool,
}

impl Due {
    fn now(state: &ServerState, drain_reports: &mut u32) -> Self {
        let draining = state.phase() == Phase::Draining && *drain_reports > 0;
        *drain_reports -= u32::from(draining);
        Self { alive: state.stalled_shards().is_empty(), draining }
    }
}

/// Waits for the next such signal; for ever, when none is watched.
async fn received(signal: Option<&mut Signal>) {
    let Some(signal) = signal else { return core::future::pending().await };
    if signal.recv().await.is_none() {
        core::future::pending().await
    }
}

/// Waits for the next who asks for a reload; for ever, when nobody may.
async fn asked(askers: Option<&mut mpsc::Receiver<ReloadAsker>>) -> ReloadAsker {
    let Some(askers) = askers else { return core::future::pending().await };
    match askers.recv().await {
        Some(asker) => asker,
        None => core::future::pending().await,
    }
}

/// Waits until the configuration has been read again; for ever, when it is not being read.
async fn finished(reloading: &mut Option<Reloading>) -> (Reload, ReloadReport) {
    let Some(reloading) = reloading else { return core::future::pending().await };
    (&mut reloading.work).await.expect("reading a file again does not panic")
}

/// What an operator wants to know of a server that behaves oddly, a line for each shard.
fn log_state(state: &ServerState) {
    let phase = state.phase();
    for shard in state.summaries() {
        tracing::info!(
            phase = phase.word(),
            shard = shard.index,
            turn_age_ms = shard.turn_age_ns / 1_000_000,
            connections = shard.connections,
            sessions = shard.sessions,
            rooms = shard.rooms,
            objects = shard.objects,
            queued_events = shard.queued_events,
            send_queue_bytes = shard.send_queue_bytes,
            mesh_staged_bytes = shard.mesh_staged_bytes,
            "state"
        );
    }
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use super::*;
    use crate::metrics::TURN_AGE_NS_MAX;

    #[test]
    fn the_watchdog_is_fed_while_all_shards_turn_and_a_drain_has_its_time() {
        let now_ns = Arc::new(AtomicU64::new(0));
        let clock = Arc::clone(&now_ns);
        let state = ServerState::new(2, move || clock.load(Relaxed));
        let mut drain_reports = 2;
        let mut due = || Due::now(&state, &mut drain_reports);
        assert_eq!(due(), Due { alive: true, draining: false });
        state.set_phase(Phase::Draining);
        assert_eq!(due(), Due { alive: true, draining: true });
        now_ns.store(TURN_AGE_NS_MAX + 1, Relaxed);
        assert_eq!(due(), Due { alive: false, draining: true });
        // A drain that never ends does not put its end off for ever.
        assert_eq!(due(), Due { alive: false, draining: false });
    }
}
