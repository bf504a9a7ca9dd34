//! Libraries in C, C++ and Rust that the test compiles, called by a shard as by a server.

mod bad;
mod behaviours;
mod calls;
mod compiler;
mod cpp;
mod layout;
mod rust;

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use warren_core::acknowledgement::AckDefaults;
use warren_core::authentication::Authentication;
use warren_core::authorize::Policy;
use warren_core::control::Command;
use warren_core::hashing::HashSeed;
use warren_core::ids::{ConnectionId, Epoch, ShardId};
use warren_core::limits::Limits;
use warren_core::message::{Message, MessageBuilder, Value};
use warren_core::routing::RoutingTable;
use warren_core::shard::{Shard, ShardSettings};
use warren_core::tasks::methods::TaskMethods;
use warren_core::token::TokenSeed;
use warren_core::turn::{
    ConnectionTraits, Now, ShardInput, ShardInputs, ShardOutput, ShardOutputs,
};

use crate::{Budget, Catalog, Clock, Library, LoadError};
use compiler::Compiled;

const CLIENT: ConnectionId = ConnectionId { index: 1, generation: 1 };
const BUDGET: Budget = Budget { call_ns_max: 1_000_000, strikes_max: 3 };

/// The library of `src/tests/NAME.c` with these definitions.
fn compiled(name: &str, definitions: &[&str]) -> Compiled {
    Compiled::new(env!("CARGO_MANIFEST_DIR"), name, definitions)
}

fn loaded(name: &str, definitions: &[&str]) -> Result<Library, LoadError> {
    Library::load(compiled(name, definitions).path())
}

/// A catalog whose clock takes so long between two looks.
fn empty_catalog(look_ns: Arc<AtomicU64>) -> Catalog {
    let time_ns = AtomicU64::new(0);
    let read = move || time_ns.fetch_add(look_ns.load(Relaxed), Relaxed);
    Catalog::new(1, BUDGET, Clock::new(read))
}

fn catalog_of(libraries: &[(&str, &[&str])]) -> Catalog {
    let empty = empty_catalog(Arc::new(AtomicU64::new(1)));
    libraries.iter().fold(empty, |catalog, (name, definitions)| {
        catalog.with(loaded(name, definitions).unwrap()).unwrap()
    })
}

/// A shard with one client, ann, who has a wolf: `171.1` with `hp=9` and `name=grim`.
struct World {
    shard: Shard,
    outputs: ShardOutputs,
    time_ns: Cell<u64>,
}

impl World {
    fn new(catalog: &Catalog) -> Self {
        let mut task_methods = TaskMethods::default();
        task_methods.add("howl").unwrap();
        let shard = Shard::new(ShardSettings {
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
            task_methods,
        });
        let outputs = ShardOutputs::new(1);
        let mut world = Self { shard, outputs, time_ns: Cell::new(0) };
        world.take(catalog);
        let traits = ConnectionTraits::default();
        let opened = ShardInput::Opened { connection: CLIENT, traits };
        world.turn(&ShardInputs { list: vec![opened], ..ShardInputs::default() });
        world.ask("login user=ann");
        world.ask("join room=arena");
        assert!(world.ask("create kind=wolf partition=171 hp=9 name=grim").contains("171.1"));
        world
    }

    /// From here on it does what the catalog says.
    fn take(&mut self, catalog: &Catalog) {
        let command = Command::SetInline(catalog.table());
        self.turn(&ShardInputs { commands: vec![command], ..ShardInputs::default() });
    }

    fn turn(&mut self, inputs: &ShardInputs) {
        self.time_ns.set(self.time_ns.get() + 1_000_000);
        self.outputs.clear();
        let now = Now { monotonic_ns: self.time_ns.get(), wall_ms: 1_700_000_000_000 };
        self.shard.turn(now, inputs, &mut self.outputs);
    }

    /// Has `plan` make two events about the wolf and one elsewhere, and looks for them; then with a delay of more than
    /// a year.
    #[track_caller]
    fn check_plan(&mut self) {
        assert_eq!(self.ask("plan target=171.1 delay_ms=500"), "plan status=0");
        let pending = "pending status=0 tasks=171.2|171.3 events=howl|howl \
            times_ms=1700000000500|1700000001000";
        assert_eq!(self.ask("pending partition=171"), pending);
        // A turn later.
        self.turn(&ShardInputs::default());
        let pending = "pending status=0 tasks=172.1 events=howl times_ms=1700000000000";
        assert_eq!(self.ask("pending partition=172"), pending);
        let too_late = self.ask("plan target=171.1 delay_ms=99999999999");
        assert_eq!(too_late, "plan status=400 error=field-invalid");
    }

    /// What is said to the client in the turn of its request, a line each.
    fn ask(&mut self, request: &str) -> String {
        let mut words = request.split(' ');
        let mut inputs = ShardInputs::default();
        let mut builder = MessageBuilder::new(&mut inputs.bytes, words.next().unwrap());
        for word in words {
            let (name, value) = word.split_once('=').unwrap();
            builder.field(name, Value::Text(value));
        }
        inputs.push_message(CLIENT, 0);
        self.turn(&inputs);
        let lines = self.outputs.list.iter().filter_map(|output| match *output {
            ShardOutput::Send { message, .. } | ShardOutput::SendMany { message, .. } => {
                Some(line(self.outputs.message(message)))
            }
            _ => None,
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

fn line(message: Message<'_>) -> String {
    let fields = message.fields().map(|(name, value)| format!(" {name}={value}"));
    message.method().to_owned() + &fields.collect::<String>()
}
