//! The processes of one section: as many as it says, each started again when it ends, and replaced together
//! when an operator says so.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use warren_core::control::Leases;

use super::board::{Board, OrderEnd, ProcessRow, WorkerOrder};
use super::launch::Launch;
use super::output;
use super::process::{Look, Part, Process, Stage};
use crate::admin::Desk;

const MS_NS: u64 = 1_000_000;
/// How long a seat stays empty after an end; twice as long after each other.
const BACKOFF_MS: u64 = 100;
/// A process that has lived so long has its ends before forgotten.
const FORGET_NS: u64 = 30_000 * MS_NS;
/// How often it is looked whether a process that starts has said `work`.
const LOOK: Duration = Duration::from_millis(50);
/// The same whether one that works is stuck: four times in the time for which it may be, and so often at least.
const LOOK_WORKING_MS_MAX: u64 = 5_000;
/// A look is late that comes so long after it was due, or as long as is between two if that is longer.
const LATE_MS: u64 = 1_000;
/// How long the lines of a process are waited for that has ended: another may hold its pipes.
const OUTPUT_WAIT: Duration = Duration::from_secs(1);
/// Longest wait when nothing is due.
const IDLE: Duration = Duration::from_secs(3600);

/// A place for one process.
#[derive(Debug, Default)]
struct Seat {
    /// It stays empty until then.
    due_ns: u64,
    /// How long it stays empty after the next end.
    delay_ms: u64,
    starts: u64,
    last_exit: Option<String>,
}

/// An order that is being carried out.
struct Task {
    number: u64,
    order: WorkerOrder,
    begun_ns: u64,
    outcome: OrderEnd,
}

/// Who is looked at: the number of a process, and the process.
type Looked = (u32, u32);

/// What a look has found.
enum Found {
    /// Those that have said `work`.
    Begun(Vec<Looked>),
    /// Of those that work, in order; none if a shard did not answer.
    Leases(Vec<(Looked, u64)>, Option<Vec<Option<Leases>>>),
}

pub(super) struct Crew {
    launch: Launch,
    desk: Arc<Desk>,
    board: Arc<Board>,
    orders: mpsc::Receiver<(u64, WorkerOrder)>,
    seats: Vec<Seat>,
    /// By number: the lowest that is free.
    processes: BTreeMap<u32, Process>,
    ends: JoinSet<(u32, io::Result<ExitStatus>)>,
    /// Looks that are under way, one of each kind at most. A shard may take long to answer, and nothing else waits
    /// for that.
    looks: JoinSet<Found>,
    is_begun_asked: bool,
    is_silence_asked: bool,
    task: Option<Task>,
    is_ending: bool,
}

impl Crew {
    pub(super) fn new(launch: Launch, desk: Arc<Desk>, board: Arc<Board>) -> Self {
        Self {
            orders: board.take_orders(&launch.section.name),
            seats: (0..launch.section.count).map(|_| Seat::default()).collect(),
            launch,
            desk,
            board,
            processes: BTreeMap::new(),
            ends: JoinSet::new(),
            looks: JoinSet::new(),
            is_begun_asked: false,
            is_silence_asked: false,
            task: None,
            is_ending: false,
        }
    }

    /// Keeps the seats taken until the server ends, and then until all processes have ended.
    pub(super) async fn run(mut self, mut ending: watch::Receiver<bool>) {
        while !self.is_ending || !self.processes.is_empty() {
            self.do_what_is_due();
            self.settle_task();
            self.board.set_rows(&self.launch.section.name, self.rows());
            let takes_orders = self.task.is_none() && !self.is_ending;
            let wait = self.wait();
            tokio::select! {
                Some(Ok((number, status))) = self.ends.join_next() => self.ended(number, status),
                Some((number, order)) = self.orders.recv(), if takes_orders => {
                    self.begin(number, order);
                }
                _ = ending.changed(), if !self.is_ending => self.begin_end(),
                Some(Ok(found)) = self.looks.join_next() => self.found(found),
                () = tokio::time::sleep(wait) => self.look(),
            }
        }
        self.board.set_rows(&self.launch.section.name, Vec::new());
    }

    fn now_ns(&self) -> u64 {
        self.desk.clock.monotonic_ns()
    }

    fn stop_until_ns(&self) -> u64 {
        self.now_ns() + self.launch.section.stop_ms * MS_NS
    }

    /// Starts what is missing, and kills what has had its time.
    fn do_what_is_due(&mut self) {
        let now_ns = self.now_ns();
        for (number, process) in &mut self.processes {
            if process.stage.until_ns().is_some_and(|until_ns| until_ns <= now_ns) {
                let what = match process.stage {
                    Stage::Starting { .. } => "a worker did not say `work` in time, and is killed",
                    _ => "a worker did not end in time, and is killed",
                };
                tracing::warn!(worker = self.launch.user(*number), pid = process.pid, "{what}");
                process.kill();
            }
        }
        for seat in 0..self.seats.len() {
            if !self.is_ending && self.is_empty(seat) && self.seats[seat].due_ns <= now_ns {
                self.start_seat(seat);
            }
        }
    }

    fn is_empty(&self, seat: usize) -> bool {
        !self.processes.values().any(|process| process.part == Part::Seated(seat))
    }

    fn start_seat(&mut self, seat: usize) {
        if self.seats[seat].starts > 0 {
            self.board.count_restart(&self.launch.section.name);
        }
        self.seats[seat].starts += 1;
        if let Err(error) = self.start(Part::Seated(seat)) {
            let worker = &self.launch.section.name;
            tracing::error!(worker, %error, "a worker cannot be started");
            self.seats[seat].last_exit = Some(error.to_string());
            self.back_off(seat, 0);
            self.fail_restart(&format!("a worker cannot be started: {error}"));
        }
    }

    fn start(&mut self, part: Part) -> io::Result<()> {
        let number = (1..).find(|number| !self.processes.contains_key(number));
        let number = number.expect("there are few processes");
        let mut child = self.launch.start(number)?;
        let started_ns = self.now_ns();
        let until_ns = started_ns + self.launch.section.start_ms * MS_NS;
        let outputs = self.tell_outputs(&mut child, number);
        let (process, ended) =
            Process::of(child, (Stage::Starting { until_ns }, part, started_ns))?;
        tracing::info!(worker = self.launch.user(number), pid = process.pid, "started a worker");
        self.processes.insert(number, process);
        self.ends.spawn(async move {
            let status = ended.await;
            // What it wrote is told before its end.
            let _ = tokio::time::timeout(OUTPUT_WAIT, outputs.join_all()).await;
            (number, status)
        });
        Ok(())
    }

    fn tell_outputs(&self, child: &mut Child, number: u32) -> JoinSet<()> {
        let stdout = child.stdout.take().map(|pipe| (OwnedFd::from(pipe), "stdout"));
        let stderr = child.stderr.take().map(|pipe| (OwnedFd::from(pipe), "stderr"));
        let mut outputs = JoinSet::new();
        for (pipe, stream) in stdout.into_iter().chain(stderr) {
            outputs.spawn(output::tell(pipe, self.launch.user(number), stream, self.desk.clock));
        }
        outputs
    }

    /// A process is no more.
    fn ended(&mut self, number: u32, status: io::Result<ExitStatus>) {
        let Some(process) = self.processes.remove(&number) else { return };
        let exit = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        let (worker, pid) = (self.launch.user(number), process.pid);
        if process.was_stuck {
            tracing::warn!(worker, pid, exit, "a stuck worker has ended");
        } else if process.was_asked {
            tracing::info!(worker, pid, exit, "a worker has ended");
        } else {
            tracing::warn!(worker, pid, exit, "a worker has ended by itself");
        }
        match process.part {
            Part::Seated(seat) => {
                self.seats[seat].last_exit = Some(exit.clone());
                if process.was_asked && (!process.was_stuck || self.is_being_replaced(&process)) {
                    self.seats[seat].due_ns = 0;
                } else {
                    self.back_off(seat, self.now_ns() - process.started_ns);
                    self.fail_restart(&format!("{worker} has ended: {exit}"));
                }
            }
            Part::Candidate(_) => {
                self.give_up_candidates(&format!("{worker} has ended before all worked: {exit}"));
            }
            Part::Leaving => {}
        }
    }

    /// Its end is what an order is about.
    fn is_being_replaced(&self, process: &Process) -> bool {
        let is_before =
            |task: &Task| task.order == WorkerOrder::Restart && process.started_ns < task.begun_ns;
        self.task.as_ref().is_some_and(is_before)
    }

    /// The seat stays empty for a while, after a process that has lived so long.
    fn back_off(&mut self, seat: usize, life_ns: u64) {
        let now_ns = self.now_ns();
        let seat = &mut self.seats[seat];
        if life_ns >= FORGET_NS {
            seat.delay_ms = 0;
        }
        let most_ms = self.launch.section.restart_ms_max;
        let delay_ms = seat.delay_ms.clamp(BACKOFF_MS, most_ms);
        seat.due_ns = now_ns + delay_ms * MS_NS;
        seat.delay_ms = (delay_ms * 2).min(most_ms);
    }

    fn begin(&mut self, number: u64, order: WorkerOrder) {
        let begun_ns = self.now_ns();
        let name = &self.launch.section.name;
        tracing::info!(workers = name, order = order.word(), "an order for workers");
        self.task = Some(Task { number, order, begun_ns, outcome: Ok(()) });
        match order {
            WorkerOrder::Restart => {
                let until_ns = self.stop_until_ns();
                self.processes.values_mut().for_each(|process| process.ask_to_end(until_ns));
                for seat in &mut self.seats {
                    (seat.due_ns, seat.delay_ms) = (0, 0);
                }
            }
            WorkerOrder::Reload => {
                for seat in 0..self.seats.len() {
                    if let Err(error) = self.start(Part::Candidate(seat)) {
                        self.give_up_candidates(&format!("a worker cannot be started: {error}"));
                        return;
                    }
                }
            }
        }
    }

    /// Those that were started to take the seats do not get them.
    fn give_up_candidates(&mut self, why: &str) {
        let until_ns = self.stop_until_ns();
        for process in self.processes.values_mut() {
            if matches!(process.part, Part::Candidate(_)) {
                process.part = Part::Leaving;
                process.ask_to_end(until_ns);
            }
        }
        if let Some(task) = &mut self.task
            && task.outcome.is_ok()
        {
            tracing::error!(workers = self.launch.section.name, why, "the workers before stay");
            task.outcome = Err(why.to_owned());
        }
    }

    fn fail_restart(&mut self, why: &str) {
        if let Some(task) = self.task.as_mut().filter(|task| task.order == WorkerOrder::Restart) {
            task.outcome = Err(why.to_owned());
        }
    }

    /// All candidates work: they get the seats.
    fn give_seats(&mut self) {
        let until_ns = self.stop_until_ns();
        for process in self.processes.values_mut() {
            match process.part {
                Part::Seated(_) => {
                    process.part = Part::Leaving;
                    process.ask_to_end(until_ns);
                }
                Part::Candidate(seat) => {
                    process.part = Part::Seated(seat);
                    self.seats[seat] = Seat { starts: self.seats[seat].starts, ..Seat::default() };
                }
                Part::Leaving => {}
            }
        }
    }

    /// Looks how far the order is.
    fn settle_task(&mut self) {
        let Some(task) = &self.task else { return };
        let all = || self.processes.values();
        let is_candidate = |process: &&Process| matches!(process.part, Part::Candidate(_));
        let has_ended = match task.order {
            WorkerOrder::Restart => {
                let is_new = |process: &Process| {
                    process.stage == Stage::Working && process.started_ns >= task.begun_ns
                };
                task.outcome.is_err() || all().count() == self.seats.len() && all().all(is_new)
            }
            WorkerOrder::Reload if all().any(|process| is_candidate(&process)) => {
                if all().filter(is_candidate).all(|process| process.stage == Stage::Working) {
                    self.give_seats();
                }
                false
            }
            WorkerOrder::Reload => !all().any(|process| process.part == Part::Leaving),
        };
        if has_ended && let Some(Task { number, outcome, .. }) = self.task.take() {
            self.board.tell_end(&self.launch.section.name, number, outcome);
        }
    }

    /// The server ends.
    fn begin_end(&mut self) {
        self.is_ending = true;
        let until_ns = self.stop_until_ns();
        self.processes.values_mut().for_each(|process| process.ask_to_end(until_ns));
        if let Some(Task { number, .. }) = self.task.take() {
            let why = "the server ends".to_owned();
            self.board.tell_end(&self.launch.section.name, number, Err(why));
        }
    }

    /// Until something is due.
    fn wait(&self) -> Duration {
        let empty = (0..self.seats.len()).filter(|seat| !self.is_ending && self.is_empty(*seat));
        let dues = empty.map(|seat| self.seats[seat].due_ns);
        let until = self.processes.values().filter_map(|process| process.stage.until_ns());
        let is_asked = self.is_silence_asked;
        let looks = self.processes.values().filter(|_| !is_asked).filter_map(Process::look_ns);
        let due = dues.chain(until).chain(looks).min();
        let wait = due.map_or(IDLE, |due| Duration::from_nanos(due.saturating_sub(self.now_ns())));
        let is_starting = |process: &Process| matches!(process.stage, Stage::Starting { .. });
        let is_looked = !self.is_begun_asked && self.processes.values().any(is_starting);
        if is_looked { wait.min(LOOK) } else { wait }
    }

    fn look(&mut self) {
        if !self.is_silence_asked {
            self.look_for_stuck();
        }
        if !self.is_begun_asked {
            self.look_for_begun();
        }
    }

    /// Looks which of those that start have said `work`.
    fn look_for_begun(&mut self) {
        let all = self.processes.iter();
        let starting = all.filter(|(_, process)| matches!(process.stage, Stage::Starting { .. }));
        let looked = |(number, process): (&u32, &Process)| {
            ((*number, process.pid), self.launch.user(*number))
        };
        let starting: Vec<(Looked, String)> = starting.map(looked).collect();
        if starting.is_empty() {
            return;
        }
        let desk = Arc::clone(&self.desk);
        self.is_begun_asked = true;
        self.looks.spawn(async move {
            let mut begun = Vec::new();
            for (looked, user) in starting {
                match desk.find_worker(&user).await {
                    Ok(found) => begun.extend(found.map(|_| looked)),
                    // A shard that does not answer now is asked again.
                    Err(_) => break,
                }
            }
            Found::Begun(begun)
        });
    }

    /// The time between two looks at one that works.
    fn look_ns(&self) -> u64 {
        (self.launch.section.silent_ms_max / 4).min(LOOK_WORKING_MS_MAX) * MS_NS
    }

    /// Looks which of those that work are stuck.
    fn look_for_stuck(&mut self) {
        let (now_ns, distance_ns) = (self.now_ns(), self.look_ns());
        let (mut working, mut users) = (Vec::new(), Vec::new());
        for (number, process) in &mut self.processes {
            if let Some(due_ns) = process.look_ns().filter(|due_ns| *due_ns <= now_ns) {
                working.push(((*number, process.pid), due_ns));
                users.push(self.launch.user(*number));
                process.look_ns = now_ns + distance_ns;
            }
        }
        if working.is_empty() {
            return;
        }
        let desk = Arc::clone(&self.desk);
        self.is_silence_asked = true;
        self.looks.spawn(async move {
            let leases = desk.worker_leases(users.iter().map(String::as_str)).await;
            Found::Leases(working, leases.ok())
        });
    }

    fn found(&mut self, found: Found) {
        match found {
            Found::Begun(begun) => {
                self.is_begun_asked = false;
                begun.into_iter().for_each(|looked| self.found_begun(looked));
            }
            Found::Leases(working, leases) => {
                self.is_silence_asked = false;
                for (index, (looked, due_ns)) in working.into_iter().enumerate() {
                    self.found_leases(looked, due_ns, leases.as_ref().map(|leases| leases[index]));
                }
            }
        }
    }

    fn found_begun(&mut self, (number, pid): Looked) {
        let now_ns = self.now_ns();
        let process = self.processes.get_mut(&number).filter(|process| process.pid == pid);
        if let Some(process) = process
            && matches!(process.stage, Stage::Starting { .. })
        {
            tracing::info!(worker = self.launch.user(number), pid, "a worker works");
            process.stage = Stage::Working;
            process.look_ns = now_ns;
        }
    }

    /// Asks the process to end if it is stuck.
    fn found_leases(&mut self, (number, pid): Looked, due_ns: u64, leases: Option<Option<Leases>>) {
        let (now_ns, stop_until_ns) = (self.now_ns(), self.stop_until_ns());
        let late_ns = self.look_ns().max(LATE_MS * MS_NS);
        let silent_ms_max = self.launch.section.silent_ms_max;
        let process = self.processes.get_mut(&number).filter(|process| process.pid == pid);
        let Some(process) = process.filter(|process| process.stage == Stage::Working) else {
            return;
        };
        let Some(leases) = leases else { return process.not_looked() };
        let look = Look { due_ns, now_ns, late_ns, silent_ms_max };
        if let Some(silent_ms) = process.looked(leases, look) {
            let worker = self.launch.user(number);
            tracing::warn!(worker, pid, silent_ms, "a worker is stuck: it is ended");
            self.board.count_stuck(&self.launch.section.name);
            process.was_stuck = true;
            process.ask_to_end(stop_until_ns);
        }
    }

    fn rows(&self) -> Vec<ProcessRow> {
        let name = &self.launch.section.name;
        let of_process = |(number, process): (&u32, &Process)| {
            let seat = match process.part {
                Part::Seated(seat) => Some(&self.seats[seat]),
                Part::Candidate(_) | Part::Leaving => None,
            };
            ProcessRow {
                workers: name.clone(),
                user: Some(self.launch.user(*number)),
                pid: Some(process.pid),
                state: process.stage.word(),
                restarts: seat.map_or(0, |seat| seat.starts.saturating_sub(1)),
                last_exit: seat.and_then(|seat| seat.last_exit.clone()),
            }
        };
        let empty = (0..self.seats.len()).filter(|seat| self.is_empty(*seat));
        let of_empty = |seat: usize| ProcessRow {
            workers: name.clone(),
            user: None,
            pid: None,
            state: "backing-off",
            restarts: self.seats[seat].starts.saturating_sub(1),
            last_exit: self.seats[seat].last_exit.clone(),
        };
        self.processes.iter().map(of_process).chain(empty.map(of_empty)).collect()
    }
}

#[cfg(test)]
mod tests;
