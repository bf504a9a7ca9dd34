use super::*;
use crate::ids::ShardId;

fn session(shard: u16) -> SessionId {
    SessionId { shard: ShardId(shard), generation: 0, index: 0 }
}

/// A worker that has the wolf.
fn wolf(workers: &mut WorkerBehaviours, room: Room) -> AskedWorker {
    match workers.choose("wolf", room, |_| true) {
        Chosen::Worker(worker) => worker,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_shard_has_its_part_of_what_a_worker_may_be_asked() {
    let part = |shards| {
        let Room { thinks, bytes } = Room::of_shard(shards, 98_304);
        (thinks, bytes)
    };
    assert_eq!([1, 4, 128].map(part), [(64, 98_304), (16, 24_576), (1, 768)]);
}

#[test]
fn who_cannot_be_reached_now_is_waited_for() {
    let mut workers = WorkerBehaviours::default();
    let room = Room::of_shard(1, 1000);
    let choose = |workers: &mut WorkerBehaviours, name: &str, way: u16| {
        let chosen = workers.choose(name, room, |session| session.shard.0 == way);
        match chosen {
            Chosen::Worker(worker) => Ok(worker.session),
            other => Err(other),
        }
    };
    assert_eq!(choose(&mut workers, "wolf", 1), Err(Chosen::Nobody));
    assert!(workers.set(session(1), ["wolf", "fox"].into_iter(), None));
    assert!(workers.set(session(2), ["wolf"].into_iter(), None));
    assert!(!workers.set(session(1), ["wolf", "fox"].into_iter(), None), "it has them");
    assert_eq!(choose(&mut workers, "wolf", 2), Ok(session(2)));
    assert_eq!(choose(&mut workers, "wolf", 3), Err(Chosen::Full));
    assert_eq!(choose(&mut workers, "fox", 2), Err(Chosen::Full));
    assert!(!workers.set(session(1), ["wolf"].into_iter(), Some("game@2")));
    let names: Vec<_> = workers.names_of(session(1)).collect();
    assert_eq!(names, [("fox", None), ("wolf", Some("game@2"))]);
    assert!(workers.remove(session(1)) && !workers.remove(session(1)));
    assert_eq!((workers.has("fox"), workers.has("wolf")), (false, true));
}

#[test]
fn what_was_asked_of_who_has_begun_anew_is_nobodys() {
    let mut workers = WorkerBehaviours::default();
    let room = Room::of_shard(1, 10);
    workers.set(session(1), ["wolf"].into_iter(), None);
    let first = wolf(&mut workers, room);
    workers.asked(first, 7);
    workers.remove(session(1));
    workers.set(session(1), ["wolf"].into_iter(), None);
    assert!(!workers.is_there(first));
    workers.returned(first, 7);
    workers.note_silence(first, 1, 5);
    let second = wolf(&mut workers, room);
    assert!(workers.is_there(second) && second != first);
    workers.asked(second, 10);
    assert!(!workers.has_room(room) && workers.thinks_of(session(1)) == 1);
    workers.returned(second, 10);
    assert!(workers.has_room(room) && workers.thinks_of(session(1)) == 0);
}

#[test]
fn what_is_given_up_has_its_place_until_the_worker_is_past_it() {
    let mut workers = WorkerBehaviours::default();
    let room = Room::of_shard(16, 1000);
    workers.set(session(1), ["wolf"].into_iter(), None);
    for token in 1..=4 {
        let worker = wolf(&mut workers, room);
        workers.asked(worker, 1);
        assert_eq!(workers.has_room(room), token < 4);
    }
    let worker = AskedWorker { session: session(1), number: 1 };
    for token in [4, 1, 2, 3] {
        workers.returned(worker, 1);
        workers.note_silence(worker, token, 5);
    }
    assert!(!workers.answers("wolf") && workers.silent_since_ns(session(1)) == Some(5));
    // It is at the first of them: three wait.
    assert!(workers.heard(session(1), Some(1)) && !workers.heard(session(1), None));
    assert!(workers.answers("wolf"));
    for token in 1..=4 {
        workers.asked(worker, 1);
        workers.returned(worker, 1);
        workers.note_silence(worker, token, 5);
    }
    workers.heard(session(1), Some(1));
    workers.asked(worker, 1);
    assert!(!workers.has_room(room), "one is asked, and three are given up");
    workers.heard(session(1), Some(4));
    assert!(workers.has_room(room));
}

#[test]
fn who_is_silent_is_asked_one_thing_after_a_while() {
    let mut workers = WorkerBehaviours::default();
    let room = Room::of_shard(1, 1000);
    workers.set(session(1), ["wolf"].into_iter(), None);
    let worker = wolf(&mut workers, room);
    workers.asked(worker, 1);
    workers.returned(worker, 1);
    workers.note_silence(worker, 1, 5);
    assert_eq!(workers.choose("wolf", room, |_| true), Chosen::Nobody);
    assert!(!workers.probe_silent(4 + PROBE_AFTER_NS));
    assert!(workers.probe_silent(5 + PROBE_AFTER_NS) && !workers.probe_silent(u64::MAX - 1));
    assert!(workers.answers("wolf"));
    let worker = wolf(&mut workers, room);
    workers.asked(worker, 1);
    assert_eq!(workers.choose("wolf", room, |_| true), Chosen::Nobody);
    workers.returned(worker, 1);
    workers.note_silence(worker, 2, 7 + PROBE_AFTER_NS);
    assert_eq!(workers.silent_since_ns(session(1)), Some(5), "it was never heard");
    assert!(!workers.probe_silent(6 + 2 * PROBE_AFTER_NS));
    assert!(workers.probe_silent(7 + 2 * PROBE_AFTER_NS));
}
