//! What many commits change, object by object: of each the last word, so that a row is written once.

use std::collections::BTreeMap;
use std::fmt;

use thiserror::Error;
use warren_core::delta::{Delta, DeltaBatch};
use warren_core::ids::ObjectId;
use warren_core::message::{Message, Value};

use super::values::write_value;

/// Why a record of the log is no change that can be exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ChangeError {
    /// It is no delta batch, or has a record in it that is none.
    #[error("it is no delta batch")]
    Malformed,
    /// A change does not follow the one before it in the log.
    #[error("export-gap: object {object} goes from version {found} to {changed}")]
    Gap {
        /// Which.
        object: ObjectId,
        /// Its version before; 0: it was deleted.
        found: u64,
        /// The version of the change.
        changed: u64,
    },
}

/// What becomes of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Merged {
    /// It is new, with these fields.
    Created(Change),
    /// It was at the version before, and these of its fields change.
    Changed {
        /// The version that the first change was made from.
        base: u64,
        change: Change,
    },
    /// It is gone.
    Deleted(Before),
}

/// What an object was before the changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// Not there.
    Absent,
    /// Of this version.
    At(u64),
    /// There, of a version that is not known.
    There,
}

impl fmt::Display for Before {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("not there"),
            Self::At(version) => write!(f, "of version {version}"),
            Self::There => f.write_str("there"),
        }
    }
}

impl Merged {
    /// It was made and deleted again: there is no row.
    pub(super) fn is_passed(&self) -> bool {
        matches!(self, Self::Deleted(Before::Absent))
    }
}

/// Fields, and the version to which they lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) kind: Box<str>,
    pub(super) version: u64,
    /// As JSON. None: removed.
    pub(super) fields: BTreeMap<Box<str>, Option<Box<[u8]>>>,
}

/// The changes of some commits that follow each other.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// In the order of ids, so that rows are locked and written in one order.
    pub(super) objects: BTreeMap<ObjectId, Merged>,
    /// Bytes of the batches that were taken.
    pub(super) bytes: usize,
    /// Bytes of the commits that had them.
    pub(super) log_bytes: u64,
}

impl Changes {
    /// Takes the next batch of the log. Users' presence, members and watches are passed over: they do
    /// not outlive a restart.
    ///
    /// # Errors
    /// [`ChangeError`]; the changes are good for nothing then.
    pub(super) fn take(&mut self, payload: &[u8]) -> Result<(), ChangeError> {
        let batch = DeltaBatch::decode(payload).map_err(|_| ChangeError::Malformed)?;
        self.bytes += payload.len();
        batch.deltas.iter().try_for_each(|delta| self.take_delta(delta))
    }

    fn take_delta(&mut self, delta: &Delta) -> Result<(), ChangeError> {
        match delta {
            Delta::ObjectCreated { object, version, record } => {
                let record = Message::parse(record).map_err(|_| ChangeError::Malformed)?;
                let (kind, version) = (record.method().into(), *version);
                let mut change = Change { kind, version, fields: BTreeMap::new() };
                change.set(record, true);
                self.objects.insert(ObjectId(*object), Merged::Created(change));
            }
            Delta::ObjectChanged { object, version, changes } => {
                let changes = Message::parse(changes).map_err(|_| ChangeError::Malformed)?;
                self.change(ObjectId(*object), *version, changes)?;
            }
            Delta::ObjectDeleted { object } => {
                let object = ObjectId(*object);
                let before = match self.objects.get(&object) {
                    None => Before::There,
                    Some(Merged::Created(_)) => Before::Absent,
                    Some(Merged::Changed { base, .. }) => Before::At(*base),
                    Some(Merged::Deleted(before)) => *before,
                };
                self.objects.insert(object, Merged::Deleted(before));
            }
            Delta::UserPresent { .. }
            | Delta::UserAbsent { .. }
            | Delta::MemberJoined { .. }
            | Delta::MemberLeft { .. }
            | Delta::WatchStarted { .. }
            | Delta::WatchEnded { .. } => {}
        }
        Ok(())
    }

    fn change(
        &mut self,
        object: ObjectId,
        version: u64,
        changes: Message<'_>,
    ) -> Result<(), ChangeError> {
        let gap = |found| ChangeError::Gap { object, found, changed: version };
        let base = version.checked_sub(1).ok_or(gap(0))?;
        let merged = self.objects.entry(object).or_insert_with(|| {
            let kind = changes.method().into();
            let change = Change { kind, version: base, fields: BTreeMap::new() };
            Merged::Changed { base, change }
        });
        let (is_whole, change) = match merged {
            Merged::Created(change) => (true, change),
            Merged::Changed { change, .. } => (false, change),
            Merged::Deleted(_) => return Err(gap(0)),
        };
        if change.version != base {
            return Err(gap(change.version));
        }
        change.version = version;
        change.set(changes, is_whole);
        Ok(())
    }
}

impl Change {
    /// Takes the fields of a message. What they remove is gone where all fields are known, and else has
    /// to be remembered.
    fn set(&mut self, message: Message<'_>, is_whole: bool) {
        for (name, value) in message.fields() {
            if value != Value::Null {
                let mut json = Vec::new();
                write_value(&mut json, value);
                self.fields.insert(name.into(), Some(json.into()));
            } else if is_whole {
                self.fields.remove(name);
            } else {
                self.fields.insert(name.into(), None);
            }
        }
    }

    /// The fields that are set, as one JSON object.
    pub(super) fn write_set(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        let set = self.fields.iter().filter_map(|(name, json)| Some((name, json.as_ref()?)));
        for (index, (name, json)) in set.enumerate() {
            if index > 0 {
                out.push(b',');
            }
            // A name has no character that JSON escapes.
            out.extend_from_slice(format!("\"{name}\":").as_bytes());
            out.extend_from_slice(json);
        }
        out.push(b'}');
    }

    /// The names that are removed, with commas between: no name has one.
    pub(super) fn removed(&self) -> String {
        let removed = self.fields.iter().filter(|(_, json)| json.is_none());
        removed.map(|(name, _)| &**name).collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests;
