//! What is promised of durable changes: nobody is told of one before it is in the log, neither by the
//! reply nor as a member of the object's room. Watchers are.

use warren_core::message::{Message, Value};

use super::replies::object_of;
use super::{Auditor, integer_of, text_of};
use crate::log::DELETED;

impl Auditor {
    /// Whether the request was to be answered when its change is durable.
    pub(super) fn is_durable(&self, request: Message<'_>) -> bool {
        let changes = matches!(request.method(), "create" | "set" | "delete");
        let level = text_of(request, "ack");
        let is_default = self.durable_methods.iter().any(|method| *method == request.method());
        changes && (level == Some("durable") || level.is_none() && is_default)
    }

    /// A change was answered: at a level that holds, however soon there is a crash.
    pub(super) fn check_durable(&mut self, request: Message<'_>, reply: Message<'_>) {
        if !self.is_durable(request) {
            return;
        }
        self.reach("durable", "granted");
        let object = match request.method() {
            "create" => object_of(reply),
            _ => object_of(request),
        };
        let version = match request.method() {
            "delete" => DELETED,
            _ => integer_of(reply, "version").expect("a change has a version") as u64,
        };
        let synced = self.synced.get(&object);
        assert!(synced >= Some(&version), "{reply:?} is promised, and the log has {synced:?}");
        let is_early = self.early_notices.contains(&(object, version));
        assert!(!is_early, "a room heard of {request:?} before it was durable");
    }

    /// A room has heard of an object: sooner than the log has, if nothing was promised.
    pub(super) fn note_heard_version(&mut self, object: u64, version: u64) {
        if self.synced.get(&object) < Some(&version) {
            self.early_notices.insert((object, version));
        }
    }

    /// A change was made, and the log failed before it was known to be durable.
    pub(super) fn is_justly_not_durable(&self, request: Message<'_>, reply: Message<'_>) -> bool {
        let object = match request.method() {
            "create" => reply.get("object").and_then(Value::as_object).map(|object| object.0),
            _ => Some(object_of(request)),
        };
        let facts = object.and_then(|object| self.oracle.objects.get(&object));
        let is_made = facts.is_some_and(|facts| match request.method() {
            "delete" => facts.is_deleted,
            _ => integer_of(reply, "version").is_some_and(|told| told as u64 <= facts.version),
        });
        self.is_durable(request) && is_made
    }
}
