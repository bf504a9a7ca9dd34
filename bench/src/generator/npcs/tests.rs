use super::*;
use crate::profile::ai;

const EAST: u64 = 1;
const MIDDLE_STEPS: u64 = 32_768;

fn place(x: u64, y: u64) -> u64 {
    x | y << 16
}

#[test]
fn an_npc_is_where_it_can_get_and_no_faster_than_the_fastest() {
    let middle = place(MIDDLE_STEPS, MIDDLE_STEPS);
    let out = 31 * 1_024;
    let velocity = |x: i8, y: i8| u64::from(x as u8) << 32 | u64::from(y as u8) << 40;
    for (state, right) in [
        (middle, true),
        (place(MIDDLE_STEPS + out, MIDDLE_STEPS), true),
        (place(MIDDLE_STEPS + out + 3, MIDDLE_STEPS), false),
        (place(MIDDLE_STEPS - out + 5_000, MIDDLE_STEPS - out + 5_000), false),
        (place(0, 0), false),
        (place(65_535, 65_535), false),
        (middle | velocity(7, 0), true),
        (middle | velocity(-5, 5), true),
        (middle | velocity(0, -10), false),
        (middle | velocity(-128, 127), false),
    ] {
        assert_eq!(may_be(state), right, "{state:x}");
    }
}

#[test]
fn an_npc_goes_as_far_as_it_can_since_it_was_moved_before() {
    // The fastest go 358.4 steps in a tick. Each is told at these ticks after the first, so many steps on.
    type Way<'a> = &'a [(u32, u64)];
    let cases: [(&str, Way<'_>, bool); 9] = [
        ("stands", &[(1, 0), (2, 0)], true),
        ("each tick", &[(1, 358), (2, 358), (3, 358)], true),
        ("too far in one", &[(1, 358), (2, 361)], false),
        ("one put off", &[(1, 358), (3, 716)], true),
        ("too far in two", &[(1, 358), (3, 719)], false),
        (
            "ticks skipped: a tick's way is told, and then what was missed",
            &[(1, 358), (5, 358), (6, 1_433)],
            true,
        ),
        ("more than was missed", &[(1, 358), (5, 358), (6, 1_437)], false),
        ("since an unknown time", &[(1, 3_585)], true),
        ("never for more than a second", &[(1, 358), (99, 3_588)], false),
    ];
    for (name, ways, right) in cases {
        for east in [true, false] {
            let mut sights = Sights::default();
            let mut along = MIDDLE_STEPS;
            assert!(sights.see(9, place(along, along), u32::MAX, 10));
            let fits = ways.iter().all(|(ticks, steps)| {
                along -= steps;
                let to = if east { place(along, MIDDLE_STEPS) } else { place(MIDDLE_STEPS, along) };
                sights.see(9, to, u32::MAX.wrapping_add(*ticks), 10)
            });
            assert_eq!(fits, right, "{name}");
        }
    }
}

#[test]
fn npcs_are_amiss_when_the_copy_has_not_all_or_more_or_they_stand() {
    let ai = ai::profile(5, ai::Wander::BuiltIn, 1).ai.unwrap();
    assert_eq!((ai.npcs(), ai.seekers), (20, 1));
    let all: Vec<u16> = (5..25).collect();
    let told = |npcs: &[u16], moving: usize| {
        let mut sights = Sights::default();
        for tick in 0..2 {
            for (at, npc) in npcs.iter().enumerate() {
                let east = if at < moving { EAST * u64::from(tick) } else { 0 };
                assert!(sights.see(*npc, place(MIDDLE_STEPS + east, MIDDLE_STEPS), tick, 10));
            }
        }
        sights
    };
    let amiss = |sights: &Sights| sights.amiss(&ai, |entity| entity >= 5);
    let of = |missing, still| Amiss { missing, still };
    assert_eq!(amiss(&told(&all, 20)), of(0, 0));
    assert_eq!(amiss(&told(&all, 19)), of(0, 0));
    assert_eq!(amiss(&told(&all, 17)), of(0, 2));
    assert_eq!(amiss(&told(&all[3..], 20)), of(3, 0));
    assert_eq!(amiss(&told(&(0..26).collect::<Vec<u16>>(), 26)), of(1, 0));
    let mut sights = told(&all, 20);
    sights.forget_before(1);
    assert_eq!(amiss(&sights), of(0, 0));
    sights.see(7, place(MIDDLE_STEPS, MIDDLE_STEPS), 2, 10);
    sights.forget_before(2);
    assert_eq!(amiss(&sights), of(19, 0));
    sights.forget();
    assert_eq!(amiss(&sights), of(20, 0));
}
