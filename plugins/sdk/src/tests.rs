//! What the server's side of the border sees; `plugins/src/tests/rust.rs` has a real server's.

use core::ptr;

use crate::batch::{Batch, NEIGHBOURS_MAX, Near, Neighbour};
use crate::border::parts_of;
use crate::raw::{RawBatch, RawBehaviour};
use crate::testing::{Around, Npcs, Request};
use crate::{Call, Failure, ObjectId, TextList, Value, behaviour, field, method};

#[test]
fn values_are_said_as_they_are() {
    let list = TextList::from_iter(["a", "bc"]);
    for (value, text) in [
        (Value::Null, ""),
        (Value::from("x"), "x"),
        (Value::from(-7), "-7"),
        (Value::from(2.5), "2.5"),
        (Value::from(true), "true"),
        (Value::from(false), "false"),
        (Value::from(&[0_u8, 255][..]), "00ff"),
        (Value::from(ObjectId(171 << 48 | 9)), "171.9"),
        (Value::from(&list), "a|bc"),
    ] {
        let said = field("n", value);
        assert_eq!(parts_of(&said), ("n", value));
        assert_eq!(value.to_string(), text);
    }
    assert_eq!(ObjectId::parse("171.9"), Some(ObjectId(171 << 48 | 9)));
    for text in ["171", "65536.1", "1.281474976710656", "1.x", "."] {
        assert_eq!(ObjectId::parse(text), None, "{text}");
    }
}

/// A list that says more than it has is read as far as it goes.
#[test]
fn a_list_that_is_cut_off_ends() {
    let list = TextList::from_iter(["a", "bc"]);
    let Value::List(whole) = Value::from(&list) else { unreachable!() };
    assert_eq!(whole.iter().collect::<Vec<_>>(), ["a", "bc"]);
    let cut = crate::List::of(2, &list.bytes()[..list.bytes().len() - 1]);
    assert_eq!(cut.iter().collect::<Vec<_>>(), ["a"]);
}

fn attack(call: &mut Call) -> Result<(), Failure> {
    let wolf = call.target()?;
    let hp = wolf.integer("hp")? - call.integer("damage")?;
    if hp <= 0 {
        call.remove(&wolf)?;
    } else {
        call.set(&wolf, &[field("hp", hp)])?;
    }
    call.create("wound", &[field("of", &wolf), field("at", call.time_ms())])?;
    call.emit(call.text("room")?, "hit", &[field("by", call.user())])?;
    assert_ne!(call.integer("damage")?, 13, "bad luck");
    call.reply(&[field("hp", hp)])?;
    assert_eq!(wolf.version(), 7);
    call.reply(&[field("kind", wolf.kind()), field("owner", wolf.owner())])
}

#[test]
fn a_method_is_tried_without_a_server() {
    let request = |damage: &str| {
        let request = Request::by("ann").at_ms(9).field("damage", damage).field("room", "arena");
        request.target("wolf", &[field("hp", 20)])
    };
    let outcome = request("7").run(attack);
    let told = ["set 1.1 hp=13", "create wound of=1.1 at=9", "emit arena hit by=ann"];
    assert_eq!(outcome.effects, told);
    assert_eq!(outcome.answer.unwrap(), "hp=13 kind=wolf owner=ann");
    assert_eq!(request("20").run(attack).effects[0], "remove 1.1");
    // As the server does it, the request says which object it is about; the first is, and what is said stays.
    let asked = |request: Request| {
        let again = request.target("wolf", &[]).target("wolf", &[]);
        again.run(|call| call.reply(&[field("target", call.object_id("target")?)])).answer
    };
    assert_eq!(asked(Request::by("ann")).unwrap(), "target=1.1");
    assert_eq!(asked(Request::by("ann").field("target", "1.2")).unwrap(), "target=1.2");
    let why = |request: Request| request.run(attack).answer.unwrap_err();
    assert!(why(request("13")).contains("bad luck"));
    assert_eq!(why(request("x")), "the field `damage` is missing, or no such value");
    assert_eq!(why(Request::by("ann")), "there is no such target");
}

/// Each goes where its state says, and turns to who is near.
fn step(batch: &mut Batch, near: &Near) {
    for index in 0..batch.len() {
        assert_ne!(batch.states[index], 13, "bad luck");
        batch.positions[index][0] += batch.speed * batch.seconds[index];
        batch.velocities[index] = [batch.speed, 0.0, 0.0];
        batch.states[index] += batch.tick;
        let entities = near.entities(batch.numbers[index]);
        batch.headings[index] = (entities.len() * 100 + near.members(0).len()) as f32;
    }
}

#[test]
fn events_are_told_without_a_server() {
    let outcome = Request::by("ann").target("wolf", &[]).run(|call| {
        let wolf = call.target()?;
        call.schedule("wolf.howl", 500, &[field("target", &wolf), field("loud", true)])
    });
    assert_eq!(outcome.effects, ["schedule wolf.howl in 500 ms target=1.1 loud=true"]);
}

#[test]
fn a_behaviour_is_tried_without_a_server() {
    let mut npcs = Npcs::new(2);
    npcs.states[1] = 5;
    let around = Around {
        entities: vec![Neighbour::default(); NEIGHBOURS_MAX + 1],
        members: vec![Neighbour::default(); 2],
    };
    npcs.think(step, &around);
    npcs.think(step, &around);
    assert_eq!(npcs.positions, [[2.0, 0.0, 0.0]; 2]);
    assert_eq!((npcs.states, npcs.headings), (vec![1, 6], vec![1602.0; 2]));
}

#[test]
fn an_npc_goes_as_fast_as_it_may_and_stops_where_it_wants_to_be() {
    fn up(batch: &mut Batch, _: &Near) {
        batch.go_to(0, [0.0, 3.0, 0.0]);
    }
    let mut npcs = Npcs::new(1);
    (npcs.speed, npcs.seconds[0]) = (4.0, 0.5);
    let mut step = || {
        npcs.think(up, &Around::default());
        (npcs.positions[0], npcs.velocities[0], npcs.headings[0])
    };
    assert_eq!(step(), ([0.0, 2.0, 0.0], [0.0, 4.0, 0.0], 90.0));
    assert_eq!(step(), ([0.0, 3.0, 0.0], [0.0; 3], 90.0));
    assert_eq!(step(), ([0.0, 3.0, 0.0], [0.0; 3], 90.0));
}

/// What the server does with a behaviour's row: two NPCs, each array where the header says.
fn think(raw: &RawBehaviour, states: &mut [u64; 2]) -> ([[f32; 3]; 2], [[f32; 3]; 2], [f32; 2]) {
    let (numbers, seconds) = ([3, 4], [1.0, 0.5]);
    let (mut positions, mut velocities) = ([[0.0; 3], [1.0; 3]], [[0.0; 3]; 2]);
    let mut headings = [0.0; 2];
    let around = Around { entities: vec![Neighbour::default(); 3], members: Vec::new() };
    let mut batch = RawBatch {
        size: size_of::<RawBatch>() as u32,
        count: 2,
        tick: 10,
        speed: 4.0,
        radius: 1.0,
        home: [0.0; 3],
        dims: 2,
        numbers: numbers.as_ptr(),
        seconds: seconds.as_ptr(),
        positions: positions.as_mut_ptr(),
        velocities: velocities.as_mut_ptr(),
        headings: headings.as_mut_ptr(),
        states: states.as_mut_ptr(),
    };
    crate::testing::think_raw(raw, &mut batch, &around);
    (positions, velocities, headings)
}

#[test]
fn a_behaviour_of_the_table_moves_what_the_server_gives() {
    let row = behaviour("step", step).0;
    assert_eq!((row.size, row.name.length), (40, 4));
    let mut states = [1, 2];
    let (positions, velocities, headings) = think(&row, &mut states);
    assert_eq!(positions, [[4.0, 0.0, 0.0], [3.0, 1.0, 1.0]]);
    assert_eq!((states, headings), ([11, 12], [300.0; 2]));
    assert_eq!(velocities, [[4.0, 0.0, 0.0]; 2]);
    // One that panics ends where it is, and the server goes on.
    let mut states = [1, 13];
    let (positions, velocities, _) = think(&row, &mut states);
    assert_eq!((positions, states), ([[4.0, 0.0, 0.0], [1.0; 3]], [11, 13]));
    assert_eq!(velocities, [[0.0; 3]; 2]);
}

#[test]
fn an_empty_batch_is_one() {
    let row = behaviour("step", step).0;
    let mut batch = RawBatch {
        size: size_of::<RawBatch>() as u32,
        count: 0,
        tick: 0,
        speed: 0.0,
        radius: 0.0,
        home: [0.0; 3],
        dims: 3,
        numbers: ptr::null(),
        seconds: ptr::null(),
        positions: ptr::null_mut(),
        velocities: ptr::null_mut(),
        headings: ptr::null_mut(),
        states: ptr::null_mut(),
    };
    crate::testing::think_raw(&row, &mut batch, &Around::default());
}

#[test]
fn a_method_s_options_are_the_table_s() {
    let plain = method("m", attack).0;
    let numbers = |raw: &crate::raw::RawMethod| {
        (raw.size, raw.priority, raw.attempts_max, raw.limit_ms, raw.deadline_ms)
    };
    assert_eq!(numbers(&plain), (64, 0, 0, 0, 0));
    let all = method("m", attack).priority(0).attempts_max(2).limit_ms(3).deadline_ms(4).0;
    assert_eq!(numbers(&all), (64, 1, 2, 3, 4));
}
