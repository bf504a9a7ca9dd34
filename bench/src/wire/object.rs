//! Requests about the one object that each user has. They are spoken over binary alone.

use warren_core::ids::ObjectId;
use warren_core::message::Value;

use super::{Protocol, Seat, Wire, binary};

/// The kind of the objects.
const KIND: &str = "item";
/// Partitions are these: neighbours have theirs far apart, so that all shards have some.
const PARTITIONS: u32 = 1 << 16;
const PARTITION_STEP: u32 = 40_503;

impl Wire {
    /// Appends the request to make the user's object.
    ///
    /// # Panics
    /// Over protocols other than binary, as all of these.
    pub fn make_object(self, seat: Seat, out: &mut Vec<u8>) {
        self.assert_binary();
        let partition = seat.user.wrapping_mul(PARTITION_STEP) % PARTITIONS;
        let fields = [
            ("kind", Value::Text(KIND)),
            ("partition", Value::Integer(i64::from(partition))),
            ("value", Value::Integer(0)),
        ];
        binary::message("create", &fields, out);
    }

    /// Appends the request to set it to this value, answered when that is durable or applied.
    pub fn set(self, object: u64, value: u32, is_durable: bool, out: &mut Vec<u8>) {
        self.assert_binary();
        let fields = [
            ("object", Value::Object(ObjectId(object))),
            ("value", Value::Integer(i64::from(value))),
            ("ack", Value::Text(if is_durable { "durable" } else { "applied" })),
        ];
        binary::message("set", &fields, out);
    }

    /// Appends the question what it is.
    pub fn get(self, object: u64, out: &mut Vec<u8>) {
        self.assert_binary();
        binary::message("get", &[("object", Value::Object(ObjectId(object)))], out);
    }

    fn assert_binary(self) {
        assert_eq!(self, Self::Server(Protocol::Binary), "objects are spoken of over binary");
    }
}
