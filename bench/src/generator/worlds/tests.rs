use super::*;
use crate::ledger::Tally;
use crate::profile::{Profile, Rooms, ai, walk};
use crate::wire::floor;
use crate::wire::world::write_update;

const RUN: u64 = 77;
const USERS: u32 = 4;
const WORLD: u64 = 9;
const PERIOD_NS: u64 = 100_000_000;
const SCHEDULE: Schedule = Schedule {
    start_ns: 50_000_000_000,
    measure_from_ns: 50_000_000_000,
    end_ns: 60_000_000_000,
    period_ns: PERIOD_NS,
};

/// Four users in one world, entities 0 to 3, and what is counted.
struct Fixture {
    worlds: Worlds,
    checks: Checks,
}

/// What is counted of frames, as far as tests look at it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    corrupted: u64,
    duplicated: u64,
    out_of_order: u64,
    frames_missing: u64,
    stale: u64,
    measured: u64,
}

impl Fixture {
    fn new() -> Self {
        Self::of(&walk::profile(USERS, 10_000_000_000), false)
    }

    fn of(profile: &Profile, has_strangers: bool) -> Self {
        let seats = (0..USERS).map(|user| Seat { user, room: 0 });
        let mut worlds = Worlds::new(profile, RUN, has_strangers, seats.clone()).unwrap();
        for index in 0..USERS as usize {
            worlds.entered(index, WORLD, index as u16);
        }
        assert_eq!(worlds.entities().collect::<Vec<u16>>(), [0, 1, 2, 3]);
        worlds.start(SCHEDULE, seats.zip(0..));
        Self { worlds, checks: Checks::new(Tally::new(USERS, Rooms::new(USERS, USERS))) }
    }

    /// User 0 gets these updates at this tick.
    fn tick(&mut self, tick: u32, now_ns: u64, updates: &[[u8; 9]]) {
        self.tick_of(0, tick, now_ns, updates);
    }

    fn tick_of(&mut self, user: usize, tick: u32, now_ns: u64, updates: &[[u8; 9]]) {
        let mut bytes = Vec::new();
        floor::world((WORLD, tick), updates, &mut bytes);
        let frame = WorldFrame::read(&bytes[5..]).unwrap();
        self.worlds.frame(user, &frame, now_ns, &mut self.checks);
    }

    fn receive(&mut self, payload: &[u8], now_ns: u64) {
        let frame = WorldFrame::read(payload).unwrap();
        self.worlds.frame(0, &frame, now_ns, &mut self.checks);
    }

    /// What is missing at the end: entities that are not as they are, and frames.
    fn finish(&self) -> WorldTally {
        let mut tally = self.checks.worlds;
        self.worlds.finish(SCHEDULE.end_ns + 1_000_000_000, &mut tally);
        tally
    }

    fn counts(&self) -> Counts {
        let Checks { tally, worlds, latencies, .. } = &self.checks;
        Counts {
            corrupted: tally.corrupted,
            duplicated: tally.duplicated,
            out_of_order: tally.out_of_order,
            frames_missing: worlds.frames_missing,
            stale: worlds.stale,
            measured: latencies.count(),
        }
    }

    /// Everyone's move of this number, right after the last of them, and so on to another.
    fn play(&mut self, numbers: std::ops::Range<u32>) {
        for number in numbers {
            self.tick(
                number,
                all_moved_ns(number),
                &(0..USERS).map(|user| update(user, number)).collect::<Vec<_>>(),
            );
        }
    }
}

/// When all have made the move of this number.
fn all_moved_ns(number: u32) -> u64 {
    (0..USERS).map(|user| SCHEDULE.intended_ns(user, number)).max().unwrap()
}

fn update(user: u32, number: u32) -> [u8; 9] {
    let square = Square::new(1);
    let told = Path::new(RUN, user, square).told(square, number as i32);
    let mut bytes = Vec::new();
    write_update(user as u16, told.state, &mut bytes);
    bytes.try_into().unwrap()
}

#[test]
fn what_is_as_it_was_said_counts_as_nothing_else() {
    let mut fixture = Fixture::new();
    fixture.play(0..40);
    // The first of each is where it begins, and has no latency.
    let measured = u64::from(USERS) * 39;
    assert_eq!(fixture.counts(), Counts { measured, ..Counts::default() });
    assert_eq!((fixture.checks.worlds.frames, fixture.checks.worlds.entities), (40, 160));
    // The last was read when the last of the users had just moved.
    let longest_ns =
        all_moved_ns(39) - (0..USERS).map(|user| SCHEDULE.intended_ns(user, 39)).min().unwrap();
    let found_ns = fixture.checks.latencies.quantile_ns(1.0);
    assert!(found_ns.abs_diff(longest_ns) < longest_ns / 500, "{found_ns} of {longest_ns}");
}

#[test]
fn a_move_that_another_replaced_is_seen_with_it() {
    let mut fixture = Fixture::new();
    fixture.play(0..10);
    let before = fixture.counts().measured;
    let updates: Vec<[u8; 9]> = (0..USERS).map(|user| update(user, 11)).collect();
    fixture.tick(10, all_moved_ns(11), &updates);
    let measured = before + 2 * u64::from(USERS);
    assert_eq!(fixture.counts(), Counts { measured, ..Counts::default() });
}

#[test]
fn each_fault_is_counted_as_what_it_is() {
    let whole = |number: u32| (0..USERS).map(move |user| update(user, number)).collect::<Vec<_>>();
    let none = Counts::default;
    type Change = fn(&mut Vec<[u8; 9]>);
    let cases: [(&str, u32, u32, Change, Counts); 6] = [
        ("nothing", 10, 10, |_| {}, none()),
        ("a bit", 10, 10, |updates| updates[1][8] ^= 4, Counts { corrupted: 1, ..none() }),
        (
            "another's entity",
            10,
            10,
            |updates| updates[1][0] = 2,
            Counts { corrupted: 1, ..none() },
        ),
        ("no such entity", 10, 10, |updates| updates[1][0] = 4, Counts { corrupted: 1, ..none() }),
        ("a tick missing", 11, 10, |_| {}, Counts { frames_missing: 1, ..none() }),
        ("an earlier tick", 8, 10, |_| {}, Counts { out_of_order: 1, ..none() }),
    ];
    for (name, tick, number, change, expected) in cases {
        let mut fixture = Fixture::new();
        fixture.play(0..10);
        let mut updates = whole(number);
        change(&mut updates);
        fixture.tick(tick, all_moved_ns(number), &updates);
        assert_eq!(Counts { measured: 0, ..fixture.counts() }, expected, "{name}");
    }
}

#[test]
fn who_is_not_told_of_is_missed_when_the_copy_is_older_than_the_bound() {
    let mut fixture = Fixture::new();
    fixture.play(0..10);
    let mut stale = Vec::new();
    for number in 10..13 {
        let updates: Vec<[u8; 9]> = (0..USERS - 1).map(|user| update(user, number)).collect();
        fixture.tick(number, all_moved_ns(number), &updates);
        stale.push(fixture.counts().stale);
    }
    // The move of number 10 is older than 150 ms two ticks later.
    assert_eq!(stale, [0, 0, 1]);
    // An older state again is told too late, and out of order.
    fixture.tick(
        13,
        all_moved_ns(13),
        &[update(0, 12), update(1, 13), update(2, 13), update(3, 8)],
    );
    let Counts { duplicated, out_of_order, corrupted, .. } = fixture.counts();
    assert_eq!((duplicated, out_of_order, corrupted), (1, 1, 0));
}

#[test]
fn at_the_end_all_watched_have_to_know_the_last_move_of_all() {
    let mut fixture = Fixture::new();
    fixture.play(0..99);
    // The others of the four have got no frame at all: each misses itself and three others, and is nowhere.
    let others = 3 * (u64::from(USERS) + 1);
    assert_eq!(fixture.finish().stale - others, u64::from(USERS));
    fixture.play(99..100);
    assert_eq!(fixture.finish().stale - others, 0);
}

#[test]
fn at_the_end_all_have_to_have_every_tick_of_their_room_while_all_moved() {
    let (early_ns, late_ns) = (all_moved_ns(50), SCHEDULE.end_ns + 1);
    let mut fixture = Fixture::new();
    // Nobody is told of anything but ticks; who was told of none misses all.
    let all = 10..20;
    all.clone().for_each(|tick| fixture.tick_of(0, tick, early_ns, &[]));
    assert_eq!(fixture.finish().frames_missing, 3 * 10);
    // One whose frames stop, and one whose first after that comes when all is over.
    for (user, until) in [(1, 20), (2, 14), (3, 17)] {
        (10..until).for_each(|tick| fixture.tick_of(user, tick, early_ns, &[]));
    }
    assert_eq!(fixture.finish().frames_missing, 6 + 3);
    fixture.tick_of(3, 25, late_ns, &[]);
    assert_eq!(fixture.finish().frames_missing, 6 + 3);
    // Not all have something to tell of when not all move any more.
    fixture.tick_of(0, 23, late_ns, &[]);
    assert_eq!(fixture.finish().frames_missing, 6 + 3);
}

#[test]
fn frames_of_another_world_or_grid_are_none_of_ours() {
    let mut fixture = Fixture::new();
    let mut bytes = Vec::new();
    floor::world((WORLD, 1), &[], &mut bytes);
    for at in [5, 5 + 14] {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        fixture.receive(&bytes[5..], SCHEDULE.start_ns);
    }
    // Half a section.
    fixture.receive(&bytes[5..bytes.len() - 1], SCHEDULE.start_ns);
    assert_eq!(fixture.counts().corrupted, 3);
}

#[test]
fn entities_above_all_users_are_strangers_where_there_may_be_any_and_corrupt_elsewhere() {
    for (has_strangers, corrupted, strangers) in [(false, 20, 0), (true, 0, 20)] {
        let mut fixture = Fixture::of(&walk::profile(USERS, 10_000_000_000), has_strangers);
        for number in 0..10 {
            let mut updates: Vec<[u8; 9]> = (0..USERS).map(|user| update(user, number)).collect();
            updates.push([4, 0, 1, 2, 3, 4, 5, 6, number as u8]);
            updates.push([0xff, 0xfe, 9, 9, 9, 9, 9, 9, 9]);
            fixture.tick(number, all_moved_ns(number), &updates);
        }
        let counts = fixture.counts();
        assert_eq!((counts.corrupted, fixture.checks.worlds.strangers), (corrupted, strangers));
        assert_eq!((counts.stale, counts.duplicated, counts.out_of_order), (0, 0, 0));
        assert_eq!(counts.measured, 9 * u64::from(USERS), "they are not looked for");
        // A user's entity is checked as ever.
        let mut updates: Vec<[u8; 9]> = (0..USERS).map(|user| update(user, 10)).collect();
        updates[3][4] ^= 1;
        fixture.tick(10, all_moved_ns(10), &updates);
        assert_eq!(fixture.counts().corrupted, corrupted + 1);
    }
}

#[test]
fn a_stranger_may_leave_the_world_and_a_user_may_not() {
    for (entity, corrupted, strangers) in [(3_u16, 1, 0), (4, 0, 1)] {
        let mut fixture = Fixture::of(&walk::profile(USERS, 10_000_000_000), true);
        fixture.play(0..10);
        let mut bytes = Vec::new();
        floor::world((WORLD, 10), &[], &mut bytes);
        // One leave behind no updates, which names the section's own cell.
        let end = bytes.len();
        bytes[end - 2] = 1;
        bytes.extend_from_slice(&entity.to_le_bytes());
        bytes.extend_from_slice(&[0; 11]);
        fixture.receive(&bytes[5..], all_moved_ns(9));
        let found = (fixture.counts().corrupted, fixture.checks.worlds.strangers);
        assert_eq!(found, (corrupted, strangers), "{entity}");
    }
}

/// An NPC on its way east, so many hundredths of a unit from the middle.
fn npc(entity: u16, east: i32) -> [u8; 9] {
    let [x, y] = [32_768 + east * 1_024 / 100, 32_768].map(|offset| offset as u64);
    let mut bytes = Vec::new();
    write_update(entity, x | y << 16 | 4 << 32, &mut bytes);
    bytes.try_into().unwrap()
}

/// The four users, with all 16 NPCs as they are at the tick of this number, but for a change. Those of
/// the lowest numbers go by 25 cm in a tick; so many of the others stand.
fn among_npcs(fixture: &mut Fixture, number: u32, stand: u16, change: impl Fn(&mut Vec<[u8; 9]>)) {
    let mut updates: Vec<[u8; 9]> = (0..USERS).map(|user| update(user, number)).collect();
    let goes = |entity| if entity < 20 - stand { 25 * number as i32 } else { 0 };
    updates.extend((4..20).map(|entity| npc(entity, goes(entity))));
    change(&mut updates);
    fixture.tick(number, all_moved_ns(number), &updates);
}

#[test]
fn npcs_are_known_by_keeping_to_what_npcs_keep_to() {
    type Change = fn(&mut Vec<[u8; 9]>);
    let cases: [(&str, Change, u64); 6] = [
        ("nothing", |_| {}, 0),
        ("a number too high", |updates| updates[10][0] = 20, 1),
        ("another's number", |updates| updates[10][0] = 2, 1),
        ("outside of the circle", |updates| updates[10] = npc(10, 3_150), 1),
        ("faster than any", |updates| updates[10][6] = 20, 1),
        ("not where it can be by now", |updates| updates[10] = npc(10, 300), 1),
    ];
    for (name, change, corrupted) in cases {
        let mut fixture =
            Fixture::of(&ai::profile(USERS, ai::Wander::BuiltIn, 10_000_000_000), false);
        (0..10).for_each(|number| among_npcs(&mut fixture, number, 0, |_| {}));
        among_npcs(&mut fixture, 10, 0, change);
        let expected = Counts { corrupted, ..Counts::default() };
        assert_eq!(Counts { measured: 0, ..fixture.counts() }, expected, "{name}");
        assert_eq!(fixture.checks.worlds.entities, 11 * 20, "{name}");
    }
    let mut walk = Fixture::new();
    among_npcs(&mut walk, 0, 0, |_| {});
    assert_eq!(walk.counts().corrupted, 16);
}

#[test]
fn at_the_end_all_npcs_are_known_and_have_moved_but_for_seekers() {
    // Of 40 NPCs of ten users two seek; of 16 of four users none does.
    assert_eq!(ai::profile(10, ai::Wander::BuiltIn, 1).ai.unwrap().seekers, 2);
    for (stand, gone, still, missing) in [(0, 0, 0, 0), (3, 0, 3, 0), (0, 2, 0, 2)] {
        let mut fixture =
            Fixture::of(&ai::profile(USERS, ai::Wander::BuiltIn, 10_000_000_000), false);
        let without = |updates: &mut Vec<[u8; 9]>| updates.truncate(20 - gone);
        (0..10).for_each(|number| among_npcs(&mut fixture, number, stand, without));
        let tally = fixture.finish();
        // Three of the four have got no frame at all.
        let found = (tally.npcs_still, tally.npcs_missing - 3 * 16);
        assert_eq!(found, (still, missing), "{stand} stand, {gone} gone");
    }
}
