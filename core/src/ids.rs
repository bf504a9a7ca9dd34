//! Newtype ids. The object space is 65,536 partitions of 48-bit addresses; 64 consecutive
//! partitions are a group, the unit of placement.

use core::fmt;
use core::hash::Hasher;
use core::str::FromStr;

use siphasher::sip::SipHasher24;

/// Number of partitions of the object space.
pub const PARTITION_COUNT: usize = 1 << 16;
/// Consecutive partitions in a group.
pub const PARTITIONS_PER_GROUP: usize = 64;
/// Number of groups.
pub const GROUP_COUNT: usize = PARTITION_COUNT / PARTITIONS_PER_GROUP;
/// Bits of an address.
const ADDRESS_BITS: u32 = 48;

const _: () = assert!(GROUP_COUNT * PARTITIONS_PER_GROUP == PARTITION_COUNT);

/// One of 65,536 slices of the object space: the unit of state and of order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId(pub u16);

impl PartitionId {
    /// The partition in which a room or user of this name lives, on every node and in every
    /// version of Warren: the low 16 bits of SipHash-2-4 (Aumasson and Bernstein, 2012) of the
    /// name's bytes with a key of zeroes.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        let mut hasher = SipHasher24::new();
        hasher.write(name.as_bytes());
        Self((hasher.finish() & 0xffff) as u16)
    }

    /// The group to which this partition belongs.
    #[must_use]
    pub const fn group(self) -> GroupId {
        GroupId(self.0 / PARTITIONS_PER_GROUP as u16)
    }
}

/// 64 consecutive partitions: the unit of placement, log order and failover.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u16);

/// Position of an object in its partition, 48 bits. Zero is never given to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(u64);

impl Address {
    /// The largest address.
    pub const MAX: Self = Self((1 << ADDRESS_BITS) - 1);

    /// An address, or `None` when the number needs more than 48 bits.
    #[must_use]
    pub const fn new(value: u64) -> Option<Self> {
        if value <= Self::MAX.0 { Some(Self(value)) } else { None }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// An object's name in the whole object space: partition << 48 | address. Written `171.31`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(pub u64);

impl ObjectId {
    /// Puts a partition and an address together.
    #[must_use]
    pub const fn new(partition: PartitionId, address: Address) -> Self {
        Self((partition.0 as u64) << ADDRESS_BITS | address.0)
    }

    /// The partition in which the object lives.
    #[must_use]
    pub const fn partition(self) -> PartitionId {
        PartitionId((self.0 >> ADDRESS_BITS) as u16)
    }

    /// The object's position in its partition.
    #[must_use]
    pub const fn address(self) -> Address {
        Address(self.0 & Address::MAX.0)
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.partition().0, self.address().0)
    }
}

/// The text was not `partition.address` in canonical decimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectIdParseError;

impl FromStr for ObjectId {
    type Err = ObjectIdParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (partition, address) = text.split_once('.').ok_or(ObjectIdParseError)?;
        let partition = parse_decimal(partition)?;
        let partition = u16::try_from(partition).map_err(|_| ObjectIdParseError)?;
        let address = Address::new(parse_decimal(address)?).ok_or(ObjectIdParseError)?;
        Ok(Self::new(PartitionId(partition), address))
    }
}

/// Decimal digits only, no sign, no leading zero: one id has one text.
fn parse_decimal(text: &str) -> Result<u64, ObjectIdParseError> {
    let canonical = text.bytes().all(|byte| byte.is_ascii_digit())
        && (text.len() == 1 || !text.starts_with('0'));
    if !canonical {
        return Err(ObjectIdParseError);
    }
    text.parse().map_err(|_| ObjectIdParseError)
}

/// One pinned thread of this node and all it owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

impl ShardId {
    /// The shard's position in tables that have a row per shard.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// One socket of a shard. The generation tells apart the sockets that used one slot in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId {
    /// Slot in the shard's connection table.
    pub index: u32,
    /// Which user of the slot.
    pub generation: u32,
}

/// A user's identity across reconnects. It names the shard that keeps the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId {
    /// The shard that keeps the session.
    pub shard: ShardId,
    /// Which user of the slot.
    pub generation: u16,
    /// Slot in that shard's session table.
    pub index: u32,
}

impl SessionId {
    /// The id as one number: shard << 48 | generation << 32 | index.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        (self.shard.0 as u64) << 48 | (self.generation as u64) << 32 | self.index as u64
    }

    /// The reverse of [`to_bits`](Self::to_bits).
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self {
            shard: ShardId((bits >> 48) as u16),
            generation: (bits >> 32) as u16,
            index: bits as u32,
        }
    }
}

/// Position of a delta batch in its group, dense from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

/// Version of a group's ownership: a higher one fences a lower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u32);

#[cfg(test)]
mod tests;
