use alloc::string::ToString;

use super::*;

#[test]
fn object_ids_have_one_text_each() {
    let id = ObjectId::new(PartitionId(171), Address::new(31).unwrap());
    assert_eq!(id.to_string(), "171.31");
    assert_eq!("171.31".parse(), Ok(id));
    assert_eq!("65535.281474976710655".parse(), Ok(ObjectId(u64::MAX)));
    for text in
        ["", ".", "1", "1.", ".1", "01.1", "1.01", "+1.1", "65536.1", "1.281474976710656", "1.2.3"]
    {
        assert_eq!(text.parse::<ObjectId>(), Err(ObjectIdParseError), "{text}");
    }
}

#[test]
fn names_keep_their_partition_for_ever() {
    // Changing these moves every room and user of an existing world.
    let partitions = ["lobby", "room1", "ann", ""].map(|name| PartitionId::of_name(name).0);
    assert_eq!(partitions, [14035, 44740, 12626, 215]);
}

#[test]
fn session_ids_survive_their_packed_form() {
    let id = SessionId { shard: ShardId(513), generation: 7, index: 0xdead_beef };
    assert_eq!(SessionId::from_bits(id.to_bits()), id);
}
