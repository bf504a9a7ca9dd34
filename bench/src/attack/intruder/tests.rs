use warren_core::ids::ObjectId;
use warren_core::message::{Value, packed};
use warren_net::gateway::{
    DecodeState, Frame as Gated, GatewaySettings, Protocol as Gateway, decode,
};

use super::*;
use crate::attack::scenario::Scenario;

const PLACE: Place = Place { connection: 0, users: 1_000, world: Some(77) };

/// The positions of the moves in these bytes, each of which the gateway takes.
fn positions(bytes: &[u8]) -> Vec<[f32; 2]> {
    let moves: Vec<&[u8]> = bytes.chunks(4 + 1 + 28).collect();
    moves
        .into_iter()
        .map(|frame| {
            let mut bytes = frame.to_vec();
            let (settings, mut state) = (GatewaySettings::default(), DecodeState::default());
            let gated = decode(Gateway::Binary, &settings, &mut bytes, &mut state, &mut Vec::new());
            assert!(matches!(gated, Gated::Move { consumed: 33 }), "{gated:?}");
            assert_eq!(frame[5..13], 77_u64.to_le_bytes());
            let axis = |at: usize| f32::from_le_bytes(frame[at..at + 4].try_into().unwrap());
            [axis(13), axis(17)]
        })
        .collect()
}

fn step(scenario: Scenario, number: u32) -> Vec<[f32; 2]> {
    let mut out = Vec::new();
    scenario.step(PLACE, number, &mut out);
    positions(&out)
}

#[test]
fn an_intruder_moves_when_it_was_told_which_world_it_is_in() {
    for scenario in [Scenario::WorldSlowReader, Scenario::WorldFlooder, Scenario::WorldTeleporter] {
        assert!(!scenario.steps(Place { world: None, ..PLACE }), "{scenario:?}");
        assert!(scenario.steps(PLACE), "{scenario:?}");
    }
    let (mut bytes, mut refused) = (Vec::new(), Vec::new());
    let world = ("world", Value::Object(ObjectId(77)));
    let entity = ("entity", Value::Integer(1_000));
    answer("login", &[("status", Value::Integer(0))], &mut bytes);
    answer("join", &[("status", Value::Integer(429))], &mut refused);
    answer("join", &[("status", Value::Integer(0)), world, entity], &mut bytes);
    for size in [1, 7, bytes.len()] {
        let mut intruder = Intruder::default();
        let (last, before) = bytes.split_last().unwrap();
        before.chunks(size).for_each(|piece| intruder.take(piece));
        assert_eq!(intruder.world(), None, "in pieces of {size}");
        intruder.take(&[*last]);
        assert_eq!(intruder.world(), Some(77), "in pieces of {size}");
        intruder.take(&refused);
        assert_eq!(intruder.world(), Some(77));
    }
    let mut intruder = Intruder::default();
    intruder.take(&refused);
    assert_eq!(intruder.world(), None);
}

/// Appends a message as servers send it.
fn answer(method: &str, fields: &[(&str, Value<'_>)], out: &mut Vec<u8>) {
    let message = packed(method, fields);
    let length = u32::try_from(message.len() + 1).unwrap();
    out.extend_from_slice(&length.to_le_bytes());
    out.push(1);
    out.extend_from_slice(&message);
}

#[test]
fn intruders_are_among_legal_users_and_teleporters_everywhere() {
    let side = side(1_000);
    let middle = side / 2.0;
    let is_near = |[x, y]: &[f32; 2]| (x - middle).abs() <= 4.0 && *y == middle;
    for number in 0..40 {
        let moves = step(Scenario::WorldSlowReader, number);
        assert!(moves.len() == 1 && is_near(&moves[0]), "{moves:?}");
    }
    let flood = step(Scenario::WorldFlooder, 3);
    assert!(flood.len() == 50 && flood.iter().all(is_near));
    assert!(flood.windows(2).all(|two| two[0] != two[1]), "each is a move");
    let jumps: Vec<[f32; 2]> =
        (0..400).flat_map(|number| step(Scenario::WorldTeleporter, number)).collect();
    let grid = 32_767.0 * CELL_WIDTH;
    assert!(jumps.iter().flatten().all(|axis| axis.abs() < grid));
    let is_among = |jump: &&[f32; 2]| jump.iter().all(|axis| (0.0..side).contains(axis));
    let among = jumps.iter().filter(is_among).count();
    assert!((150..250).contains(&among), "{among} of 400 are among them");
    let far = jumps.windows(2).filter(|two| {
        let cells = |axis: usize| ((two[0][axis] - two[1][axis]) / CELL_WIDTH).abs();
        cells(0).max(cells(1)) > 2.0
    });
    assert!(far.count() > 300);
}
