//! Finds out at start-up whether the kernel does all that a ring needs, and says what is missing
//! and what to do about it. Each feature is tried, not looked up by version: what counts is what
//! works here, under this kernel, this container and these limits.

use std::fmt;
use std::fs;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::descriptor_limit::descriptors_max;
use super::operation::{Completion, OperationKind, Outcome, UserData};
use super::ring::{ImmediateSend, Ring, RingSettings, Wait};

/// How long a trial may take before its feature counts as missing.
const TRIAL_TIMEOUT: Duration = Duration::from_millis(500);

/// What a ring needs of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Feature {
    /// `io_uring_setup` with our flags.
    RingSetup,
    /// A wait that gathers completions for a minimum time.
    GatheringWait,
    /// The ring's descriptor registered with its thread.
    RegisteredRing,
    /// An eventfd by which other threads wake the ring.
    WakeCounter,
    /// A table of sockets outside the process's descriptors.
    FileTable,
    /// Receive buffers shared by all connections.
    BufferRing,
    /// Accepting many connections into the table by one submission.
    AcceptDirect,
    /// Receiving many times by one submission.
    ReceiveMultishot,
    /// Sends that complete only when they were short.
    SilentSend,
    /// Shutting down, cancelling and closing sockets of the table.
    Closing,
    /// One ring waking another.
    PeerWake,
    /// Moving a socket of the table to a ring of another thread.
    HandOver,
}

/// A row of the table of features.
#[derive(Clone, Copy, Debug)]
pub struct FeatureRow {
    /// Which.
    pub feature: Feature,
    /// Its name in error messages and in the list of features.
    pub label: &'static str,
    /// First kernel that has it as we use it.
    pub kernel_since: (u32, u32),
    /// What it is for.
    pub purpose: &'static str,
}

const fn row(
    feature: Feature,
    label: &'static str,
    kernel_since: (u32, u32),
    purpose: &'static str,
) -> FeatureRow {
    FeatureRow { feature, label, kernel_since, purpose }
}

/// Everything that is probed, in the order in which it is.
pub const FEATURES: &[FeatureRow] = &[
    row(Feature::RingSetup, "io_uring_setup", (6, 6), "completions made when the shard asks"),
    row(Feature::GatheringWait, "minimum wait", (6, 12), "turns at most one interval apart"),
    row(Feature::RegisteredRing, "registered ring", (5, 18), "cheaper system calls"),
    row(Feature::WakeCounter, "eventfd", (2, 6), "waking a shard from other threads"),
    row(Feature::FileTable, "sparse file table", (5, 19), "connections without descriptors"),
    row(Feature::BufferRing, "provided buffer ring", (5, 19), "idle connections without buffers"),
    row(Feature::AcceptDirect, "multishot direct accept", (5, 19), "accepting without calls"),
    row(Feature::ReceiveMultishot, "multishot receive", (6, 0), "receiving without calls"),
    row(Feature::SilentSend, "silent send", (5, 19), "fan-out without completions"),
    row(Feature::Closing, "shutdown, cancel and close", (5, 19), "closing with a reason"),
    row(Feature::PeerWake, "ring messages", (6, 1), "waking a sleeping shard"),
    row(Feature::HandOver, "descriptor install", (6, 8), "connections that go to another shard"),
];

impl Feature {
    /// The feature's row in [`FEATURES`].
    #[must_use]
    pub fn row(self) -> &'static FeatureRow {
        &FEATURES[self as usize]
    }
}

/// What to do about a missing feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// The kernel is older than the feature.
    NewerKernel {
        /// First kernel that has it.
        since: (u32, u32),
    },
    /// `kernel.io_uring_disabled` forbids it: 1 to unprivileged processes, 2 to all.
    EnableIoUring {
        /// The setting's value.
        disabled: u32,
    },
    /// A seccomp filter forbids it, as those of Docker and containerd do by default.
    AllowInSeccomp,
    /// The limit on locked memory is too low.
    RaiseMemlock,
    /// The limit on descriptors is too low; it bounds the file table too.
    RaiseDescriptorLimit {
        /// The limit at present.
        limit: u32,
    },
    /// None that we know: the error number is all there is.
    Unknown,
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NewerKernel { since: (major, minor) } => {
                write!(f, "needs Linux {major}.{minor} or newer; Warren as a whole needs 6.12")
            }
            Self::EnableIoUring { disabled: 1 } => f.write_str(
                "kernel.io_uring_disabled is 1: set it to 0 (sysctl -w kernel.io_uring_disabled=0), \
                 or add this user's group to kernel.io_uring_group",
            ),
            Self::EnableIoUring { disabled } => write!(
                f,
                "kernel.io_uring_disabled is {disabled}: set it to 0 \
                 (sysctl -w kernel.io_uring_disabled=0)"
            ),
            Self::AllowInSeccomp => f.write_str(
                "a seccomp filter forbids io_uring, as those of Docker and containerd do: allow \
                 io_uring_setup, io_uring_enter and io_uring_register in the profile, or run with \
                 --security-opt seccomp=unconfined",
            ),
            Self::RaiseMemlock => f.write_str(
                "out of memory that may be locked: raise it (ulimit -l, or LimitMEMLOCK= in the \
                 systemd unit), or configure fewer or smaller receive buffers",
            ),
            Self::RaiseDescriptorLimit { limit } => write!(
                f,
                "the descriptor limit is {limit}: raise it (ulimit -n, or LimitNOFILE= in the \
                 systemd unit), or configure fewer connections"
            ),
            Self::Unknown => f.write_str("no known remedy: please report it with the kernel's log"),
        }
    }
}

/// A feature that this kernel does not give us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} is not available (error {errno}): {remedy}", .feature.row().label)]
pub struct FeatureMissing {
    /// Which.
    pub feature: Feature,
    /// The error number that the kernel gave.
    pub errno: i32,
    /// What to do.
    pub remedy: Remedy,
}

/// What the remedy depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Environment {
    /// The kernel's version, if it can be read.
    pub kernel: Option<(u32, u32)>,
    /// `kernel.io_uring_disabled`, if this kernel has it (6.6).
    pub io_uring_disabled: Option<u32>,
    /// The soft limit on descriptors.
    pub descriptors_max: u32,
}

impl Environment {
    /// Reads it from `/proc` and the process's limits.
    #[must_use]
    pub fn read() -> Self {
        let text = |path| fs::read_to_string(path).ok();
        Self {
            kernel: text("/proc/sys/kernel/osrelease").and_then(|text| parse_version(&text)),
            io_uring_disabled: text("/proc/sys/kernel/io_uring_disabled")
                .and_then(|text| text.trim().parse().ok()),
            descriptors_max: descriptors_max(),
        }
    }
}

fn parse_version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|character: char| !character.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Names the remedy for a feature that failed with this error number.
#[must_use]
pub fn explain(feature: Feature, errno: i32, environment: &Environment) -> FeatureMissing {
    let since = feature.row().kernel_since;
    let too_old = environment.kernel.is_some_and(|kernel| kernel < since);
    let remedy = match (errno, environment.io_uring_disabled) {
        (libc::EPERM | libc::EACCES, Some(disabled @ 1..)) => Remedy::EnableIoUring { disabled },
        (libc::EPERM | libc::EACCES, _) => Remedy::AllowInSeccomp,
        (libc::ENOSYS | libc::EINVAL | libc::EOPNOTSUPP, _) if too_old => {
            Remedy::NewerKernel { since }
        }
        // A kernel that should have it says it has no such call: filters answer so, too.
        (libc::ENOSYS, _) => Remedy::AllowInSeccomp,
        (libc::ENOMEM, _) => Remedy::RaiseMemlock,
        (libc::EMFILE, _) => Remedy::RaiseDescriptorLimit { limit: environment.descriptors_max },
        _ => Remedy::Unknown,
    };
    FeatureMissing { feature, errno, remedy }
}

/// The ring on which features are tried.
const TRIAL_RING: RingSettings = RingSettings {
    submission_entries: 8,
    completion_entries: 64,
    files_max: 4,
    receive_buffer_count: 4,
    receive_buffer_bytes: 64,
};

/// Tries every feature on a small ring of its own. Run it before the first real one.
///
/// # Errors
/// The first feature that is missing, with its remedy.
pub fn probe() -> Result<(), FeatureMissing> {
    let mut trial = Trial { ring: Ring::new(&TRIAL_RING)? };
    trial.accept()?;
    trial.receive_and_send()?;
    trial.wakes()?;
    trial.hands_over()
}

/// What became of a feature's trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It works here.
    Works,
    /// It does not.
    Missing(FeatureMissing),
    /// Another one that its trial needs is missing.
    Untried,
}

/// What setting up a ring tries, in order.
const SETUP: &[Feature] = &[
    Feature::RingSetup,
    Feature::GatheringWait,
    Feature::RegisteredRing,
    Feature::WakeCounter,
    Feature::FileTable,
    Feature::BufferRing,
];

/// A trial, and what it tries after the set-up of its ring, in order.
type TrialRow = (fn(&mut Trial) -> Result<(), FeatureMissing>, &'static [Feature]);

const TRIALS: &[TrialRow] = &[
    (Trial::accept, &[Feature::AcceptDirect, Feature::Closing]),
    (Trial::receive_and_send, &[Feature::SilentSend, Feature::ReceiveMultishot, Feature::Closing]),
    (Trial::wakes, &[Feature::WakeCounter, Feature::PeerWake]),
    (Trial::hands_over, &[Feature::HandOver]),
];

/// Tries every feature, and goes on after one that is missing: the findings are in the order of
/// [`FEATURES`]. For reports; a server that starts asks [`probe`].
#[must_use]
pub fn survey() -> Vec<Finding> {
    let outcomes = TRIALS.iter().map(|(trial, tries)| {
        let outcome = Ring::new(&TRIAL_RING).and_then(|ring| trial(&mut Trial { ring }));
        (*tries, outcome)
    });
    findings(outcomes)
}

/// Puts the outcomes of trials together. A feature works when a trial got past it and none failed
/// at it.
pub(super) fn findings(
    outcomes: impl IntoIterator<Item = (&'static [Feature], Result<(), FeatureMissing>)>,
) -> Vec<Finding> {
    let mut found = vec![Finding::Untried; FEATURES.len()];
    for (tries, outcome) in outcomes {
        for feature in SETUP.iter().chain(tries) {
            let finding = &mut found[*feature as usize];
            match outcome {
                Err(missing) if missing.feature == *feature => {
                    *finding = Finding::Missing(missing);
                    break;
                }
                _ if *finding == Finding::Untried => *finding = Finding::Works,
                _ => {}
            }
        }
    }
    found
}

/// The slot that the accept trial gets: the first free one.
const ACCEPTED_SLOT: u32 = 0;
const INSTALLED_SLOT: u32 = 3;
const MOVED_SLOT: u32 = 1;

struct Trial {
    ring: Ring,
}

impl Trial {
    /// Unix sockets, because a sandbox may have no network, and the operations are the same.
    fn accept(&mut self) -> Result<(), FeatureMissing> {
        static TRIALS: AtomicU32 = AtomicU32::new(0);
        let failed = |error: std::io::Error| {
            let errno = error.raw_os_error().unwrap_or(0);
            explain(Feature::AcceptDirect, errno, &Environment::read())
        };
        let number = TRIALS.fetch_add(1, Ordering::Relaxed);
        let name = format!("warren-probe-{}-{number}", process::id());
        let address = SocketAddr::from_abstract_name(name).map_err(failed)?;
        let listener = UnixListener::bind_addr(&address).map_err(failed)?;
        let _client = UnixStream::connect_addr(&address).map_err(failed)?;
        let accept = UserData::new(OperationKind::Accept, 0, 0);
        self.ring.accept(accept, &listener);
        let accepted = self.completion(Feature::AcceptDirect, OperationKind::Accept)?;
        if accepted.outcome != Outcome::Done(ACCEPTED_SLOT) || !accepted.more {
            return Err(missing(Feature::AcceptDirect, &accepted));
        }
        self.ring.cancel(UserData::new(OperationKind::Cancel, 0, 0), accept);
        let ended = self.completion(Feature::Closing, OperationKind::Accept)?;
        self.ring.close(UserData::new(OperationKind::Close, 0, 0), ACCEPTED_SLOT);
        if ended.outcome == Outcome::Cancelled {
            Ok(())
        } else {
            Err(missing(Feature::Closing, &ended))
        }
    }

    fn receive_and_send(&mut self) -> Result<(), FeatureMissing> {
        let failed = |error: std::io::Error| {
            let errno = error.raw_os_error().unwrap_or(0);
            explain(Feature::ReceiveMultishot, errno, &Environment::read())
        };
        let (ours, peer) = UnixStream::pair().map_err(failed)?;
        self.ring.install(INSTALLED_SLOT, OwnedFd::from(ours)).map_err(failed)?;
        self.ring.install(INSTALLED_SLOT - 1, OwnedFd::from(peer)).map_err(failed)?;
        let receive = UserData::new(OperationKind::Receive, 0, INSTALLED_SLOT);
        self.ring.receive(receive, INSTALLED_SLOT);
        let user_data = UserData::new(OperationKind::Send, 0, INSTALLED_SLOT - 1);
        let slot = INSTALLED_SLOT - 1;
        let send = ImmediateSend { user_data, slot, arena: 0, start: 0, length: 5 };
        self.ring.send_now(&[send], &[b"hello"]);
        let received = self.next_completion(Feature::ReceiveMultishot)?;
        if received.user_data.kind() == Some(OperationKind::Send) {
            return Err(missing(Feature::SilentSend, &received));
        }
        let whole = received.outcome == Outcome::Done(5) && received.more;
        let (true, Some(buffer)) = (whole, received.buffer) else {
            return Err(missing(Feature::ReceiveMultishot, &received));
        };
        self.ring.buffers_mut().give_back(buffer);
        self.ring.buffers_mut().publish();
        self.ring.shutdown(UserData::new(OperationKind::Shutdown, 0, slot), slot, Shutdown::Write);
        let first = self.next_completion(Feature::Closing)?;
        let second = self.next_completion(Feature::Closing)?;
        for completion in [first, second] {
            if completion.outcome != Outcome::Done(0) {
                return Err(missing(Feature::Closing, &completion));
            }
        }
        Ok(())
    }

    fn wakes(&mut self) -> Result<(), FeatureMissing> {
        self.ring.wake_read();
        self.ring.wake_handle().wake();
        let woken = self.completion(Feature::WakeCounter, OperationKind::WakeRead)?;
        if woken.outcome != Outcome::Done(8) {
            return Err(missing(Feature::WakeCounter, &woken));
        }
        let peer = self.ring.descriptor();
        self.ring.peer_wake(peer);
        let woken = self.next_completion(Feature::PeerWake)?;
        if woken.user_data.kind() != Some(OperationKind::PeerWoken) {
            return Err(missing(Feature::PeerWake, &woken));
        }
        Ok(())
    }

    /// Out of the table by a slot, and into it by a slot that the kernel finds.
    fn hands_over(&mut self) -> Result<(), FeatureMissing> {
        let failed = |error: std::io::Error| {
            let errno = error.raw_os_error().unwrap_or(0);
            explain(Feature::HandOver, errno, &Environment::read())
        };
        let (ours, _peer) = UnixStream::pair().map_err(failed)?;
        self.ring.install(MOVED_SLOT, OwnedFd::from(ours)).map_err(failed)?;
        let install = UserData::new(OperationKind::Install, 0, MOVED_SLOT);
        self.ring.make_descriptor(install, MOVED_SLOT);
        let installed = self.completion(Feature::HandOver, OperationKind::Install)?;
        let Some(socket) = self.ring.take_installed(MOVED_SLOT) else {
            return Err(missing(Feature::HandOver, &installed));
        };
        self.ring.enter_table(0, socket);
        let entered = self.completion(Feature::HandOver, OperationKind::Enter)?;
        let free = |slot| slot < TRIAL_RING.files_max && slot != MOVED_SLOT;
        if matches!(entered.outcome, Outcome::Done(slot) if free(slot)) {
            Ok(())
        } else {
            Err(missing(Feature::HandOver, &entered))
        }
    }

    /// The next completion, which is to be of this kind.
    fn completion(
        &mut self,
        feature: Feature,
        kind: OperationKind,
    ) -> Result<Completion, FeatureMissing> {
        let completion = self.next_completion(feature)?;
        let expected = completion.user_data.kind() == Some(kind);
        if expected { Ok(completion) } else { Err(missing(feature, &completion)) }
    }

    fn next_completion(&mut self, feature: Feature) -> Result<Completion, FeatureMissing> {
        // Asks for two, and so needs the minimum wait to return with one.
        let gather = Duration::from_micros(100);
        self.ring.wait(Wait { want: 2, gather, timeout: Some(TRIAL_TIMEOUT) });
        let timed_out = || explain(feature, libc::ETIME, &Environment::read());
        self.ring.take_completion().ok_or_else(timed_out)
    }
}

fn missing(feature: Feature, completion: &Completion) -> FeatureMissing {
    let errno = match completion.outcome {
        Outcome::Failed(errno) => errno,
        Outcome::WouldBlock => libc::EAGAIN,
        Outcome::BuffersExhausted => libc::ENOBUFS,
        Outcome::TableFull => libc::ENFILE,
        Outcome::Cancelled => libc::ECANCELED,
        Outcome::Done(_) => 0,
    };
    explain(feature, errno, &Environment::read())
}
