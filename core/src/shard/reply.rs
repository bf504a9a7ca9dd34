//! How a reply is put together.

use alloc::vec::Vec;

use crate::message::{Message, MessageBuilder, Value};
use crate::reason::Reason;

/// Fields that are never repeated to anyone.
const SECRETS: [&str; 3] = ["ticket", "token", "pw"];

/// Writes the reply to `request`: its `id`, or all of its fields where the protocol repeats them,
/// then `status`, then the fields of `own`.
pub(super) fn write_reply(
    out: &mut Vec<u8>,
    request: Message<'_>,
    echoes_request: bool,
    own: Message<'_>,
) {
    let overlaid = |name: &str| name == "status" || own.fields().any(|(field, _)| field == name);
    let mut reply = MessageBuilder::new(out, request.method());
    write_request_fields(&mut reply, request, echoes_request, overlaid);
    reply.field("status", Value::Integer(0));
    reply.fields_of(own);
}

/// Writes the refusal of `request`: the same, with `status`, `error` and perhaps the limit that was hit.
pub(super) fn write_refusal(
    out: &mut Vec<u8>,
    request: Message<'_>,
    echoes_request: bool,
    (reason, limit): (Reason, Option<&str>),
) {
    let mut reply = MessageBuilder::new(out, request.method());
    let overlaid = |name: &str| matches!(name, "status" | "error" | "limit");
    write_request_fields(&mut reply, request, echoes_request, overlaid);
    reply.field("status", Value::Integer(i64::from(reason.status())));
    reply.field("error", Value::Text(reason.word()));
    if let Some(limit) = limit {
        reply.field("limit", Value::Text(limit));
    }
}

fn write_request_fields(
    reply: &mut MessageBuilder<'_>,
    request: Message<'_>,
    echoes_request: bool,
    overlaid: impl Fn(&str) -> bool,
) {
    let repeated = |name: &str| echoes_request || name == "id";
    for (name, value) in request.fields() {
        if repeated(name) && !SECRETS.contains(&name) && !overlaid(name) {
            reply.field(name, value);
        }
    }
}
