//! Shutdowns of sockets that have no descriptor. io_uring would make them on a helper thread of the
//! kernel, which wants the shard's core just when many connections end. So a descriptor is made for
//! the socket, shut down and closed again; only where none is to be had the helper does it.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use io_uring::types::Fixed;
use io_uring::{opcode, squeue};

use super::operation::{OperationKind, Outcome, UserData};

/// Shutdowns under way: each has a descriptor for a moment, of which a process has few.
const UNDER_WAY_MAX: usize = 64;

/// How a shutdown that is under way is done.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// A descriptor is being made, to be shut down in this way.
    MakingDescriptor(Shutdown),
    /// None could be made: the kernel's helper thread does it.
    Helper,
}

/// What a completion of a shutdown means.
pub(super) enum Step {
    /// It is over; and the first submission of the next that has waited, if there is one.
    Over(Outcome, Option<squeue::Entry>),
    /// This is to be submitted for it.
    GoesOn(squeue::Entry),
}

/// The shutdowns of a ring.
#[derive(Debug, Default)]
pub(super) struct Shutdowns {
    /// By slot.
    under_way: HashMap<u32, Way>,
    /// Those that wait until fewer are.
    waiting: VecDeque<(UserData, Shutdown)>,
}

impl Shutdowns {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Whether the helper does this one.
    pub(super) fn by_helper(&self, user_data: UserData) -> bool {
        matches!(self.under_way.get(&user_data.index()), Some(Way::Helper))
    }

    /// Begins one, or lets it wait. Returns what is to be submitted.
    pub(super) fn begin(&mut self, user_data: UserData, how: Shutdown) -> Option<squeue::Entry> {
        if self.under_way.len() < UNDER_WAY_MAX {
            return Some(self.make_descriptor(user_data, how));
        }
        self.waiting.push_back((user_data, how));
        None
    }

    fn make_descriptor(&mut self, user_data: UserData, how: Shutdown) -> squeue::Entry {
        let slot = user_data.index();
        let earlier = self.under_way.insert(slot, Way::MakingDescriptor(how));
        assert!(earlier.is_none(), "one shutdown of a slot at a time");
        let entry = opcode::FixedFdInstall::new(Fixed(slot), 0).build();
        entry.user_data(user_data.to_bits())
    }

    /// Begins one by the helper.
    pub(super) fn begin_by_helper(&mut self, user_data: UserData, how: Shutdown) -> squeue::Entry {
        let slot = user_data.index();
        self.under_way.insert(slot, Way::Helper);
        let entry = opcode::Shutdown::new(Fixed(slot), number_of(how)).build();
        entry.user_data(user_data.to_bits())
    }

    /// What its completion means for the shutdown of this name, which is under way.
    pub(super) fn advance(&mut self, user_data: UserData, outcome: Outcome) -> Step {
        let way = self.under_way.remove(&user_data.index()).expect("it is under way");
        debug_assert_eq!(user_data.kind(), Some(OperationKind::Shutdown));
        let ended = match (way, outcome) {
            (Way::MakingDescriptor(how), Outcome::Done(descriptor)) => {
                shut_down(descriptor as RawFd, how)
            }
            (Way::MakingDescriptor(how), _) => {
                return Step::GoesOn(self.begin_by_helper(user_data, how));
            }
            (Way::Helper, outcome) => outcome,
        };
        let next = self.waiting.pop_front();
        Step::Over(ended, next.map(|(next, how)| self.make_descriptor(next, how)))
    }
}

fn number_of(how: Shutdown) -> libc::c_int {
    match how {
        Shutdown::Read => libc::SHUT_RD,
        Shutdown::Write => libc::SHUT_WR,
        Shutdown::Both => libc::SHUT_RDWR,
    }
}

/// Shuts down the socket of a descriptor that the kernel has just made for it, and closes that.
fn shut_down(descriptor: RawFd, how: Shutdown) -> Outcome {
    // SAFETY: it was made for the one completion that names it.
    let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
    // SAFETY: a call without memory of ours, on a descriptor that is open.
    match unsafe { libc::shutdown(descriptor.as_raw_fd(), number_of(how)) } {
        0 => Outcome::Done(0),
        _ => Outcome::Failed(io::Error::last_os_error().raw_os_error().unwrap_or(0)),
    }
}
