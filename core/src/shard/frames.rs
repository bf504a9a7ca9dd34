//! Worlds where their members' sessions are: moves on their way to the world, and frames to those who
//! can take them. A session that misses a frame of a world hears none of it until a whole one comes.

use alloc::boxed::Box;

use super::Shard;
use crate::authorize::{Target, Verb};
use crate::handlers::Method;
use crate::hearing::FrameWay;
use crate::ids::{ConnectionId, ObjectId, SessionId};
use crate::mesh::MeshMessage;
use crate::message::{Message, MessageBuilder};
use crate::reason::Reason;
use crate::session::Seat;
use crate::turn::{ShardOutput, ShardOutputs, Span};
use crate::world::motion::{Motion, motion_of, read_move};
use crate::world::{TickHeader, groups};

impl Shard {
    /// The session has an entity in a world.
    pub(super) fn world_seated(&mut self, seat: Seat, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        let is_detached = self.hearing.connection(id).is_none();
        let seated = session.seated.get_or_insert_default();
        let is_behind = is_detached || seated.frames_stalled_ns.is_some();
        seated.seats.push(Seat { awaits_whole: is_behind, ..seat });
        if is_behind {
            self.hearing.set_frame_gap(id, true);
        }
    }

    /// The session has no entity in the world any more.
    pub(super) fn world_unseated(&mut self, world: ObjectId, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        let Some(seated) = &mut session.seated else { return };
        seated.seats.retain(|seat| seat.world != world);
        if seated.seats.is_empty() && seated.frames_stalled_ns.is_none() {
            session.seated = None;
        }
    }

    /// A client's move in the fixed layout.
    pub(super) fn take_move(
        &mut self,
        connection: ConnectionId,
        bytes: &[u8],
        outputs: &mut ShardOutputs,
    ) {
        let Some(known) = self.connections.get(connection) else { return };
        // Motion is volatile: what a session sends behind its `resume` need not arrive.
        if known.moving_to.is_some() {
            return;
        }
        let (world, motion) = read_move(bytes).expect("gateways see to that");
        let session = known.session;
        if let Err(reason) = self.route_move(session, Place::Id(ObjectId(world)), motion, outputs) {
            let start = outputs.bytes.len();
            let _ = MessageBuilder::new(&mut outputs.bytes, Method::Move.name());
            let request = outputs.bytes.split_off(start);
            self.refuse(connection, Message::from_checked(&request), reason, outputs);
        }
    }

    /// A `move` in the general layout.
    pub(super) fn take_move_message(
        &mut self,
        session: SessionId,
        message: Message<'_>,
        outputs: &mut ShardOutputs,
    ) -> Result<(), Reason> {
        let room = message.name("room")?;
        let motion = motion_of(message)?;
        self.route_move(Some(session), Place::Name(room), motion, outputs)
    }

    /// Sends a move to the world's home: the one hop.
    fn route_move(
        &mut self,
        session: Option<SessionId>,
        place: Place<'_>,
        motion: Motion,
        outputs: &mut ShardOutputs,
    ) -> Result<(), Reason> {
        let open = session.and_then(|session| self.sessions.get_mut(session));
        let Some((id, open)) = session.zip(open.filter(|open| open.is_open())) else {
            return Err(Reason::NotLoggedIn);
        };
        open.tokens.confirm();
        let seat = open.seats().iter().find(|seat| match place {
            Place::Id(world) => seat.world == world,
            Place::Name(name) => *seat.name == *name,
        });
        let Some(seat) = seat else {
            // Whoever may not move at all hears that, and not that there is no such world.
            let subject = self.subject(Some(id));
            let verb = Verb::Call(Method::Move);
            self.settings.policy.authorize(subject, verb, Target::Server)?;
            return Err(Reason::NotAMember);
        };
        if !seat.may_move {
            return Err(Reason::Forbidden);
        }
        let (world, slot, entity) = (seat.world, seat.slot, seat.entity);
        let to = self.settings.routing.shard_of(world.partition());
        let moved = MeshMessage::WorldMove { world, slot, entity, session: id, motion };
        self.post(to, outputs, moved);
        Ok(())
    }

    /// A seat for the session, with what its user may do from there. Roles do not change within a
    /// session, so this is asked once.
    pub(super) fn new_seat(
        &self,
        (world, slot, entity): (ObjectId, u32, u16),
        name: &str,
        id: SessionId,
    ) -> Seat {
        let open = self.sessions.get(id).map(|_| self.subject(Some(id)));
        let may_move = open.is_some_and(|subject| self.settings.policy.may_move(subject));
        Seat { world, slot, entity, may_move, awaits_whole: false, name: Box::from(name) }
    }

    /// A tick of a world: puts together a frame for each group of members and hands it to those who
    /// can take it.
    pub(super) fn deliver_frames(
        &mut self,
        header: TickHeader,
        (sections, plan): (&[u8], &[u8]),
        outputs: &mut ShardOutputs,
    ) {
        for group in groups(plan) {
            let first = outputs.recipients.len();
            let mut named_by = None;
            for member in group.members() {
                match self.hearing.frame_way(member) {
                    FrameWay::To(connection) => {
                        outputs.recipients.push(connection);
                        named_by = named_by.or(Some(member));
                    }
                    FrameWay::Gone => {}
                    FrameWay::Behind => {
                        let world = ObjectId(header.world);
                        if self.catches_up(member, world, group.is_whole, outputs) {
                            let connection = self.hearing.connection(member);
                            outputs.recipients.extend(connection);
                            named_by = named_by.or(Some(member));
                        } else {
                            self.counters.world_frames_missed += 1;
                        }
                    }
                }
            }
            let recipients = Span::since(first, &outputs.recipients);
            let Some(named_by) = named_by else { continue };
            self.counters.world_frames += u64::from(recipients.length);
            let start = outputs.bytes.len();
            self.write_name(ObjectId(header.world), named_by, outputs);
            group.write_frame(header, sections, &mut outputs.bytes);
            let frame = Span::since(start, &outputs.bytes);
            outputs.list.push(ShardOutput::Frame { recipients, frame });
        }
    }

    /// The world's name stands before its frame: protocols without object ids tell it.
    fn write_name(&self, world: ObjectId, member: SessionId, outputs: &mut ShardOutputs) {
        let open = self.sessions.get(member);
        let seat = open.and_then(|open| open.seats().iter().find(|seat| seat.world == world));
        // A frame may come behind the end of a seat, when both were on their way.
        let name = seat.map_or("", |seat| &*seat.name);
        outputs.bytes.push(name.len() as u8);
        outputs.bytes.extend_from_slice(name.as_bytes());
    }

    /// Whether a session that has missed frames can go on with this one.
    fn catches_up(
        &mut self,
        id: SessionId,
        world: ObjectId,
        is_whole: bool,
        outputs: &mut ShardOutputs,
    ) -> bool {
        let stall_ns = self.settings.limits.frame_stall_ns;
        let Some(session) = self.sessions.get_mut(id) else { return false };
        let Some(seated) = &mut session.seated else { return false };
        if let Some(since_ns) = seated.frames_stalled_ns {
            if self.now.monotonic_ns >= since_ns + stall_ns
                && let Some(connection) = self.hearing.connection(id)
                // Once: until its connection is gone, more frames miss it.
                && self.connections.get(connection).is_some()
            {
                self.counters.world_members_stalled += 1;
                self.close(connection, Reason::SlowConsumer, outputs);
            }
            return false;
        }
        if self.hearing.connection(id).is_none() {
            return false;
        }
        let Some(seat) = seated.seats.iter_mut().find(|seat| seat.world == world) else {
            return false;
        };
        if seat.awaits_whole && !is_whole {
            return false;
        }
        seat.awaits_whole = false;
        if seated.seats.iter().all(|seat| !seat.awaits_whole) {
            self.hearing.set_frame_gap(id, false);
        }
        true
    }

    /// A connection could not take a frame.
    pub(super) fn frames_stalled(&mut self, connection: ConnectionId) {
        let Some(id) = self.connections.get(connection).and_then(|known| known.session) else {
            return;
        };
        let now_ns = self.now.monotonic_ns;
        if let Some(session) = self.sessions.get_mut(id) {
            session.seated.get_or_insert_default().frames_stalled_ns = Some(now_ns);
        }
        self.miss_frames(id);
    }

    /// From here on the session waits for a whole frame of each of its worlds.
    pub(super) fn miss_frames(&mut self, id: SessionId) {
        let session = self.sessions.get_mut(id);
        let Some(seated) = session.and_then(|session| session.seated.as_mut()) else { return };
        for seat in &mut seated.seats {
            seat.awaits_whole = true;
        }
        let has_gap = !seated.seats.is_empty();
        self.hearing.set_frame_gap(id, has_gap);
    }

    /// A connection that could not take frames can take them again.
    pub(super) fn frames_flow(&mut self, connection: ConnectionId, outputs: &mut ShardOutputs) {
        if let Some(id) = self.connections.get(connection).and_then(|known| known.session) {
            self.ask_for_whole(id, outputs);
        }
    }

    /// Asks each world of the session for a whole frame.
    pub(super) fn ask_for_whole(&mut self, id: SessionId, outputs: &mut ShardOutputs) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        let Some(mut seated) = session.seated.take() else { return };
        seated.frames_stalled_ns = None;
        for seat in &seated.seats {
            let to = self.settings.routing.shard_of(seat.world.partition());
            let resync = MeshMessage::WorldResync { world: seat.world, session: id };
            self.post(to, outputs, resync);
        }
        if !seated.seats.is_empty() {
            self.sessions.get_mut(id).expect("it was there").seated = Some(seated);
        }
    }
}

/// How a move names its world.
#[derive(Clone, Copy, Debug)]
enum Place<'a> {
    Id(ObjectId),
    Name(&'a str),
}
