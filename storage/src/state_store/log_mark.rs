//! The row that says which delta log belongs to the state.

use rocksdb::WriteBatch;
use warren_core::ids::{GROUP_COUNT, GroupId, Sequence};

use super::{
    META_LOG, META_LOGS_FORGOTTEN, PREFIX_OBJECT, PREFIX_TOMBSTONE, StateStore, StoreError,
    group_key,
};
use crate::delta_log::LogMark;
use crate::object_record::ObjectRecordV2;

impl StateStore {
    /// The log that belongs to the state; none: whichever is there, since no server has begun with one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn log_mark(&self) -> Result<Option<LogMark>, StoreError> {
        let Some(value) = self.get(META_LOG)? else { return Ok(None) };
        let fields = value.split_first_chunk().and_then(|(salt, rest)| {
            let (first_needed, reached) = rest.split_first_chunk()?;
            Some((salt, first_needed, <&[u8; 8]>::try_from(reached).ok()?))
        });
        let (salt, first_needed, reached) =
            fields.ok_or_else(|| self.damaged("mlog", "its length"))?;
        Ok(Some(LogMark {
            salt: u32::from_le_bytes(*salt),
            first_needed: u64::from_le_bytes(*first_needed),
            reached: u64::from_le_bytes(*reached),
        }))
    }

    /// Says which log belongs to the state. It survives the end of the machine from the next
    /// [`sync`](Self::sync) on.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    pub fn write_log_mark(&self, mark: LogMark) -> Result<(), StoreError> {
        let LogMark { salt, first_needed, reached } = mark;
        let (salt, first_needed) = (salt.to_le_bytes(), first_needed.to_le_bytes());
        let value = [&salt[..], &first_needed, &reached.to_le_bytes()].concat();
        self.db()?.get().put(META_LOG, value).map_err(|error| self.failed(&error))
    }

    /// The salts of the logs that were given up.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn logs_forgotten(&self) -> Result<Vec<u32>, StoreError> {
        let value = self.get(META_LOGS_FORGOTTEN)?.unwrap_or_default();
        let (salts, rest) = value.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(self.damaged("mlogs_forgotten", "its length"));
        }
        Ok(salts.iter().map(|salt| u32::from_le_bytes(*salt)).collect())
    }

    /// Gives up the log: what is stored counts as all there is, each object as of its own moment. The next
    /// start begins another. Given up for good are the log of the mark and one with the salt `found`: what
    /// they have beyond what is stored would be taken for what is stored already.
    ///
    /// # Errors
    /// [`StoreError`]: nothing has changed.
    pub fn forget_log(&self, found: Option<u32>) -> Result<(), StoreError> {
        let mut rows = WriteBatch::default();
        let mut forgotten = self.logs_forgotten()?;
        let needed = self.log_mark()?.map(|mark| mark.salt);
        for salt in needed.into_iter().chain(found) {
            if !forgotten.contains(&salt) {
                forgotten.push(salt);
            }
        }
        let salts: Vec<u8> = forgotten.into_iter().flat_map(u32::to_le_bytes).collect();
        rows.put(META_LOGS_FORGOTTEN, salts);
        for group in (0..GROUP_COUNT as u16).map(GroupId) {
            let position = self.position(group)?.unwrap_or(Sequence(0));
            let newest = self.newest_sequence(group)?;
            // The next change gets a sequence behind all that are in use.
            if newest > position {
                let epoch = u32::try_from(self.opened.start - 1).unwrap_or(u32::MAX);
                let value = [&epoch.to_le_bytes()[..], &newest.0.to_le_bytes()].concat();
                rows.put(group_key(group), value);
            }
        }
        rows.delete(META_LOG);
        self.write_synced(rows)
    }

    /// The highest sequence as of which a row of the group is stored.
    fn newest_sequence(&self, group: GroupId) -> Result<Sequence, StoreError> {
        let db = self.db()?;
        let mut newest = 0;
        for row in self.rows(&db, PREFIX_OBJECT, group) {
            let (key, value) = row?;
            let id = self.id_of(&key)?;
            let object = ObjectRecordV2::decode(&value)
                .map_err(|error| self.damaged(&format!("object {id}"), &error.to_string()))?;
            newest = newest.max(object.sequence);
        }
        for row in self.rows(&db, PREFIX_TOMBSTONE, group) {
            let (key, value) = row?;
            let sequence = <[u8; 8]>::try_from(&*value)
                .map_err(|_| self.damaged(&format!("key {key:02x?}"), "its length"))?;
            newest = newest.max(u64::from_le_bytes(sequence));
        }
        Ok(Sequence(newest))
    }
}
