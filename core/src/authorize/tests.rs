//! The policy against a table that was written by hand, and the rules that the configuration has.

use alloc::vec::Vec;

use super::*;
use crate::ids::ShardId;

/// What each verb comes to for a user of the role `user`, or `admin` where it says so.
///
/// `+` allowed, `F` forbidden, `O` not-owner, `M` not-a-member, `U` unknown-object. Whoever owns a
/// room or is an admin is no member of it here.
const TABLE: &str = "
                    | server user method | object of       | public room of        | secret room of  | task of
                    |                    | others own admin| others mine own admin | others mine own admin | others own admin
    hello           | +      +    +      | +      +   +    | +      +    +   +     | +      +    +   +         | +      +   +
    login           | +      +    +      | +      +   +    | +      +    +   +     | +      +    +   +         | +      +   +
    resume          | +      +    +      | +      +   +    | +      +    +   +     | +      +    +   +         | +      +   +
    ping            | +      +    +      | +      +   +    | +      +    +   +     | +      +    +   +         | +      +   +
    quit            | +      +    +      | +      +   +    | +      +    +   +     | +      +    +   +         | +      +   +
    time            | +      F    F      | F      F   F    | F      F    F   F     | U      F    F   F         | F      F   F
    create          | +      F    F      | F      F   F    | F      F    F   F     | U      F    F   F         | F      F   F
    get             | +      F    F      | +      +   +    | +      +    +   +     | U      +    +   +         | U      +   +
    set             | +      F    F      | O      +   +    | O      O    +   +     | U      O    +   +         | F      F   F
    delete          | +      F    F      | O      +   +    | O      O    +   +     | U      O    +   +         | F      F   F
    find            | +      F    F      | +      +   +    | +      +    +   +     | U      +    +   +         | U      +   +
    watch           | +      F    F      | +      +   +    | +      +    +   +     | U      +    +   +         | U      F   F
    unwatch         | +      F    F      | +      +   +    | +      +    +   +     | U      +    +   +         | F      F   F
    join            | +      F    F      | F      F   F    | +      +    +   +     | +      +    +   +         | F      F   F
    leave           | +      F    F      | F      F   F    | M      +    M   M     | U      +    M   M         | F      F   F
    rooms           | +      F    F      | F      F   F    | +      +    +   +     | U      +    +   +         | F      F   F
    who             | +      F    F      | F      F   F    | +      +    +   +     | U      +    +   +         | F      F   F
    chat            | +      +    F      | F      F   F    | M      +    M   M     | U      +    M   M         | F      F   F
    emit            | +      +    F      | F      F   F    | M      +    M   M     | U      +    M   M         | F      F   F
    move            | +      F    F      | F      F   F    | M      +    M   M     | U      +    M   M         | F      F   F
    work            | F      F    F      | F      F   F    | F      F    F   F     | F      F    F   F         | F      F   F
    begin           | F      F    F      | F      F   F    | F      F    F   F     | F      F    F   F         | F      F   F
    effect          | F      F    F      | F      F   F    | F      F    F   F     | F      F    F   F         | F      F   F
    extend          | F      F    F      | F      F   F    | F      F    F   F     | F      F    F   F         | F      F   F
    done            | F      F    F      | F      F   F    | F      F    F   F     | F      F    F   F         | F      F   F
    fail            | F      F    F      | F      F   F    | F      F    F   F     | F      F    F   F         | F      F   F
    release         | F      F    F      | F      F   F    | F      F    F   F     | F      F    F   F         | F      F   F
    thought         | F      F    F      | F      F   F    | F      F    F   F     | F      F    F   F         | F      F   F
    new-event       | +      F    F      | F      F   F    | F      F    F   F     | U      F    F   F         | F      F   F
    cancel-event    | +      F    F      | F      F   F    | F      F    F   F     | U      F    F   F         | U      +   +
    pending         | +      F    F      | F      F   F    | F      F    F   F     | U      F    F   F         | U      +   +
    register-watcher| F      F    F      | F      F   F    | F      F    F   F     | F      F    F   F         | F      F   F
    HEAR            | F      F    F      | +      +   +    | +      +    +   +     | U      +    +   +         | F      F   F
    NOTIFY          | F      F    F      | F      F   F    | M      +    M   M     | U      +    M   M         | F      F   F
    LOCATE          | F      F    F      | F      +   +    | F      F    F   F     | U      F    F   F         | F      F   F
    ASK             | F      F    +      | F      F   F    | F      F    F   F     | U      F    F   F         | F      F   F
";

/// Roles that the rules of methods name, and that of tasks, for which there is no rule.
const RULED: Roles = Roles::USER.with(Roles::ADMIN).with(Roles::WORKER).with(Roles::TASK);

const EVERYONE: [&str; 5] = ["hello", "login", "resume", "ping", "quit"];

fn subject(user: &str, roles: Roles) -> Subject<'_> {
    let session = SessionId { shard: ShardId(0), generation: 0, index: 0 };
    Subject { user, session: Some(session), roles }
}

/// The columns of the table: the target, and whether an admin asks.
fn columns() -> Vec<(Target<'static>, bool)> {
    let room = |owner, is_secret, is_member| Target::Room { owner, is_secret, is_member };
    let mut columns = Vec::new();
    columns.extend([(Target::Server, false), (Target::User, false)]);
    columns.push((Target::Method { name: "hit" }, false));
    columns.extend(
        [("bob", false), ("ann", false), ("bob", true)]
            .map(|(owner, is_admin)| (Target::Object { owner }, is_admin)),
    );
    for is_secret in [false, true] {
        columns.push((room("bob", is_secret, false), false));
        columns.push((room("bob", is_secret, true), false));
        columns.push((room("ann", is_secret, false), false));
        columns.push((room("bob", is_secret, false), true));
    }
    columns.extend(
        [("bob", false), ("ann", false), ("bob", true)]
            .map(|(owner, is_admin)| (Target::Task { owner }, is_admin)),
    );
    columns
}

fn rows() -> impl Iterator<Item = (&'static str, Verb, Vec<&'static str>)> {
    TABLE.trim().lines().skip(2).map(|line| {
        let mut words = line.split(['|', ' ']).filter(|word| !word.is_empty());
        let name = words.next().unwrap();
        let verb = match name {
            "HEAR" => Verb::Hear,
            "NOTIFY" => Verb::Notify,
            "LOCATE" => Verb::Locate,
            "ASK" => Verb::Ask,
            method => Verb::Call(Method::from_name(method).unwrap()),
        };
        (name, verb, words.collect())
    })
}

fn outcome(cell: &str) -> Result<(), Reason> {
    match cell {
        "+" => Ok(()),
        "F" => Err(Reason::Forbidden),
        "O" => Err(Reason::NotOwner),
        "M" => Err(Reason::NotAMember),
        "U" => Err(Reason::UnknownObject),
        _ => panic!("{cell}"),
    }
}

#[test]
fn every_verb_with_every_target_is_as_in_the_table() {
    let policy = Policy::default();
    let (mut methods, mut cells) = (0, 0);
    for (name, verb, row) in rows() {
        methods += usize::from(matches!(verb, Verb::Call(_)));
        assert_eq!(row.len(), columns().len(), "{name}");
        for ((target, is_admin), cell) in columns().into_iter().zip(row) {
            let role = if is_admin { Roles::ADMIN } else { Roles::USER };
            for roles in [role, role.with(Roles::USER)] {
                let decided = policy.authorize(subject("ann", roles), verb, target);
                assert_eq!(decided, outcome(cell), "{name} {target:?} {roles:?}");
                cells += 1;
            }
        }
    }
    assert_eq!((methods, cells), (Method::COUNT, 2 * columns().len() * (Method::COUNT + 4)));
}

#[test]
fn strangers_may_do_what_everyone_may_and_nothing_else() {
    let policy = Policy::default();
    for (name, verb, _) in rows() {
        for (target, _) in columns() {
            let decided = policy.authorize(Subject::STRANGER, verb, target);
            match verb {
                Verb::Call(_) if EVERYONE.contains(&name) => assert_eq!(decided, Ok(()), "{name}"),
                Verb::Call(_) => assert_eq!(decided, Err(Reason::NotLoggedIn), "{name}"),
                // Nobody's objects are not theirs.
                Verb::Hear | Verb::Notify | Verb::Locate => {}
                Verb::Ask => assert_eq!(decided, Err(Reason::NotLoggedIn)),
            }
        }
    }
    let nobody_s = Target::Object { owner: "" };
    assert_eq!(policy.authorize(Subject::STRANGER, Verb::Locate, nobody_s), Err(Reason::Forbidden));
}

/// Of an object that the server owns nobody is the owner, whatever their name.
#[test]
fn what_the_server_owns_is_the_admins() {
    let policy = Policy::default();
    let set = Verb::Call(Method::Set);
    let target = Target::Object { owner: "" };
    assert_eq!(policy.authorize(subject("", Roles::USER), set, target), Err(Reason::NotOwner));
    assert_eq!(policy.authorize(subject("ann", Roles::ADMIN), set, target), Ok(()));
}

#[test]
fn who_has_no_role_of_the_rule_is_forbidden() {
    let policy = Policy::default();
    for (name, verb, _) in rows() {
        let Verb::Call(_) = verb else { continue };
        for roles in [Roles::NONE, Roles::from_bits(!RULED.to_bits())] {
            for (target, _) in columns() {
                let decided = policy.authorize(subject("ann", roles), verb, target);
                let expected =
                    if EVERYONE.contains(&name) { Ok(()) } else { Err(Reason::Forbidden) };
                assert_eq!(decided, expected, "{name} {target:?}");
            }
        }
    }
}

/// As a new method would be that nobody wrote a rule for.
#[test]
fn a_method_without_a_rule_is_forbidden() {
    let policy = Policy { rules: [Rule::Roles(Roles::NONE); Method::COUNT], ..Policy::default() };
    for (name, verb, _) in rows() {
        let Verb::Call(_) = verb else { continue };
        let everything = subject("ann", Roles::from_bits(!Roles::TASK.to_bits()));
        let decided = policy.authorize(everything, verb, Target::Server);
        assert_eq!(decided, Err(Reason::Forbidden), "{name}");
    }
}

#[test]
fn a_rule_of_the_configuration_takes_the_place_of_the_built_in_one() {
    let mut policy = Policy::default();
    policy.add_role("bard").unwrap();
    policy.set_rule("emit", ["bard", "admin"]).unwrap();
    let bard = policy.role("bard").unwrap();
    let may = |method, roles| {
        policy.authorize(subject("ann", roles), Verb::Call(method), Target::Server).is_ok()
    };
    for (roles, emits, chats) in [
        (Roles::USER, false, true),
        (Roles::ADMIN, true, true),
        (bard, true, false),
        (bard.with(Roles::USER), true, true),
        (Roles::NONE, false, false),
    ] {
        assert_eq!((may(Method::Emit, roles), may(Method::Chat, roles)), (emits, chats));
    }
    // `say` is `chat`, so one rule holds for both.
    policy.set_rule("say", ["admin"]).unwrap();
    let chat = Verb::Call(Method::Chat);
    let decided = policy.authorize(subject("ann", Roles::USER), chat, Target::User);
    assert_eq!(decided, Err(Reason::Forbidden));
    // Nobody at all.
    policy.set_rule("get", []).unwrap();
    let get = Verb::Call(Method::Get);
    let all = Roles::from_bits(!Roles::TASK.to_bits());
    assert_eq!(policy.authorize(subject("ann", all), get, Target::Server), Err(Reason::Forbidden));
}

#[test]
fn a_rule_says_who_may_ask_for_a_method_of_others() {
    let mut policy = Policy::default();
    policy.add_role("bard").unwrap();
    policy.set_rule("hit", ["bard", "worker"]).unwrap();
    policy.set_rule("bite", []).unwrap();
    let bard = policy.role("bard").unwrap();
    let names = ["hit", "bite", "dance"];
    for (roles, expected) in [
        (Roles::USER, [false, false, true]),
        (Roles::ADMIN, [false, false, true]),
        (bard, [true, false, false]),
        (Roles::WORKER, [true, false, false]),
        (Roles::NONE, [false, false, false]),
        // What a task has done later, it may.
        (Roles::TASK, [true, true, true]),
        (Roles::from_bits(!Roles::TASK.to_bits()), [true, false, true]),
    ] {
        let decided = names.map(|name| {
            let target = Target::Method { name };
            let decided = policy.authorize(subject("ann", roles), Verb::Ask, target);
            assert!(matches!(decided, Ok(()) | Err(Reason::Forbidden)), "{name}");
            decided.is_ok()
        });
        assert_eq!(decided, expected, "{roles:?}");
    }
    for name in names {
        let target = Target::Method { name };
        let decided = policy.authorize(Subject::STRANGER, Verb::Ask, target);
        assert_eq!(decided, Err(Reason::NotLoggedIn));
        // A rule is about what is asked for, and not about what a method of the server does.
        let decided = policy.authorize(subject("ann", bard), Verb::Call(Method::Get), target);
        assert_eq!(decided, Err(Reason::Forbidden));
    }
}

#[test]
fn faults_of_a_policy_are_told() {
    let mut policy = Policy::default();
    for taken in ["user", "admin", "worker"] {
        assert_eq!(policy.add_role(taken), Err(PolicyFault::RoleTwice));
    }
    for name in ["bard"].into_iter().chain(["r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9"]) {
        policy.add_role(name).unwrap();
    }
    assert_eq!(policy.add_role("bard"), Err(PolicyFault::RoleTwice));
    for index in policy.role_names.len()..ROLES_MAX {
        policy.add_role(&alloc::format!("role{index}")).unwrap();
    }
    assert_eq!(policy.add_role("one-more"), Err(PolicyFault::TooManyRoles));
    // The highest bit is no role's: it is that of tasks.
    assert_eq!(policy.role("role30"), Some(Roles::from_bits(1 << 30)));
    assert_eq!(policy.set_rule("no name", ["user"]), Err(PolicyFault::MethodInvalid));
    assert_eq!(policy.set_rule("dance", ["users"]), Err(PolicyFault::RoleUnknown));
    assert!(policy.asked.is_empty());
    for index in 0..METHODS_MAX {
        policy.set_rule(&alloc::format!("dance{index}"), ["user"]).unwrap();
    }
    assert_eq!(policy.set_rule("dance", ["user"]), Err(PolicyFault::TooManyMethods));
    assert_eq!(policy.set_rule("dance0", ["admin"]), Ok(()));
    assert_eq!(policy.set_rule("get", ["users"]), Err(PolicyFault::RoleUnknown));
    for method in EVERYONE {
        assert_eq!(policy.set_rule(method, ["user"]), Err(PolicyFault::MethodForEveryone));
    }
}

#[test]
fn roles_are_told_apart_by_name() {
    let mut policy = Policy::default();
    policy.add_role("bard").unwrap();
    let roles = policy.roles(["bard", "unheard-of", "user"]);
    assert_eq!(policy.names(roles).collect::<Vec<_>>(), ["user", "bard"]);
    assert_eq!(policy.roles(["unheard-of"]), Roles::NONE);
    assert_eq!(policy.names(Roles::NONE).count(), 0);
}

/// A name stands here once for each method, so a new one cannot be forgotten in the rules.
#[test]
fn each_method_has_one_rule_and_its_own_name() {
    assert_eq!(BUILT_IN.len(), Method::COUNT);
    for (index, (method, _)) in BUILT_IN.iter().enumerate() {
        assert!(BUILT_IN[..index].iter().all(|(earlier, _)| earlier != method), "{method:?}");
        assert_eq!(Method::from_name(method.name()), Some(*method));
    }
}

#[test]
fn a_worker_does_tasks_and_nothing_else() {
    let policy = Policy::default();
    let worker = subject("dwarf", Roles::WORKER);
    for (name, verb, _) in rows() {
        let decided = policy.authorize(worker, verb, Target::Server);
        let is_worker_s = [
            "work",
            "begin",
            "effect",
            "extend",
            "done",
            "fail",
            "release",
            "thought",
            "register-watcher",
        ];
        let may = EVERYONE.contains(&name) || is_worker_s.contains(&name);
        assert_eq!(decided.is_ok(), may, "{name}");
    }
}

/// What a task changes is anybody's, and rooms hear of it, whoever is in them. It writes no task.
#[test]
fn a_task_changes_what_it_has_to() {
    let policy = Policy::default();
    let task = subject("dwarf", Roles::WORKER.with(Roles::TASK));
    let object = Target::Object { owner: "bob" };
    let room = Target::Room { owner: "bob", is_secret: true, is_member: false };
    for method in [Method::Set, Method::Delete] {
        assert_eq!(policy.authorize(task, Verb::Call(method), object), Ok(()));
        let other = Target::Task { owner: "bob" };
        assert_eq!(policy.authorize(task, Verb::Call(method), other), Err(Reason::Forbidden));
    }
    assert_eq!(policy.authorize(task, Verb::Notify, room), Ok(()));
    assert_eq!(policy.role("task"), None);
}
