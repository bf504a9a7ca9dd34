//! NPCs that workers move: who is asked for which, what comes of answers, and what when there are none.

use alloc::string::ToString;

use super::tasks::task_settings;
use super::*;
use crate::control::{Answer, Command};
use crate::inline::InlineTable;
use crate::message::packed;
use crate::world::behaviours::vector::Vector;
use crate::world::behaviours::{Batch, Behaviour, Behaviours, Surroundings};

mod bounds;

/// What a worker was asked.
#[derive(Clone, Debug, PartialEq)]
struct Think {
    connection: u32,
    world: String,
    band: i64,
    token: i64,
    tick: i64,
    count: usize,
    batch: Vec<u8>,
    members: Vec<u8>,
}

impl Think {
    fn floats(bytes: &[u8]) -> Vec<f32> {
        bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }

    /// Where the array begins that stands behind so many arrays of floats, of which each NPC has so many.
    fn behind(&self, floats: usize) -> &[u8] {
        let numbers = (2 * self.count).next_multiple_of(8);
        &self.batch[numbers + 4 * floats * self.count..]
    }

    fn numbers(&self) -> Vec<u16> {
        let numbers = self.batch[..2 * self.count].as_chunks().0;
        numbers.iter().map(|bytes| u16::from_le_bytes(*bytes)).collect()
    }

    fn seconds(&self) -> Vec<f32> {
        Self::floats(&self.behind(0)[..4 * self.count])
    }

    fn positions(&self) -> Vec<Vector> {
        let floats = Self::floats(&self.behind(2)[..12 * self.count]);
        floats.as_chunks().0.to_vec()
    }

    fn velocities(&self) -> Vec<Vector> {
        let floats = Self::floats(&self.behind(5)[..12 * self.count]);
        floats.as_chunks().0.to_vec()
    }

    fn states(&self) -> Vec<u64> {
        self.behind(8).as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect()
    }

    /// An answer by which all of them are there, and go like this.
    fn answer(&self, position: Vector, velocity: Vector) -> Vec<u8> {
        let all = |value: &[f32]| value.repeat(self.count);
        let floats = [all(&[90.0]), all(&position), all(&velocity)].concat();
        let mut bytes: Vec<u8> = floats.iter().flat_map(|float| float.to_le_bytes()).collect();
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes.extend(self.states().iter().flat_map(|state| (state + 1).to_le_bytes()));
        bytes
    }

    fn thought(&self, batch: &[u8]) -> String {
        let hexadecimal: String = batch.iter().map(|byte| format!("{byte:02x}")).collect();
        let Self { connection, world, token, .. } = self;
        format!("{connection} thought world={world} token={token} batch={hexadecimal}")
    }
}

/// A shard where ann has made the world `w`, and dwarf (3) and gnome (4) may work.
struct Herd {
    world: World,
    /// The object of `w`.
    object: String,
}

impl Herd {
    /// The dwarf has the behaviour of a wolf.
    fn new(npcs: &str) -> Self {
        let mut this = Self::unmoved(Limits::PRODUCTION);
        assert_eq!(this.run("3 work behaviours=wolf"), "3: work status=0\n");
        this.make(npcs);
        this
    }

    fn unmoved(limits: Limits) -> Self {
        let mut settings = task_settings(limits);
        settings.policy.set_rule("thought", ["user"]).unwrap();
        Self::of(settings)
    }

    fn of(settings: ShardSettings) -> Self {
        let mut world = World::with_settings(settings);
        for (connection, user) in [(1, "ann"), (2, "bob"), (3, "dwarf"), (4, "gnome")] {
            world.run(&format!("{connection} open ; {connection} login user={user}"));
        }
        Self { world, object: String::new() }
    }

    fn make(&mut self, npcs: &str) {
        let reply = self.run(&format!("1 create kind=world room=w npcs={npcs}"));
        let (_, object) = reply.split_once("object=").expect("it was made");
        self.object = object.split(' ').next().unwrap().to_string();
    }

    /// A turn, after which NPCs are moved here as far as that is done here.
    fn run(&mut self, line: &str) -> String {
        let heard = self.world.run(line);
        while self.world.shard.has_npcs_due() {
            self.world.shard.think(64);
        }
        heard
    }

    /// What workers were asked in the last turn.
    fn asked(&self) -> Vec<Think> {
        let outputs = &self.world.outputs;
        let mut asked = Vec::new();
        for output in &outputs.list {
            let ShardOutput::Send { connection, message } = *output else { continue };
            let message = outputs.message(message);
            if message.method() != "think" {
                continue;
            }
            let number = |name: &str| message.get(name).unwrap().as_integer().unwrap();
            let bytes = |name: &str| match message.get(name).unwrap() {
                Value::Bytes(bytes) => bytes.to_vec(),
                other => panic!("{other:?}"),
            };
            assert_eq!(message.get("behaviour"), Some(Value::Text("wolf")));
            asked.push(Think {
                connection: connection.index,
                world: message.get("world").unwrap().to_string(),
                band: number("band"),
                token: number("token"),
                tick: number("tick"),
                count: number("count") as usize,
                batch: bytes("batch"),
                members: bytes("members"),
            });
        }
        asked
    }

    /// A turn in which one thing is asked.
    #[track_caller]
    fn think(&mut self, line: &str) -> Think {
        let heard = self.run(line);
        let asked = self.asked();
        assert_eq!(asked.len(), 1, "{line}: {heard}");
        asked[0].clone()
    }

    /// A turn in which nothing is asked.
    #[track_caller]
    fn quiet(&mut self, line: &str) -> String {
        let heard = self.run(line);
        assert_eq!(self.asked(), [], "{line}");
        heard
    }

    /// Where an NPC is.
    fn position(&self, number: u16) -> Vector {
        let id = self.object.parse().unwrap();
        self.world.shard.worlds.get(id).expect("it is awake").position(number)
    }

    fn counters(&self) -> &ShardCounters {
        self.world.shard.counters()
    }

    /// Questions that were asked, and those that were given up.
    fn thinks(&self) -> (u64, u64) {
        (self.counters().npc_thinks_asked, self.counters().npc_thinks_lost)
    }
}

#[test]
fn a_worker_is_asked_at_each_tick_and_npcs_are_where_it_says() {
    let mut herd = Herd::new("seek:1:1:0:0:9|wolf:3:4:50:60:20");
    let think = herd.think("1 join room=w x=50 y=50");
    let world = herd.object.clone();
    assert_eq!((think.connection, &think.world, think.band), (3, &world, 1));
    assert_eq!((think.tick, think.count, think.numbers()), (1, 3, vec![2, 3, 4]));
    assert_eq!(think.batch.len(), 8 + 3 * 40);
    assert_eq!(think.seconds(), [0.1; 3]);
    assert_eq!(think.velocities(), [[0.0; 3]; 3]);
    let known: Vec<Vector> = (2..5).map(|number| herd.position(number)).collect();
    assert_eq!(think.positions(), known);
    assert_eq!(Think::floats(&think.members), [50.0, 50.0, 0.0]);
    let answer = think.thought(&think.answer([51.0, 62.0, 0.0], [4.0, 0.0, 0.0]));
    assert_eq!(herd.quiet(&answer), "3: thought status=0\n");
    assert_eq!([2, 3, 4].map(|number| herd.position(number)), [[51.0, 62.0, 0.0]; 3]);
    let next = herd.think("+100");
    // Members are told in the frame, and the next is asked from there on.
    let heard = herd.world.heard();
    assert_eq!(heard.matches("@51,62").count(), 3, "{heard}");
    assert_eq!((next.tick, next.seconds(), next.token > think.token), (2, vec![0.1; 3], true));
    assert_eq!(next.positions(), [[51.0, 62.0, 0.0]; 3]);
    assert_eq!(next.velocities(), [[4.0, 0.0, 0.0]; 3]);
    let states: Vec<u64> = think.states().iter().map(|state| state + 1).collect();
    assert_eq!(next.states(), states);
    assert_eq!((herd.thinks(), herd.counters().npc_updates), ((2, 0), 2 + 3));
}

#[test]
fn an_answer_may_be_bytes_too() {
    let mut herd = Herd::new("wolf:1:4:50:60:20");
    let think = herd.think("1 join room=w");
    let batch = think.answer([51.0, 62.0, 0.0], [4.0, 0.0, 0.0]);
    let world = Value::Object(think.world.parse().unwrap());
    let token = Value::Integer(think.token);
    let fields = [("world", world), ("token", token), ("batch", Value::Bytes(&batch))];
    let thought = packed("thought", &fields);
    let mut inputs = ShardInputs { bytes: thought, ..ShardInputs::default() };
    inputs.push_message(ConnectionId { index: 3, generation: 1 }, 0);
    assert_eq!(herd.world.turn(&inputs), "3: thought status=0\n");
    assert_eq!(herd.position(1), [51.0, 62.0, 0.0]);
}

#[test]
fn nobody_is_asked_again_before_the_answer() {
    let mut herd = Herd::new("wolf:2:4:50:60:20");
    let think = herd.think("1 join room=w");
    let before = herd.position(1);
    for _ in 0..5 {
        herd.quiet("+100");
    }
    assert_eq!((herd.position(1), herd.counters().npc_carried_over), (before, 10));
    // It holds from when it comes, and the next is asked at once: a tick has passed.
    let next = herd.think(&think.thought(&think.answer([51.0, 62.0, 0.0], [0.0; 3])));
    assert_eq!((herd.position(1), next.tick), ([51.0, 62.0, 0.0], 6));
    assert_eq!(next.seconds(), [0.5; 2], "since the tick for which it was asked before");
}

#[test]
fn what_is_no_answer_is_refused_and_changes_nothing() {
    let mut herd = Herd::new("wolf:2:4:50:60:20");
    let think = herd.think("1 join room=w");
    let before = herd.position(1);
    let batch = think.answer([51.0, 62.0, 0.0], [0.0; 3]);
    let right = think.thought(&batch);
    let world = &think.world;
    let refused = |herd: &mut Herd, line: &str, refusal: &str| {
        let connection = line.split(' ').next().unwrap();
        let reply = format!("{connection}: thought status={refusal}\n");
        assert_eq!(herd.quiet(line), reply, "{line}");
    };
    let (missing, invalid) = ("400 error=field-missing", "400 error=field-invalid");
    let lost = "409 error=lease-lost";
    refused(&mut herd, "3 thought", missing);
    refused(&mut herd, "3 thought world=wolf", invalid);
    refused(&mut herd, &format!("3 thought world={world}"), missing);
    refused(&mut herd, &format!("3 thought world={world} token=x batch=00"), invalid);
    refused(&mut herd, &format!("3 thought world={world} token={}", think.token), missing);
    refused(&mut herd, &format!("3 thought world={world} token=77 batch=00"), lost);
    refused(&mut herd, &format!("3 thought world=171.1 token={} batch=00", think.token), lost);
    // Of another session.
    refused(&mut herd, &right.replace("3 thought", "4 thought"), lost);
    refused(&mut herd, &right[..right.len() - 1], invalid);
    refused(&mut herd, &right[..right.len() - 2], invalid);
    refused(&mut herd, &format!("{right}00"), invalid);
    refused(&mut herd, &format!("{}x", &right[..right.len() - 1]), invalid);
    assert_eq!(herd.position(1), before);
    // It may mend what it said; and says it once.
    assert_eq!(herd.quiet(&right), "3: thought status=0\n");
    refused(&mut herd, &right, lost);
    assert_eq!((herd.position(1), herd.thinks()), ([51.0, 62.0, 0.0], (1, 0)));
}

#[test]
fn who_is_moved_by_an_answer_to_where_nobody_can_be_stays() {
    let mut herd = Herd::new("wolf:3:4:50:60:20");
    let think = herd.think("1 join room=w");
    let before = [1, 2, 3].map(|number| herd.position(number));
    let mut batch = think.answer([51.0, 62.0, 0.0], [1.0, 0.0, 0.0]);
    let mut put = |float: usize, value: f32| {
        batch[4 * float..4 * float + 4].copy_from_slice(&value.to_le_bytes());
    };
    // The first's heading, and the second's y.
    put(0, f32::NAN);
    put(3 + 3 + 1, 1e30);
    assert_eq!(herd.quiet(&think.thought(&batch)), "3: thought status=0 invalid=2\n");
    let after = [1, 2, 3].map(|number| herd.position(number));
    assert_eq!(after, [before[0], before[1], [51.0, 62.0, 0.0]]);
    assert_eq!((herd.counters().npc_updates, herd.counters().npc_moves_invalid), (3, 2));
    let next = herd.think("+100");
    assert_eq!((next.positions(), next.velocities()[0]), (after.to_vec(), [0.0; 3]));
}

#[test]
fn when_a_worker_goes_the_next_is_asked() {
    let mut herd = Herd::new("wolf:2:4:50:60:20");
    herd.run("4 work behaviours=wolf");
    let first = herd.think("1 join room=w");
    assert_eq!(first.connection, 3);
    assert_eq!(herd.quiet("3 quit"), "3: quit status=0\n3: CLOSE quit\n");
    let second = herd.think("+100");
    assert_eq!((second.connection, second.token > first.token, herd.thinks()), (4, true, (2, 1)));
    assert_eq!(second.seconds(), [0.2; 2], "the time of those who wait goes on");
    let late = first.thought(&first.answer([51.0, 62.0, 0.0], [0.0; 3]));
    assert!(herd.quiet(&late.replacen('3', "4", 1)).contains("lease-lost"));
    herd.quiet(&second.thought(&second.answer([51.0, 62.0, 0.0], [4.0, 0.0, 0.0])));
    // With the last they stand.
    herd.run("4 quit");
    herd.quiet("+100");
    assert_eq!(herd.counters().npc_updates_unmoved, 2);
    assert_eq!(herd.world.shard.take_missing_behaviour(), Some("wolf"));
    herd.quiet("+100");
    assert_eq!(herd.world.shard.take_missing_behaviour(), None);
    // It is told again when a worker brings others, and not when one says again what it has.
    for told in [Some("wolf"), None] {
        herd.run("2 work behaviours=fox");
        herd.quiet("+100");
        assert_eq!(herd.world.shard.take_missing_behaviour(), told);
    }
    assert_eq!(herd.position(1), [51.0, 62.0, 0.0]);
    // The next one goes on with them, and with no time that has passed.
    herd.run("2 work behaviours=wolf");
    let back = herd.think("+100");
    assert_eq!(
        (back.connection, back.seconds(), back.velocities()),
        (2, vec![0.1; 2], vec![[0.0; 3]; 2])
    );
}

#[test]
fn who_lets_a_question_wait_is_asked_again_when_it_has_said_something() {
    let mut herd = Herd::new("wolf:2:4:50:60:20");
    herd.run("4 work behaviours=wolf");
    let late = herd.think("1 join room=w");
    for _ in 0..9 {
        herd.quiet("+100");
    }
    let think = herd.think("+100");
    assert_eq!((late.connection, think.connection, herd.thinks()), (3, 4, (2, 1)));
    assert_eq!(think.seconds(), [1.0; 2]);
    for _ in 0..9 {
        herd.quiet("+100");
    }
    // Now both are silent: the NPCs stand.
    herd.quiet("+100");
    assert_eq!((herd.thinks(), herd.counters().npc_updates_unmoved), ((2, 2), 2));
    assert_eq!(herd.world.shard.take_missing_behaviour(), Some("wolf"));
    // What comes too late moves nobody, and shows that somebody is there.
    let heard = herd.quiet(&late.thought(&late.answer([51.0, 62.0, 0.0], [0.0; 3])));
    assert_eq!(heard, "3: thought status=409 error=lease-lost\n");
    assert_eq!(herd.think("+100").connection, 3);
    herd.quiet("4 work methods=hit");
    herd.run("3 quit");
    assert_eq!(herd.think("+100").connection, 4);
}

#[test]
fn workers_of_one_name_take_turns() {
    let mut herd = Herd::new("wolf:1:4:0:0:9|wolf:1:4:0:0:9|wolf:1:4:0:0:9");
    herd.run("4 work behaviours=wolf");
    herd.run("1 join room=w");
    let connections: Vec<u32> = herd.asked().iter().map(|think| think.connection).collect();
    assert_eq!(connections, [3, 4, 3]);
}

#[test]
fn who_is_silent_of_npcs_is_told_so_and_one_who_finds_no_room_is_not() {
    let limits = Limits { partition_events_max: 1, ..Limits::PRODUCTION };
    let mut herd = Herd::unmoved(limits);
    herd.run("3 work behaviours=wolf plugin=pack@1.2");
    herd.make("wolf:2:4:50:60:20");
    let think = herd.think("1 join room=w");
    let Answer::Workers(page) = herd.world.command(Command::ListWorkers { from: 0, count: 9 }).0
    else {
        panic!()
    };
    let row = &page.rows[0];
    assert_eq!((&*row.behaviours[0], &*row.plugins[0], row.methods.len()), ("wolf", "pack@1.2", 0));
    let leases = |herd: &mut Herd| {
        let sessions = [page.rows[0].session].into();
        match herd.world.command(Command::CountLeases { sessions }).0 {
            Answer::Leases(leases) => (leases[0].thinks, leases[0].silent_ms),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(leases(&mut herd), (1, None));
    herd.quiet("+1000");
    herd.quiet("+30");
    assert_eq!(leases(&mut herd), (0, Some(30)));
    // Another's request has the only place of the partition.
    let answer = think.thought(&think.answer([51.0, 62.0, 0.0], [0.0; 3]));
    let heard = herd.run(&format!("1 who room=w ; {answer}"));
    assert!(heard.contains("3: thought status=503 error=busy\n"), "{heard}");
    assert_eq!(leases(&mut herd).1, None);
}

#[test]
fn npcs_of_a_worker_that_has_failed_stand() {
    let mut herd = Herd::new("wolf:2:4:50:60:20");
    let think = herd.think("1 join room=w");
    herd.quiet(&think.thought(&think.answer([51.0, 62.0, 0.0], [4.0, 0.0, 0.0])));
    let think = herd.think("+100");
    let (world, token) = (&think.world, think.token);
    let failed = format!("3 thought world={world} token={token} failed=");
    let invalid = "3: thought status=400 error=field-invalid\n";
    assert_eq!(herd.quiet(&format!("{failed}perhaps")), invalid);
    let missing = "3: thought status=400 error=field-missing\n";
    assert_eq!(herd.quiet(&format!("{failed}false")), missing);
    assert_eq!(herd.quiet(&format!("{failed}true")), "3: thought status=0\n");
    let next = herd.think("+100");
    assert_eq!((next.positions()[1], next.velocities()[1]), ([51.0, 62.0, 0.0], [0.0; 3]));
    assert_eq!(next.seconds(), [0.1; 2]);
    let counters = herd.counters();
    assert_eq!((counters.npc_updates, counters.npc_thinks_failed), (2, 1));
    assert_eq!((counters.npc_updates_unmoved, herd.thinks()), (0, (3, 0)));
}

#[test]
fn who_says_nothing_is_asked_one_thing_after_five_seconds() {
    let mut herd = Herd::new("wolf:2:4:50:60:20|wolf:1:4:0:0:9");
    herd.run("1 join room=w");
    let mut asked = Vec::new();
    for tick in 1..140 {
        herd.run("+100");
        asked.extend(herd.asked().iter().map(|_| tick));
    }
    // Given up after ten ticks, and again after five seconds and ten ticks.
    assert_eq!((asked, herd.thinks()), (vec![60, 120], (4, 4)));
    let id: ObjectId = herd.object.parse().unwrap();
    assert_eq!(herd.world.shard.worlds.get(id).unwrap().clock.hz(), 10.0);
    // An answer that is none was said by somebody.
    for _ in 140..180 {
        herd.quiet("+100");
    }
    let think = herd.think("+100");
    let other = herd.think(&think.thought(&[0]));
    assert!(other.band != think.band);
}

#[test]
fn a_worker_that_resumes_and_works_again_has_all_its_room() {
    let mut herd = Herd::new("wolf:2:4:50:60:20");
    herd.run("1 join room=w");
    let session = crate::ids::SessionId { shard: ShardId(0), generation: 0, index: 2 };
    assert!(herd.world.shard.sessions.get(session).is_some_and(|open| &*open.user == "dwarf"));
    herd.world.shard.worker_gone(session);
    herd.run("3 work behaviours=wolf");
    let think = herd.think("+100");
    assert_eq!((think.connection, herd.thinks()), (3, (2, 1)));
    herd.quiet(&think.thought(&think.answer([51.0, 62.0, 0.0], [4.0, 0.0, 0.0])));
    herd.think("+100");
}

/// Goes nowhere, and shows that it was there.
#[derive(Debug)]
struct Howl;

impl Behaviour for Howl {
    fn name(&self) -> &str {
        "wolf"
    }

    fn think(&self, batch: &mut Batch<'_>, _near: &Surroundings<'_>) {
        batch.positions.fill([55.0, 66.0, 0.0]);
        let seconds = batch.seconds;
        batch.velocities.iter_mut().zip(seconds).for_each(|(velocity, s)| velocity[0] = *s);
    }
}

/// From here on a plugin has the wolf, or none has.
fn howls(herd: &mut Herd, has_wolf: bool) {
    let mut behaviours = Behaviours::default();
    if has_wolf {
        behaviours.add(Arc::new(Howl)).unwrap();
    }
    let table = InlineTable { behaviours: Arc::new(behaviours), ..InlineTable::default() };
    let commands = vec![Command::SetInline(table)];
    herd.world.turn(&ShardInputs { commands, ..ShardInputs::default() });
}

#[test]
fn a_plugins_behaviour_goes_before_a_workers_of_that_name() {
    let mut herd = Herd::new("wolf:2:4:50:60:20");
    let think = herd.think("1 join room=w");
    howls(&mut herd, true);
    herd.quiet("+100");
    assert_eq!((herd.position(1), herd.thinks()), ([55.0, 66.0, 0.0], (1, 1)));
    let late = think.thought(&think.answer([51.0, 62.0, 0.0], [0.0; 3]));
    assert!(herd.quiet(&late).contains("lease-lost"));
    herd.quiet("+100");
    howls(&mut herd, false);
    let back = herd.think("+100");
    assert_eq!((back.positions()[0], back.seconds()), ([55.0, 66.0, 0.0], vec![0.1; 2]));
    assert_eq!(back.velocities()[0], [0.1, 0.0, 0.0], "it was moved at each tick");
    assert_eq!(herd.counters().npc_updates_unmoved, 0);
}

#[test]
fn a_worker_that_comes_between_tick_and_move_makes_nobody_leap() {
    let mut herd = Herd::unmoved(Limits::PRODUCTION);
    howls(&mut herd, true);
    herd.make("wolf:2:4:50:60:20|wander:5:1:0:0:9");
    herd.run("1 join room=w");
    // The plugin goes when its NPCs are due, and a worker is there.
    herd.world.run("3 work behaviours=wolf");
    herd.world.run("+100");
    howls(&mut herd, false);
    assert_eq!(herd.world.shard.think(64), 5, "those who are not moved hold up nobody");
    herd.quiet("+1");
    assert_eq!(herd.counters().npc_updates_unmoved, 0);
    let think = herd.think("+99");
    assert_eq!((think.positions()[0], think.seconds()), ([55.0, 66.0, 0.0], vec![0.2; 2]));
}

#[test]
fn what_a_worker_says_of_behaviours_is_checked() {
    let mut herd = Herd::unmoved(Limits::PRODUCTION);
    for (fields, reply) in [
        ("", "status=400 error=field-missing"),
        ("behaviours=wander", "status=400 error=field-invalid"),
        ("behaviours=2nd", "status=400 error=field-invalid"),
        ("methods=hit behaviours=seek", "status=400 error=field-invalid"),
        ("methods=set behaviours=wolf", "status=400 error=field-invalid"),
        ("methods=hit behaviours=wolf", "status=0"),
    ] {
        let line = format!("3 work {fields}");
        assert_eq!(herd.run(line.trim_end()), format!("3: work {reply}\n"), "{fields}");
    }
    let mut work = |from: usize, count: usize| {
        let names: Vec<String> = (from..from + count).map(|number| format!("b{number}")).collect();
        let mut inputs = ShardInputs::default();
        let mut message = MessageBuilder::new(&mut inputs.bytes, "work");
        message.list("behaviours", names.iter().map(String::as_str));
        inputs.push_message(ConnectionId { index: 3, generation: 1 }, 0);
        herd.world.turn(&inputs)
    };
    assert_eq!(work(0, 65), "3: work status=400 error=field-invalid\n");
    for from in [0, 64, 128] {
        assert_eq!(work(from, 64), "3: work status=0\n");
    }
    assert_eq!(work(192, 63), "3: work status=0\n");
    assert_eq!(work(254, 3), "3: work status=400 error=field-invalid\n", "one too many");
    assert_eq!(work(300, 1), "3: work status=400 error=field-invalid\n", "256 are there");
    assert_eq!(work(3, 1), "3: work status=0\n");
    let number = packed("work", &[("behaviours", Value::Integer(7))]);
    let mut inputs = ShardInputs { bytes: number, ..ShardInputs::default() };
    inputs.push_message(ConnectionId { index: 3, generation: 1 }, 0);
    assert_eq!(herd.world.turn(&inputs), "3: work status=400 error=field-invalid\n");
}

#[test]
fn a_name_is_known_while_a_worker_has_it() {
    let mut herd = Herd::unmoved(Limits::PRODUCTION);
    let create = "1 create kind=world room=w npcs=wolf:1:1:0:0:9";
    let unknown = "1: create status=404 error=unknown-behaviour\n";
    assert_eq!(herd.run(create), unknown);
    herd.run("3 work behaviours=wolf ; 4 work behaviours=wolf");
    herd.run("3 quit");
    assert!(herd.run(&create.replace("=w ", "=v ")).contains("status=0"));
    herd.run("4 quit");
    assert_eq!(herd.run(create), unknown);
}
