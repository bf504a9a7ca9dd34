//! Bugs planted on purpose where the simulator holds the ends: between shards, between a shard
//! and its clients, and on the way to the log. Bugs inside the engine are patches in `planted/`.

/// A planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlantedBug {
    /// Two batches of one way change places.
    BatchesReordered,
    /// A batch that finds its ring full is dropped instead of staged.
    BatchDroppedWhenFull,
    /// A shard takes nothing from the mesh while its own ways out are full.
    ReceivingStopsWhenStaged,
    /// A relay frame of a room is delivered twice.
    RoomMessageDoubled,
    /// A shard never learns that a session left a room.
    RelayLeaveLost,
    /// The shard of a displaced session never learns of it.
    DisplaceLost,
    /// A reply gets lost between two shards.
    ReplyLost,
    /// What is for a connection that is gone goes to the next one in its slot.
    StaleConnectionServed,
    /// Messages are taken from clients although the shard does not want any.
    BackpressureIgnored,
    /// A delta batch does not reach the log.
    DeltaBatchLost,
}

impl PlantedBug {
    pub(crate) const ALL: [Self; 10] = [
        Self::BatchesReordered,
        Self::BatchDroppedWhenFull,
        Self::ReceivingStopsWhenStaged,
        Self::RoomMessageDoubled,
        Self::RelayLeaveLost,
        Self::DisplaceLost,
        Self::ReplyLost,
        Self::StaleConnectionServed,
        Self::BackpressureIgnored,
        Self::DeltaBatchLost,
    ];
}
