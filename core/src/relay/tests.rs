use alloc::collections::BTreeSet;

use super::*;
use crate::ids::ShardId;

const SEED: HashSeed = HashSeed(1, 2);

fn session(index: u32) -> SessionId {
    SessionId { shard: ShardId(0), generation: 1, index }
}

#[test]
fn a_relay_holds_who_joined_and_did_not_leave_however_many_they_are() {
    let (mut relay, mut expected) = (Relay::default(), BTreeSet::new());
    let mut number = 1u32;
    // It grows and shrinks over the bounds at which it begins and ends to know the places.
    for step in 0..2000 {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (draw, grows) = (number >> 16, step / 250 % 2 == 0);
        let chosen = session(draw % 200);
        if draw % 4 == 0 || grows {
            if expected.insert(chosen) {
                relay.push(chosen, SEED);
            }
        } else {
            let chosen = relay.list.get(draw as usize % 50).copied().unwrap_or(chosen);
            assert_eq!(relay.remove(chosen), expected.remove(&chosen));
        }
        assert!(relay.list.len() <= PLACED_MEMBERS_MIN || relay.places.is_some());
        assert!(relay.list.len() > PLACED_MEMBERS_MIN / 2 || relay.places.is_none());
        assert_eq!(relay.list.len(), expected.len());
        assert!(relay.places.as_ref().is_none_or(|places| places.len() == expected.len()));
        for (place, member) in relay.list.iter().enumerate() {
            assert!(expected.contains(member));
            assert_eq!(relay.place_of(*member), Some(place));
        }
    }
}

#[test]
fn who_is_not_in_a_relay_does_not_leave_it() {
    let mut relays = Relays::new(SEED);
    let object = ObjectId(9 << 48 | 1);
    for index in 0..100 {
        relays.join(object, session(index));
    }
    assert!(!relays.leave(object, session(100)));
    for index in 0..100 {
        assert_eq!(relays.count(), 1);
        assert!(relays.leave(object, session(index)));
        assert!(!relays.leave(object, session(index)));
    }
    assert_eq!(relays.count(), 0);
}
