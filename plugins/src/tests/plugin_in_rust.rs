//! What calls in Rust read and say, and how they fail. The test compiles it as a library of its own.

use warren_plugin::{Batch, Call, Failure, Near, TextList, Value};
use warren_plugin::{behaviour, field, method, plugin};

fn look(call: &mut Call) -> Result<(), Failure> {
    let target = call.target()?;
    call.reply(&[
        field("kind", target.kind()),
        field("owner", target.owner()),
        field("v", i64::try_from(target.version())?),
        field("hp", target.integer("hp")?),
        field("name", target.find_text("name").unwrap_or("nobody")),
        field("i", call.find_integer("i").unwrap_or(-1)),
        field("n", call.find_number("n").unwrap_or(0.5)),
        field("b", call.find_boolean("b").unwrap_or(false)),
        field("o", call.find_object_id("o").map_or(Value::Null, Value::from)),
        field("has", call.has("i")),
        field("user", call.user()),
        field("at", call.time_ms()),
        field("same", &target),
        field("as_came", call.value("n")),
        field("nothing", ()),
    ])
}

fn change(call: &mut Call) -> Result<(), Failure> {
    let target = call.target()?;
    call.set(&target, &[field("hp", target.integer("hp")? - 7), field("name", ())])?;
    let words = TextList::from_iter(["a", "", "bc"]);
    let bytes: &[u8] = &[0, 255];
    call.create("fang", &[field("of", &target), field("words", &words), field("bytes", bytes)])?;
    call.emit("arena", "bitten", &[field("target", &target)])
}

/// All fields of the target and of the request, as text.
fn list(call: &mut Call) -> Result<(), Failure> {
    let target = call.target()?;
    let text = |(name, value): (&str, Value)| format!("{name}:{value}");
    let texts: Vec<String> = target.all().into_iter().chain(call.all()).map(text).collect();
    let all = TextList::from_iter(texts.iter().map(String::as_str));
    let count = all.as_list().iter().count();
    assert_eq!(count, all.as_list().len());
    call.reply(&[field("all", &all)])
}

fn drop_it(call: &mut Call) -> Result<(), Failure> {
    let target = call.target()?;
    call.remove(&target)
}

/// Two events about the target, later and later still, and one about what is elsewhere.
fn plan(call: &mut Call) -> Result<(), Failure> {
    let target = call.target()?;
    let delay_ms = u64::try_from(call.integer("delay_ms")?)?;
    call.schedule("howl", delay_ms, &[field("target", &target), field("loud", true)])?;
    call.schedule("howl", delay_ms * 2, &[field("target", &target), field("key", "once")])?;
    let elsewhere = warren_plugin::ObjectId(172 << 48 | 9);
    call.schedule("howl", 0, &[field("target", elsewhere)])
}

/// What is at the end of a panic.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("and once more");
    }
}

/// `what` says how; what was said before comes to nothing.
fn fail(call: &mut Call) -> Result<(), Failure> {
    let target = call.target()?;
    call.set(&target, &[field("hp", 0)])?;
    match call.find_text("what").unwrap_or_default() {
        "said" => return Err(Failure::new("as it is")),
        "error" => drop("x".parse::<u8>()?),
        "field" => drop(call.integer("missing")?),
        "object" => drop(call.object(warren_plugin::ObjectId(1))?),
        "panic" => panic!("no place {}", 7),
        "index" => drop(call.user().as_bytes()[call.user().len()]),
        "bomb" => std::panic::panic_any(Bomb),
        "refused" => call.set(&target, &[field("hp", 1)])?,
        // Who goes on after a refusal has not done what it meant.
        "ignored" => drop(call.set(&target, &[field("hp", 1)])),
        _ => {}
    }
    Ok(())
}

/// Tells what it is told, by velocities and places.
fn mirror(batch: &mut Batch, near: &Near) {
    for at in 0..batch.len() {
        let around = near.entities(batch.numbers[at]).len() * 10;
        let members = near.members(batch.numbers[at]);
        assert!(members.iter().all(|member| member.is_member && member.position[0] == 3.0));
        batch.states[at] = if batch.states[at] < 100 { batch.states[at] + 1 } else { 1 };
        batch.velocities[at] =
            [(around + members.len()) as f32, batch.states[at] as f32, 0.0];
        batch.positions[at] = [batch.home[0] + batch.speed, batch.home[1] + batch.radius, 0.0];
    }
}

fn fall(batch: &mut Batch, _: &Near) {
    batch.velocities.fill([1.0, 1.0, 0.0]);
    batch.positions[0][0] += batch.seconds[batch.len()];
}

plugin! {
    name: "calls-rust",
    version: "3",
    methods: [
        method("look", look),
        method("change", change),
        method("listed", list),
        method("drop", drop_it),
        method("plan", plan),
        method("raise", fail).priority(2).attempts_max(5).limit_ms(7).deadline_ms(9),
    ],
    behaviours: [behaviour("mirror", mirror), behaviour("fall", fall)],
    self_check: || if cfg!(full_moon) { Err(Failure::new("the moon is full")) } else { Ok(()) },
}
