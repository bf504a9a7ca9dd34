use warren_core::message::packed;

use super::*;

const OBJECT: ObjectId = ObjectId(5 << 48 | 3);

fn created(version: u64, fields: &[(&str, Value<'_>)]) -> Delta {
    Delta::ObjectCreated { object: OBJECT.0, version, record: packed("sword", fields) }
}

fn changed(version: u64, fields: &[(&str, Value<'_>)]) -> Delta {
    Delta::ObjectChanged { object: OBJECT.0, version, changes: packed("sword", fields) }
}

fn deleted() -> Delta {
    Delta::ObjectDeleted { object: OBJECT.0 }
}

/// Each delta in a batch of its own.
fn merge(deltas: &[Delta]) -> Result<Changes, ChangeError> {
    let mut changes = Changes::default();
    for (sequence, delta) in (1..).zip(deltas) {
        let batch = DeltaBatch { group: 0, epoch: 1, sequence, deltas: vec![delta.clone()] };
        changes.take(&batch.encode())?;
    }
    Ok(changes)
}

fn told(change: &Change) -> (u64, String, String) {
    let mut set = Vec::new();
    change.write_set(&mut set);
    (change.version, String::from_utf8(set).unwrap(), change.removed())
}

#[test]
fn the_last_word_of_each_field_counts() {
    let (one, two, null) = (Value::Integer(1), Value::Integer(2), Value::Null);
    let changes = merge(&[
        changed(8, &[("a", one), ("b", null), ("c", one)]),
        changed(9, &[("a", null), ("b", two)]),
        changed(10, &[("d", null)]),
    ])
    .unwrap();
    let Some(Merged::Changed { base, change }) = changes.objects.get(&OBJECT) else { panic!() };
    assert_eq!(*base, 7);
    assert_eq!(told(change), (10, r#"{"b":2,"c":1}"#.to_owned(), "a,d".to_owned()));
}

#[test]
fn a_new_object_has_what_is_left_of_its_fields() {
    let (one, null) = (Value::Integer(1), Value::Null);
    let changes = merge(&[
        created(1, &[("owner", Value::Text("ann")), ("a", one)]),
        changed(2, &[("a", null), ("b", one), ("c", null)]),
    ])
    .unwrap();
    let Some(Merged::Created(change)) = changes.objects.get(&OBJECT) else { panic!() };
    assert_eq!(told(change), (2, r#"{"b":1,"owner":"ann"}"#.to_owned(), String::new()));
}

#[test]
fn of_what_is_deleted_only_that_is_left() {
    for (deltas, before) in [
        (vec![created(1, &[]), changed(2, &[("a", Value::Null)]), deleted()], Before::Absent),
        (vec![changed(8, &[]), changed(9, &[]), deleted()], Before::At(7)),
        (vec![deleted()], Before::There),
    ] {
        let changes = merge(&deltas).unwrap();
        assert_eq!(changes.objects.get(&OBJECT), Some(&Merged::Deleted(before)), "{deltas:?}");
    }
}

#[test]
fn presence_members_and_watches_are_passed_over() {
    let user = || "ann".to_owned();
    let changes = merge(&[
        Delta::UserPresent { user: user(), session: 1, login: 1 },
        Delta::MemberJoined { room: OBJECT.0, user: user(), session: 1, login: 1 },
        Delta::WatchStarted { object: OBJECT.0, session: 1, user: user(), roles: 1 },
        Delta::WatchEnded { object: OBJECT.0, session: 1 },
        Delta::MemberLeft { room: OBJECT.0, user: user() },
        Delta::UserAbsent { user: user() },
    ])
    .unwrap();
    assert!(changes.objects.is_empty());
    assert!(changes.bytes > 0);
}

#[test]
fn versions_that_do_not_follow_are_a_gap() {
    let gap = |found, changed| Err(ChangeError::Gap { object: OBJECT, found, changed });
    for (deltas, expected) in [
        (vec![changed(5, &[]), changed(7, &[])], gap(5, 7)),
        (vec![changed(5, &[]), changed(5, &[])], gap(5, 5)),
        (vec![created(1, &[]), changed(3, &[])], gap(1, 3)),
        (vec![deleted(), changed(3, &[])], gap(0, 3)),
        (vec![changed(0, &[])], gap(0, 0)),
    ] {
        assert_eq!(merge(&deltas).map(drop), expected, "{deltas:?}");
    }
}

#[test]
fn bytes_that_are_no_batch_are_refused() {
    let mut changes = Changes::default();
    assert_eq!(changes.take(b"no batch"), Err(ChangeError::Malformed));
    let record = b"no record".to_vec();
    let bad = Delta::ObjectCreated { object: 1, version: 1, record };
    assert_eq!(merge(&[bad]).map(drop), Err(ChangeError::Malformed));
}
