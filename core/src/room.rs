//! A room at its home: who is in it, and the one order of its messages. Its members' shards hold
//! relays (`relay.rs`), which know their own connections and nothing else.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::gathered::Gathered;
use crate::ids::{SessionId, ShardId};
use crate::rate::{Meter, Rate};
use crate::world::WorldSettings;

/// The lobby is where everyone is after login. It is no room.
pub const LOBBY: &str = "lobby";
/// The room whose members hear of scheduled events ahead of their time.
pub const WATCHTOWER: &str = "watchtower";

/// A user in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The session that hears the room.
    pub session: SessionId,
    /// Which of the user's logins made the session.
    pub login: u64,
}

/// A member, and what the room sends for it.
#[derive(Debug)]
struct Seat {
    member: Member,
    fan_out: Meter,
}

/// A room at its home.
#[derive(Debug)]
pub struct Room {
    name: Box<str>,
    members: BTreeMap<Box<str>, Seat>,
    member_counts: Vec<(ShardId, u32)>,
    /// The busiest meter of all who left. Members begin with it, so that nobody is rid of what was
    /// sent for them by leaving and joining again; it holds up nobody who says no more than the rate.
    left_fan_out: Meter,
    last_sequence: u64,
    /// Most members, if bounded.
    pub(crate) members_max: Option<usize>,
    /// Not listed, and its members are told to members only.
    pub(crate) is_secret: bool,
    /// Made by `join`: goes when it has been empty for the grace time.
    pub(crate) is_transient: bool,
    /// What it is like, if it is a world.
    pub(crate) world: Option<Box<WorldSettings>>,
    /// When it last became empty, in nanoseconds; meaningless while it has members.
    pub(crate) empty_since_ns: u64,
    /// Whether the shard is going to look whether it stayed empty.
    pub(crate) is_look_due: bool,
    /// What is numbered and not yet sent, while a window is open.
    pub(crate) gathered: Option<Box<Gathered>>,
    /// Its members are to be told how many they are, before they are told who joins or leaves.
    pub(crate) is_count_untold: bool,
    /// Whether the shard is going to look whether that is so.
    pub(crate) is_count_timed: bool,
}

impl Room {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            members: BTreeMap::new(),
            member_counts: Vec::new(),
            left_fan_out: Meter::default(),
            last_sequence: 0,
            members_max: None,
            is_secret: false,
            is_transient: false,
            world: None,
            empty_since_ns: 0,
            is_look_due: false,
            gathered: None,
            is_count_untold: false,
            is_count_timed: false,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of members.
    #[must_use]
    pub fn member_count(&self) -> usize {
        self.members.len()
    }

    /// The member of that name.
    #[must_use]
    pub fn member(&self, user: &str) -> Option<Member> {
        self.members.get(user).map(|seat| seat.member)
    }

    /// Whether this session is a member. A session that was displaced no longer is.
    #[must_use]
    pub fn has_member(&self, user: &str, session: SessionId) -> bool {
        self.member(user).is_some_and(|member| member.session == session)
    }

    /// Names of the members after `after`, in order.
    pub fn members_after<'a>(&'a self, after: &str) -> impl Iterator<Item = &'a str> {
        use core::ops::Bound;
        let range = (Bound::Excluded(after), Bound::Unbounded);
        self.members.range::<str, _>(range).map(|(name, _)| &**name)
    }

    /// Every member with its name, in order of names.
    pub fn members(&self) -> impl Iterator<Item = (&str, Member)> {
        self.members.iter().map(|(name, seat)| (&**name, seat.member))
    }

    /// Shards that have members: each gets one copy of every message.
    pub fn shards(&self) -> impl Iterator<Item = ShardId> {
        self.member_counts.iter().map(|(shard, _)| *shard)
    }

    /// The number that the room's next message gets.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.last_sequence + 1
    }

    /// Gives the number away. Numbers are dense: it must be the next one.
    pub(crate) fn take_sequence(&mut self, sequence: u64) {
        assert!(sequence == self.next_sequence(), "a room numbers its messages densely");
        self.last_sequence = sequence;
    }

    /// Bytes that are gathered, on their way to each shard with members.
    pub(crate) fn gathered_bytes(&self) -> usize {
        self.gathered.as_ref().map_or(0, |gathered| gathered.size_bytes())
    }

    pub(crate) fn insert_member(&mut self, user: &str, member: Member) {
        if let Some(seat) = self.members.get_mut(user) {
            let old = core::mem::replace(&mut seat.member, member);
            self.count_member(old.session.shard, false);
        } else {
            let seat = Seat { member, fan_out: self.left_fan_out };
            self.members.insert(user.into(), seat);
        }
        self.count_member(member.session.shard, true);
    }

    pub(crate) fn remove_member(&mut self, user: &str) {
        let seat = self.members.remove(user).expect("only members leave");
        self.left_fan_out = self.left_fan_out.busier(seat.fan_out);
        self.count_member(seat.member.session.shard, false);
    }

    /// Whether a message of so many bytes may be sent to all now, because of this member. For
    /// others nothing is counted.
    pub(crate) fn may_fan_out(&self, user: &str, bytes: usize, rate: Rate, now_ns: u64) -> bool {
        let seat = self.members.get(user);
        seat.is_none_or(|seat| seat.fan_out.fits(rate, self.fan_out_units(bytes), now_ns))
    }

    /// Counts what the room sends because of this member.
    pub(crate) fn charge_fan_out(&mut self, user: &str, bytes: usize, rate: Rate, now_ns: u64) {
        let units = self.fan_out_units(bytes);
        if let Some(seat) = self.members.get_mut(user) {
            seat.fan_out.charge(rate, units, now_ns);
        }
    }

    /// Bytes times members.
    fn fan_out_units(&self, bytes: usize) -> u64 {
        (bytes as u64).saturating_mul(self.members.len() as u64)
    }

    fn count_member(&mut self, shard: ShardId, joins: bool) {
        let at = self.member_counts.iter().position(|(counted, _)| *counted == shard);
        match (at, joins) {
            (Some(at), true) => self.member_counts[at].1 += 1,
            (None, true) => self.member_counts.push((shard, 1)),
            (Some(at), false) => {
                self.member_counts[at].1 -= 1;
                if self.member_counts[at].1 == 0 {
                    self.member_counts.swap_remove(at);
                }
            }
            (None, false) => panic!("a member's shard is counted"),
        }
    }
}
