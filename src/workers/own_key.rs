//! The key that a server makes at each start for its own workers, and keeps to itself.

use warren_core::authentication::{Authentication, OWN_WORKER_PREFIX};
use warren_core::authorize::{ROLE_USER, ROLE_WORKER};
use warren_core::ticket::{Claims, TicketIssuer, TicketKey, TicketVerifier};

use crate::config::OWN_KEY_ID;
use crate::fatal::{Fatal, FatalReason};

const AUDIENCE: &str = "server-own";
/// The key lives as long as the server, and so do its tickets.
const NEVER_S: u64 = 999_999_999_999;

pub(crate) struct OwnKey(TicketIssuer);

impl OwnKey {
    /// # Errors
    /// `SystemRefused` without random bytes.
    pub(crate) fn make() -> Result<Self, Fatal> {
        let mut random = [0; 32];
        getrandom::fill(&mut random)
            .map_err(|error| Fatal::new(FatalReason::SystemRefused, error))?;
        Ok(Self(TicketIssuer::new(OWN_KEY_ID, &random).expect("it is an id of a key")))
    }

    /// That takes its tickets too.
    pub(crate) fn beside(&self, others: Authentication) -> Authentication {
        let keys = vec![TicketKey::of(&self.0)];
        let verifier = TicketVerifier::new(keys, AUDIENCE, 0);
        Authentication::OwnWorkersOr(verifier, Box::new(others))
    }

    /// The ticket of a worker of that name.
    pub(super) fn ticket(&self, user: &str) -> String {
        let roles = Some(vec![ROLE_USER, ROLE_WORKER]);
        let claims =
            Claims { user, roles, audience: AUDIENCE, not_before_s: None, expires_s: NEVER_S };
        self.0.issue(&claims).expect("the names are names")
    }
}

/// The name of a worker: sections have names that are short enough.
pub(super) fn user_name(section: &str, number: u32) -> String {
    format!("{OWN_WORKER_PREFIX}{section}.{number}")
}
