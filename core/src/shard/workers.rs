//! Sessions that take tasks: every shard knows of each.

use super::Shard;
use super::tasks::Tasks;
use crate::ids::{SessionId, ShardId};
use crate::mesh::MeshMessage;
use crate::message::{Message, Value};
use crate::reason::Reason;
use crate::tasks::methods::TaskMethod;
use crate::tasks::workers::CREDITS_MAX;
use crate::turn::ShardOutputs;

impl Shard {
    /// `work`: every shard hears that the session takes tasks of these methods.
    pub(super) fn start_work(
        &mut self,
        session: SessionId,
        message: Message<'_>,
        outputs: &mut ShardOutputs,
    ) -> Result<(), Reason> {
        credits_of(message)?;
        for name in method_names(message)? {
            self.tasks.methods.check(name).map_err(|_| Reason::FieldInvalid)?;
        }
        TaskMethod::DEFAULT.told(message)?;
        self.sessions.get_mut(session).expect("who asks is there").is_worker = true;
        for shard in 0..self.settings.routing.shard_count() {
            let batch = &mut outputs.mesh[usize::from(shard)];
            let work = batch.push_bytes(message.as_bytes());
            self.post(ShardId(shard), outputs, MeshMessage::Work { session, work });
        }
        Ok(())
    }

    /// The session takes no tasks any more: those that it has wait for another worker.
    pub(super) fn end_work(&mut self, session: SessionId, outputs: &mut ShardOutputs) {
        let Some(open) = self.sessions.get_mut(session) else { return };
        if core::mem::take(&mut open.is_worker) {
            for shard in 0..self.settings.routing.shard_count() {
                self.post(ShardId(shard), outputs, MeshMessage::WorkerGone { session });
            }
        }
    }

    pub(super) fn set_worker(&mut self, session: SessionId, work: &[u8]) {
        let work = Message::from_checked(work);
        let credits = credits_of(work).expect("it was checked");
        let Tasks { index, methods, workers, .. } = &mut self.tasks;
        let numbers = method_names(work).expect("it was checked").map(|name| {
            methods.register(name, work);
            index.number_of(name)
        });
        workers.set(session, numbers, credits);
        self.tasks.may_lease = true;
    }

    pub(super) fn worker_gone(&mut self, session: SessionId, outputs: &mut ShardOutputs) {
        for task in self.tasks.workers.remove(session) {
            self.lose_lease(task, outputs);
        }
    }
}

/// How many tasks the worker takes at a time.
fn credits_of(work: Message<'_>) -> Result<usize, Reason> {
    let Some(credits) = work.get("credits") else { return Ok(1) };
    let credits = credits.as_integer().and_then(|count| usize::try_from(count).ok());
    credits.filter(|count| *count <= CREDITS_MAX).ok_or(Reason::FieldInvalid)
}

/// The methods that a worker does: a list, or one name.
fn method_names(work: Message<'_>) -> Result<impl Iterator<Item = &str>, Reason> {
    let (one, list) = match work.get("methods").ok_or(Reason::FieldMissing)? {
        Value::Text(name) => (Some(name), None),
        Value::List(names) => (None, Some(names)),
        _ => return Err(Reason::FieldInvalid),
    };
    Ok(one.into_iter().chain(list.into_iter().flat_map(|names| names.iter())))
}
