//! The command `plugin`: what a call of a native plugin costs beside a method of the server that does the same.
//! One shard in this process, without sockets: requests go into turns, and answers come out of them. Rounds of
//! both take turns, since a machine is faster at one time than at another.

use std::path::{Path, PathBuf};
use std::process::Command as Process;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, value_parser};
use serde::Serialize;
use warren_core::acknowledgement::AckDefaults;
use warren_core::authentication::Authentication;
use warren_core::authorize::Policy;
use warren_core::control::Command;
use warren_core::hashing::HashSeed;
use warren_core::ids::{ConnectionId, Epoch, ObjectId, ShardId};
use warren_core::limits::Limits;
use warren_core::message::{MessageBuilder, Value};
use warren_core::routing::RoutingTable;
use warren_core::shard::{Shard, ShardSettings};
use warren_core::tasks::methods::TaskMethods;
use warren_core::token::TokenSeed;
use warren_core::turn::{
    ConnectionTraits, Now, ShardInput, ShardInputs, ShardOutput, ShardOutputs,
};
use warren_plugins::{Budget, Catalog, Clock, Library};

use crate::clock;
use crate::verdict::Verdict;

/// Requests of one turn.
const REQUESTS_PER_TURN: usize = 64;
/// What a call may cost more than the built-in method.
const OVERHEAD_NS_MAX: f64 = 200.0;
const CLIENT: ConnectionId = ConnectionId { index: 1, generation: 1 };

/// The two methods, which answer the same.
const BUILT_IN: &str = "get";
const PLUGIN: &str = "look";

/// What is measured of a plugin.
#[derive(Clone, Debug, Args)]
pub struct PluginArguments {
    /// Rounds of each of the two methods
    #[arg(long, default_value_t = 21, value_parser = value_parser!(u32).range(1..=10_000))]
    pub rounds: u32,
    /// Requests of a round
    #[arg(long, default_value_t = 200_000, value_parser = value_parser!(u32).range(64..=100_000_000))]
    pub requests: u32,
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct PluginReport {
    rounds: usize,
    requests_per_round: usize,
    /// Medians over the rounds, per request: from its bytes to those of its answer.
    built_in_ns: f64,
    plugin_ns: f64,
    /// The median of the differences of two neighbouring rounds.
    overhead_ns: f64,
    overhead_ns_max: f64,
}

/// Measures, and prints what came out.
///
/// # Errors
/// There is no C compiler, or the library does not work.
pub fn run(arguments: &PluginArguments) -> Result<Verdict> {
    let library = CompiledLibrary::new(("look", include_str!("plugin/look.c")))?;
    let mut bench = Bench::new(library.path())?;
    let turns = arguments.requests as usize / REQUESTS_PER_TURN;
    let [get, look] = [BUILT_IN, PLUGIN].map(|method| bench.requests(method));
    ensure!(bench.answer(&get) == bench.answer(&look), "both methods answer the same");
    for requests in [&get, &look] {
        bench.round(requests, turns);
    }
    let (mut built_in, mut plugin, mut overhead) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..arguments.rounds {
        // Which of the two is first changes.
        let is_swapped = round % 2 == 1;
        let first = bench.round(if is_swapped { &look } else { &get }, turns);
        let second = bench.round(if is_swapped { &get } else { &look }, turns);
        let (get_ns, look_ns) = if is_swapped { (second, first) } else { (first, second) };
        built_in.push(get_ns);
        plugin.push(look_ns);
        overhead.push(look_ns - get_ns);
    }
    let report = PluginReport {
        rounds: arguments.rounds as usize,
        requests_per_round: turns * REQUESTS_PER_TURN,
        built_in_ns: median(&mut built_in),
        plugin_ns: median(&mut plugin),
        overhead_ns: median(&mut overhead),
        overhead_ns_max: OVERHEAD_NS_MAX,
    };
    if arguments.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{} rounds of {} requests", report.rounds, report.requests_per_round);
        println!("built in, `get`:      {:7.1} ns a request", report.built_in_ns);
        println!("by a plugin, `look`:  {:7.1} ns a request", report.plugin_ns);
        println!("a call costs:         {:7.1} ns more", report.overhead_ns);
    }
    let holds = report.overhead_ns <= OVERHEAD_NS_MAX;
    Ok(if holds { Verdict::Pass } else { Verdict::Fail })
}

pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

/// A library in C, in a folder that goes with it.
#[derive(Debug)]
pub struct CompiledLibrary(PathBuf);

impl CompiledLibrary {
    /// Of a name and a text.
    pub(crate) fn new((name, text): (&str, &str)) -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let (process, number) = (std::process::id(), NEXT.fetch_add(1, Relaxed));
        let folder = std::env::temp_dir().join(format!("warren-plugin-{process}-{number}"));
        std::fs::create_dir(&folder).context("a folder for the library")?;
        let (source, library) = (folder.join("plugin.c"), Self(folder.join(format!("{name}.so"))));
        let header = include_str!("../../plugins/include/warren_plugin.h");
        std::fs::write(folder.join("warren_plugin.h"), header)?;
        std::fs::write(&source, text)?;
        let mut compiler = Process::new("cc");
        compiler.args(["-O2", "-fPIC", "-shared", "-o"]).arg(&library.0).arg(&source).arg("-lm");
        let output = compiler.output().context("there has to be a C compiler, `cc`")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(library)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for CompiledLibrary {
    fn drop(&mut self) {
        let _ = self.0.parent().map(std::fs::remove_dir_all);
    }
}

/// A shard with a user and an object.
struct Bench {
    shard: Shard,
    outputs: ShardOutputs,
    object: ObjectId,
    turns: u64,
}

impl Bench {
    fn new(library: &Path) -> Result<Self> {
        let catalog = catalog_of(library)?;
        let shard = Shard::new(settings());
        let object = "171.1".parse().map_err(|_| anyhow::anyhow!("an object's id"))?;
        let outputs = ShardOutputs::new(1);
        let mut bench = Self { shard, outputs, object, turns: 0 };
        let mut inputs = ShardInputs::default();
        inputs.commands.push(Command::SetInline(catalog.table()));
        let traits = ConnectionTraits::default();
        inputs.list.push(ShardInput::Opened { connection: CLIENT, traits });
        let start = inputs.bytes.len();
        MessageBuilder::new(&mut inputs.bytes, "login").field("user", Value::Text("ann"));
        inputs.push_message(CLIENT, start);
        let start = inputs.bytes.len();
        let mut create = MessageBuilder::new(&mut inputs.bytes, "create");
        create.field("kind", Value::Text("wolf"));
        create.field("partition", Value::Integer(171));
        create.field("name", Value::Text("grim"));
        create.field("hp", Value::Integer(30));
        create.field("speed", Value::Float(2.5));
        inputs.push_message(CLIENT, start);
        bench.turn(&inputs);
        Ok(bench)
    }

    fn turn(&mut self, inputs: &ShardInputs) {
        self.turns += 1;
        self.outputs.clear();
        let now = Now { monotonic_ns: self.turns * 1_000_000, wall_ms: 1_700_000_000_000 };
        self.shard.turn(now, inputs, &mut self.outputs);
    }

    /// Requests of this method, as many as one turn has.
    fn requests(&self, method: &str) -> ShardInputs {
        let mut inputs = ShardInputs::default();
        for _ in 0..REQUESTS_PER_TURN {
            let start = inputs.bytes.len();
            let mut message = MessageBuilder::new(&mut inputs.bytes, method);
            message.field("object", Value::Object(self.object));
            inputs.push_message(CLIENT, start);
        }
        inputs
    }

    /// The fields of the first answer, and how many there are.
    fn answer(&mut self, requests: &ShardInputs) -> (usize, String) {
        self.turn(requests);
        let sent = self.outputs.list.iter().filter_map(|output| match *output {
            ShardOutput::Send { message, .. } => Some(self.outputs.message(message)),
            _ => None,
        });
        let fields =
            sent.clone().next().map(|first| format!("{:?}", first.fields().collect::<Vec<_>>()));
        (sent.count(), fields.unwrap_or_default())
    }

    /// Nanoseconds that a request takes.
    fn round(&mut self, requests: &ShardInputs, turns: usize) -> f64 {
        let began_ns = clock::monotonic_ns();
        for _ in 0..turns {
            self.turn(requests);
        }
        let took_ns = clock::monotonic_ns() - began_ns;
        took_ns as f64 / (turns * REQUESTS_PER_TURN) as f64
    }
}

/// Of this library alone, with the server's clock and no bound.
pub(crate) fn catalog_of(library: &Path) -> Result<Catalog> {
    let budget = Budget { call_ns_max: u64::MAX, strikes_max: u64::MAX };
    #[expect(clippy::disallowed_methods, reason = "as the server's clock does")]
    let start = std::time::Instant::now();
    let clock = Clock::new(move || start.elapsed().as_nanos() as u64);
    Ok(Catalog::new(1, budget, clock).with(Library::load(library)?)?)
}

pub(crate) fn settings() -> ShardSettings {
    ShardSettings {
        shard: ShardId(0),
        routing: RoutingTable::even(1, Epoch(1)),
        limits: Limits::PRODUCTION,
        seed: HashSeed(1, 2),
        token_seed: TokenSeed([7; 32]),
        join_creates_rooms: true,
        authentication: Authentication::Open,
        policy: Policy::default(),
        frame_bytes_max: 65_536,
        heartbeat_ms: 10_000,
        messages_per_s: 200,
        bytes_per_s: 262_144,
        login_ms: 10_000,
        snapshot_interval_ns: None,
        has_log: false,
        ack_defaults: AckDefaults::default(),
        task_methods: TaskMethods::default(),
    }
}
