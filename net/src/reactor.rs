//! One shard's reactor: its ring, its connections, and the three calls of a turn.
//!
//! ```text
//! receive   completions -> connections -> frames -> inputs of the shard
//! send      outputs of the shard -> one encoding per protocol -> one send per connection
//! wait      submits, sleeps until there is something to do: the one place that waits
//! ```
//!
//! Built and used on the shard's thread. Invariants:
//!
//! 1. A connection's index is its slot in the ring's file table. A slot is closed only when no
//!    operation on it is under way, so completions never meet the slot's next user.
//! 2. Bytes of one connection are decoded in the order in which they came, and the end of a
//!    connection comes after them, also when a turn cannot take all of them.
//! 3. Of a connection whose protocol became known the shard hears one `Opened`, perhaps one
//!    `Ended`, and one `Closed`.
//! 4. Warm turns allocate nothing: all lists are kept from turn to turn.
//! 5. The file table has more slots than there may be connections. Each accept under way is sure of
//!    one: the kernel would close what finds none without a word. One too many is told so, and makes
//!    room for the next.

mod accept;
mod close;
mod deadlines;
mod hand_over;
mod proxied;
mod rates;
mod receive;
mod send;
mod tls;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use warren_core::bans::{AddressRange, Bans};
use warren_core::ids::ConnectionId;
use warren_core::reason::Reason;
use warren_core::turn::{Now, ShardInput, ShardInputs, ShardOutputs};

pub use crate::connection::RateLimits;
pub use crate::io::wake::WakeHandle;
pub(crate) use hand_over::Luggage;
pub use hand_over::MovedConnection;

use crate::connection::{Connection, SpareBuffers};
use crate::counters::NetCounters;
use crate::egress::{Egress, Encodings};
use crate::gateway::websocket::UpgradeSettings;
use crate::gateway::{GatewaySettings, Protocol};
use crate::heartbeat::Wheel;
use crate::io::descriptor_limit::{descriptors_max, descriptors_raise};
use crate::io::listener::Listener;
use crate::io::operation::{Completion, OperationKind, UserData};
use crate::io::probe::{FeatureMissing, probe};
use crate::io::ring::{ImmediateSend, Ring, RingSettings, Wait};
use crate::tls::TlsIdentity;

use hand_over::ARRIVALS_MAX;
use hand_over::HandOvers;
use receive::Held;

/// Most connections of a reactor that does not say another number.
const CONNECTIONS_DEFAULT_MAX: usize = 65_536;
/// Slots for connections beyond the limit: one for the one too many, to tell it so, and those for
/// connections on their way from other shards, so that they need none that an accept was promised.
pub const SURPLUS_SLOTS: usize = 1 + ARRIVALS_MAX;
const NS_PER_MS: u64 = 1_000_000;

/// What a Flash player is told that asks for the socket policy, unless the configuration says
/// otherwise: that nothing is permitted.
pub const FLASH_POLICY_CLOSED: &str = "<?xml version=\"1.0\"?><cross-domain-policy>\
    <site-control permitted-cross-domain-policies=\"none\"/></cross-domain-policy>";

/// What the configuration says about a reactor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReactorSettings {
    /// How protocols are spoken.
    pub gateway: GatewaySettings,
    /// Who may speak WebSocket.
    pub upgrade: UpgradeSettings,
    /// The one protocol of the port; none: told by the first bytes.
    pub fixed_protocol: Option<Protocol>,
    /// Where proxies are that say, before all else, from where their clients come.
    pub proxies: Arc<[AddressRange]>,
    /// The answer to a Flash policy request, its NUL included.
    pub flash_policy: Arc<[u8]>,
    /// Connections open at a time; below the descriptor limit.
    pub connections_max: usize,
    /// Bytes that wait to be sent on one connection before it is closed with `slow-consumer`.
    pub send_queue_bytes_max: usize,
    /// Bytes that wait to be sent on all connections together; one to which more would be added is
    /// closed with `slow-consumer`.
    pub send_queues_bytes_max: usize,
    /// Frames taken in one turn, a run of empty ones as one. It is looked at between receive buffers, so a turn may take as
    /// many more as one buffer holds.
    pub inputs_per_turn_max: usize,
    /// Longest time from a turn's beginning for which completions are gathered for the next, in
    /// microseconds.
    pub turn_interval_us: u64,
    /// Receive buffers, a power of two.
    pub receive_buffers: usize,
    /// Bytes of one receive buffer.
    pub receive_buffer_bytes: usize,
    /// Submissions between two system calls.
    pub submission_entries: u32,
    /// Completions that may wait.
    pub completion_entries: u32,
    /// Milliseconds between two heartbeats.
    pub heartbeat_ms: u64,
    /// Milliseconds for which a closed connection may take what was sent, and say its own end.
    pub linger_ms: u64,
    /// Milliseconds from the accept within which a client has to be logged in.
    pub login_ms: u64,
    /// Connections open at a time whose clients are not logged in.
    pub unauthenticated_max: usize,
    /// Longest frame of a client that is not logged in.
    pub unauthenticated_frame_bytes_max: usize,
    /// Milliseconds within which a frame that has begun has to be whole.
    pub frame_ms: u64,
    /// The certificate for connections in TLS; none: there are none.
    pub tls: Option<TlsIdentity>,
    /// Connections that are not in TLS are refused.
    pub tls_required: bool,
    /// Handshakes of TLS that are answered in one turn.
    pub tls_handshakes_per_turn_max: usize,
    /// What may come on one connection in which time.
    pub rates: RateLimits,
    /// The same for connections of workers.
    pub worker_rates: RateLimits,
}

impl ReactorSettings {
    /// What may come on a connection.
    pub(crate) fn rates_of(&self, is_worker: bool) -> &RateLimits {
        if is_worker { &self.worker_rates } else { &self.rates }
    }
}

/// How a client is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// What it speaks.
    pub protocol: Protocol,
    /// From where it came, as the kernel or a proxy told; none where neither did.
    pub address: Option<IpAddr>,
}

impl Default for ReactorSettings {
    fn default() -> Self {
        let ring = RingSettings::default();
        Self {
            gateway: GatewaySettings::default(),
            upgrade: UpgradeSettings::default(),
            fixed_protocol: None,
            proxies: Arc::default(),
            flash_policy: flash_policy_answer(FLASH_POLICY_CLOSED),
            connections_max: (descriptors_max() as usize)
                .saturating_sub(SURPLUS_SLOTS)
                .clamp(1, CONNECTIONS_DEFAULT_MAX),
            send_queue_bytes_max: 384 * 1024,
            send_queues_bytes_max: 256 << 20,
            inputs_per_turn_max: 16_384,
            turn_interval_us: 1100,
            receive_buffers: usize::from(ring.receive_buffer_count),
            receive_buffer_bytes: ring.receive_buffer_bytes as usize,
            submission_entries: ring.submission_entries,
            completion_entries: ring.completion_entries,
            heartbeat_ms: 10_000,
            linger_ms: 1000,
            login_ms: 10_000,
            unauthenticated_max: 4096,
            unauthenticated_frame_bytes_max: 4096,
            frame_ms: 10_000,
            tls: None,
            tls_required: false,
            tls_handshakes_per_turn_max: 4,
            rates: RateLimits::default(),
            worker_rates: RateLimits::of_workers(1_000_000, 256 << 20, 200),
        }
    }
}

/// The answer that carries this policy.
#[must_use]
pub fn flash_policy_answer(policy: &str) -> Arc<[u8]> {
    policy.bytes().chain([0]).collect()
}

/// Why a reactor cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReactorError {
    /// The kernel, or its limits, lack something.
    #[error(transparent)]
    FeatureMissing(#[from] FeatureMissing),
    /// A setting is out of its range.
    #[error("{0} is out of its range")]
    SettingInvalid(&'static str),
}

/// A shard's ring, connections and output.
pub struct Reactor {
    settings: ReactorSettings,
    /// How protocols are spoken with clients that are not logged in.
    stranger_gateway: GatewaySettings,
    ring: Ring,
    listener: Option<Listener>,
    /// Bit per accept: it is under way.
    accepts_armed: u64,
    /// When accepting is tried again after a failure.
    accept_retry_ns: Option<u64>,
    /// By slot; grows with the highest slot in use.
    connections: Vec<Connection>,
    open_count: usize,
    wheel: Wheel,
    egress: Egress,
    spare: SpareBuffers,
    counters: NetCounters,
    /// Received buffers, and ends behind them, that wait for a later turn.
    held: VecDeque<Held>,
    held_buffer_count: usize,
    /// Connections in TLS whose handshakes wait for their turn.
    handshakes: VecDeque<ConnectionId>,
    /// When the last turn with handshakes began, and how many it made; none once that was looked at.
    handshakes_made: Option<(u64, usize)>,
    /// When handshakes are made again.
    handshakes_due_ns: u64,
    accepting_input: bool,
    /// When the turn began.
    turn_began_ns: u64,
    /// Connections whose receive is to be armed again.
    to_receive: VecDeque<ConnectionId>,
    /// Connections of which the shard has not heard the end yet.
    to_tell_closed: Vec<ConnectionId>,
    /// Connections that count here no longer, and the shard has not heard it yet.
    to_tell_departed: Vec<ShardInput>,
    /// Connections that could not take a frame, or can take them again, in order.
    to_tell_frames: Vec<ShardInput>,
    /// Connections whose end was decided since the last send.
    leaving: Vec<u32>,
    hand_overs: HandOvers,
    /// From where nobody is let in.
    bans: Arc<Bans>,
    pongs: Encodings,
    // Lists that are kept for their memory.
    completions: Vec<Completion>,
    send_failures: Vec<Completion>,
    sends: Vec<ImmediateSend>,
    due: Vec<u32>,
    refused: Vec<Reason>,
    notice: Vec<u8>,
    answer: Vec<u8>,
    plaintext: Vec<u8>,
}

impl Reactor {
    /// Probes the kernel, sets up the ring on this thread, and starts to accept connections.
    ///
    /// # Errors
    /// What is missing, with its remedy, or the setting that is out of its range.
    pub fn new(settings: ReactorSettings, listener: Listener) -> Result<Self, ReactorError> {
        let sizes = ring_settings(&settings)?;
        probe()?;
        descriptors_raise(sizes.files_max);
        let mut ring = Ring::new(&sizes)?;
        ring.wake_read();
        let stranger_gateway = GatewaySettings {
            frame_bytes_max: settings
                .gateway
                .frame_bytes_max
                .min(settings.unauthenticated_frame_bytes_max),
            ..settings.gateway
        };
        let mut reactor = Self {
            settings,
            stranger_gateway,
            ring,
            listener: Some(listener),
            accepts_armed: 0,
            accept_retry_ns: None,
            connections: Vec::new(),
            open_count: 0,
            wheel: Wheel::new(),
            egress: Egress::default(),
            spare: SpareBuffers::default(),
            counters: NetCounters::default(),
            held: VecDeque::new(),
            held_buffer_count: 0,
            handshakes: VecDeque::new(),
            handshakes_made: None,
            handshakes_due_ns: 0,
            accepting_input: true,
            turn_began_ns: 0,
            to_receive: VecDeque::new(),
            to_tell_closed: Vec::new(),
            to_tell_departed: Vec::new(),
            to_tell_frames: Vec::new(),
            leaving: Vec::new(),
            hand_overs: HandOvers::default(),
            bans: Arc::default(),
            pongs: Encodings::default(),
            completions: Vec::new(),
            send_failures: Vec::new(),
            sends: Vec::new(),
            due: Vec::new(),
            refused: Vec::new(),
            notice: Vec::new(),
            answer: Vec::new(),
            plaintext: Vec::new(),
        };
        reactor.accept();
        Ok(reactor)
    }

    /// Appends what came in. While `accepting_input` is false, received bytes wait, and so do the
    /// ends of connections behind them.
    pub fn receive(&mut self, now: Now, accepting_input: bool, inputs: &mut ShardInputs) {
        self.accepting_input = accepting_input;
        self.turn_began_ns = now.monotonic_ns;
        // First, because their slots may have new users by now.
        self.tell_closed(inputs);
        self.expire_deadlines(now);
        self.enter_arrivals();
        self.receive_all(now, inputs);
        self.tell_closed(inputs);
        self.publish_counters();
    }

    /// Sends what goes out: to each connection at once, in order. Ids of connections that are gone
    /// are ignored.
    pub fn send(&mut self, now: Now, outputs: &ShardOutputs) {
        self.encode_outputs(now, outputs);
        self.say_goodbyes();
        self.close_tls();
        self.send_turn();
        self.finish_leaving(now);
        self.advance_moving();
        self.publish_counters();
    }

    /// Submits, and sleeps until there are completions, a wake, or `deadline_ns`. What comes until
    /// the turn has lasted its interval is gathered. Does not sleep while there is input to take.
    pub fn wait(&mut self, now_ns: u64, deadline_ns: Option<u64>) {
        let interval = Duration::from_micros(self.settings.turn_interval_us);
        let timeout = self.time_to_sleep(now_ns, deadline_ns, interval);
        // Returns early only when half of the receive buffers are in use.
        let want = (self.settings.receive_buffers / 2).max(1) as u32;
        let worked = Duration::from_nanos(now_ns.saturating_sub(self.turn_began_ns));
        self.ring.wait(Wait { want, gather: interval.saturating_sub(worked), timeout });
        self.publish_counters();
    }

    fn time_to_sleep(
        &self,
        now_ns: u64,
        deadline_ns: Option<u64>,
        interval: Duration,
    ) -> Option<Duration> {
        let holds = !(self.held.is_empty() && self.handshakes.is_empty());
        let handshakes_due_ns = (!self.handshakes.is_empty()).then_some(self.handshakes_due_ns);
        let can_go_on =
            !self.held.is_empty() || handshakes_due_ns.is_some_and(|due_ns| due_ns <= now_ns);
        let has_work = !self.completions.is_empty()
            || !self.to_tell_closed.is_empty()
            || !self.to_tell_departed.is_empty()
            || !self.to_tell_frames.is_empty()
            || !self.leaving.is_empty()
            || self.egress.has_late()
            || (can_go_on && self.accepting_input)
            || (!self.to_receive.is_empty() && self.ring.buffers().free_count() > 0);
        if has_work {
            return Some(Duration::ZERO);
        }
        let handshakes_due_ns = handshakes_due_ns.filter(|_| self.accepting_input);
        let deadlines =
            [deadline_ns, self.wheel.next_ns(), self.accept_retry_ns, handshakes_due_ns];
        let deadline = deadlines.into_iter().flatten().min();
        let until_deadline = deadline.map(|at| Duration::from_nanos(at.saturating_sub(now_ns)));
        // What holds input back may end without a completion here.
        let until_retry = (holds && !self.accepting_input).then_some(interval);
        [until_deadline, until_retry].into_iter().flatten().min()
    }

    /// Makes the reactor's wait return, from any thread.
    #[must_use]
    pub fn wake_handle(&self) -> WakeHandle {
        self.ring.wake_handle()
    }

    /// The ring's descriptor, by which other reactors wake this one.
    #[must_use]
    pub fn ring_fd(&self) -> RawFd {
        self.ring.descriptor()
    }

    /// Wakes the reactor with that ring, with the next submission.
    pub fn wake_peer(&mut self, ring_fd: RawFd) {
        self.ring.peer_wake(ring_fd);
    }

    /// Accepts no more connections. The listener is closed, so that the kernel gives its share of
    /// new connections to others on the same address.
    pub fn stop_accepting(&mut self) {
        self.cancel_accepts();
        // An accept that still waits to be submitted must not meet another file by its number.
        self.ring.submit();
        self.listener = None;
        self.accept_retry_ns = None;
    }

    /// Closes every connection that is not closing yet, at the next send.
    pub fn close_all(&mut self, reason: Reason) {
        for index in 0..self.connections.len() as u32 {
            self.close(index, reason);
        }
    }

    /// Number of connections, those included that are closing, and those on their way from or to
    /// another shard.
    #[must_use]
    pub fn open_count(&self) -> usize {
        self.in_use_count() + self.hand_overs.coming_count()
    }

    /// Received buffers that wait for a later turn.
    #[must_use]
    pub fn held_count(&self) -> usize {
        self.held_buffer_count
    }

    /// What was counted so far.
    #[must_use]
    pub fn counters(&self) -> &NetCounters {
        &self.counters
    }

    fn publish_counters(&mut self) {
        let ring = self.ring.counters();
        self.counters.enters = ring.enters;
        self.counters.submissions = ring.submissions;
        self.counters.completions = ring.completions;
        self.counters.messages_encoded = self.egress.encoded_count;
        self.counters.gathered_bytes_peak = self.egress.gathered_bytes_peak as u64;
    }

    /// Connections that count towards the limit.
    fn in_use_count(&self) -> usize {
        self.open_count + self.hand_overs.departed_count()
    }

    fn id_of(&self, index: u32) -> ConnectionId {
        ConnectionId { index, generation: self.connections[index as usize].generation }
    }

    /// The connection of that id, unless it is gone.
    fn connection(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        let connection = self.connections.get_mut(id.index as usize)?;
        (connection.generation == id.generation).then_some(connection)
    }

    fn user_data(&self, kind: OperationKind, index: u32) -> UserData {
        UserData::new(kind, self.connections[index as usize].generation, index)
    }

    fn deadline_after_ms(now: Now, after_ms: u64) -> u64 {
        now.monotonic_ns.saturating_add(after_ms.saturating_mul(NS_PER_MS))
    }
}

/// The sizes of the ring that a reactor with these settings has.
///
/// # Errors
/// The setting that is out of its range.
pub fn ring_settings(settings: &ReactorSettings) -> Result<RingSettings, ReactorError> {
    let invalid = ReactorError::SettingInvalid;
    let count = settings.receive_buffers;
    if !count.is_power_of_two() || count > 1 << 15 {
        return Err(invalid("the number of receive buffers"));
    }
    let in_range = |value: usize| u32::try_from(value).ok().filter(|value| *value > 0);
    Ok(RingSettings {
        submission_entries: settings.submission_entries,
        completion_entries: settings.completion_entries,
        files_max: in_range(settings.connections_max)
            .and_then(|count| count.checked_add(SURPLUS_SLOTS as u32))
            .ok_or(invalid("the number of connections"))?,
        receive_buffer_count: count as u16,
        receive_buffer_bytes: in_range(settings.receive_buffer_bytes)
            .filter(|bytes| *bytes <= 1 << 20)
            .ok_or(invalid("the size of receive buffers"))?,
    })
}

#[cfg(test)]
mod tests;
