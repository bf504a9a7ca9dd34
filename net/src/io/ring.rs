//! One io_uring ring: typed submissions, completions, and the one place that sleeps.
//!
//! How it is set up, and why (verified on kernel 6.18):
//!
//! - `SINGLE_ISSUER | DEFER_TASKRUN | TASKRUN_FLAG`: completions are made by this thread when it
//!   asks, never by an interrupt in the middle of a turn. Asking means `enter` with `GETEVENTS`,
//!   which makes at most max(20, wanted) of them: so we want many, and ask again while the flag
//!   says that there are more.
//! - `SUBMIT_ALL`: a bad submission does not stop those behind it.
//! - The ring's descriptor is registered, so that `enter` need not look it up.
//! - Sends from borrowed memory carry `MSG_DONTWAIT`, which io_uring takes as "never wait": they
//!   are over when they have been submitted. `MSG_WAITALL` makes a short one complete with its
//!   count although success completes silently; without it the rest would be lost unseen.
//! - Shutdowns (`shutdowns.rs`) look their slot up when they run: a slot must not be closed before its
//!   shutdown has completed.

use std::collections::HashMap;
use std::io;
use std::marker::PhantomData;
use std::mem;
use std::net::{IpAddr, Shutdown};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use io_uring::types::{CancelBuilder, DestinationSlot, Fixed, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, opcode, squeue};

use super::accepts::AcceptPlaces;
use super::buffers::{BUFFER_GROUP, BufferRing};
use super::descriptor_limit::descriptors_max;
use super::operation::{Completion, OperationKind, Outcome, UserData};
use super::probe::{Environment, Feature, FeatureMissing, explain};
use super::registration::{register_descriptor, unregister_descriptor};
use super::shutdowns::{Shutdowns, Step};
use super::wake::WakeHandle;

/// `enter` calls in one wait before the caller gets to see what there is.
const REAPS_PER_WAIT_MAX: u32 = 64;
/// For ever, as far as the kernel is concerned: without any timeout it returns when the time to
/// gather is over, also with nothing gathered.
const TIMEOUT_MAX: Duration = Duration::from_secs(3600);
/// Threads that the kernel may start for a ring.
const KERNEL_WORKERS_MAX: u32 = 2;
/// How long a dying ring waits for the kernel to let go of its memory.
const CANCEL_TIMEOUT: Timespec = Timespec::new().sec(1);

/// Asks the kernel to find a free slot: `IORING_FILE_INDEX_ALLOC`.
const SLOT_ANY: i32 = -1;

/// Sizes of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingSettings {
    /// Submissions between two `enter` calls; more are handed over in several calls.
    pub submission_entries: u32,
    /// Completions that may wait. The kernel keeps what does not fit, more slowly.
    pub completion_entries: u32,
    /// Slots of the file table: sockets open at a time. At most the descriptor limit.
    pub files_max: u32,
    /// Receive buffers, a power of two up to 32,768; 0 for none.
    pub receive_buffer_count: u16,
    /// Size of a receive buffer.
    pub receive_buffer_bytes: u32,
}

impl Default for RingSettings {
    fn default() -> Self {
        Self {
            submission_entries: 4096,
            completion_entries: 65_536,
            files_max: descriptors_max().min(65_536),
            receive_buffer_count: 4096,
            receive_buffer_bytes: 2048,
        }
    }
}

/// What a ring counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingCounters {
    /// `io_uring_enter` calls.
    pub enters: u64,
    /// Submissions handed to the kernel.
    pub submissions: u64,
    /// Completions taken.
    pub completions: u64,
}

/// How long to wait for completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Return as soon as there are so many.
    pub want: u32,
    /// Gather for so long, then return at the first.
    pub gather: Duration,
    /// Return after so long at the latest; `None` waits for an hour, zero only looks.
    pub timeout: Option<Duration>,
}

/// A send from borrowed memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImmediateSend {
    /// Its name in the completion, if there is one.
    pub user_data: UserData,
    /// The socket.
    pub slot: u32,
    /// In which of the call's arenas its bytes stand.
    pub arena: u32,
    /// First byte.
    pub start: u32,
    /// Number of bytes.
    pub length: u32,
}

impl ImmediateSend {
    fn of<'a>(&self, arenas: &[&'a [u8]]) -> &'a [u8] {
        let start = self.start as usize;
        &arenas[self.arena as usize][start..start + self.length as usize]
    }
}

/// A buffer of which the kernel may still send.
struct QueuedSend {
    bytes: Vec<u8>,
    done: bool,
}

/// A socket on its way into the file table.
struct Entering {
    number: u32,
    socket: OwnedFd,
    /// The socket's descriptor, and the slot once the kernel has found one.
    place: Box<[i32; 1]>,
}

struct WakeRead {
    handle: WakeHandle,
    counter: Box<[u8; 8]>,
}

/// A ring with its file table and receive buffers. Bound to the thread that made it.
pub struct Ring {
    // First, so that the kernel lets go before the memory below is freed.
    ring: IoUring,
    buffers: Option<BufferRing>,
    /// By slot.
    queued_sends: HashMap<u32, QueuedSend>,
    entering: Vec<Entering>,
    /// By slot: descriptors that were made for their sockets.
    installed: HashMap<u32, OwnedFd>,
    shutdowns: Shutdowns,
    accepts: AcceptPlaces,
    wake: WakeRead,
    registered_index: Option<u32>,
    completed: Vec<Completion>,
    broken: bool,
    counters: RingCounters,
    thread_bound: PhantomData<*mut ()>,
}

impl Ring {
    /// Sets up a ring on this thread.
    ///
    /// # Errors
    /// The feature that is missing, with its remedy.
    pub fn new(settings: &RingSettings) -> Result<Self, FeatureMissing> {
        let missing = |feature| {
            move |error: io::Error| {
                explain(feature, error.raw_os_error().unwrap_or(0), &Environment::read())
            }
        };
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_no_sqarray()
            .setup_cqsize(settings.completion_entries.max(settings.submission_entries))
            .build(settings.submission_entries)
            .map_err(missing(Feature::RingSetup))?;
        let lacking = |feature| missing(feature)(io::Error::from_raw_os_error(libc::EINVAL));
        if !ring.params().is_feature_nodrop() || !ring.params().is_feature_skip_cqe_on_success() {
            return Err(lacking(Feature::RingSetup));
        }
        if !ring.params().is_feature_min_timeout() {
            return Err(lacking(Feature::GatheringWait));
        }
        let index = register_descriptor(&ring).map_err(missing(Feature::RegisteredRing))?;
        let handle = WakeHandle::new().map_err(missing(Feature::WakeCounter))?;
        let mut this = Self {
            ring,
            buffers: None,
            queued_sends: HashMap::new(),
            entering: Vec::new(),
            installed: HashMap::new(),
            shutdowns: Shutdowns::default(),
            accepts: AcceptPlaces::new(),
            wake: WakeRead { handle, counter: Box::new([0; 8]) },
            registered_index: Some(index),
            completed: Vec::new(),
            broken: false,
            counters: RingCounters::default(),
            thread_bound: PhantomData,
        };
        let submitter = this.ring.submitter();
        submitter
            .register_iowq_max_workers(&mut [KERNEL_WORKERS_MAX; 2])
            .map_err(missing(Feature::RingSetup))?;
        if settings.files_max > 0 {
            submitter
                .register_files_sparse(settings.files_max)
                .map_err(missing(Feature::FileTable))?;
        }
        if settings.receive_buffer_count > 0 {
            let (count, bytes) = (settings.receive_buffer_count, settings.receive_buffer_bytes);
            let buffers = BufferRing::register(&this.ring, count, bytes)
                .map_err(missing(Feature::BufferRing))?;
            this.buffers = Some(buffers);
        }
        Ok(this)
    }

    /// The receive buffers.
    ///
    /// # Panics
    /// When the settings said none.
    #[must_use]
    pub fn buffers(&self) -> &BufferRing {
        self.buffers.as_ref().expect("the ring was set up with receive buffers")
    }

    /// The receive buffers.
    ///
    /// # Panics
    /// When the settings said none.
    pub fn buffers_mut(&mut self) -> &mut BufferRing {
        self.buffers.as_mut().expect("the ring was set up with receive buffers")
    }

    /// What was counted so far.
    #[must_use]
    pub fn counters(&self) -> RingCounters {
        self.counters
    }

    /// The descriptor by which other rings wake this one.
    #[must_use]
    pub fn descriptor(&self) -> RawFd {
        self.ring.as_raw_fd()
    }

    /// Wakes this ring from any thread, once [`wake_read`](Self::wake_read) is under way.
    #[must_use]
    pub fn wake_handle(&self) -> WakeHandle {
        self.wake.handle.clone()
    }

    /// Moves a connected socket from the process's descriptor table into a slot.
    ///
    /// # Errors
    /// When the slot is beyond the table.
    pub fn install(&mut self, slot: u32, socket: OwnedFd) -> io::Result<()> {
        self.ring.submitter().register_files_update(slot, &[socket.as_raw_fd()])?;
        Ok(())
    }

    /// Moves a connected socket into a slot that the kernel finds, also while accepts look for slots.
    /// The completion of kind [`OperationKind::Enter`] has this number as its index, and the slot as
    /// what was done; until it is there the number must not be used again.
    pub fn enter_table(&mut self, number: u32, socket: OwnedFd) {
        let mut place = Box::new([socket.as_raw_fd()]);
        let entry = opcode::FilesUpdate::new(place.as_mut_ptr(), 1).offset(SLOT_ANY).build();
        self.entering.push(Entering { number, socket, place });
        let user_data = UserData::new(OperationKind::Enter, 0, number);
        self.push(entry.user_data(user_data.to_bits()));
    }

    /// The socket of a number whose entering has completed, which is still wanted if no slot was
    /// free.
    pub fn take_entered(&mut self, number: u32) -> Option<OwnedFd> {
        let at = self.entering.iter().position(|entering| entering.number == number)?;
        Some(self.entering.swap_remove(at).socket)
    }

    /// Makes a descriptor for the socket in a slot, which keeps it as well. The ring keeps the
    /// descriptor until [`take_installed`](Self::take_installed) after the completion.
    pub fn make_descriptor(&mut self, user_data: UserData, slot: u32) {
        assert_eq!(user_data.kind(), Some(OperationKind::Install));
        assert_eq!(user_data.index(), slot);
        let entry = opcode::FixedFdInstall::new(Fixed(slot), 0).build();
        self.push(entry.user_data(user_data.to_bits()));
    }

    /// The descriptor that was made for the socket in a slot.
    pub fn take_installed(&mut self, slot: u32) -> Option<OwnedFd> {
        self.installed.remove(&slot)
    }

    /// Accepts connections into free slots until it fails.
    pub fn accept(&mut self, user_data: UserData, listener: &impl AsFd) {
        let listener = io_uring::types::Fd(listener.as_fd().as_raw_fd());
        let entry = opcode::AcceptMulti::new(listener).allocate_file_index(true).build();
        self.push(entry.user_data(user_data.to_bits()));
    }

    /// Accepts one connection into a free slot, and keeps its address. The index of the name is
    /// the number of the accept, below [`ACCEPTS_MAX`](super::accepts::ACCEPTS_MAX); no other of
    /// that number may be under way.
    pub fn accept_one(&mut self, user_data: UserData, listener: &impl AsFd) {
        assert_eq!(user_data.kind(), Some(OperationKind::Accept));
        let listener = io_uring::types::Fd(listener.as_fd().as_raw_fd());
        let slot = Some(DestinationSlot::auto_target());
        let (address, length) = self.accepts.begin(user_data.index());
        let entry = opcode::Accept::new(listener, address, length).file_index(slot).build();
        self.push(entry.user_data(user_data.to_bits()));
    }

    /// Who connected by the accept of that number, which has completed, until it is used again.
    ///
    /// # Panics
    /// When it is under way.
    #[must_use]
    pub fn accepted_peer(&self, accept: u32) -> Option<IpAddr> {
        self.accepts.peer(accept)
    }

    /// Receives into the receive buffers until the peer closes, it fails, or no buffer is free.
    pub fn receive(&mut self, user_data: UserData, slot: u32) {
        assert!(self.buffers.is_some(), "the ring was set up with receive buffers");
        let entry = opcode::RecvMulti::new(Fixed(slot), BUFFER_GROUP).build();
        self.push(entry.user_data(user_data.to_bits()));
    }

    /// Sends what the sockets take at once. All sends are over on return; one that did not send
    /// all has a completion with the count, [`Outcome::WouldBlock`] or its error.
    ///
    /// # Panics
    /// When a send is not within its arena.
    pub fn send_now(&mut self, sends: &[ImmediateSend], arenas: &[&[u8]]) {
        // Before the first is queued: a panic must not leave pointers in the queue.
        for send in sends {
            assert_eq!(send.of(arenas).len(), send.length as usize);
        }
        let flags = libc::MSG_WAITALL | libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        for send in sends {
            let bytes = send.of(arenas);
            let entry = opcode::Send::new(Fixed(send.slot), bytes.as_ptr(), send.length);
            let entry = entry.flags(flags).build().flags(squeue::Flags::SKIP_SUCCESS);
            self.push(entry.user_data(send.user_data.to_bits()));
        }
        self.submit();
        self.reap();
    }

    /// Sends a buffer from `start` on, waiting for room in the socket. The ring keeps the buffer
    /// until [`take_sent`](Self::take_sent) after the completion.
    ///
    /// # Panics
    /// When the slot has a queued send already, or `start` is beyond the buffer.
    pub fn send_queued(&mut self, user_data: UserData, slot: u32, bytes: Vec<u8>, start: usize) {
        assert_eq!(user_data.kind(), Some(OperationKind::SendQueued));
        assert_eq!(user_data.index(), slot);
        let rest = &bytes[start..];
        let length = u32::try_from(rest.len()).expect("send queues are bounded");
        let entry = opcode::Send::new(Fixed(slot), rest.as_ptr(), length);
        let entry = entry.flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL).build();
        let earlier = self.queued_sends.insert(slot, QueuedSend { bytes, done: false });
        assert!(earlier.is_none(), "one queued send a slot");
        self.push(entry.user_data(user_data.to_bits()));
    }

    /// The buffer of a queued send that has completed.
    pub fn take_sent(&mut self, slot: u32) -> Option<Vec<u8>> {
        if !self.queued_sends.get(&slot)?.done {
            return None;
        }
        self.queued_sends.remove(&slot).map(|send| send.bytes)
    }

    /// Shuts a socket down. Its slot must not be closed before the completion, and no other shutdown
    /// of it may be under way.
    pub fn shutdown(&mut self, user_data: UserData, slot: u32, how: Shutdown) {
        assert_eq!((user_data.kind(), user_data.index()), (Some(OperationKind::Shutdown), slot));
        if let Some(entry) = self.shutdowns.begin(user_data, how) {
            self.push(entry);
        }
    }

    /// Shuts a socket down by the kernel's helper thread.
    #[cfg(test)]
    pub(super) fn shutdown_by_helper(&mut self, user_data: UserData, how: Shutdown) {
        let entry = self.shutdowns.begin_by_helper(user_data, how);
        self.push(entry);
    }

    /// Goes on with the shutdowns among the completions from this place on, and takes those out
    /// that are not over.
    fn advance_shutdowns(&mut self, from: usize) {
        let mut at = from;
        // What is submitted here may complete at once: those have gone on already.
        let mut end = self.completed.len();
        while at < end {
            let Completion { user_data, outcome, .. } = self.completed[at];
            at += 1;
            if user_data.kind() != Some(OperationKind::Shutdown) {
                continue;
            }
            match self.shutdowns.advance(user_data, outcome) {
                Step::Over(outcome, next) => {
                    self.completed[at - 1].outcome = outcome;
                    next.into_iter().for_each(|entry| self.push(entry));
                }
                Step::GoesOn(entry) => {
                    at -= 1;
                    end -= 1;
                    self.completed.remove(at);
                    self.push(entry);
                }
            }
        }
    }

    /// Frees a slot. The socket lives on until every operation on it has ended.
    pub fn close(&mut self, user_data: UserData, slot: u32) {
        let entry = opcode::Close::new(Fixed(slot)).build().flags(squeue::Flags::SKIP_SUCCESS);
        self.push(entry.user_data(user_data.to_bits()));
    }

    /// Cancels the operation of that name; its own completion tells the end of it.
    pub fn cancel(&mut self, user_data: UserData, target: UserData) {
        let entry = opcode::AsyncCancel::new(target.to_bits()).build();
        let entry = entry.flags(squeue::Flags::SKIP_SUCCESS);
        self.push(entry.user_data(user_data.to_bits()));
    }

    /// Reads the wake counter: completes at the next wake.
    pub fn wake_read(&mut self) {
        let user_data = UserData::new(OperationKind::WakeRead, 0, 0);
        let descriptor = io_uring::types::Fd(self.wake.handle.descriptor().as_raw_fd());
        let entry = opcode::Read::new(descriptor, self.wake.counter.as_mut_ptr(), 8).build();
        self.push(entry.user_data(user_data.to_bits()));
    }

    /// Wakes the ring with that descriptor, which must be another's of this process.
    pub fn peer_wake(&mut self, peer: RawFd) {
        let woken = UserData::new(OperationKind::PeerWoken, 0, 0).to_bits();
        let entry = opcode::MsgRingData::new(io_uring::types::Fd(peer), 0, woken, None).build();
        let entry = entry.flags(squeue::Flags::SKIP_SUCCESS);
        let user_data = UserData::new(OperationKind::PeerWake, 0, 0);
        self.push(entry.user_data(user_data.to_bits()));
    }

    /// Hands all submissions to the kernel.
    ///
    /// # Panics
    /// When the kernel refuses to be called at all: the ring is then of no more use.
    pub fn submit(&mut self) {
        loop {
            let pending = self.ring.submission().len();
            if pending == 0 {
                return;
            }
            self.enter(0, EnterFlags::empty(), None);
            if self.ring.submission().len() == pending {
                // Nothing was taken: the kernel is short of memory or of room for completions.
                self.enter(0, EnterFlags::GETEVENTS, None);
                self.reap();
            }
        }
    }

    /// Submits, and sleeps until there are completions: see [`Wait`].
    pub fn wait(&mut self, wait: Wait) {
        let only_looks = wait.timeout == Some(Duration::ZERO) || !self.completed.is_empty();
        let timeout = if only_looks { Some(Duration::ZERO) } else { wait.timeout };
        let idle = self.ring.submission().is_empty() && !self.ring.submission().taskrun();
        if !(only_looks && idle) {
            let gather = timeout.map_or(wait.gather, |timeout| wait.gather.min(timeout));
            // With no time to gather the kernel would wait for all that is wanted.
            let gathers = gather.as_micros() > 0 || timeout == Some(Duration::ZERO);
            self.enter_and_wait(if gathers { wait.want } else { 1 }, gather, timeout);
        }
        self.submit();
        self.reap();
        for _ in 0..REAPS_PER_WAIT_MAX {
            if !self.ring.submission().taskrun() {
                break;
            }
            let before = self.counters.completions;
            self.enter_and_wait(wait.want, Duration::ZERO, Some(Duration::ZERO));
            self.reap();
            if self.counters.completions == before {
                // The flag may stay set when nothing is left to do.
                break;
            }
        }
    }

    /// Appends the completions that have come to `out`. Never waits, never calls the kernel.
    pub fn take_completions(&mut self, out: &mut Vec<Completion>) {
        out.append(&mut self.completed);
    }

    /// The oldest completion that has come, if there is one.
    pub fn take_completion(&mut self) -> Option<Completion> {
        if self.completed.is_empty() { None } else { Some(self.completed.remove(0)) }
    }

    /// Whether there are completions to take.
    #[must_use]
    pub fn has_completions(&self) -> bool {
        !self.completed.is_empty()
    }

    fn enter_and_wait(&mut self, want: u32, gather: Duration, timeout: Option<Duration>) {
        let timespec = Timespec::from(timeout.unwrap_or(TIMEOUT_MAX).min(TIMEOUT_MAX));
        let gather_us = u32::try_from(gather.as_micros()).unwrap_or(u32::MAX);
        let args = SubmitArgs::new().min_wait_usec(gather_us).timespec(&timespec);
        self.enter(want, EnterFlags::GETEVENTS | EnterFlags::EXT_ARG, Some(&args));
    }

    fn push(&mut self, entry: squeue::Entry) {
        if self.ring.submission().is_full() {
            self.submit();
        }
        // SAFETY: what an entry points to outlives its operation: sends from borrowed memory end
        // within `send_now`; queued sends, the places of sockets that enter and of addresses, and the
        // wake counter belong to the ring, which keeps them until completion, or in `drop` until the
        // kernel has let go.
        unsafe { self.ring.submission().push(&entry) }.expect("submitting makes room");
    }

    fn enter(&mut self, want: u32, flags: EnterFlags, args: Option<&SubmitArgs<'_, '_>>) {
        assert!(!self.broken, "the ring has failed before");
        let before = self.ring.submission().len();
        let (descriptor, flags) = match self.registered_index {
            Some(index) => (index as libc::c_int, flags | EnterFlags::REGISTERED_RING),
            None => (self.ring.as_raw_fd(), flags),
        };
        let args_bytes = if args.is_some() { size_of::<SubmitArgs<'_, '_>>() } else { 0 };
        let args: *const SubmitArgs<'_, '_> = args.map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: the descriptor is this ring's; the arguments are null or the kernel's structure
        // (`SubmitArgs` is a transparent wrapper of it), alive during the call; `push` has seen to
        // it that the entries are valid.
        let result = unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                descriptor,
                before as libc::c_uint,
                want,
                flags.bits(),
                args,
                args_bytes,
            )
        };
        let error = io::Error::last_os_error();
        self.counters.enters += 1;
        self.counters.submissions += (before - self.ring.submission().len()) as u64;
        let passing = [libc::ETIME, libc::EINTR, libc::EAGAIN, libc::EBUSY, libc::ENOMEM];
        if result < 0 && !passing.contains(&error.raw_os_error().unwrap_or(0)) {
            self.broken = true;
            panic!("io_uring_enter: {error}");
        }
    }

    /// Takes the completions that the kernel has made.
    fn reap(&mut self) {
        loop {
            let before = self.completed.len();
            for entry in self.ring.completion() {
                let mut completion = Completion::from_entry(&entry);
                if let (Some(buffer), Some(buffers)) = (completion.buffer, &mut self.buffers) {
                    buffers.take(buffer);
                }
                let index = completion.user_data.index();
                match (completion.user_data.kind(), completion.outcome) {
                    (Some(OperationKind::SendQueued), _) => {
                        if let Some(send) = self.queued_sends.get_mut(&index) {
                            send.done = true;
                        }
                    }
                    (Some(OperationKind::Accept), _) => self.accepts.end(index),
                    (Some(OperationKind::Install), Outcome::Done(descriptor)) => {
                        // SAFETY: the kernel has just made this descriptor for this completion.
                        let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor as RawFd) };
                        self.installed.insert(index, descriptor);
                    }
                    (Some(OperationKind::Enter), Outcome::Done(_)) => {
                        let entering = self.entering.iter().find(|it| it.number == index);
                        let place = entering.expect("it is kept until it completes").place[0];
                        completion.outcome = Outcome::Done(place as u32);
                    }
                    _ => {}
                }
                self.completed.push(completion);
            }
            self.counters.completions += (self.completed.len() - before) as u64;
            if !self.shutdowns.is_empty() {
                self.advance_shutdowns(before);
            }
            if !self.ring.submission().cq_overflow() {
                return;
            }
            // The kernel kept what did not fit, and moves it over when asked.
            self.enter(0, EnterFlags::GETEVENTS, None);
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        let everything = CancelBuilder::any();
        let cancelled =
            self.ring.submitter().register_sync_cancel(Some(CANCEL_TIMEOUT), everything);
        let let_go = match cancelled {
            Ok(()) => true,
            Err(error) => error.raw_os_error() == Some(libc::ENOENT),
        };
        if !let_go {
            // The kernel may still write to these: losing them is the lesser harm.
            mem::forget(self.buffers.take());
            mem::forget(mem::take(&mut self.queued_sends));
            mem::forget(mem::take(&mut self.entering));
            mem::forget(mem::replace(&mut self.accepts, AcceptPlaces::new()));
            mem::forget(mem::take(&mut self.wake.counter));
        }
        // Descriptors that were made for completions which nobody has taken.
        let made = self.ring.completion().filter_map(|entry| {
            let Completion { user_data, outcome, .. } = Completion::from_entry(&entry);
            let is_made = match user_data.kind() {
                Some(OperationKind::Shutdown) => !self.shutdowns.by_helper(user_data),
                kind => kind == Some(OperationKind::Install),
            };
            let Outcome::Done(descriptor) = outcome else { return None };
            is_made.then_some(descriptor as RawFd)
        });
        for descriptor in made {
            // SAFETY: it was made for the one completion that names it.
            drop(unsafe { OwnedFd::from_raw_fd(descriptor) });
        }
        if let Some(index) = self.registered_index.take() {
            unregister_descriptor(&self.ring, index);
        }
    }
}
