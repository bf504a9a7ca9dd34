//! An attacker: one process that plays a part of the connections of an attack. It is told what by
//! its first line of input, ends by itself when its time is over, and tells what it did by one line
//! of JSON. It is ended with its parent.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io::{BufRead as _, stdin};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use warren_net::io::descriptor_limit::descriptors_raise;

use super::hearing::Hearing;
use super::intruder::Intruder;
use super::scenario::{Place, Scenario, Shape};
use super::sockets::{Poll, Progress, Reads, read, write};
use crate::{clock, pinning};

/// Longest wait, so that the end is not overslept.
const WAIT_MS_MAX: u64 = 50;
/// Bytes that are read at a time.
const READ_BYTES: usize = 16 * 1024;
/// Bytes that are sent at a time: within a call to the kernel nobody else gets the core.
const WRITE_BYTES: usize = 16 * 1024;
/// Bytes that wait to be sent on one connection; steps beyond it are left out and counted.
const OUTPUT_BYTES_MAX: usize = 4 << 20;

/// What an attacker plays.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AttackPlan {
    /// The attack.
    pub scenario: Scenario,
    /// Legal users beside it.
    pub users: u32,
    /// Which of the attackers this is, from 0.
    pub attacker: u32,
    /// How many there are: connection c is made by attacker c modulo this.
    pub attacker_count: u32,
    /// Where the server listens.
    pub address: SocketAddrV4,
    /// When it is over, by `CLOCK_MONOTONIC`, in nanoseconds.
    pub end_ns: u64,
}

/// What an attacker did, and what came of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct AttackReport {
    /// Connections begun.
    pub opened: u64,
    /// Those that could not be begun.
    pub refused_connects: u64,
    /// Connections standing at the end; the most of all rounds.
    pub standing: u64,
    /// Connections that the server closed after it had said why.
    pub closed_told: u64,
    /// Connections that the server closed in order, without a word of why.
    pub closed_untold: u64,
    /// Connections that the server reset before a word of why was read.
    pub reset_untold: u64,
    /// Steps made.
    pub steps: u64,
    /// Steps that were due and not made: the connection took no more.
    pub steps_left_out: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Reasons heard, by sort of attack.
    pub reasons: BTreeMap<String, BTreeMap<String, u64>>,
    /// Connections closed without a word, by sort of attack.
    pub untold: BTreeMap<String, u64>,
    /// CPU of this process, in nanoseconds.
    pub cpu_ns: u64,
    /// How long it ran, in nanoseconds.
    pub elapsed_ns: u64,
}

impl AttackReport {
    /// Adds what the same attackers did in another round.
    pub fn add_round(&mut self, round: &Self) {
        let elapsed_ns = self.elapsed_ns + round.elapsed_ns;
        let standing = self.standing.max(round.standing);
        self.add(round);
        self.elapsed_ns = elapsed_ns;
        self.standing = standing;
    }

    /// Cores that they took.
    #[must_use]
    pub fn cores(&self) -> f64 {
        self.cpu_ns as f64 / self.elapsed_ns.max(1) as f64
    }

    /// Adds what another attacker did at the same time.
    pub fn add(&mut self, other: &Self) {
        self.opened += other.opened;
        self.refused_connects += other.refused_connects;
        self.standing += other.standing;
        self.closed_told += other.closed_told;
        self.closed_untold += other.closed_untold;
        self.reset_untold += other.reset_untold;
        self.steps += other.steps;
        self.steps_left_out += other.steps_left_out;
        self.bytes_sent += other.bytes_sent;
        self.bytes_read += other.bytes_read;
        self.cpu_ns += other.cpu_ns;
        self.elapsed_ns = self.elapsed_ns.max(other.elapsed_ns);
        for (variant, reasons) in &other.reasons {
            let own = self.reasons.entry(variant.clone()).or_default();
            reasons.iter().for_each(|(reason, count)| {
                *own.entry(reason.clone()).or_default() += count;
            });
        }
        for (variant, count) in &other.untold {
            *self.untold.entry(variant.clone()).or_default() += count;
        }
    }
}

#[derive(Default)]
struct Connection {
    stream: Option<TcpStream>,
    hearing: Hearing,
    intruder: Intruder,
    output: Vec<u8>,
    /// How often it was opened, and how often it sent something since.
    life: u32,
    step: u32,
    /// Without a stream: not before this.
    opens_at_ns: u64,
}

struct Attacker {
    plan: AttackPlan,
    shape: Shape,
    poll: Poll,
    connections: Vec<Connection>,
    /// What is due: an opening where there is no stream, else a step.
    due: BinaryHeap<Reverse<(u64, u32)>>,
    buffer: Vec<u8>,
    report: AttackReport,
}

/// Attacks until the time is over, and writes the report.
///
/// # Errors
/// When the first line is no plan, or the report cannot be written.
pub fn run() -> Result<()> {
    let line = stdin().lock().lines().next().context("an attacker is started by `attack`")??;
    let plan: AttackPlan = serde_json::from_str(&line).context("the first line is no plan")?;
    // Generators of legal users measure what the server does, not who has their core.
    pinning::stand_back().context("the priority of attackers")?;
    let report = Attacker::new(plan)?.run()?;
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

impl Attacker {
    fn new(plan: AttackPlan) -> Result<Self> {
        let shape = plan.scenario.shape(plan.users);
        let count =
            (shape.connections + plan.attacker_count - 1 - plan.attacker) / plan.attacker_count;
        descriptors_raise(u32::MAX);
        let begin_ns = clock::monotonic_ns();
        let spread_ns = shape.opening_ns();
        let opening =
            |index: u32| begin_ns + spread_ns * u64::from(index) / u64::from(count.max(1));
        Ok(Self {
            shape,
            poll: Poll::new().context("epoll")?,
            connections: (0..count).map(|_| Connection::default()).collect(),
            due: (0..count).map(|index| Reverse((opening(index), index))).collect(),
            buffer: vec![0; READ_BYTES],
            report: AttackReport::default(),
            plan,
        })
    }

    fn run(mut self) -> Result<AttackReport> {
        let begun_ns = clock::monotonic_ns();
        let mut ready = Vec::new();
        loop {
            let now_ns = clock::monotonic_ns();
            if now_ns >= self.plan.end_ns {
                break;
            }
            self.act(now_ns);
            let next_ns = self.due.peek().map_or(self.plan.end_ns, |Reverse((at_ns, _))| *at_ns);
            let wait_ms = next_ns.saturating_sub(clock::monotonic_ns()).div_ceil(1_000_000);
            self.poll.wait(wait_ms.min(WAIT_MS_MAX) as i32, &mut ready).context("epoll")?;
            for index in ready.drain(..) {
                self.send(index);
                self.receive(index);
            }
        }
        self.report.standing =
            self.connections.iter().filter(|connection| connection.stream.is_some()).count() as u64;
        self.report.cpu_ns = clock::process_cpu_ns();
        self.report.elapsed_ns = clock::monotonic_ns() - begun_ns;
        Ok(self.report)
    }

    /// The number of a connection among those of all attackers.
    fn number(&self, index: u32) -> u32 {
        index * self.plan.attacker_count + self.plan.attacker
    }

    /// Where a connection is.
    fn place(&self, index: u32) -> Place {
        let world = self.connections[index as usize].intruder.world();
        Place { connection: self.number(index), users: self.plan.users, world }
    }

    /// Opens, or makes a step with, every connection whose time has come.
    fn act(&mut self, now_ns: u64) {
        while let Some(&Reverse((at_ns, index))) = self.due.peek()
            && at_ns <= now_ns
        {
            self.due.pop();
            let Connection { stream, opens_at_ns, .. } = &self.connections[index as usize];
            let next_ns = if stream.is_none() && *opens_at_ns > now_ns {
                *opens_at_ns
            } else if stream.is_none() {
                self.open(index);
                now_ns + self.shape.period_ns
            } else {
                self.step(index);
                // Behind time, steps are left out rather than made up for: the rate is bounded.
                (at_ns + self.shape.period_ns).max(now_ns)
            };
            self.due.push(Reverse((next_ns, index)));
        }
    }

    fn open(&mut self, index: u32) {
        let number = self.number(index);
        let [high, low] = ((number % self.shape.sources) as u16).to_be_bytes();
        let source = Ipv4Addr::new(127, 2, high, low + 1);
        let reads = match (self.shape.reads, self.plan.scenario.is_in_world()) {
            (true, _) => Reads::All,
            (false, true) => Reads::Beginning,
            (false, false) => Reads::Nothing,
        };
        match self.poll.connect(index, source, self.plan.address, reads) {
            Ok(stream) => {
                let connection = &mut self.connections[index as usize];
                let life = connection.life;
                *connection = Connection {
                    stream: Some(stream),
                    life: life.wrapping_add(1),
                    ..Connection::default()
                };
                let place = Place { connection: number, users: self.plan.users, world: None };
                self.plan.scenario.begin(place, life, &mut connection.output);
                self.report.opened += 1;
                self.send(index);
            }
            Err(_) => self.report.refused_connects += 1,
        }
    }

    fn step(&mut self, index: u32) {
        let place = self.place(index);
        let connection = &mut self.connections[index as usize];
        if !self.plan.scenario.steps(place) {
            return;
        }
        if connection.output.len() > OUTPUT_BYTES_MAX {
            self.report.steps_left_out += 1;
            return;
        }
        self.plan.scenario.step(place, connection.step, &mut connection.output);
        connection.step += 1;
        self.report.steps += 1;
        self.send(index);
    }

    fn send(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        let Some(stream) = &mut connection.stream else { return };
        let mut sent = 0;
        let closed = loop {
            if sent == connection.output.len() {
                break false;
            }
            let rest = &connection.output[sent..];
            match write(stream, &rest[..rest.len().min(WRITE_BYTES)]) {
                Progress::Bytes(bytes) => sent += bytes,
                Progress::Later => break false,
                Progress::Closed | Progress::Reset => break true,
            }
        };
        connection.output.drain(..sent);
        self.report.bytes_sent += sent as u64;
        if closed {
            // What it said before may still be there to be read.
            connection.output.clear();
            self.read_all(index);
        }
    }

    fn receive(&mut self, index: u32) {
        let place = self.place(index);
        if self.shape.reads || self.plan.scenario.is_in_world() && place.world.is_none() {
            self.read_all(index);
        }
    }

    /// Reads what there is, and closes when the server has.
    fn read_all(&mut self, index: u32) {
        let variant = self.plan.scenario.variant(self.number(index));
        let connection = &mut self.connections[index as usize];
        let Some(stream) = &mut connection.stream else { return };
        let end = loop {
            match read(stream, &mut self.buffer) {
                Progress::Bytes(bytes) => {
                    self.report.bytes_read += bytes as u64;
                    let reasons = self.report.reasons.entry(variant.to_owned()).or_default();
                    connection.hearing.take(&self.buffer[..bytes], reasons);
                    if self.plan.scenario.is_in_world() {
                        connection.intruder.take(&self.buffer[..bytes]);
                    }
                }
                Progress::Later => return,
                end => break end,
            }
        };
        connection.stream = None;
        match (connection.hearing.told, end) {
            (true, _) => self.report.closed_told += 1,
            (false, Progress::Reset) => self.report.reset_untold += 1,
            (false, _) => self.report.closed_untold += 1,
        }
        if !connection.hearing.told {
            *self.report.untold.entry(variant.to_owned()).or_default() += 1;
        }
        connection.opens_at_ns = clock::monotonic_ns() + self.shape.reopen_after_ns;
    }
}
