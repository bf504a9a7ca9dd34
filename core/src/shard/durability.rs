//! What of a shard's changes is durable: up to which sequence of each group, as the log says.

use super::Shard;
use crate::ids::{GroupId, Sequence};

impl Shard {
    /// Up to this sequence every delta batch of the group is durable: the last one, when there is no
    /// log whose word there would be to wait for.
    #[must_use]
    pub fn durable_sequence(&self, group: GroupId) -> Sequence {
        let has_log = self.settings.has_log;
        let sequences = if has_log { &self.durable_sequences } else { &self.group_sequences };
        Sequence(sequences[usize::from(group.0)])
    }

    /// The log has every delta batch of the group up to this one.
    ///
    /// # Panics
    /// When there is no log, when the group has no such batch, or when the log had more already.
    pub fn note_durable(&mut self, group: GroupId, sequence: Sequence) {
        assert!(self.settings.has_log, "only a log says what is durable");
        let last = self.group_sequences[usize::from(group.0)];
        let durable = &mut self.durable_sequences[usize::from(group.0)];
        assert!(sequence.0 <= last, "what is durable was made");
        assert!(sequence.0 >= *durable, "what was durable is");
        self.counters.delta_batches_waiting -= sequence.0 - *durable;
        *durable = sequence.0;
    }
}
