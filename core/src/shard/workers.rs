//! Sessions that take tasks, or move NPCs: every shard knows of each.

use super::Shard;
use super::sessions::NO_CONNECTION;
use super::tasks::Tasks;
use crate::authorize::Roles;
use crate::ids::{ObjectId, SessionId, ShardId};
use crate::mesh::{EventHeader, EventKind, MeshMessage, Origin};
use crate::message::{Message, Value};
use crate::plugin_name::check_plugin_name;
use crate::reason::Reason;
use crate::tasks::methods::TaskMethod;
use crate::tasks::workers::CREDITS_MAX;
use crate::turn::ShardOutputs;

/// Methods that one `work` may name, and behaviours.
const NAMES_PER_WORK_MAX: usize = 64;
const METHODS: &str = "methods";
const BEHAVIOURS: &str = "behaviours";

impl Shard {
    /// `work`: every shard hears that the session takes tasks of these methods, and moves NPCs that have these
    /// behaviours.
    pub(super) fn start_work(
        &mut self,
        session: SessionId,
        message: Message<'_>,
        outputs: &mut ShardOutputs,
    ) -> Result<(), Reason> {
        credits_of(message)?;
        plugin_of(message)?;
        let methods = &self.tasks.methods;
        let methods = check_names(message, METHODS, |name| methods.check(name).is_ok())?;
        let behaviours = &self.inline.behaviours.workers;
        let mut new_count = 0;
        let behaviours =
            check_names(message, BEHAVIOURS, |name| behaviours.check(name, &mut new_count))?;
        if !methods && !behaviours {
            return Err(Reason::FieldMissing);
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
        // Others may have come to be known meanwhile, and there may be too many now.
        let names = names_of(work, METHODS).expect("it was checked");
        let names = names.filter(|name| methods.register(name, work));
        let numbered = names.map(|name| (index.number_of(name), name));
        let plugin = plugin_of(work).expect("it was checked");
        workers.set(session, numbered, (credits, plugin));
        self.tasks.may_lease_more();
        self.heard_of_npcs(session, None);
        if work.get(BEHAVIOURS).is_some() {
            let behaviours = &mut self.inline.behaviours;
            let names = names_of(work, BEHAVIOURS).expect("it was checked");
            behaviours.set_worker(session, names, plugin);
        }
        self.asking.look_again();
    }

    /// What the session still says of its tasks is in their partitions' queues: they are lost behind that.
    pub(super) fn worker_gone(&mut self, session: SessionId) {
        self.inline.behaviours.worker_gone(session);
        for task in self.tasks.workers.remove(session) {
            let partition = task.partition();
            let header = EventHeader {
                partition,
                epoch: self.settings.routing.epoch_of(partition.group()),
                kind: EventKind::LoseTask { task },
                origin: Origin { session, connection: NO_CONNECTION, echoes_request: false },
                user_partition: partition,
                login: 0,
                roles: Roles::NONE,
            };
            self.queue.push(header, &[], &[]).expect("the end of a lease is never refused");
        }
    }

    /// The task is lost if the session has it still.
    pub(super) fn lose_task(
        &mut self,
        task: ObjectId,
        session: SessionId,
        outputs: &mut ShardOutputs,
    ) {
        if self.tasks.workers.holder(task) == Some(session) {
            self.lose_lease(task, outputs);
        }
    }
}

/// How many tasks the worker takes at a time.
fn credits_of(work: Message<'_>) -> Result<Option<usize>, Reason> {
    let Some(credits) = work.get("credits") else { return Ok(None) };
    let credits = credits.as_integer().and_then(|count| usize::try_from(count).ok());
    credits.filter(|count| *count <= CREDITS_MAX).ok_or(Reason::FieldInvalid).map(Some)
}

/// What the worker is.
fn plugin_of(work: Message<'_>) -> Result<Option<&str>, Reason> {
    let plugin = work.get("plugin").map(|plugin| plugin.as_text().ok_or(Reason::FieldInvalid));
    plugin.transpose()?.map(check_plugin_name).transpose()
}

/// The names of a field of `work`: a list, or one name; none when it is missing.
fn names_of<'m>(
    work: Message<'m>,
    field: &str,
) -> Result<impl Iterator<Item = &'m str> + use<'m>, Reason> {
    let (one, list) = match work.get(field) {
        None => (None, None),
        Some(Value::Text(name)) => (Some(name), None),
        Some(Value::List(names)) => (None, Some(names)),
        Some(_) => return Err(Reason::FieldInvalid),
    };
    Ok(one.into_iter().chain(list.into_iter().flat_map(|names| names.iter())))
}

/// Whether the field is there, in which each name has to be one that a worker may have.
fn check_names(
    work: Message<'_>,
    field: &str,
    mut may_have: impl FnMut(&str) -> bool,
) -> Result<bool, Reason> {
    let mut count = 0;
    for name in names_of(work, field)? {
        count += 1;
        if count > NAMES_PER_WORK_MAX || !may_have(name) {
            return Err(Reason::FieldInvalid);
        }
    }
    Ok(work.get(field).is_some())
}
