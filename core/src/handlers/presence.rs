//! Who is here: `login`, in the partition where the user's name lives.

use alloc::format;
use alloc::vec::Vec;

use super::Request;
use crate::delta::Delta;
use crate::effects::{Effect, Effects};
use crate::message::Value;
use crate::object::{KIND_USER, start_record};
use crate::reason::Reason;

/// The user is here with this session, and with no other: an older one is displaced.
pub(super) fn login(request: &Request<'_>, effects: &mut Effects) -> Result<(), Reason> {
    let Request { user, partition, header, .. } = *request;
    let session = header.origin.session;
    // Here, where who is here is known too: nobody slips in between a ban and the end of the session.
    if request.bans.has_user(user, request.wall_ms) {
        return Err(Reason::Banned);
    }
    if partition.room_named(user).is_some() {
        return Err(Reason::NameTaken);
    }
    let known = partition.user(user);
    let object = match known {
        Some(known) => known.object,
        None => {
            let mut record = Vec::new();
            start_record(&mut record, KIND_USER, user);
            let object = super::objects::new_object(request, &record, effects)?;
            effects.change(Delta::ObjectCreated { object: object.0, version: 1, record });
            object
        }
    };
    if let Some(older) = known.and_then(|known| known.session) {
        effects.list.push(Effect::Displace { session: older });
    }
    let login = known.map_or(0, |known| known.login_count) + 1;
    effects.change(Delta::UserPresent { user: user.into(), session: session.to_bits(), login });
    effects.list.push(Effect::LoggedIn { object, login });
    effects.reply(|reply| {
        reply.field("session", Value::Text(&format!("{:016x}", session.to_bits())));
        reply.field("object", Value::Object(object));
    });
    Ok(())
}
