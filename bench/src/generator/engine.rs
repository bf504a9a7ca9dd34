//! The sockets and the clock of a generator: one ring, one thread, no wait but the ring's.

mod storm;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::connections::{Connections, Fault};
use super::control::{Command, Event, Plan, Progress, Report};
use super::tls::{Tls, TlsClient};
use crate::clock;
use crate::pacing::{Pacer, Schedule};
use crate::profile::Activity;
use crate::profile::storm::{SOCKETS_PER_USER, USERS_PER_ADDRESS};
use crate::ring::{
    CONNECTIONS_PER_ADDRESS, Completion, Leave, ReceivedBytes, Ring, Turn, source_address,
};
use crate::wire::Seat;

/// Time between two events of progress.
const PROGRESS_NS: u64 = 1_000_000_000;
/// Longest time between two turns until the schedule is there: a command does not wake the ring.
const IDLE_WAIT_NS: u64 = 5_000_000;
/// How long a message may take before it counts as lost, after the last was said.
const DRAIN_NS_MAX: u64 = 10_000_000_000;
/// How long frames may take to tell of the last moves: several times the bound.
const WORLD_DRAIN_NS: u64 = 1_000_000_000;
/// How long users may take to read what they have set.
const READ_BACK_NS_MAX: u64 = 10_000_000_000;
/// In worlds, what comes within this time is dealt with together, much as servers do.
const TURN_INTERVAL_NS: u64 = 1_000_000;

/// One socket, by slot.
#[derive(Default)]
struct Socket {
    open: bool,
    sending: bool,
    /// A receive is under way.
    receiving: bool,
    /// There is a socket in the slot, though it may be left.
    taken: bool,
    tls: Option<Box<Tls>>,
}

impl Socket {
    fn opened(tls: Option<Box<Tls>>) -> Self {
        Self { open: true, sending: false, receiving: true, taken: true, tls }
    }
}

/// What a run is measured by, from the start command on.
struct Run {
    schedule: Schedule,
    pacer: Pacer,
    /// When users who speak too seldom give signs of life.
    signs: Option<Pacer>,
    /// When users set their objects, where they do besides.
    sets: Option<Pacer>,
    /// When they began to read them at the end.
    read_back_at_ns: Option<u64>,
    deliveries_expected: u64,
    /// CPU and time at the beginning of the measured part, then what it took.
    begun: Option<(u64, u64)>,
    taken: Option<(u64, u64)>,
}

/// A generator's loop.
pub(super) struct Engine {
    plan: Plan,
    ring: Ring,
    tls: Option<TlsClient>,
    connections: Connections,
    /// By slot: user u of this generator has slot u, and those that are as many further on as there are
    /// users.
    sockets: Vec<Socket>,
    /// By user: the slot of its connection.
    slots: Vec<u32>,
    course: storm::Course,
    /// Slots whose receive is to be armed again.
    unarmed: Vec<u32>,
    connected_next: u32,
    begun_ns: u64,
    progress_at_ns: u64,
    silence_at_ns: u64,
    ready: bool,
    run: Option<Run>,
}

impl Engine {
    pub(super) fn new(plan: Plan) -> Result<Self> {
        let count = plan.user_count();
        let now_ns = clock::monotonic_ns();
        let slots_per_user = if plan.profile.storm.is_some() { SOCKETS_PER_USER } else { 1 };
        let slot_count = count * slots_per_user;
        Ok(Self {
            ring: Ring::new(slot_count)?,
            tls: plan.certificate.as_deref().map(TlsClient::trusting).transpose()?,
            connections: Connections::new(plan.clone()),
            plan,
            sockets: (0..slot_count).map(|_| Socket::default()).collect(),
            slots: (0..count).collect(),
            course: storm::Course::default(),
            unarmed: Vec::new(),
            connected_next: 0,
            begun_ns: now_ns,
            progress_at_ns: now_ns + PROGRESS_NS,
            silence_at_ns: now_ns,
            ready: false,
            run: None,
        })
    }

    /// Connects everyone, speaks by the schedule that comes, and listens until all was heard.
    pub(super) fn run(&mut self, commands: &Receiver<Command>) -> Result<Report> {
        let mut completions = Vec::new();
        let turn_is_gathered = self.plan.profile.activity == Activity::Move;
        let turn = match turn_is_gathered {
            true => Turn::Gathering(Duration::from_nanos(TURN_INTERVAL_NS)),
            false => Turn::AtOnce,
        };
        loop {
            let now_ns = clock::monotonic_ns();
            self.obey(commands)?;
            self.ramp(now_ns)?;
            self.storm(now_ns)?;
            self.speak(now_ns);
            self.connections.retry(now_ns);
            self.break_silence(now_ns);
            self.report_progress(now_ns)?;
            if self.measure(now_ns) {
                break;
            }
            self.flush(now_ns);
            let mut wait_ns = self.deadline_ns(now_ns).saturating_sub(clock::monotonic_ns());
            if turn_is_gathered {
                // Moves are due so often that each would get a turn of its own.
                wait_ns = wait_ns.max(TURN_INTERVAL_NS);
            }
            self.ring.turn(turn, Duration::from_nanos(wait_ns), &mut completions);
            // What is taken now was there before now.
            let now_ns = clock::monotonic_ns();
            for completion in completions.drain(..) {
                self.complete(completion, now_ns)?;
            }
        }
        let taken = self.run.as_ref().and_then(|run| run.taken);
        let (cpu_ns, elapsed_ns) = taken.expect("a run ends after its measured part");
        let mut report = self.connections.report(clock::monotonic_ns(), cpu_ns, elapsed_ns);
        report.storm.iter_mut().for_each(|storm| self.complete_storm(storm));
        Ok(report)
    }

    fn obey(&mut self, commands: &Receiver<Command>) -> Result<()> {
        match commands.try_recv() {
            Ok(Command::Start { schedule, entities }) => {
                self.connections.start(schedule, &entities);
                let profile = &self.plan.profile;
                let users = || {
                    let user = |index| (index as usize, self.plan.user(index));
                    (0..self.plan.user_count()).map(user)
                };
                let active = users().filter(|(_, user)| profile.is_active(*user));
                let signs = Schedule { period_ns: profile.heartbeat_ns, ..schedule };
                let signs_are_due = self.connections.signs_are_due();
                let sets = profile.sets.filter(|_| profile.activity != Activity::Set);
                let sets = sets.map(|sets| Schedule { period_ns: sets.period_ns, ..schedule });
                self.run = Some(Run {
                    schedule,
                    pacer: Pacer::new(schedule, active),
                    signs: signs_are_due.then(|| Pacer::new(signs, users())),
                    sets: sets.map(|sets| Pacer::new(sets, users())),
                    read_back_at_ns: None,
                    deliveries_expected: self.connections.deliveries_expected(),
                    begun: None,
                    taken: None,
                });
                Ok(())
            }
            Err(TryRecvError::Empty) => Ok(()),
            Err(TryRecvError::Disconnected) => bail!("the parent is gone"),
        }
    }

    /// Connects as many users as pace and window let it.
    fn ramp(&mut self, now_ns: u64) -> Result<()> {
        if self.ready {
            return Ok(());
        }
        let elapsed_ns = u128::from(now_ns - self.begun_ns);
        let paced = elapsed_ns * u128::from(self.plan.ramp_rate_hz) / 1_000_000_000 + 1;
        let windowed = self.connections.joined() + self.plan.ramp_window;
        let until = u32::try_from(paced).unwrap_or(u32::MAX).min(windowed);
        while self.connected_next < until.min(self.plan.user_count()) {
            let index = self.connected_next;
            let (seat, source, address) = self.way(index);
            let leave = match self.plan.profile.storm {
                Some(_) => storm::leaves_by(seat.user),
                None => Leave::Close,
            };
            self.ring.connect(index, source, address, leave).context("a user cannot connect")?;
            let tls = self.tls.as_ref().map(TlsClient::connection).transpose()?;
            self.sockets[index as usize] = Socket::opened(tls.map(Box::new));
            self.connections.opened(index, now_ns);
            self.connected_next += 1;
        }
        if self.connections.joined() == self.plan.user_count() {
            self.ready = true;
            Event::Ready { entities: self.connections.entities() }.write()?;
        }
        Ok(())
    }

    /// Who a user is, and from where to where it connects.
    fn way(&self, index: u32) -> (Seat, Ipv4Addr, SocketAddrV4) {
        let seat = self.connections.seat(index);
        let address = self.plan.address(seat);
        let per_address = match self.plan.profile.storm {
            Some(_) => USERS_PER_ADDRESS,
            None => CONNECTIONS_PER_ADDRESS,
        };
        let source = match address.ip().is_loopback() {
            true => source_address(seat.user, per_address),
            false => Ipv4Addr::UNSPECIFIED,
        };
        (seat, source, address)
    }

    fn speak(&mut self, now_ns: u64) {
        let Some(run) = &mut self.run else { return };
        while let Some(due) = run.pacer.next_due(now_ns) {
            self.connections.act(due, now_ns);
        }
        while let Some(due) = run.signs.as_mut().and_then(|signs| signs.next_due(now_ns)) {
            self.connections.sign(due, now_ns);
        }
        while let Some(due) = run.sets.as_mut().and_then(|sets| sets.next_due(now_ns)) {
            self.connections.set(due, now_ns);
        }
    }

    /// Looks for users who were silent for long, several times in a heartbeat.
    fn break_silence(&mut self, now_ns: u64) {
        if now_ns >= self.silence_at_ns {
            self.silence_at_ns = now_ns + (self.plan.profile.heartbeat_ns / 8).min(PROGRESS_NS);
            self.connections.ping_silent(now_ns);
        }
    }

    fn report_progress(&mut self, now_ns: u64) -> Result<()> {
        if now_ns < self.progress_at_ns {
            return Ok(());
        }
        self.progress_at_ns = now_ns + PROGRESS_NS;
        let latency_max_ns = self.connections.take_latency_max_ns();
        let counters = self.connections.counters();
        let progress = Progress {
            joined: self.connections.joined(),
            sent: counters.sent,
            heard: counters.heard,
            disconnects: counters.disconnects,
            latency_max_ns,
        };
        Event::Progress(progress).write()
    }

    /// Takes the CPU at both ends of the measured part, and tells whether all is over.
    fn measure(&mut self, now_ns: u64) -> bool {
        let drain_ns = self.drain_ns();
        let Some(run) = &mut self.run else { return false };
        let schedule = run.schedule;
        if run.begun.is_none() && now_ns >= schedule.measure_from_ns {
            run.begun = Some((clock::process_cpu_ns(), now_ns));
        }
        let Some((cpu_ns, begun_ns)) = run.begun else { return false };
        if now_ns < schedule.end_ns {
            return false;
        }
        run.taken.get_or_insert_with(|| (clock::process_cpu_ns() - cpu_ns, now_ns - begun_ns));
        // Frames tell of the last moves until the end of the wait.
        let moves = self.plan.profile.activity == Activity::Move;
        let heard_all = !moves
            && self.connections.deliveries() >= run.deliveries_expected
            && self.connections.awaited() == 0
            && self.connections.sets_waiting() == 0;
        let is_drained = heard_all || now_ns >= schedule.end_ns + drain_ns;
        run.pacer.peek().is_none() && is_drained && self.has_read_back(now_ns)
    }

    /// Waits for the answers to all sets, and lets users read what has become of them: tells when that is done
    /// too.
    fn has_read_back(&mut self, now_ns: u64) -> bool {
        let (run, connections) = (self.run.as_mut().expect("it drains"), &mut self.connections);
        if connections.sets_waiting() > 0 && now_ns < run.schedule.end_ns + DRAIN_NS_MAX {
            return false;
        }
        let begun_ns = *run.read_back_at_ns.get_or_insert_with(|| {
            connections.read_back(now_ns);
            now_ns
        });
        connections.objects_reading() == 0 || now_ns >= begun_ns + READ_BACK_NS_MAX
    }

    /// Those who only ping are silent at the end: servers bear that for a heartbeat more.
    fn drain_ns(&self) -> u64 {
        match self.plan.profile.activity {
            Activity::Say | Activity::Set => DRAIN_NS_MAX,
            Activity::Ping => DRAIN_NS_MAX.min(self.plan.profile.heartbeat_ns),
            Activity::Move => WORLD_DRAIN_NS,
        }
    }

    fn deadline_ns(&self, now_ns: u64) -> u64 {
        let mut deadline_ns = self.progress_at_ns.min(self.silence_at_ns);
        match &self.run {
            None => deadline_ns = deadline_ns.min(now_ns + IDLE_WAIT_NS),
            Some(run) => {
                let signs = run.signs.as_ref().and_then(Pacer::peek);
                let sets = run.sets.as_ref().and_then(Pacer::peek);
                for due in run.pacer.peek().into_iter().chain(signs).chain(sets) {
                    deadline_ns = deadline_ns.min(due.intended_ns);
                }
                let cut_ns = self.plan.profile.storm.map(|storm| storm.cut_ns(&run.schedule));
                let cut_ns = cut_ns.filter(|cut_ns| *cut_ns > now_ns);
                for at_ns in cut_ns.into_iter().chain(self.connections.return_next_ns()) {
                    deadline_ns = deadline_ns.min(at_ns);
                }
                let Schedule { measure_from_ns, end_ns, .. } = run.schedule;
                let read_ns = run.read_back_at_ns.map(|begun_ns| begun_ns + READ_BACK_NS_MAX);
                let edges =
                    [measure_from_ns, end_ns, end_ns + self.drain_ns(), end_ns + DRAIN_NS_MAX];
                for edge_ns in edges.into_iter().chain(read_ns) {
                    if edge_ns > now_ns {
                        deadline_ns = deadline_ns.min(edge_ns);
                    }
                }
            }
        }
        deadline_ns
    }

    /// Arms receives again, and sends what connections have.
    fn flush(&mut self, now_ns: u64) {
        for slot in self.unarmed.drain(..) {
            let socket = &mut self.sockets[slot as usize];
            if socket.open && !socket.receiving {
                socket.receiving = true;
                self.ring.receive(slot);
            }
        }
        let mut held = Vec::new();
        for index in self.connections.take_waiting() {
            let slot = self.slots[index as usize];
            let socket = &mut self.sockets[slot as usize];
            if !socket.open {
                continue;
            }
            if socket.sending {
                held.push(index);
                continue;
            }
            let output = match &mut socket.tls {
                None => self.connections.take_output(index),
                Some(tls) => self.connections.lend_output(index, |said| tls.seal(said)),
            };
            // Nothing where the list had it twice.
            if !output.is_empty() {
                self.connections.count_bytes_sent(output.len(), now_ns);
                self.ring.send(slot, output);
                socket.sending = true;
            }
        }
        self.connections.put_waiting(held);
    }

    fn complete(&mut self, completion: Completion, now_ns: u64) -> Result<()> {
        match completion {
            Completion::Received { index: slot, bytes, more } => {
                self.sockets[slot as usize].receiving = more;
                self.received(slot, bytes, more, now_ns)?;
                self.free(slot);
                Ok(())
            }
            Completion::Unarmed { index: slot } => {
                self.sockets[slot as usize].receiving = false;
                self.unarmed.push(slot);
                self.free(slot);
                Ok(())
            }
            Completion::Ended { index: slot } => {
                self.sockets[slot as usize].receiving = false;
                self.close(slot, now_ns)
            }
            Completion::Sent { index: slot, whole } => {
                self.sockets[slot as usize].sending = false;
                self.free(slot);
                if whole { Ok(()) } else { self.close(slot, now_ns) }
            }
            Completion::Accepted { .. } => Ok(()),
        }
    }

    fn received(
        &mut self,
        slot: u32,
        received: ReceivedBytes,
        more: bool,
        now_ns: u64,
    ) -> Result<()> {
        let index = self.user_of(slot);
        let Socket { open, tls, .. } = &mut self.sockets[slot as usize];
        let connections = &mut self.connections;
        let bytes = self.ring.bytes(received);
        connections.count_bytes_received(bytes.len(), now_ns);
        let result = match tls {
            _ if !*open => Ok(()),
            None => connections.received(index, bytes, now_ns),
            Some(tls) => {
                let result =
                    tls.receive(bytes, |plaintext| connections.received(index, plaintext, now_ns));
                if tls.wants_write() {
                    connections.wake(index);
                }
                result
            }
        };
        self.ring.recycle(received);
        match result {
            Ok(()) => {
                if !more {
                    self.unarmed.push(slot);
                }
                Ok(())
            }
            Err(Fault::Protocol | Fault::Ended) => self.close(slot, now_ns),
            Err(Fault::Left) => {
                self.abandon(slot);
                Ok(())
            }
            Err(Fault::Tls(error)) if !self.ready => bail!("TLS: {error}"),
            Err(Fault::Tls(_)) => {
                self.connections.count_fault();
                self.close(slot, now_ns)
            }
            Err(Fault::Refused(reason)) => bail!("a user was refused: {reason}"),
        }
    }

    /// The user whose socket is, or was, in a slot.
    fn user_of(&self, slot: u32) -> u32 {
        slot % self.plan.user_count()
    }

    /// The connection is lost. Before everyone is in, that ends the run.
    fn close(&mut self, slot: u32, now_ns: u64) -> Result<()> {
        if !std::mem::replace(&mut self.sockets[slot as usize].open, false) {
            self.free(slot);
            return Ok(());
        }
        self.connections.closed(self.user_of(slot), now_ns);
        if self.plan.profile.storm.is_some() {
            self.abandon(slot);
        } else {
            self.ring.shutdown(slot);
        }
        if !self.ready {
            bail!("the server closed a connection before all users were in their rooms");
        }
        Ok(())
    }
}
