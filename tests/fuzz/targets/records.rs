//! What comes from the disk or from a peer: deltas and stored objects. Checksums come before, so
//! these bytes are rarely wrong; when they are, they are refused and not believed.

use warren_core::delta::{Delta, DeltaBatch};
use warren_core::ids::ObjectId;
use warren_core::message::{Message, Value, packed};
use warren_storage::object_record::{ObjectDecodeError, ObjectRecordV2};

use super::{Behaviour, Target};
use crate::corpus::Seed;
use crate::heap::heap_of;
use crate::prng::Prng;

/// Heap of what is read, for each byte: the smallest delta of an archive takes 1 byte for its kind
/// and its fields, and as many as the largest in memory.
const HEAP_FACTOR: u64 = 8;
const HEAP_BYTES: u64 = 512;

const WORDS: &[&[u8]] = &[
    b"\0",
    b"\x01",
    b"\x02",
    b"\x03",
    b"\x04",
    b"\x05",
    b"\x06",
    b"\x07",
    b"\x08",
    b"\x09",
    b"\xff",
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\xf0\xff\xff\xff",
    b"\0\0\0\x80",
    b"\xff\xff\xff\x7f",
    b"\x04user",
    b"\x04room",
    b"ann",
    b"\x01\0\0\0\0\0\0\0",
];

pub(crate) const DELTA_BATCH: Target = Target {
    name: "delta-batch",
    words: WORDS,
    seeds: batches,
    check: check_batch,
    inputs: 200_000,
};

pub(crate) const OBJECT_RECORD: Target = Target {
    name: "object-record",
    words: WORDS,
    seeds: records,
    check: check_record,
    inputs: 200_000,
};

fn record() -> Vec<u8> {
    let fields = [("owner", Value::Text("ann")), ("n", Value::Integer(7)), ("t", Value::Text("é"))];
    packed("lamp", &fields)
}

fn batches() -> Vec<Seed> {
    let object = "171.31".parse::<ObjectId>().expect("an id").0;
    let (user, session) = ("ann".to_owned(), 5);
    let deltas = vec![
        Delta::ObjectCreated { object, version: 1, record: record() },
        Delta::ObjectChanged { object, version: 2, changes: packed("lamp", &[("n", Value::Null)]) },
        Delta::ObjectDeleted { object },
        Delta::UserPresent { user: user.clone(), session, login: 1 },
        Delta::UserAbsent { user: user.clone() },
        Delta::MemberJoined { room: object, user: user.clone(), session, login: 1 },
        Delta::MemberLeft { room: object, user: "a name that does not fit in place".into() },
        Delta::WatchStarted { object, session, user, roles: 3 },
        Delta::WatchEnded { object, session },
    ];
    let single = deltas.iter().map(std::slice::from_ref);
    let all = single.chain([&deltas[..], &[]]).enumerate();
    all.map(|(index, deltas)| Seed {
        name: format!("batch {index}"),
        bytes: DeltaBatch { group: 7, epoch: 3, sequence: 9, deltas: deltas.to_vec() }
            .encode()
            .to_vec(),
    })
    .collect()
}

fn records() -> Vec<Seed> {
    let record = record();
    let seeds = [(1, &record[..]), (u64::MAX, &record[..6]), (0, b"")];
    let seed = |(version, record)| {
        let mut bytes = Vec::new();
        ObjectRecordV2 { version, sequence: version / 2, record }.encode(&mut bytes);
        Seed { name: format!("version {version}"), bytes }
    };
    seeds.into_iter().map(seed).collect()
}

fn check_batch(bytes: &[u8], _: &mut Prng) -> Behaviour {
    let mut decoded = None;
    let (peak, _) = heap_of(|| decoded = DeltaBatch::decode(bytes).ok());
    let allowed = HEAP_FACTOR * bytes.len() as u64 + HEAP_BYTES;
    assert!(peak <= allowed, "{peak} bytes of heap for {}", bytes.len());
    let Some(batch) = decoded else { return Behaviour::of(0) };
    assert_eq!(DeltaBatch::decode(&batch.encode()).as_ref(), Ok(&batch), "not the same again");
    let kinds = batch.deltas.iter().take(12).map(std::mem::discriminant).collect::<Vec<_>>();
    Behaviour::of((1, kinds))
}

fn check_record(bytes: &[u8], _: &mut Prng) -> Behaviour {
    let mut decoded = Err(ObjectDecodeError::Malformed);
    let (peak, _) = heap_of(|| decoded = ObjectRecordV2::decode(bytes));
    assert_eq!(peak, 0, "it is read in place");
    let object = match decoded {
        Ok(object) => object,
        Err(ObjectDecodeError::FormatUnknown(_)) => return Behaviour::of(0),
        Err(ObjectDecodeError::Malformed) => return Behaviour::of(1),
    };
    assert!(bytes.as_ptr_range().contains(&object.record.as_ptr()) || object.record.is_empty());
    let mut again = Vec::new();
    object.encode(&mut again);
    assert_eq!(ObjectRecordV2::decode(&again), Ok(object), "not the same again");
    // The next check on the way into a partition.
    match Message::parse(object.record) {
        Ok(message) => Behaviour::of((2, message.field_count())),
        Err(reason) => Behaviour::of((3, reason.word())),
    }
}
