use alloc::vec::Vec;

use super::*;

const ID: ObjectId = ObjectId(9 << 48 | 1);

/// A record of texts, by its kind and `name=text`.
fn packed(record: &str) -> Vec<u8> {
    let mut words = record.split(' ');
    let kind = words.next().expect("a kind");
    let fields = words.map(|word| word.split_once('=').expect("a name and a text"));
    let fields: Vec<_> = fields.map(|(name, text)| (name, Value::Text(text))).collect();
    crate::message::packed(kind, &fields)
}

fn digest(record: &[u8]) -> u64 {
    object_digest(ID, 1, Message::from_checked(record))
}

#[test]
fn a_digest_is_of_values_and_not_of_their_order() {
    let one = packed("sword owner=ann weight=7 colour=red");
    assert_eq!(digest(&one), digest(&packed("sword colour=red weight=7 owner=ann")));
    for other in [
        "shield owner=ann weight=7 colour=red",
        "sword owner=bob weight=7 colour=red",
        "sword owner=ann weight=8 colour=red",
        "sword owner=ann weights=7 colour=red",
        "sword owner=ann weight=7 colour=re",
        "sword owner=ann weight=7",
        "sword weight=7 colour=red",
        "sword owner=red weight=7 colour=ann",
    ] {
        assert_ne!(digest(&one), digest(&packed(other)), "{other}");
    }
    let message = Message::from_checked(&one);
    let next = ObjectId(ID.0 + 1);
    assert_ne!(object_digest(next, 1, message), digest(&one));
    assert_ne!(object_digest(ID, 2, message), digest(&one));
}

#[test]
fn a_digest_tells_types_apart() {
    let of = |value: Value<'_>| digest(&crate::message::packed("k", &[("a", value)]));
    let values = [
        Value::Text("1"),
        Value::Integer(1),
        Value::Float(1.0),
        Value::Float(0.0),
        Value::Float(-0.0),
        Value::Boolean(true),
        Value::Bytes(b"1"),
        Value::Object(ObjectId(1)),
    ];
    for (index, one) in values.iter().enumerate() {
        for other in &values[..index] {
            assert_ne!(of(*one), of(*other), "{one:?} {other:?}");
        }
    }
}

#[test]
fn a_partition_alone_takes_what_a_start_would() {
    let name = "hall";
    let home = PartitionId::of_name(name);
    let mut partition = Partition::alone(home, HashSeed(1, 2));
    let id = |address| ObjectId::new(home, Address::new(address).unwrap());
    let room = packed("room name=hall");
    assert_eq!(partition.restore(id(3), 0, &room), Err(RestoreError::VersionMissing));
    assert_eq!(partition.restore(id(3), 7, b"room"), Err(RestoreError::RecordMalformed));
    assert_eq!(partition.restore(id(3), 7, &packed("room")), Err(RestoreError::NameInvalid));
    partition.restore(id(3), 7, &room).unwrap();
    let before = Err(RestoreError::AddressOutOfOrder);
    assert_eq!(partition.restore(id(3), 1, &packed("sword")), before);
    assert_eq!(partition.restore(id(4), 1, &room), Err(RestoreError::NameTwice));
    partition.restore(id(9), 1, &packed("sword")).unwrap();
    assert_eq!((partition.object_count(), partition.next_address().get()), (2, 10));
}
