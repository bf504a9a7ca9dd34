//! Who is here: `login`, in the partition where the user's name lives.

use alloc::format;
use alloc::vec;

use super::Request;
use crate::delta::Delta;
use crate::effects::{Effect, Effects};
use crate::message::Value;
use crate::object::KIND_USER;
use crate::reason::Reason;

/// The user is here with this session, and with no other: an older one is displaced.
pub(super) fn login(request: &Request<'_>, effects: &mut Effects) -> Result<(), Reason> {
    let Request { user, partition, header, .. } = *request;
    let session = header.origin.session;
    if partition.room_named(user).is_some() {
        return Err(Reason::NameTaken);
    }
    let known = partition.user(user);
    let object = match known {
        Some(known) => known.object,
        None => {
            let object = super::objects::new_object(request)?;
            effects.change(Delta::ObjectCreated {
                object: object.0,
                kind: KIND_USER.into(),
                owner: user.into(),
                fields: vec![],
            });
            object
        }
    };
    if let Some(older) = known.and_then(|known| known.session) {
        effects.list.push(Effect::Displace { session: older });
    }
    effects.change(Delta::UserPresent { user: user.into(), session: session.to_bits() });
    effects.list.push(Effect::LoggedIn { object });
    effects.reply(|reply| {
        reply.field("session", Value::Text(&format!("{:016x}", session.to_bits())));
        reply.field("object", Value::Object(object));
    });
    Ok(())
}
