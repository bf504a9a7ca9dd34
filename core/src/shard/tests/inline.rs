//! Methods that code beside the server's own does in their turn, here in Rust: what it reads, what comes of
//! what it says, and when one table takes the other's place.

use super::*;
use crate::control::{Answer, Command};
use crate::inline::{
    EffectFields, INLINE_EFFECTS_MAX, InlineCall, InlineCode, InlineFault, InlineMethods,
    InlineTable,
};

pub(super) type Does = fn(&mut InlineCall<'_>) -> Result<(), Reason>;

#[derive(Debug)]
struct Code(Does);

impl InlineCode for Code {
    fn call(&self, _: usize, call: &mut InlineCall<'_>) -> Result<(), Reason> {
        (self.0)(call)
    }
}

pub(super) fn integer(
    name: &'static str,
    value: i64,
) -> impl FnOnce(&mut EffectFields<'_>) -> Result<(), Reason> {
    move |fields| fields.field(name.as_bytes(), Value::Integer(value))
}

fn number(call: &InlineCall<'_>, field: &str) -> i64 {
    call.message().get(field).and_then(Value::as_integer).unwrap_or(0)
}

/// Takes some of the target's `hp`, tells the arena, and says what is left.
fn hit(call: &mut InlineCall<'_>) -> Result<(), Reason> {
    let target = call.target().ok_or(Reason::FieldMissing)?;
    let object = call.object(target).ok_or(Reason::UnknownObject)?;
    let hp = object.get("hp").and_then(Value::as_integer).unwrap_or(0) - number(call, "damage");
    call.set(target, Some(object.version()), integer("hp", hp))?;
    call.emit("arena", "hit", integer("hp", hp))?;
    call.create("wound", integer("depth", number(call, "damage")))?;
    call.reply(integer("hp", hp))?;
    let user = call.user();
    call.reply(|fields| fields.field(b"by", Value::Text(user)))
}

pub(super) fn methods(list: &[(&str, Does)], label: &str) -> Command {
    let mut methods = InlineMethods::default();
    for (name, does) in list {
        methods.add(name, (Arc::new(Code(*does)), 0), label).unwrap();
    }
    Command::SetInline(InlineTable { methods: Arc::new(methods), ..InlineTable::default() })
}

pub(super) fn command(world: &mut World, command: Command) -> String {
    let inputs = ShardInputs { commands: vec![command], ..ShardInputs::default() };
    let heard = world.turn(&inputs);
    assert_eq!(world.outputs.answers, [Answer::InlineSet]);
    heard
}

fn begun(list: &[(&str, Does)]) -> World {
    let mut world = World::new(Limits::PRODUCTION);
    command(&mut world, methods(list, "combat@1.0"));
    for (connection, user) in [(1, "ann"), (2, "bob")] {
        world.run(&format!("{connection} open ; {connection} login user={user}"));
    }
    world.run("1 create kind=wolf partition=171 hp=9 ; 2 join room=arena");
    world
}

#[test]
fn a_call_says_who_owns_what_it_makes() {
    let mut world = begun(&[("hunt", |call| {
        call.create("fang", |fields| fields.field(b"owner", Value::Text("")))?;
        call.create("fur", |fields| fields.field(b"owner", Value::Text("bob")))?;
        call.create("claw", |_| Ok(()))
    })]);
    check_in(
        &mut world,
        "
        1 hunt target=171.1
            1: hunt status=0
        1 get object=171.2 ; 1 get object=171.3 ; 1 get object=171.4
            1: get status=0 kind=fang version=1
            1: get status=0 kind=fur version=1 owner=bob
            1: get status=0 kind=claw version=1 owner=ann
        1 set object=171.2 sharp=1
            1: set status=403 error=not-owner
        ",
    );
}

#[test]
fn what_a_call_says_happens_with_its_answer_or_not_at_all() {
    let mut world = begun(&[("hit", hit)]);
    check_in(
        &mut world,
        "
        1 hit target=171.1 damage=4 id=a
            1: hit id=a status=0 hp=5 by=ann
            2: emit room=arena from=ann event=hit hp=5 seq=1
        2 get object=171.1 ; 2 find kind=wound partition=171 ; 2 get object=171.2
            2: get status=0 kind=wolf version=2 owner=ann hp=5
            2: find status=0 objects=171.2
            2: get status=0 kind=wound version=1 owner=ann depth=4
        2 hit object=171.1 damage=1 plugin=true
            2: hit status=0 hp=4 by=bob plugin=combat@1.0
            2: emit room=arena from=bob event=hit hp=4 seq=2
        2 hit target=171.1 damage=0 plugin=maybe
            2: hit status=400 error=field-invalid
        2 hit target=171.9 damage=1
            2: hit status=404 error=unknown-object
        2 hit target=171.1 damage=1 key=k
            2: hit status=400 error=field-invalid
        2 hit target=wolf
            2: hit status=400 error=field-invalid
        2 get object=171.1
            2: get status=0 kind=wolf version=3 owner=ann hp=4
        ",
    );
    let batches = world.deltas.iter().rev().map(|batch| batch.deltas.len());
    assert_eq!(batches.take(2).collect::<Vec<_>>(), [2, 2], "a call's changes are one batch");
    replays_to_the_same_state(&world, Limits::PRODUCTION);
}

/// What happens when this is said, and what of it has happened.
#[track_caller]
fn refused(does: Does, reason: Reason) {
    let mut world = begun(&[("try", does)]);
    let heard = world.run("1 try object=171.1");
    let (status, word) = (reason.status(), reason.word());
    let limit = reason.limit().map_or(String::new(), |limit| format!(" limit={limit}"));
    assert_eq!(heard, format!("1: try status={status} error={word}{limit}\n"));
    let wolf = "1: get status=0 kind=wolf version=1 owner=ann hp=9\n";
    assert_eq!(world.run("1 get object=171.1"), wolf, "{word}");
    // The next call begins anew.
    command(&mut world, methods(&[("try", |_| Ok(()))], "b@2"));
    assert_eq!(world.run("1 try object=171.1"), "1: try status=0\n");
}

const WOLF: ObjectId = ObjectId(171 << 48 | 1);

fn set_hp(call: &mut InlineCall<'_>) -> Result<(), Reason> {
    call.set(WOLF, None, integer("hp", 1))
}

#[test]
fn whatever_cannot_be_fails_the_whole_call() {
    refused(|_| Err(Reason::PluginFailed), Reason::PluginFailed);
    refused(|_| Err(Reason::PluginDisabled), Reason::PluginDisabled);
    refused(
        |call| {
            set_hp(call)?;
            Err(Reason::PluginFailed)
        },
        Reason::PluginFailed,
    );
    // Code that goes on after a refusal, and says that all is well.
    refused(
        |call| {
            let _ = call.create("two words", |_| Ok(()));
            let _ = set_hp(call);
            Ok(())
        },
        Reason::BadName,
    );
    refused(|call| set_hp(call).and_then(|()| call.delete(WOLF)), Reason::FieldInvalid);
    refused(|call| call.delete(ObjectId(172 << 48 | 1)), Reason::OtherPartition);
    refused(|call| call.delete(ObjectId(171 << 48 | 7)), Reason::UnknownObject);
    refused(|call| call.emit("lobby", "hit", |_| Ok(())), Reason::Lobby);
    refused(|call| call.set(WOLF, Some(7), integer("hp", 1)), Reason::VersionConflict);
    refused(|call| call.set(WOLF, Some(u64::MAX), integer("hp", 1)), Reason::FieldInvalid);
    refused(|call| call.create("task", |_| Ok(())), Reason::FieldInvalid);
    refused(|call| call.create("user", |_| Ok(())), Reason::FieldInvalid);
    refused(|call| call.reply(integer("status", 1)), Reason::ReservedField);
    refused(|call| call.reply(integer("msg", 1)), Reason::ReservedField);
    refused(|call| call.emit("arena", "hit", integer("seq", 1)), Reason::ReservedField);
    refused(|call| call.set(WOLF, None, integer("object", 1)), Reason::DuplicateField);
    refused(
        |call| call.reply(integer("a", 1)).and_then(|()| call.reply(integer("a", 1))),
        Reason::DuplicateField,
    );
    refused(|call| call.set(WOLF, None, integer("bad name", 1)), Reason::BadName);
    let text: Does = |call| call.reply(|fields| fields.field(b"a", Value::Text("\u{1}")));
    refused(text, Reason::ControlCharacter);
    let float: Does = |call| call.reply(|fields| fields.field(b"a", Value::Float(f64::NAN)));
    refused(float, Reason::FieldInvalid);
}

#[test]
fn a_call_says_a_bounded_number_of_things() {
    let many: Does = |call| {
        for _ in 0..INLINE_EFFECTS_MAX {
            call.create("wound", |_| Ok(())).expect("that many are fine");
        }
        call.create("wound", |_| Ok(()))
    };
    refused(many, Reason::EffectsTooLarge);
    let huge: Does = |call| {
        let bytes = vec![7; Limits::PRODUCTION.effects_bytes_max];
        call.reply(|fields| fields.field(b"a", Value::Bytes(&bytes)))
    };
    refused(huge, Reason::EffectsTooLarge);
    let fields: Does = |call| {
        let name = |number: usize| format!("f{number}");
        (0..=48).try_for_each(|number| {
            call.reply(|fields| fields.field(name(number).as_bytes(), Value::Null))
        })
    };
    refused(fields, Reason::TooManyFields);
    let effects: Does = |call| {
        let bytes = vec![7; Limits::PRODUCTION.effects_bytes_max / 3];
        (0..4).try_for_each(|_| {
            call.create("wound", |fields| fields.field(b"a", Value::Bytes(&bytes)))
        })
    };
    refused(effects, Reason::EffectsTooLarge);
}

#[test]
fn what_waits_is_done_by_the_table_of_its_turn() {
    let old: Does = |call| {
        call.set(WOLF, None, integer("version_said", 1))?;
        call.reply(integer("said", 1))
    };
    let new: Does = |call| {
        call.set(WOLF, None, integer("version_said", 2))?;
        call.reply(integer("said", 2))
    };
    let limits = Limits { turn_events_max: 1, ..Limits::PRODUCTION };
    let mut world = World::new(limits);
    command(&mut world, methods(&[("tell", old)], "a@1"));
    world.run("1 open ; 1 login user=ann");
    world.settle();
    world.run("1 create kind=wolf partition=171 hp=9");
    world.settle();
    let ask = "1 tell object=171.1 plugin=true";
    assert_eq!(
        world.run(&format!("{ask} ; {ask} ; {ask}")),
        "1: tell status=0 said=1 plugin=a@1\n"
    );
    let heard = command(&mut world, methods(&[("tell", new)], "a@2"));
    assert_eq!(heard, "1: tell status=0 said=2 plugin=a@2\n");
    // Without the method nobody does what waits still.
    let heard = command(&mut world, methods(&[], ""));
    assert_eq!(heard, "1: tell status=404 error=unknown-method\n");
    let wolf = "1: get status=0 kind=wolf version=3 owner=ann hp=9 version_said=2\n";
    assert_eq!(world.run("1 get object=171.1"), wolf);
    assert_eq!(world.run(ask), "1: tell status=404 error=unknown-method\n");
}

#[test]
fn a_method_that_is_done_inline_goes_to_no_worker() {
    let mut world = World::with_settings({
        let mut task_methods = TaskMethods::default();
        task_methods.add("tell").unwrap();
        ShardSettings { task_methods, ..settings(Limits::PRODUCTION) }
    });
    world.run("1 open ; 1 login user=ann");
    assert_eq!(world.run("1 tell id=a"), "", "it waits for a worker");
    command(&mut world, methods(&[("tell", |call| call.reply(integer("said", 1)))], "a@1"));
    // What waited is done in the same way.
    let both = "1: tell id=a status=0 said=1\n1: tell id=b status=0 said=1\n";
    assert_eq!(world.run("1 tell id=b"), both);
    assert_eq!(world.shard.counters().tasks_waiting, 0);
}

#[test]
fn an_answer_waits_for_the_log_when_it_is_asked_to() {
    let mut world =
        World::with_settings(ShardSettings { has_log: true, ..settings(Limits::PRODUCTION) });
    command(&mut world, methods(&[("hit", hit), ("look", |_| Ok(()))], "combat@1.0"));
    check_in(
        &mut world,
        "
        1 open ; 1 login user=ann
            1: login status=0 session=0000000000000000 object=12626.1
        1 create kind=wolf partition=171 hp=9
            1: create status=0 object=171.1 version=1
        log 2
        1 hit target=171.1 damage=1 ack=durable
        1 hit target=171.1 damage=1
            1: hit status=0 hp=7 by=ann
        log 1
            1: hit status=0 hp=8 by=ann
        1 look ack=durable
            1: look status=0
        1 look ack=soon
            1: look status=400 error=field-invalid
        log fails
        1 hit target=171.1 damage=1 ack=durable
            1: hit status=501 error=level-unavailable
        ",
    );
}

#[test]
fn calls_that_take_long_leave_the_rest_to_the_next_turn() {
    let slow: Does = |call| {
        call.note_busy_ns(Limits::PRODUCTION.turn_events_max as u64 * 1_000);
        call.reply(integer("said", 1))
    };
    let mut world = begun(&[("tell", slow)]);
    assert_eq!(world.run("1 tell id=a ; 1 tell id=b"), "1: tell id=a status=0 said=1\n");
    assert_eq!(world.run("+0"), "1: tell id=b status=0 said=1\n");
}

#[test]
fn only_methods_of_nobody_else_may_be_done_inline() {
    let mut methods = InlineMethods::default();
    let mut add = |name: &str| methods.add(name, (Arc::new(Code(hit)), 0), "a@1");
    assert_eq!(add("hit"), Ok(()));
    assert_eq!(add("hit"), Err(InlineFault::Taken));
    assert_eq!(add("say"), Err(InlineFault::BuiltIn));
    assert_eq!(add("two words"), Err(InlineFault::NameInvalid));
    for number in 1..crate::inline::INLINE_METHODS_MAX {
        add(&format!("m{number}")).unwrap();
    }
    assert_eq!(add("more"), Err(InlineFault::TooMany));
}

#[test]
fn strangers_have_nothing_done_inline() {
    let mut world = begun(&[("hit", hit)]);
    world.run("3 open");
    let heard = world.run("3 hit target=171.1");
    assert_eq!(heard, "3: hit status=401 error=not-logged-in\n");
}
