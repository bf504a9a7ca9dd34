use super::*;
use crate::ids::ShardId;

fn session(shard: u16) -> SessionId {
    SessionId { shard: ShardId(shard), generation: 0, index: 0 }
}

#[test]
fn a_shard_has_its_part_of_what_a_worker_may_be_asked() {
    let part = |shards| {
        let Room { thinks, bytes } = Room::of_shard(shards, 98_304);
        (thinks, bytes)
    };
    assert_eq!([1, 4, 32].map(part), [(64, 98_304), (16, 24_576), (4, 3072)]);
}

#[test]
fn who_cannot_be_reached_now_is_waited_for() {
    let mut workers = WorkerBehaviours::default();
    let room = Room::of_shard(1, 1000);
    let choose = |workers: &mut WorkerBehaviours, name: &str, way: u16| {
        workers.choose(name, room, |session| session.shard.0 == way)
    };
    assert_eq!(choose(&mut workers, "wolf", 1), Chosen::Nobody);
    workers.set(session(1), ["wolf", "fox"].into_iter());
    workers.set(session(2), ["wolf"].into_iter());
    assert_eq!(choose(&mut workers, "wolf", 2), Chosen::Worker(session(2)));
    assert_eq!(choose(&mut workers, "wolf", 3), Chosen::Full);
    assert_eq!(choose(&mut workers, "fox", 2), Chosen::Full);
    assert!(workers.note_silence(session(1), 5) && !workers.note_silence(session(1), 6));
    assert_eq!(workers.silent_since_ns(session(1)), Some(5));
    assert_eq!(choose(&mut workers, "fox", 1), Chosen::Nobody);
    assert!(workers.has("fox") && !workers.answers("fox") && workers.answers("wolf"));
    assert!(workers.heard(session(1)) && !workers.heard(session(1)));
    assert_eq!(choose(&mut workers, "fox", 1), Chosen::Worker(session(1)));
    assert!(workers.remove(session(1)) && !workers.remove(session(1)));
    assert_eq!((workers.has("fox"), workers.has("wolf")), (false, true));
    // What was asked of who is gone is nobody's.
    workers.returned(session(1), 7);
}
