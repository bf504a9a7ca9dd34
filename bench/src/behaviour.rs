//! The command `behaviour`: what it costs that NPCs are moved by a native plugin, beside the server's own
//! behaviour of which it is a copy. Two shards in this process, without sockets, each with a world of as many NPCs,
//! which differ in the behaviour alone. Rounds of both take turns, since a machine is faster at one time than at
//! another.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, ensure};
use clap::{Args, value_parser};
use serde::Serialize;
use warren_core::control::Command;
use warren_core::ids::ConnectionId;
use warren_core::message::{MessageBuilder, Value};
use warren_core::shard::Shard;
use warren_core::turn::{
    ConnectionTraits, Now, ShardInput, ShardInputs, ShardOutput, ShardOutputs,
};
use warren_core::world::frame::Frame;

use crate::clock;
use crate::plugin::{CompiledLibrary, catalog_of, median, settings};
use crate::verdict::Verdict;

/// The library, and its name for what the server calls `wander`.
pub(crate) const LIBRARY: (&str, &str) = ("wander", include_str!("behaviour/wander.c"));
/// See there.
pub const NATIVE_WANDER: &str = "native.wander";
/// The server's own.
const BUILT_IN: &str = "wander";
/// What NPCs of a plugin may cost of what those of the server do.
const RATIO_MAX: f64 = 1.1;
/// NPCs that are moved between two looks at the clock, as the server does.
const NPCS_AT_ONCE: usize = 64;
const TICK_NS: u64 = 100_000_000;
/// Ticks after which both worlds have to look the same, but for what is rounded otherwise.
const LIKENESS_TICKS: u32 = 50;
/// How far the NPCs of one may be from those of the other, in units; and how many of a hundred.
const LIKENESS_UNITS: f64 = 0.05;
const LIKENESS_PERCENT: usize = 95;
const CLIENT: ConnectionId = ConnectionId { index: 1, generation: 1 };

/// What is measured of a behaviour.
#[derive(Clone, Debug, Args)]
pub struct BehaviourArguments {
    /// Rounds of each of the two
    #[arg(long, default_value_t = 21, value_parser = value_parser!(u32).range(1..=10_000))]
    pub rounds: u32,
    /// Ticks of a round
    #[arg(long, default_value_t = 100, value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub ticks: u32,
    /// NPCs of the world
    #[arg(long, default_value_t = 2_000, value_parser = value_parser!(u32).range(1..=10_000))]
    pub npcs: u32,
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// What was measured: medians over the rounds, per NPC and tick.
#[derive(Debug, Serialize)]
struct BehaviourReport {
    rounds: usize,
    ticks_per_round: u32,
    npcs: u32,
    /// Moving it.
    built_in_think_ns: f64,
    plugin_think_ns: f64,
    /// The median of the ratios of two neighbouring rounds.
    think_ratio: f64,
    /// Moving it, and the world's tick.
    built_in_ns: f64,
    plugin_ns: f64,
    ratio: f64,
    ratio_max: f64,
}

/// Nanoseconds that an NPC takes in a tick: to be moved, and with the tick itself.
#[derive(Clone, Copy, Debug)]
struct Cost {
    think_ns: f64,
    all_ns: f64,
}

/// Measures, and prints what came out.
///
/// # Errors
/// There is no C compiler, or the library does not work.
pub fn run(arguments: &BehaviourArguments) -> Result<Verdict> {
    let library = CompiledLibrary::new(LIBRARY)?;
    let npcs = arguments.npcs;
    let [mut built_in, mut plugin] = [
        Wild::new(library.path(), BUILT_IN, npcs)?,
        Wild::new(library.path(), NATIVE_WANDER, npcs)?,
    ];
    check_likeness(&mut built_in, &mut plugin)?;
    let mut costs: [Vec<Cost>; 2] = [Vec::new(), Vec::new()];
    for round in 0..=arguments.rounds {
        // Which of the two is first changes.
        let is_swapped = round % 2 == 1;
        let [first, second] =
            if is_swapped { [&mut plugin, &mut built_in] } else { [&mut built_in, &mut plugin] };
        let (one, other) = (first.round(arguments.ticks), second.round(arguments.ticks));
        let (own, native) = if is_swapped { (other, one) } else { (one, other) };
        // The first is no round: caches are cold.
        if round > 0 {
            costs[0].push(own);
            costs[1].push(native);
        }
    }
    built_in.check()?;
    plugin.check()?;
    let report = report(arguments, &costs);
    if arguments.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print(&report);
    }
    Ok(if report.ratio <= RATIO_MAX { Verdict::Pass } else { Verdict::Fail })
}

fn report(arguments: &BehaviourArguments, [own, native]: &[Vec<Cost>; 2]) -> BehaviourReport {
    let of = |costs: &[Cost], read: fn(&Cost) -> f64| {
        median(&mut costs.iter().map(read).collect::<Vec<f64>>())
    };
    let ratio_of = |read: fn(&Cost) -> f64| {
        let ratios = own.iter().zip(native).map(|(own, native)| read(native) / read(own));
        median(&mut ratios.collect::<Vec<f64>>())
    };
    let think: fn(&Cost) -> f64 = |cost| cost.think_ns;
    let all: fn(&Cost) -> f64 = |cost| cost.all_ns;
    BehaviourReport {
        rounds: own.len(),
        ticks_per_round: arguments.ticks,
        npcs: arguments.npcs,
        built_in_think_ns: of(own, think),
        plugin_think_ns: of(native, think),
        think_ratio: ratio_of(think),
        built_in_ns: of(own, all),
        plugin_ns: of(native, all),
        ratio: ratio_of(all),
        ratio_max: RATIO_MAX,
    }
}

fn print(report: &BehaviourReport) {
    let BehaviourReport { rounds, ticks_per_round, npcs, .. } = *report;
    println!("{rounds} rounds of {ticks_per_round} ticks of a world with {npcs} NPCs");
    println!("nanoseconds per NPC and tick    to be moved   with the tick");
    let row = |name, think_ns: f64, all_ns: f64| println!("{name:32}{think_ns:11.1}{all_ns:16.1}");
    row("built in, `wander`", report.built_in_think_ns, report.built_in_ns);
    row("by a plugin, `native.wander`", report.plugin_think_ns, report.plugin_ns);
    println!("{:32}{:11.3}{:16.3}", "ratio", report.think_ratio, report.ratio);
}

/// Both have moved all their NPCs alike: of random numbers from the same seed.
fn check_likeness(built_in: &mut Wild, plugin: &mut Wild) -> Result<()> {
    for wild in [&mut *built_in, &mut *plugin] {
        for _ in 0..LIKENESS_TICKS {
            wild.tick();
        }
        wild.check()?;
    }
    let both = built_in.seen.iter().filter_map(|(npc, place)| Some((place, plugin.seen.get(npc)?)));
    let is_near = |(one, other): &(&[f64; 2], &[f64; 2])| {
        (0..2).all(|axis| (one[axis] - other[axis]).abs() <= LIKENESS_UNITS)
    };
    let (count, near) = (both.clone().count(), both.filter(is_near).count());
    ensure!(
        count > 0 && near * 100 >= count * LIKENESS_PERCENT,
        "both behaviours move NPCs alike: {near} of {count} that are seen are at the same places"
    );
    Ok(())
}

/// A shard with a world of NPCs, and a member in its middle.
struct Wild {
    shard: Shard,
    outputs: ShardOutputs,
    time_ns: u64,
    /// Where NPCs were that the member was told of.
    seen: BTreeMap<u16, [f64; 2]>,
}

impl Wild {
    fn new(library: &Path, behaviour: &str, npcs: u32) -> Result<Self> {
        let (shard, outputs) = (Shard::new(settings()), ShardOutputs::new(1));
        let mut wild = Self { shard, outputs, time_ns: 0, seen: BTreeMap::new() };
        let mut inputs = ShardInputs::default();
        inputs.commands.push(Command::SetInline(catalog_of(library)?.table()));
        let traits = ConnectionTraits::default();
        inputs.list.push(ShardInput::Opened { connection: CLIENT, traits });
        let field = format!("{behaviour}:{npcs}:2.5:0:0:400");
        for (method, fields) in [
            ("login", &[("user", "ann")][..]),
            ("create", &[("kind", "world"), ("room", "w"), ("npcs", &field)]),
            ("join", &[("room", "w")]),
        ] {
            let start = inputs.bytes.len();
            let mut message = MessageBuilder::new(&mut inputs.bytes, method);
            for (name, value) in fields {
                message.field(name, Value::Text(value));
            }
            inputs.push_message(CLIENT, start);
        }
        wild.turn(&inputs);
        wild.think();
        Ok(wild)
    }

    fn turn(&mut self, inputs: &ShardInputs) {
        self.time_ns += TICK_NS;
        self.outputs.clear();
        let now = Now { monotonic_ns: self.time_ns, wall_ms: 1_700_000_000_000 };
        self.shard.turn(now, inputs, &mut self.outputs);
    }

    fn think(&mut self) {
        while self.shard.has_npcs_due() {
            self.shard.think(NPCS_AT_ONCE);
        }
    }

    /// The next tick, of which the member's frame is read.
    fn tick(&mut self) {
        self.turn(&ShardInputs::default());
        for output in &self.outputs.list {
            let ShardOutput::Frame { frame, .. } = *output else { continue };
            for section in Frame::from_checked(self.outputs.frame(frame).1).sections() {
                let updates = section.updates().filter(|update| update.entity > 0);
                let place = |[x, y, _]: [f64; 3]| [x, y];
                self.seen.extend(updates.map(|update| (update.entity, place(update.position))));
                for left in section.leaves() {
                    self.seen.remove(&left.entity);
                }
            }
        }
        self.think();
    }

    /// So many ticks, of which no frame is read.
    fn round(&mut self, ticks: u32) -> Cost {
        let updates_before = self.shard.counters().npc_updates;
        let inputs = ShardInputs::default();
        let (mut tick_ns, mut think_ns) = (0, 0);
        for _ in 0..ticks {
            let began_ns = clock::monotonic_ns();
            self.turn(&inputs);
            let ticked_ns = clock::monotonic_ns();
            self.think();
            think_ns += clock::monotonic_ns() - ticked_ns;
            tick_ns += ticked_ns - began_ns;
        }
        let updates = (self.shard.counters().npc_updates - updates_before) as f64;
        let think_ns = think_ns as f64 / updates;
        Cost { think_ns, all_ns: think_ns + tick_ns as f64 / updates }
    }

    /// All were moved, in time and to where somebody can be.
    fn check(&self) -> Result<()> {
        let counters = self.shard.counters();
        let faults = [
            counters.npc_moves_invalid,
            counters.npc_updates_unmoved,
            counters.npc_carried_over,
            counters.world_ticks_skipped,
        ];
        ensure!(counters.npcs > 0 && faults == [0; 4], "all NPCs are moved in time: {faults:?}");
        Ok(())
    }
}
