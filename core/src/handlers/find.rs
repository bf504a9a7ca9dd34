//! `find`: objects of a kind whose fields have certain values. What it looks at is counted in steps,
//! against `FIND_SCAN_MAX` and the turn's budget, since an object may be small or large.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::objects::own_fields;
use super::{Method, Request, authorize, page_count};
use crate::authorize::Verb;
use crate::effects::Effects;
use crate::ids::Address;
use crate::limits::{BYTES_PER_STEP, FIND_SCAN_MAX};
use crate::message::{Message, Value};
use crate::name::is_reserved;
use crate::object::{FIELD_OWNER, FIELD_ROOM, has_canonical_text};
use crate::reason::Reason;

/// Looks at a bounded number of objects; `after` says where to go on, also when the page is not
/// full.
pub(super) fn find(request: &Request<'_>, effects: &mut Effects) -> Result<(), Reason> {
    let message = request.message;
    let kind = message.name("kind")?;
    let count = page_count(message)?;
    let after = match message.get("after") {
        None => Address::new(0).expect("zero is an address"),
        Some(value) => value.as_object().ok_or(Reason::FieldInvalid)?.address(),
    };
    let wanted = Wanted::of(message)?;
    let (mut found, mut last, mut more) = (Vec::new(), None, false);
    for (id, object) in request.partition.objects_of_kind_after(kind, after) {
        more = effects.scanned >= FIND_SCAN_MAX || found.len() == count;
        if more {
            break;
        }
        last = Some(id);
        let is_match = wanted.matches(object.record(), &mut effects.scanned);
        if is_match && authorize(request, id, object, Verb::Call(Method::Find)).is_ok() {
            found.push(id.to_string());
        }
    }
    effects.reply(|reply| {
        reply.list("objects", found.iter().map(String::as_str));
        if let (true, Some(last)) = (more, last) {
            reply.field("after", Value::Object(last));
        }
    });
    Ok(())
}

/// The fields that an object has to have, with their canonical texts, sorted by name.
struct Wanted<'a>(Vec<(&'a str, String)>);

impl<'a> Wanted<'a> {
    fn of(message: Message<'a>) -> Result<Self, Reason> {
        let passed = ["id", "kind", "partition", "count", "after"];
        let is_asked = |name: &str| !is_reserved(name) || matches!(name, FIELD_OWNER | FIELD_ROOM);
        if own_fields(message, &passed).any(|(name, _)| !is_asked(name)) {
            return Err(Reason::ReservedField);
        }
        let fields = own_fields(message, &passed);
        let mut wanted: Vec<_> = fields.map(|(name, value)| (name, value.to_string())).collect();
        wanted.sort_unstable_by_key(|(name, _)| *name);
        Ok(Self(wanted))
    }

    /// Whether the record has all of these. Walks it once, and adds a step for the object, one for
    /// each field passed, and more for long values that were read. A field that is not there equals
    /// empty text.
    fn matches(&self, record: Message<'_>, steps: &mut usize) -> bool {
        *steps += 1;
        let mut missing = self.0.iter().filter(|(_, text)| !text.is_empty()).count();
        let mut left = self.0.len();
        let mut fields = record.fields();
        while left > 0 {
            let mut asked = None;
            let bytes_read = fields.next_if(|name| {
                let at = self.0.binary_search_by_key(&name, |(wanted, _)| wanted);
                asked = at.ok().map(|at| self.0[at].1.as_str());
                asked.is_some()
            });
            let Some((value, bytes_read)) = bytes_read else { break };
            *steps += 1 + bytes_read / BYTES_PER_STEP;
            let (Some(text), Some(value)) = (asked, value) else { continue };
            if !has_canonical_text(value, text) {
                return false;
            }
            left -= 1;
            missing -= usize::from(!text.is_empty());
        }
        missing == 0
    }
}
