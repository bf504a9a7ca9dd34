use std::cell::Cell;

use warren_core::authentication::Authentication;
use warren_core::authorize::Policy;
use warren_core::hashing::HashSeed;
use warren_core::ids::{ConnectionId, Epoch};
use warren_core::limits::Limits;
use warren_core::message::{MessageBuilder, Value};
use warren_core::routing::RoutingTable;
use warren_core::shard::ShardSettings;
use warren_core::token::TokenSeed;
use warren_core::turn::{ConnectionTraits, ShardInput};

use super::*;

/// A client's line: a method and its fields.
type Line<'a> = (&'a str, &'a [(&'a str, &'a str)]);

/// One client, which says its lines in the first turn.
struct OneClient<'a>(&'a [Line<'a>]);

impl ClientPort for OneClient<'_> {
    fn receive(&mut self, _now: Now, _accepts_input: bool, inputs: &mut ShardInputs) {
        let connection = ConnectionId { index: 0, generation: 1 };
        let lines = std::mem::take(&mut self.0);
        if !lines.is_empty() {
            let traits = ConnectionTraits::default();
            inputs.list.push(ShardInput::Opened { connection, traits });
        }
        for (method, fields) in lines {
            let start = inputs.bytes.len();
            let mut message = MessageBuilder::new(&mut inputs.bytes, method);
            for (name, value) in *fields {
                message.field(name, Value::Text(value));
            }
            inputs.push_message(connection, start);
        }
    }

    fn send(&mut self, _now: Now, _outputs: &ShardOutputs) {}

    fn wake(&mut self, peer: ShardId) {
        panic!("shard {} is none", peer.0);
    }
}

fn settings(npc_turn_ns: u64) -> ShardSettings {
    ShardSettings {
        shard: ShardId(0),
        routing: RoutingTable::even(1, Epoch(1)),
        limits: Limits { npc_turn_ns, ..Limits::PRODUCTION },
        seed: HashSeed(1, 2),
        authentication: Authentication::Open,
        policy: Policy::default(),
        token_seed: TokenSeed([0; 32]),
        join_creates_rooms: false,
        snapshot_interval_ns: None,
        has_log: false,
        ack_defaults: warren_core::acknowledgement::AckDefaults::default(),
        task_methods: warren_core::tasks::methods::TaskMethods::default(),
        frame_bytes_max: 1 << 16,
        heartbeat_ms: 10_000,
        messages_per_s: 0,
        bytes_per_s: 0,
        login_ms: 10_000,
    }
}

/// NPCs of the only world.
const NPCS: u64 = 200;

/// A shard of which the 200 NPCs are due, and a turn has so much time for them.
struct Thinking {
    turn: ShardTurn,
    now: Now,
}

impl Thinking {
    fn new(npc_turn_ns: u64) -> Self {
        let mesh = crate::mesh::connect(1, 16).pop().expect("a shard has its ports");
        let turn = ShardTurn::new(Shard::new(settings(npc_turn_ns)), mesh, 1);
        let mut this = Self { turn, now: Now { monotonic_ns: 0, wall_ms: 0 } };
        let npcs = format!("wander:{NPCS}:1:0:0:9");
        let lines: [Line<'_>; 3] = [
            ("login", &[("user", "ann")]),
            ("create", &[("kind", "world"), ("room", "w"), ("npcs", &npcs)]),
            ("join", &[("room", "w")]),
        ];
        let mut client = OneClient(&lines);
        while this.counters().world_ticks == 0 {
            assert!(this.now.monotonic_ns < 10_000_000_000, "the world does not tick");
            this.pass(10_000_000, &mut client);
        }
        assert_eq!(this.counters().npcs, NPCS);
        assert!(this.turn.has_npcs_due());
        this
    }

    fn pass(&mut self, ns: u64, client: &mut OneClient<'_>) {
        self.now.monotonic_ns += ns;
        self.turn.turn(self.now, false, client);
    }

    /// The world's next tick.
    fn tick(&mut self) {
        self.pass(100_000_000, &mut OneClient(&[]));
    }

    /// Moves NPCs under a clock that goes on by so much from one look to the next. Returns how often it
    /// was looked at, and how many were moved.
    fn think(&mut self, ns_per_look: u64) -> (u64, u64) {
        let before = self.counters().npc_updates;
        let looks = Cell::new(0);
        self.turn.think(|| {
            looks.set(looks.get() + 1);
            7_000_000 + (looks.get() - 1) * ns_per_look
        });
        (looks.get(), self.counters().npc_updates - before)
    }

    fn counters(&self) -> &warren_core::counters::ShardCounters {
        self.turn.shard().counters()
    }
}

#[test]
fn all_npcs_are_moved_while_there_is_time() {
    let mut shard = Thinking::new(250_000);
    // One look before them, and one after each 64: the last after those that were left.
    assert_eq!(shard.think(10_000), (5, NPCS));
    assert!(!shard.turn.has_npcs_due());
    // Nobody looks at the clock for nothing.
    assert_eq!(shard.think(10_000), (0, 0));
    shard.tick();
    assert_eq!(shard.think(10_000), (5, NPCS));
    assert_eq!(shard.counters().npc_carried_over, 0);
}

#[test]
fn when_their_time_is_over_the_other_npcs_wait_for_the_next_turn() {
    let mut shard = Thinking::new(250_000);
    // 100 and 200 us are within the time, 300 us are not.
    assert_eq!(shard.think(100_000), (4, 3 * 64));
    assert!(shard.turn.has_npcs_due());
    // The time is a turn's: the next has all of it again, for those that are left.
    assert_eq!(shard.think(100_000), (2, NPCS - 3 * 64));
    assert!(!shard.turn.has_npcs_due());
    assert_eq!(shard.counters().npc_carried_over, 0);
    // What a tick finds undone is put off, and all are due again.
    shard.tick();
    assert_eq!(shard.think(125_000), (3, 2 * 64), "the end of the time is outside of it");
    shard.tick();
    assert_eq!(shard.counters().npc_carried_over, NPCS - 2 * 64);
    assert_eq!(shard.think(0).1, NPCS);
}

#[test]
fn npcs_that_are_dear_are_moved_some_at_each_turn() {
    let mut shard = Thinking::new(1_000);
    for (moved, are_left) in [(64, true), (64, true), (64, true), (8, false)] {
        assert_eq!(shard.think(1_000_000_000), (2, moved));
        assert_eq!(shard.turn.has_npcs_due(), are_left);
    }
}
