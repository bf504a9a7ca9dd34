//! How much is asked at a time, and what becomes of what is not.

use super::*;
use crate::acknowledgement::AckLevel;
use crate::authorize::Roles;
use crate::ids::SessionId;
use crate::mesh::{EventHeader, EventKind, Origin};
use crate::world::behaviours::Room;

/// Answers what was asked by which all go to this place. Returns what is asked then.
fn answer(herd: &mut Herd, think: &Think, x: f32) -> Vec<Think> {
    let heard = herd.run(&think.thought(&think.answer([x, 0.0, 0.0], [0.0; 3])));
    assert!(heard.contains("thought status=0\n"), "{heard}");
    herd.asked()
}

#[test]
fn a_large_band_is_asked_for_in_pieces_each_once_a_tick() {
    let mut herd = Herd::new("wolf:1100:4:0:0:50");
    for round in 0..3_u16 {
        let line = if round == 0 { "1 join room=w" } else { "+100" };
        let first = herd.think(line);
        let second = answer(&mut herd, &first, 1.0).remove(0);
        let third = answer(&mut herd, &second, 2.0).remove(0);
        assert_eq!(answer(&mut herd, &third, 3.0), [], "that was all");
        let asked = [&first, &second, &third];
        let numbers: Vec<u16> = asked.iter().flat_map(|think| think.numbers()).collect();
        assert_eq!(numbers, (1..=1100).collect::<Vec<u16>>());
        assert_eq!(asked.map(|think| think.count), [512, 512, 76]);
        assert_eq!(asked.map(|think| think.tick), [i64::from(round) + 1; 3]);
        assert!(asked.iter().all(|think| think.seconds().iter().all(|seconds| *seconds == 0.1)));
    }
    assert_eq!([1, 600, 1100].map(|number| herd.position(number)[0]), [1.0, 2.0, 3.0]);
    assert_eq!(herd.counters().npc_carried_over, 0);
}

#[test]
fn what_is_not_asked_in_time_is_first_and_for_longer() {
    let mut herd = Herd::new("wolf:1100:4:0:0:50");
    let first = herd.think("1 join room=w");
    let second = answer(&mut herd, &first, 1.0).remove(0);
    herd.quiet("+100");
    // 512 are asked for, and 76 were not.
    assert_eq!(herd.counters().npc_carried_over, 588);
    let third = answer(&mut herd, &second, 2.0).remove(0);
    assert_eq!((third.count, third.numbers()[0], third.tick), (76, 1025, 2));
    assert_eq!(third.seconds(), [0.2; 76]);
    let first = answer(&mut herd, &third, 3.0).remove(0);
    assert_eq!((first.count, first.numbers()[0], first.tick), (512, 1, 2));
    assert_eq!(first.seconds(), [0.1; 512]);
    let second = answer(&mut herd, &first, 4.0).remove(0);
    assert_eq!((second.numbers()[0], second.seconds()), (513, vec![0.1; 512]));
    assert_eq!(answer(&mut herd, &second, 5.0), []);
    // Who is given up is first too.
    let first = herd.think("+100");
    assert_eq!(first.numbers()[0], 1025);
    for _ in 0..10 {
        herd.quiet("+100");
    }
    assert_eq!(herd.thinks().1, 1);
    herd.run("4 work behaviours=wolf");
    let again = herd.think("+100");
    assert_eq!((again.connection, again.numbers()), (4, first.numbers()));
}

#[test]
fn a_worker_has_64_questions_at_a_time_and_the_others_wait_in_turn() {
    let herd_of = |count: usize| vec!["wolf:1:4:0:0:9"; count].join("|");
    let mut herd = Herd::new(&herd_of(60));
    herd.run(&format!("1 create kind=world room=v npcs={}", herd_of(10)));
    let bands = |asked: &[Think]| asked.iter().map(|think| think.band).collect::<Vec<i64>>();
    let mut open = Vec::new();
    for line in ["1 join room=w", "1 join room=v", "+100", "+100"] {
        herd.run(line);
        open.extend(herd.asked());
    }
    let (first, second): (Vec<i64>, Vec<i64>) = ((0..60).collect(), (0..4).collect());
    assert_eq!(bands(&open), [first, second].concat());
    assert!(open[..60].iter().all(|think| think.world == herd.object));
    // Ticks do not list them twice.
    for _ in 0..3 {
        herd.quiet("+100");
        assert_eq!(herd.world.shard.asking.len(), 6);
    }
    let mut order = Vec::new();
    for _ in 0..10 {
        let next = answer(&mut herd, &open.remove(0), 1.0);
        order.extend(bands(&next));
        open.extend(next);
    }
    assert_eq!(
        order,
        [4, 5, 6, 7, 8, 9, 0, 1, 2, 3],
        "all were due anew since they were asked for"
    );
    assert_eq!((herd.thinks(), open.len()), ((74, 0), 64));
    // A worker that comes has what waits.
    herd.run("4 work behaviours=wolf");
    assert_eq!(bands(&herd.asked()), [4, 5, 6, 7, 8, 9]);
    assert!(herd.asked().iter().all(|think| think.connection == 4));
}

#[test]
fn a_worker_is_told_of_no_more_bytes_than_of_tasks() {
    let bands = |asked: &[Think]| asked.iter().map(|think| think.band).collect::<Vec<i64>>();
    let limits = Limits { resume_bytes_max: 8192, ..Limits::PRODUCTION };
    let mut herd = Herd::unmoved(limits);
    herd.run("3 work behaviours=wolf");
    herd.make("wolf:90:4:0:0:9|wolf:90:4:0:0:9|wolf:90:4:0:0:9");
    herd.run("1 join room=w");
    let asked = herd.asked();
    assert_eq!(bands(&asked), [0, 1], "4,096 bytes are passed by the second");
    assert_eq!(bands(&answer(&mut herd, &asked[0], 1.0)), [2]);
}

#[test]
fn a_world_that_goes_to_sleep_waits_for_nobody() {
    let mut herd = Herd::new("wolf:600:4:0:0:9");
    for round in 1_u64..7 {
        herd.run("1 join room=w");
        // Only the first wakes with a tick.
        let think = herd.asked().pop().unwrap_or_else(|| herd.think("+100"));
        herd.quiet("1 leave room=w");
        if round % 2 == 0 {
            // Nor is anybody asked for the others when nobody is there.
            assert_eq!(answer(&mut herd, &think, 1.0), []);
        }
        herd.quiet("+6000");
        assert_eq!((herd.counters().worlds, herd.thinks()), (0, (round, round.div_ceil(2))));
        let heard = herd.quiet(&think.thought(&think.answer([1.0; 3], [0.0; 3])));
        assert_eq!(heard, "3: thought status=409 error=lease-lost\n");
    }
    // Nothing of them is left: the worker has all its room again.
    herd.run("1 join room=w");
    let think = herd.think("+100");
    let others = answer(&mut herd, &think, 1.0).remove(0);
    assert_eq!(answer(&mut herd, &others, 1.0), []);
    let shard = &herd.world.shard;
    let is_idle = shard.inline.behaviours.workers.has_room(Room::of_shard(1, 1));
    assert!(is_idle && !shard.asking.has_work());
}

#[test]
fn an_answer_to_a_world_where_nobody_is_counts() {
    let mut herd = Herd::new("wolf:2:4:0:0:9");
    let think = herd.think("1 join room=w");
    herd.quiet("1 leave room=w");
    herd.quiet("+200");
    assert_eq!(answer(&mut herd, &think, 7.0), [], "it does not tick");
    assert_eq!(herd.position(1), [7.0, 0.0, 0.0]);
    assert_eq!(herd.think("1 join room=w ; +100").positions()[0], [7.0, 0.0, 0.0]);
}

#[test]
fn a_worker_is_told_of_members_near_the_circle() {
    let mut herd = Herd::new("wolf:1:4:1000:0:30");
    let think = herd.think("1 join room=w x=1094 y=0 ; 2 join room=w x=1095 y=0");
    assert_eq!(Think::floats(&think.members), [1094.0, 0.0, 0.0], "the radius and a cell");
    answer(&mut herd, &think, 1000.0);
    herd.run("1 leave room=w");
    assert_eq!(herd.think("+100").members, []);
    let limits = Limits { presence_members_max: 0, ..Limits::PRODUCTION };
    let mut herd = Herd::unmoved(limits);
    herd.run("3 work behaviours=wolf");
    herd.make("wolf:1:4:0:0:30");
    for user in 10..110 {
        herd.run(&format!("{user} open ; {user} login user=u{user} ; {user} join room=w x={user}"));
    }
    herd.run("+1000");
    let mut seen = alloc::collections::BTreeSet::new();
    herd.run("3 work behaviours=wolf");
    for _ in 0..4 {
        let think = herd.think("+100");
        let told = Think::floats(&think.members);
        assert_eq!(told.len(), 3 * 64, "so many at most");
        seen.extend(told.chunks(3).map(|position| position[0] as u32));
        answer(&mut herd, &think, 0.0);
    }
    assert_eq!(seen.len(), 85, "each within 94 units in turn");
}

#[test]
fn what_waits_for_a_worker_goes_with_its_world() {
    let bands = vec!["wolf:1:4:0:0:9"; 64].join("|");
    let mut herd = Herd::new(&bands);
    for room in ["v", "u"] {
        herd.run(&format!("1 create kind=world room={room} npcs={bands}"));
    }
    herd.run("1 join room=w ; 1 join room=v ; 1 join room=u");
    herd.run("+100");
    assert_eq!(herd.world.shard.asking.len(), 128);
    herd.run("1 leave room=v ; 1 leave room=u");
    // The worker answers nothing, and is silent: nobody looks at the list.
    for _ in 0..60 {
        herd.run("+100");
    }
    assert_eq!((herd.counters().worlds, herd.world.shard.asking.len()), (1, 0));
}

#[test]
fn bands_whose_worker_is_full_are_looked_at_in_parts_and_hold_up_no_other() {
    let bands = vec!["wolf:1:4:0:0:9"; 64].join("|");
    let mut herd = Herd::new(&bands);
    herd.run("4 work behaviours=fox");
    for (room, npcs) in [("v", &bands[..]), ("u", &bands[..]), ("t", "fox:1:4:0:0:9")] {
        herd.run(&format!("1 create kind=world room={room} npcs={npcs}"));
    }
    herd.run("1 join room=w");
    herd.run("1 join room=v ; 1 join room=u");
    herd.run("+100");
    assert_eq!((herd.thinks(), herd.world.shard.asking.len()), ((64, 0), 128));
    herd.run("1 join room=t");
    // The fox is the last of 129: after a few looks it is asked for.
    for _ in 0..3 {
        herd.run("+100");
        assert!(!herd.world.shard.has_work(), "who is full is not looked at again and again");
    }
    assert_eq!((herd.thinks(), herd.world.shard.asking.len()), ((65, 0), 128));
}

#[test]
fn no_answer_has_to_be_longer_than_a_frame() {
    for (frame_bytes_max, count) in [(256, 1), (1024, 10), (8192, 110), (65_536, 512)] {
        let mut settings = task_settings(Limits::PRODUCTION);
        settings.policy.set_rule("thought", ["user"]).unwrap();
        settings.frame_bytes_max = frame_bytes_max;
        let mut herd = Herd::of(settings);
        herd.run("3 work behaviours=wolf");
        herd.make("wolf:600:4:0:0:9");
        let think = herd.think("1 join room=w");
        assert_eq!(think.count, count);
        let thought = think.thought(&think.answer([1.0; 3], [0.0; 3]));
        assert!(thought.len() <= frame_bytes_max as usize, "{}", thought.len());
    }
}

#[test]
fn a_world_waits_once_for_its_npcs_whoever_moves_them() {
    let mut herd = Herd::unmoved(Limits::PRODUCTION);
    howls(&mut herd, true);
    herd.make("wolf:2:4:50:60:20");
    herd.world.run("1 join room=w ; 3 work behaviours=wolf");
    for has_wolf in [true, false, true, false, true] {
        howls(&mut herd, has_wolf);
        herd.world.run("+100");
        assert_eq!(herd.world.shard.thinkers.len(), 1);
    }
}

/// A batch of the other shard.
fn from_other(messages: impl FnOnce(&mut MeshBatch)) -> ShardInputs {
    let mut batch = MeshBatch::default();
    messages(&mut batch);
    ShardInputs { mesh: vec![(ShardId(0), batch)], ..ShardInputs::default() }
}

#[test]
fn a_worker_on_another_shard_is_asked_when_the_way_is_free() {
    let limits = Limits { mesh_staging_bytes_max: 4096, ..Limits::PRODUCTION };
    let routing = RoutingTable::even(2, Epoch(1));
    let mut herd = Herd::unmoved(limits.clone());
    herd.world =
        World::with_settings(ShardSettings { shard: ShardId(1), routing, ..task_settings(limits) });
    herd.world.outputs = ShardOutputs::new(2);
    herd.run("1 open ; 1 login user=ann");
    let session = SessionId { shard: ShardId(0), generation: 3, index: 9 };
    let work = from_other(|batch| {
        let work = batch.push_bytes(&packed("work", &[("behaviours", Value::Text("wolf"))]));
        batch.list.push(MeshMessage::Work { session, work });
    });
    herd.world.turn(&work);
    herd.make("wolf:2:4:50:60:20");
    let told = |herd: &mut Herd| {
        let batch = core::mem::take(&mut herd.world.outputs.mesh[0]);
        let direct = batch.list.iter().find_map(|message| match *message {
            MeshMessage::Direct { session: to, message } if to == session => Some(message),
            _ => None,
        });
        direct.map(|message| {
            Message::parse(message.of(&batch.bytes))
                .unwrap()
                .get("token")
                .unwrap()
                .as_integer()
                .unwrap()
        })
    };
    herd.world.outputs.mesh[0].bytes.resize(4096, 0);
    herd.run("1 join room=w");
    assert_eq!((told(&mut herd), herd.thinks().0), (None, 0));
    herd.run("+100");
    assert_eq!((told(&mut herd), herd.thinks().0), (Some(1), 1));
    let world: ObjectId = herd.object.parse().unwrap();
    let thought = from_other(|batch| {
        let fields = [
            ("world", Value::Object(world)),
            ("token", Value::Integer(1)),
            ("batch", Value::Bytes(&[0; 72])),
        ];
        let partition = world.partition();
        let (user, message) =
            (batch.push_bytes(b"dwarf"), batch.push_bytes(&packed("thought", &fields)));
        let connection = ConnectionId { index: 4, generation: 1 };
        let header = EventHeader {
            partition,
            epoch: Epoch(1),
            kind: EventKind::Request { level: AckLevel::Applied },
            origin: Origin { session, connection, echoes_request: false },
            user_partition: partition,
            login: 1,
            roles: Roles::WORKER,
        };
        batch.list.push(MeshMessage::Event { header, user, message });
    });
    herd.world.turn(&thought);
    assert!(matches!(herd.world.outputs.mesh[0].list[..], [MeshMessage::Reply { .. }]));
    assert_eq!(herd.position(1), [0.0; 3]);
    herd.run("+100");
    assert_eq!(told(&mut herd), Some(2));
    herd.world.turn(&from_other(|batch| batch.list.push(MeshMessage::WorkerGone { session })));
    herd.run("+100");
    assert_eq!(
        (told(&mut herd), herd.thinks(), herd.counters().npc_updates_unmoved),
        (None, (2, 1), 2)
    );
}
