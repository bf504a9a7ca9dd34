//! Who a client is: what `login` says, and what proves it.

use alloc::boxed::Box;

use crate::authorize::{Policy, Roles};
use crate::message::{Message, Value};
use crate::name::check_name;
use crate::reason::Reason;
use crate::room::{LOBBY, WATCHTOWER};
use crate::ticket::{Ticket, TicketFault, TicketVerifier};

/// What the names of workers begin with that the server starts itself. Where nobody proves who they are,
/// nobody else has such a name.
pub const OWN_WORKER_PREFIX: &str = "worker.";

/// How clients prove who they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Authentication {
    /// Not at all: everyone is who they say they are.
    #[default]
    Open,
    /// By a ticket.
    Tickets(TicketVerifier),
    /// The server's own workers by the server's own tickets, all others as it says there.
    OwnWorkersOr(TicketVerifier, Box<Self>),
}

/// Who logs in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Identity<'a> {
    pub(crate) user: Box<str>,
    pub(crate) roles: Roles,
    /// The room that a ConnServer `player` (`user@room`) asks for.
    pub(crate) room: Option<&'a str>,
}

impl Authentication {
    /// Whether it takes a signature's time to know who a `login` is from.
    pub(crate) fn checks_ticket(&self, login: Message<'_>) -> bool {
        match self {
            Self::Open => false,
            Self::Tickets(_) => true,
            Self::OwnWorkersOr(_, others) => {
                login.get("ticket").is_some() || others.checks_ticket(login)
            }
        }
    }

    /// Who a `login` is from, at this time in milliseconds since 1970.
    ///
    /// # Errors
    /// Why nobody logs in by it.
    pub(crate) fn identify<'a>(
        &self,
        login: Message<'a>,
        policy: &Policy,
        wall_ms: u64,
    ) -> Result<Identity<'a>, Reason> {
        let (said, room) = login_names(login)?;
        let (user, roles) = self.user_of(login, said, policy, wall_ms)?;
        if said.is_some_and(|said| *said != *user) {
            return Err(Reason::TicketInvalid);
        }
        if &*user == LOBBY {
            return Err(Reason::Lobby);
        }
        if &*user == WATCHTOWER {
            return Err(Reason::NameTaken);
        }
        Ok(Identity { user, roles, room })
    }

    fn user_of(
        &self,
        login: Message<'_>,
        said: Option<&str>,
        policy: &Policy,
        wall_ms: u64,
    ) -> Result<(Box<str>, Roles), Reason> {
        match self {
            // A client that means to prove who it is must not believe that it did.
            Self::Open if login.get("ticket").is_some() => Err(Reason::TicketInvalid),
            Self::Open => Ok((said.ok_or(Reason::FieldMissing)?.into(), Roles::USER)),
            Self::Tickets(verifier) => {
                // ConnServer clients have a field for a password.
                let ticket = login.get("ticket").or_else(|| login.get("pw"));
                let ticket = ticket.filter(|ticket| !ticket.removes());
                let ticket = ticket.ok_or(Reason::TicketMissing)?.as_text();
                let ticket = ticket.ok_or(Reason::TicketInvalid)?;
                verify(verifier, ticket, policy, wall_ms).map_err(TicketFault::reason)
            }
            Self::OwnWorkersOr(own, others) => {
                let ticket = login.get("ticket").and_then(Value::as_text);
                let is_own = |text: &&str| own.knows_key_of(text);
                if let Some(ticket) = ticket.filter(is_own) {
                    let (user, _) =
                        verify(own, ticket, policy, wall_ms).map_err(TicketFault::reason)?;
                    let is_worker = user.starts_with(OWN_WORKER_PREFIX);
                    let roles = Roles::USER.with(Roles::WORKER);
                    return if is_worker { Ok((user, roles)) } else { Err(Reason::TicketInvalid) };
                }
                let (user, roles) = others.user_of(login, said, policy, wall_ms)?;
                // Its session would take the worker's place.
                if user.starts_with(OWN_WORKER_PREFIX) {
                    let is_open = **others == Self::Open;
                    let missing = is_open.then_some(Reason::TicketMissing);
                    return Err(missing.unwrap_or(Reason::TicketInvalid));
                }
                Ok((user, roles))
            }
        }
    }
}

/// User and roles of a ticket.
fn verify(
    verifier: &TicketVerifier,
    text: &str,
    policy: &Policy,
    wall_ms: u64,
) -> Result<(Box<str>, Roles), TicketFault> {
    let ticket = Ticket::read(text)?;
    let claims = verifier.verify(&ticket, wall_ms)?;
    let roles = claims.roles.map_or(Roles::USER, |names| policy.roles(names));
    Ok((claims.user.into(), roles))
}

/// The user's name, and the room that a ConnServer `player` (`user@room`) asks for.
fn login_names(login: Message<'_>) -> Result<(Option<&str>, Option<&str>), Reason> {
    let (user, room) = match (login.get("user"), login.get("player")) {
        (Some(user), _) => (Some(user.as_text().ok_or(Reason::FieldInvalid)?), None),
        (None, Some(player)) => {
            let player = player.as_text().ok_or(Reason::FieldInvalid)?;
            let split = player.split_once('@');
            split.map_or((Some(player), None), |(user, room)| (Some(user), Some(room)))
        }
        (None, None) => (None, None),
    };
    user.map(|user| check_name(user.as_bytes())).transpose()?;
    let room = room.filter(|room| *room != LOBBY);
    room.map(|room| check_name(room.as_bytes())).transpose()?;
    Ok((user, room))
}

#[cfg(test)]
mod tests;
