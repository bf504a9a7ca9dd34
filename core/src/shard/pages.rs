//! Pages of `rooms`, which go round all shards and gather names. A page that has come waits like an
//! event does, since it costs as much as several: a turn handles a few, and the others later.

use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;

use super::Shard;
use crate::authorize::{Roles, Subject, Target, Verb};
use crate::handlers::{Method, page_after, page_count, write_page};
use crate::ids::ShardId;
use crate::limits::SCANNED_PER_EVENT;
use crate::mesh::Origin;
use crate::message::{Message, Value};
use crate::reason::Reason;
use crate::turn::ShardOutputs;

/// A page that waits.
#[derive(Debug)]
struct WaitingPage {
    origin: Origin,
    roles: Roles,
    shards_left: u16,
    /// The request, and behind it the names so far.
    bytes: Vec<u8>,
    request_length: usize,
}

/// The pages of a shard, oldest first.
#[derive(Debug, Default)]
pub(super) struct Pages(VecDeque<WaitingPage>);

impl Pages {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The names of the rooms whose home is a shard.
#[derive(Debug, Default)]
pub(super) struct RoomNames {
    public: BTreeSet<Box<str>>,
    secret: BTreeSet<Box<str>>,
}

impl RoomNames {
    /// Those of the rooms that are secret, or of those that are not.
    pub(super) fn of(&mut self, is_secret: bool) -> &mut BTreeSet<Box<str>> {
        if is_secret { &mut self.secret } else { &mut self.public }
    }
}

impl Shard {
    /// A page has come to this shard. As many may wait as events in a partition.
    pub(super) fn enqueue_page(
        &mut self,
        (origin, roles): (Origin, Roles),
        shards_left: u16,
        (request, gathered): (&[u8], &[u8]),
        outputs: &mut ShardOutputs,
    ) {
        if self.pages.0.len() >= self.settings.limits.partition_events_max {
            self.post_refusal(origin, Message::from_checked(request), Reason::Busy, outputs);
            return;
        }
        let (bytes, request_length) = ([request, gathered].concat(), request.len());
        self.pages.0.push_back(WaitingPage { origin, roles, shards_left, bytes, request_length });
    }

    /// Handles the oldest page, and says what it costs of the turn's budget of events; nothing if
    /// there is none.
    pub(super) fn run_next_page(&mut self, outputs: &mut ShardOutputs) -> Option<usize> {
        let page = self.pages.0.pop_front()?;
        let (request, gathered) = page.bytes.split_at(page.request_length);
        let request = Message::from_checked(request);
        let gathered = Message::from_checked(gathered);
        let names = self.gather_rooms(&page, request, gathered, outputs);
        Some(1 + names / SCANNED_PER_EVENT)
    }

    /// Adds this shard's rooms to a page, and passes it on or answers. Returns how many names
    /// it looked at.
    fn gather_rooms(
        &mut self,
        &WaitingPage { origin, roles, shards_left, .. }: &WaitingPage,
        request: Message<'_>,
        gathered: Message<'_>,
        outputs: &mut ShardOutputs,
    ) -> usize {
        let next = ShardId((self.id().0 + 1) % self.settings.routing.shard_count());
        // Pages of other shards' clients pass here, so that these are not held back by our way on.
        if shards_left > 0 && self.staging(outputs).check_shard(next).is_err() {
            self.post_refusal(origin, request, Reason::Busy, outputs);
            return 0;
        }
        let count = page_count(request).expect("checked where the page began");
        let after = page_after(request).expect("checked where the page began");
        let Some(Value::List(earlier)) = gathered.get("rooms") else {
            panic!("a page holds a list");
        };
        // One more than the page holds, so that the last shard knows whether there are more.
        let sees_secret = self.sees_secret_rooms(origin, roles);
        let rooms = core::mem::take(&mut self.room_names);
        let own = |rooms| names_after(rooms, after).take(count + 1);
        let secret = sees_secret.then(|| own(&rooms.secret)).into_iter().flatten();
        let mut names: Vec<&str> = earlier.iter().chain(own(&rooms.public)).chain(secret).collect();
        let looked_at = names.len();
        names.sort_unstable();
        names.truncate(count + 1);
        if shards_left > 0 {
            let asker = (origin, roles);
            self.post_rooms_page(next, asker, shards_left - 1, request, &names, outputs);
        } else {
            let mut effects = core::mem::take(&mut self.effects);
            effects.start(request.method());
            effects.reply(|reply| write_page(reply, "rooms", names.iter().copied(), count));
            self.post_reply(origin, request, effects.reply_message(), outputs);
            self.effects = effects;
        }
        self.room_names = rooms;
        looked_at
    }

    /// Whether whoever asks may see secret rooms that they neither own nor are in. Those rooms of
    /// which they may know besides are not listed to them either.
    fn sees_secret_rooms(&self, origin: Origin, roles: Roles) -> bool {
        let subject = Subject { user: "", session: Some(origin.session), roles };
        let target = Target::Room { owner: "", is_secret: true, is_member: false };
        let listed = Verb::Call(Method::Rooms);
        self.settings.policy.authorize(subject, listed, target).is_ok()
    }
}

fn names_after<'r>(names: &'r BTreeSet<Box<str>>, after: &str) -> impl Iterator<Item = &'r str> {
    use core::ops::Bound;
    let range = (Bound::Excluded(after), Bound::Unbounded);
    names.range::<str, _>(range).map(|name| &**name)
}
