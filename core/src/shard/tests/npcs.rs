//! NPCs of a shard: where they come from, what of them is told, and when they are moved.

use alloc::string::ToString;

use super::*;
use crate::control::Command;
use crate::ids::Sequence;
use crate::inline::InlineTable;
use crate::message::packed;
use crate::world::behaviours::{Batch, Behaviour, Behaviours, Surroundings};

/// A shard of whose NPCs so many are moved after each turn.
struct Thinking {
    world: World,
    updates_per_turn: usize,
    /// The object of `w`.
    object: String,
}

impl Thinking {
    /// One where ann has made the world `w` with these fields.
    fn new(limits: Limits, updates_per_turn: usize, fields: &str) -> Self {
        let mut this = Self { world: World::new(limits), updates_per_turn, object: String::new() };
        this.run("1 open ; 1 login user=ann");
        let reply = this.run(&format!("1 create kind=world room=w {fields}"));
        let (_, object) = reply.split_once("object=").expect("it was made");
        this.object = object.split(' ').next().unwrap().to_string();
        this
    }

    fn run(&mut self, line: &str) -> String {
        let mut inputs = ShardInputs::default();
        for step in line.split(" ; ") {
            self.world.step(step, &mut inputs);
        }
        let heard = self.world.turn(&inputs);
        let shard = &mut self.world.shard;
        let mut left = self.updates_per_turn;
        while left > 0 && shard.has_npcs_due() {
            left -= shard.think(left.min(64));
        }
        heard
    }

    fn counters(&self) -> &crate::counters::ShardCounters {
        self.world.shard.counters()
    }
}

/// How many entities the frames of some lines tell of.
fn updates(heard: &str) -> usize {
    heard.matches('@').count()
}

#[test]
fn npcs_are_there_while_somebody_is() {
    let mut shard =
        Thinking::new(Limits::PRODUCTION, 1000, "npcs=patrol:3:4:0:0:10|seek:2:1:0:0:9");
    assert_eq!(shard.counters().npcs, 0);
    let heard = shard.run("1 join room=w x=50 y=50");
    assert!(heard.contains(" members=1 ") && heard.contains(" entity=0 "), "{heard}");
    assert_eq!((shard.counters().npcs, shard.counters().world_entities), (5, 6));
    // The world's first tick is at once.
    assert_eq!(updates(&heard), 6, "all there is");
    // The patrols go, the others stand: nobody is in their circle.
    assert_eq!(updates(&shard.run("+100")), 3);
    assert_eq!(shard.counters().npc_updates, 10);
    assert_eq!(shard.counters().npc_carried_over, 0);
    for (asked, told) in [
        ("1 who room=w", "1: who status=0 users=ann entities=0\n"),
        ("1 who room=w entity=0", "1: who status=0 users=ann entities=0\n"),
        ("1 who room=w entity=3", "1: who status=0 users= entities=3 behaviour=patrol\n"),
        ("1 who room=w entity=5", "1: who status=0 users= entities=5 behaviour=seek\n"),
        ("1 who room=w entity=6", "1: who status=404 error=unknown-object\n"),
    ] {
        assert_eq!(shard.run(asked), told);
    }
    shard.run("2 open ; 2 login user=bob");
    let heard = shard.run("2 join room=w");
    assert!(heard.contains("2: join status=0 room=w members=2 ") && heard.contains(" entity=6 "));
    shard.run("1 leave room=w");
    assert_eq!(shard.counters().npcs, 5);
    shard.run("2 leave room=w");
    // They stay for a while, and nothing is done for them.
    let ticks = shard.counters().world_ticks;
    for _ in 0..49 {
        shard.run("+100");
    }
    assert_eq!((shard.counters().npcs, shard.counters().world_entities), (5, 5));
    assert_eq!((shard.counters().worlds, shard.counters().world_ticks), (1, ticks));
    shard.run("+200");
    assert_eq!((shard.counters().npcs, shard.counters().world_entities), (0, 0));
    assert_eq!(shard.counters().worlds, 0);
    assert_eq!(shard.world.shard.next_deadline_ns(), None);
    assert!(!shard.world.shard.has_work());
}

#[test]
fn what_is_said_of_npcs_is_checked_and_holds_when_the_world_wakes() {
    let mut shard = Thinking::new(Limits::PRODUCTION, 1000, "npcs=wander:3:4:0:0:10");
    for field in ["wander:1:1:0:0", "2nd:1:1:0:0:1", "wander:0:1:0:0:1", "wander:1:1:0:0:1|"] {
        let reply = shard.run(&format!("1 create kind=world room=v npcs={field}"));
        assert_eq!(reply, "1: create status=400 error=field-invalid\n", "{field}");
    }
    let object = shard.object.clone();
    let mut set = |fields: &str| {
        let reply = shard.run(&format!("1 set object={object} {fields}"));
        reply.trim().strip_prefix("1: set ").unwrap().to_string()
    };
    // They have to fit the other fields, whichever is set.
    assert_eq!(set("dims=3"), "status=400 error=field-invalid");
    assert_eq!(set("cell=0.001 npcs=wander:3:4:0:0:100"), "status=400 error=field-invalid");
    assert_eq!(set("note=x"), "status=0 version=2");
    assert_eq!(set("dims=3 npcs=wander:2:4:0:0:0:10"), "status=0 version=3");
    shard.run("1 join room=w");
    assert_eq!(shard.counters().npcs, 2);
    assert!(shard.run(&format!("1 set object={object} npcs=")).contains("status=0"));
    assert_eq!(shard.counters().npcs, 2);
    shard.run("1 leave room=w");
    shard.run("1 join room=w");
    assert_eq!(shard.counters().npcs, 2, "it was awake");
    shard.run("1 leave room=w");
    shard.run("+6000");
    shard.run("1 join room=w");
    assert_eq!(shard.counters().npcs, 0);
}

#[test]
fn npcs_are_bounded_in_a_world_and_on_a_shard() {
    let limits =
        Limits { world_npcs_max: 4, npcs_max: 6, world_entities_max: 4, ..Limits::PRODUCTION };
    let mut shard = Thinking::new(limits.clone(), 1000, "npcs=wander:3:1:0:0:9");
    assert_eq!(
        shard.run("1 create kind=world room=v npcs=wander:4:1:0:0:9|flee:1:1:0:0:9"),
        "1: create status=413 error=too-many-npcs limit=limits.world_npcs_max\n"
    );
    // There would be no room for a member.
    assert_eq!(
        shard.run("1 create kind=world room=v npcs=wander:4:1:0:0:9"),
        "1: create status=429 error=world-full limit=limits.world_entities_max\n"
    );
    for room in ["v", "u", "t"] {
        shard.run(&format!("1 create kind=world room={room} npcs=wander:3:1:0:0:9"));
    }
    shard.run("1 create kind=world room=s");
    shard.run("1 join room=w");
    assert!(shard.run("1 join room=v").contains("status=0"));
    assert_eq!(
        shard.run("1 join room=u"),
        "1: join status=503 error=npcs-full limit=limits.npcs_max\n"
    );
    assert!(shard.run("1 join room=s").contains("status=0"));
    shard.run("1 leave room=w");
    assert!(shard.run("1 join room=u").contains("error=npcs-full"));
    shard.run("+6000");
    assert!(shard.run("1 join room=u").contains("status=0"));
    shard.run("2 open ; 2 login user=bob");
    assert!(shard.run("2 join room=u").contains("error=world-full"));
    assert_eq!(shard.counters().npcs, 6);
    // A server with lower limits makes no more of them than it allows.
    while shard.world.store_next_batch() {}
    let limits = Limits { world_npcs_max: 2, ..limits };
    let restored = shard.world.store.restored(limits, shard.world.now);
    shard.world.shard = restored;
    shard.run("1 open ; 1 login user=ann");
    assert!(shard.run("1 join room=w").contains("status=0"));
    assert_eq!(shard.counters().npcs, 2);
}

#[test]
fn npcs_that_do_not_fit_wait_and_nobody_waits_for_them() {
    let fields = "tick_hz=10 npcs=wander:60:4:0:0:10|patrol:40:4:0:0:10";
    let mut shard = Thinking::new(Limits::PRODUCTION, 5, fields);
    shard.run("1 create kind=world room=v npcs=wander:3:4:0:0:10");
    shard.run("1 join room=w ; 1 join room=v");
    for _ in 0..200 {
        shard.run("+10");
    }
    let before = (shard.counters().npc_updates, shard.counters().npc_carried_over);
    let partition = shard.world.shard.partition(PartitionId::of_name("v")).unwrap();
    let (small, _) = partition.room_named("v").unwrap();
    let (mut answered, mut turns_behind) = (0, 0);
    for _ in 0..1000 {
        // Turns are 10 ms apart: 50 updates a tick, for 103 NPCs.
        let heard = shard.run("+10 ; 1 time");
        answered += usize::from(heard.contains("1: time status=0"));
        let small = shard.world.shard.worlds.get(small).unwrap();
        turns_behind += usize::from(small.npcs_due() > 0);
    }
    assert_eq!(answered, 1000);
    let updates = shard.counters().npc_updates - before.0;
    let put_off = shard.counters().npc_carried_over - before.1;
    assert!((4900..=5000).contains(&updates), "{updates}");
    // Of what was due at each tick everything is either moved or put off.
    assert!((updates + put_off).abs_diff(100 * 103) < 110, "{updates} and {put_off}");
    assert_eq!(shard.counters().world_ticks_skipped, 0);
    // The small world is not behind the large one.
    assert!(turns_behind < 400, "{turns_behind}");
    // With time enough all are moved in time again.
    shard.updates_per_turn = 1000;
    for _ in 0..20 {
        shard.run("+10");
    }
    let put_off = shard.counters().npc_carried_over;
    for _ in 0..100 {
        shard.run("+10");
    }
    assert_eq!(shard.counters().npc_carried_over, put_off);
}

/// A shard to which the world `w` has come back from the store with this field.
fn restored_with(npcs: Value<'_>) -> World {
    let mut world = World::new(Limits::PRODUCTION);
    let record = packed("world", &[("name", Value::Text("w")), ("npcs", npcs)]);
    let id = format!("{}.1", PartitionId::of_name("w").0).parse().unwrap();
    world.shard.restore_object(world.now, id, (1, Sequence(0)), &record).unwrap();
    world.run("1 open ; 1 login user=ann");
    world
}

#[test]
fn a_stored_field_that_was_never_checked_makes_no_npcs() {
    for npcs in [Value::Text("my own notes"), Value::Integer(7), Value::Text("wander:3:1e9:0:0:9")]
    {
        let mut world = restored_with(npcs);
        assert!(world.run("1 join room=w").contains("1: join status=0 "), "{npcs:?}");
        assert_eq!(world.shard.counters().npcs, 0);
        assert_eq!(world.shard.counters().npc_fields_invalid, 1);
    }
    let mut world = restored_with(Value::Text("wander:3:1:0:0:9"));
    world.run("1 join room=w");
    assert_eq!((world.shard.counters().npcs, world.shard.counters().npc_fields_invalid), (3, 0));
}

#[test]
fn whoever_wakes_npcs_is_charged_for_them() {
    let mut shard = Thinking::new(Limits::PRODUCTION, 1000, "npcs=wander:700:1:0:0:9");
    shard.run("1 join room=w");
    assert_eq!(shard.world.shard.effects.scanned, 700);
    shard.run("2 open ; 2 login user=bob");
    shard.run("2 join room=w");
    assert_eq!(shard.world.shard.effects.scanned, 0);
}

#[test]
fn npcs_that_move_count_towards_what_ticks_in_a_turn() {
    let mut shard = Thinking::new(Limits::PRODUCTION, 5000, "npcs=patrol:600:4:0:0:50");
    for room in ["v", "u"] {
        shard.run(&format!("1 create kind=world room={room} npcs=patrol:600:4:0:0:50"));
    }
    shard.run("1 join room=w ; 1 join room=v ; 1 join room=u");
    for _ in 0..3 {
        shard.run("+100");
        shard.run("+0");
    }
    let before = shard.counters().world_ticks;
    shard.run("+100");
    assert_eq!(shard.counters().world_ticks - before, 2);
    shard.run("+0");
    assert_eq!(shard.counters().world_ticks - before, 3);
}

#[test]
fn a_world_that_woke_again_waits_once_for_its_npcs() {
    let mut shard = Thinking::new(Limits::PRODUCTION, 0, "npcs=patrol:9:4:0:0:50");
    for _ in 0..5 {
        shard.run("1 join room=w");
        shard.run("+100");
        shard.run("1 leave room=w");
        shard.run("+6000");
    }
    shard.run("1 join room=w");
    shard.run("+100");
    let shard = &mut shard.world.shard;
    let worlds = &shard.worlds;
    let living = shard.thinkers.iter().filter(|(slot, woken)| worlds.waking_of(*slot) == *woken);
    assert_eq!(living.count(), 1);
    assert_eq!((0..9).map(|_| shard.think(1)).sum::<usize>(), 9);
    assert!(!shard.has_npcs_due());
}

#[test]
fn who_comes_back_among_npcs_waits_for_no_more_than_the_budget() {
    // 200 that stand have 1,800 bytes: more than a member may have in 64 ticks.
    let limits = Limits { world_bytes_per_s: 256, ..Limits::PRODUCTION };
    let mut shard = Thinking::new(limits, 1000, "npcs=seek:200:1:0:0:9");
    assert_eq!(updates(&shard.run("1 join room=w x=50")), 201);
    let mut ticks_until_told_after = |ticks_away: usize| {
        shard.run("1 leave room=w");
        for _ in 0..ticks_away {
            shard.run("+100");
        }
        let mut heard = shard.run("1 join room=w x=50");
        let mut ticks = 0;
        while updates(&heard) == 0 {
            heard = shard.run("+100");
            ticks += 1;
        }
        assert_eq!(updates(&heard), 201);
        ticks
    };
    assert_eq!(ticks_until_told_after(0), 64);
    // The ticks at which nobody is there count too.
    assert_eq!(ticks_until_told_after(40), 24);
}

#[test]
fn leaving_and_joining_makes_no_npcs_anew() {
    let mut shard = Thinking::new(Limits::PRODUCTION, 1000, "npcs=patrol:50:4:0:0:50");
    let mut made = 0;
    for _ in 0..100 {
        let heard = shard.run("1 join room=w");
        assert!(heard.contains(" status=0 ") && heard.contains(" members=1 "), "{heard}");
        made += shard.world.shard.effects.scanned;
        shard.run("+30");
        shard.run("1 leave room=w");
        shard.run("+70");
        assert_eq!((shard.counters().npcs, shard.counters().world_entities), (50, 50));
    }
    assert_eq!(made, 50);
    // Whoever comes back is told of all of them, and they go on.
    shard.run("+4000");
    shard.run("1 join room=w");
    assert_eq!(updates(&shard.run("+100")), 51);
    assert_eq!(updates(&shard.run("+100")), 50);
    // A world that is deleted is forgotten too.
    let object = shard.object.clone();
    shard.run("1 leave room=w");
    assert!(shard.run(&format!("1 delete object={object}")).contains("status=0"));
    shard.run("+6000");
    assert_eq!((shard.counters().npcs, shard.counters().worlds), (0, 0));
}

/// Stands where it was put.
#[derive(Debug)]
struct Dance;

impl Behaviour for Dance {
    fn name(&self) -> &str {
        "dance"
    }

    fn think(&self, batch: &mut Batch<'_>, _near: &Surroundings<'_>) {
        for at in 0..batch.len() {
            batch.velocities[at] = [f32::from(batch.shard.0) + 1.0, 0.0, 0.0];
        }
    }
}

/// From here on there is a dance, or none but the server's own.
fn dances(world: &mut World, has_dance: bool) {
    let mut behaviours = Behaviours::default();
    if has_dance {
        behaviours.add(Arc::new(Dance)).unwrap();
    }
    let table = InlineTable { behaviours: Arc::new(behaviours), ..InlineTable::default() };
    let commands = vec![Command::SetInline(table)];
    world.turn(&ShardInputs { commands, ..ShardInputs::default() });
}

#[test]
fn worlds_name_behaviours_that_somebody_has() {
    let mut shard = Thinking::new(Limits::PRODUCTION, 1000, "note=x");
    let object = shard.object.clone();
    let set = format!("1 set object={object} npcs=wander:1:1:0:0:1|dance:2:1:0:0:1");
    let create = "1 create kind=world room=v npcs=dance:2:1:0:0:1";
    let unknown = "status=404 error=unknown-behaviour";
    assert_eq!(shard.run(create), format!("1: create {unknown}\n"));
    assert_eq!(shard.run(&set), format!("1: set {unknown}\n"));
    dances(&mut shard.world, true);
    assert_eq!(shard.run(&set), "1: set status=0 version=2\n");
    assert!(shard.run(create).contains("status=0"));
    shard.run("1 join room=w");
    shard.run("+100");
    assert_eq!((shard.counters().npc_updates, shard.counters().npc_updates_unmoved), (6, 0));
    assert!(shard.run("1 who room=w entity=2").contains(" behaviour=dance\n"));
    dances(&mut shard.world, false);
    // The other fields may be set all the same.
    assert!(shard.run(&format!("1 set object={object} cell=32")).contains("status=0"));
    assert_eq!(shard.run(&set), format!("1: set {unknown}\n"));
    assert_eq!(shard.world.shard.take_missing_behaviour(), None);
    shard.run("+100");
    assert_eq!((shard.counters().npc_updates, shard.counters().npc_updates_unmoved), (9, 2));
    assert_eq!(shard.world.shard.take_missing_behaviour(), Some("dance"));
    assert!(shard.run("1 who room=w entity=2").contains(" behaviour=dance\n"), "it keeps it");
    dances(&mut shard.world, true);
    shard.run("+100");
    assert_eq!((shard.counters().npc_updates, shard.counters().npc_updates_unmoved), (12, 2));
}

#[test]
fn a_world_from_the_store_keeps_npcs_whose_behaviour_comes_later() {
    let mut world = restored_with(Value::Text("dance:3:1:0:0:9"));
    let think = |world: &mut World| {
        world.run("+100");
        world.shard.think(64);
        world.shard.counters().npc_updates_unmoved
    };
    world.run("1 join room=w");
    assert_eq!((world.shard.counters().npcs, world.shard.counters().npc_fields_invalid), (3, 0));
    assert_eq!(think(&mut world), 3);
    assert_eq!(world.shard.take_missing_behaviour(), Some("dance"));
    assert_eq!(think(&mut world), 6);
    assert_eq!(world.shard.take_missing_behaviour(), None);
    dances(&mut world, true);
    assert_eq!(think(&mut world), 6);
    assert!(world.run("+100").contains('@'), "they are seen to move");
}
