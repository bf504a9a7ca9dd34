//! Worlds: a tick at the world's home, and what the shard of its members does with it.

use warren_core::authentication::Authentication;
use warren_core::ids::{ObjectId, PartitionId, ShardId};
use warren_core::mesh::MeshBatch;
use warren_core::message::{MessageBuilder, Value};
use warren_core::routing::RoutingTable;
use warren_core::shard::{Shard, ShardSettings};
use warren_core::turn::{
    ConnectionTraits, Now, ShardInput, ShardInputs, ShardOutput, ShardOutputs,
};
use warren_core::world::motion::{Motion, write_move};

use super::Path;
use super::shard::{connection, settings};
use crate::callgrind::measured;

/// Ticks before what is counted.
const WARM_UP_TICKS: u32 = 30;
/// Time between two ticks.
const TICK_NS: u64 = 100_000_000;
const CELL: f32 = 64.0;
/// Entities that stand side by side in a cell.
const CELL_ENTITIES: u32 = 10;
/// Cells in a row.
const ROW_CELLS: u32 = 10;

/// What of a tick is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The turn of the world's home in which it ticks.
    Tick,
    /// The turn of the members' shard in which it gets the tick: a frame for each view.
    Frames,
}

/// Everybody stands in one cell and moves.
pub(super) fn crowd(path: &Path, part: Part) {
    Worlds::new(50, |_| [0.0; 2]).run(path.events, part, true);
}

/// A hundred cells of ten, and everybody moves.
pub(super) fn spread(path: &Path, part: Part) {
    Worlds::new(1000, spread_out).run(path.events, part, true);
}

/// The same, and nobody moves.
pub(super) fn idle(path: &Path) {
    Worlds::new(1000, spread_out).run(path.events, Part::Tick, false);
}

fn spread_out(index: u32) -> [f32; 2] {
    let cell = index / CELL_ENTITIES;
    [cell % ROW_CELLS, cell / ROW_CELLS].map(|axis| axis as f32 * CELL)
}

/// Two shards: a world on the first, and its members on the second.
struct Worlds {
    shards: [(Shard, ShardInputs, ShardOutputs); 2],
    now: Now,
    world: ObjectId,
    /// Where each member's cell begins.
    places: Vec<[f32; 2]>,
    spare: Vec<MeshBatch>,
    ticks: u32,
}

impl Worlds {
    fn new(count: u32, place: impl Fn(u32) -> [f32; 2]) -> Self {
        let routing = RoutingTable::even(2, warren_core::ids::Epoch(1));
        let shard = |id: u16| {
            let routing = routing.clone();
            let authentication = Authentication::Open;
            let settings =
                ShardSettings { shard: ShardId(id), routing, authentication, ..settings() };
            (Shard::new(settings), ShardInputs::default(), ShardOutputs::new(2))
        };
        let now = Now { monotonic_ns: TICK_NS, wall_ms: 1_700_000_000_000 };
        let places = (0..count).map(place).collect();
        let shards = [shard(0), shard(1)];
        let (world, spare) = (ObjectId(0), Vec::new());
        let mut worlds = Self { shards, now, world, places, spare, ticks: 0 };
        let is_here = |name: &String| routing.shard_of(PartitionId::of_name(name)) == ShardId(0);
        let name = (0..).map(|number| format!("world-{number}")).find(is_here);
        let name = name.expect("half of the names are here");
        for index in 0..count {
            let traits = ConnectionTraits::default();
            let opened = ShardInput::Opened { connection: connection(index), traits };
            worlds.shards[1].1.list.push(opened);
            let user = format!("user-{index:06}");
            worlds.request(index, "login", &[("user", Value::Text(&user))]);
            if index == 0 {
                let kind = ("kind", Value::Text("world"));
                worlds.request(0, "create", &[kind, ("room", Value::Text(&name))]);
            }
            let [x, y] = worlds.places[index as usize].map(|axis| Value::Float(axis.into()));
            let room = Value::Text(&name);
            worlds.request(index, "join", &[("room", room), ("x", x), ("y", y)]);
        }
        worlds
    }

    fn request(&mut self, index: u32, method: &str, fields: &[(&str, Value<'_>)]) {
        let inputs = &mut self.shards[1].1;
        let start = inputs.bytes.len();
        let mut builder = MessageBuilder::new(&mut inputs.bytes, method);
        for (name, value) in fields {
            builder.field(name, *value);
        }
        inputs.push_message(connection(index), start);
        // Until nobody has anything for anybody: two hops each way.
        for _ in 0..4 {
            (0..2).for_each(|shard| self.turn(shard, false));
        }
    }

    /// A turn of a shard, and what it has for the other goes there.
    fn turn(&mut self, at: usize, is_counted: bool) {
        let now = self.now;
        let (shard, inputs, outputs) = &mut self.shards[at];
        outputs.clear();
        let mut turn = || shard.turn(now, inputs, outputs);
        if is_counted {
            measured(&mut turn)
        } else {
            turn()
        }
        inputs.clear();
        for output in &outputs.list {
            if let ShardOutput::Send { message, .. } = output {
                let reply = outputs.message(*message);
                if let Some(world) = reply.get("world").and_then(Value::as_object) {
                    self.world = world;
                }
            }
        }
        // The empty batches come back, as by the mesh.
        self.spare.extend(inputs.mesh.drain(..).map(|(_, batch)| batch));
        let mut batch = self.spare.pop().unwrap_or_default();
        batch.clear();
        std::mem::swap(&mut batch, &mut outputs.mesh[1 - at]);
        self.shards[1 - at].1.mesh.push((ShardId(at as u16), batch));
    }

    /// Everybody goes a step, within the cell.
    fn move_all(&mut self) {
        for (index, place) in self.places.iter().enumerate() {
            let inputs = &mut self.shards[1].1;
            let start = inputs.bytes.len();
            let step = (self.ticks % 60) as f32;
            let position = [place[0] + (index % 50) as f32, place[1] + step, 0.0];
            let motion = Motion { position, ..Motion::default() };
            write_move(self.world.0, motion, 2, &mut inputs.bytes);
            inputs.push_move(connection(index as u32), start);
        }
    }

    fn run(&mut self, counted: u32, part: Part, moves: bool) {
        assert!(self.world.0 != 0, "the world has been joined");
        for tick in 0..WARM_UP_TICKS + counted {
            let is_counted = |now: Part| now == part && tick >= WARM_UP_TICKS;
            self.ticks += 1;
            // The world has woken at a tick's time.
            self.now.monotonic_ns += TICK_NS / 2;
            if moves {
                self.move_all();
            }
            self.turn(1, false);
            self.turn(0, false);
            let ticks = self.shards[0].0.counters().world_ticks;
            self.now.monotonic_ns += TICK_NS / 2;
            self.turn(0, is_counted(Part::Tick));
            assert_eq!(self.shards[0].0.counters().world_ticks, ticks + 1);
            self.turn(1, is_counted(Part::Frames));
            let told = self.shards[1].2.list.iter().map(|output| match output {
                ShardOutput::Frame { recipients, .. } => recipients.length as usize,
                _ => 0,
            });
            let told: usize = told.sum();
            let expected = if moves { self.places.len() } else { 0 };
            assert!(tick < WARM_UP_TICKS || told == expected, "{told} are told");
        }
    }
}
