//! The shard's engine: a turn, from messages to what is to be sent.

use warren_core::authentication::Authentication;
use warren_core::authorize::Policy;
use warren_core::hashing::HashSeed;
use warren_core::ids::{ConnectionId, Epoch, ShardId};
use warren_core::limits::Limits;
use warren_core::message::{MessageBuilder, Value};
use warren_core::routing::RoutingTable;
use warren_core::shard::{Shard, ShardSettings};
use warren_core::token::TokenSeed;
use warren_core::turn::{
    ConnectionTraits, Now, ShardInput, ShardInputs, ShardOutput, ShardOutputs,
};

use super::{Path, TEXT};
use crate::callgrind::measured;

/// Turns before what is counted: lists of what is kept for each session have grown by then.
const WARM_UP_TURNS: u32 = 300;
/// Time between two turns, so long that no rate is reached and no crowd gathers.
const TURN_NS: u64 = 1_000_000_000;

/// A shard with rooms of as many members each.
struct Rooms {
    shard: Shard,
    now: Now,
    inputs: ShardInputs,
    outputs: ShardOutputs,
    members: u32,
}

pub(super) fn nothing(path: &Path) {
    let mut rooms = Rooms::new(1, 8);
    rooms.turns(WARM_UP_TURNS, path.events, |_| {}, 0);
}

pub(super) fn chat(path: &Path, members: u32) {
    let mut rooms = Rooms::new(1, members);
    rooms.turns(WARM_UP_TURNS, path.events, |rooms| rooms.say(0), members);
}

pub(super) fn chat_in_rooms(path: &Path) {
    let mut rooms = Rooms::new(64, 8);
    let say_all = |rooms: &mut Rooms| (0..64).for_each(|room| rooms.say(room));
    rooms.turns(WARM_UP_TURNS, path.events / 64, say_all, 64 * 8);
}

impl Rooms {
    fn new(count: u32, members: u32) -> Self {
        let mut rooms = Self {
            shard: Shard::new(settings()),
            now: Now { monotonic_ns: 1_000_000_000, wall_ms: 1_700_000_000_000 },
            inputs: ShardInputs::default(),
            outputs: ShardOutputs::new(1),
            members,
        };
        for index in 0..count * members {
            let traits = ConnectionTraits::default();
            rooms.inputs.list.push(ShardInput::Opened { connection: connection(index), traits });
            rooms.request(index, "login", &[("user", &format!("user-{index:06}"))]);
            rooms.turn(false);
            rooms.request(index, "join", &[("room", &room_name(index / members))]);
            rooms.turn(false);
        }
        rooms
    }

    /// The first member of the room says something.
    fn say(&mut self, room: u32) {
        self.request(room * self.members, "chat", &[("to", &room_name(room)), ("text", TEXT)]);
    }

    fn request(&mut self, index: u32, method: &str, fields: &[(&str, &str)]) {
        let start = self.inputs.bytes.len();
        let mut builder = MessageBuilder::new(&mut self.inputs.bytes, method);
        for (name, value) in fields {
            builder.field(name, Value::Text(value));
        }
        self.inputs.push_message(connection(index), start);
    }

    /// So many turns that are not counted and so many that are, each with these inputs, by which so
    /// many connections hear something.
    fn turns(&mut self, uncounted: u32, counted: u32, input: impl Fn(&mut Self), heard: u32) {
        for turn in 0..uncounted + counted {
            input(self);
            self.turn(turn >= uncounted);
            assert_eq!(self.heard_count(), heard);
        }
    }

    fn turn(&mut self, is_counted: bool) {
        self.now.monotonic_ns += TURN_NS;
        self.outputs.clear();
        let mut turn = || self.shard.turn(self.now, &self.inputs, &mut self.outputs);
        if is_counted {
            measured(&mut turn)
        } else {
            turn()
        }
        self.inputs.clear();
    }

    /// Connections that hear a room's message, each as often as it does.
    fn heard_count(&self) -> u32 {
        let count = |output: &ShardOutput| match output {
            ShardOutput::SendMany { recipients, .. } => recipients.length,
            _ => 0,
        };
        self.outputs.list.iter().map(count).sum()
    }
}

pub(super) fn connection(index: u32) -> ConnectionId {
    ConnectionId { index, generation: 1 }
}

fn room_name(room: u32) -> String {
    format!("room-{room:06}")
}

pub(super) fn settings() -> ShardSettings {
    ShardSettings {
        shard: ShardId(0),
        routing: RoutingTable::even(1, Epoch(1)),
        limits: Limits::PRODUCTION,
        seed: HashSeed(1, 2),
        authentication: Authentication::Open,
        policy: Policy::default(),
        token_seed: TokenSeed([7; 32]),
        join_creates_rooms: true,
        snapshot_interval_ns: None,
        has_log: false,
        ack_defaults: warren_core::acknowledgement::AckDefaults::default(),
        task_methods: warren_core::tasks::methods::TaskMethods::default(),
        frame_bytes_max: 65_536,
        heartbeat_ms: 10_000,
        messages_per_s: 200,
        bytes_per_s: 262_144,
        login_ms: 10_000,
    }
}
