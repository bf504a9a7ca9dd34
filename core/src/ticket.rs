//! Tickets: proof of who a user is, signed by whoever knows the users and checked at `login`.
//!
//! ```text
//! ticket = "w1." key-id "." base64url(claims) "." base64url(signature)
//! claims = {"user":"ann","roles":["user"],"aud":"warren","nbf":1700000000,"exp":1700003600}
//! ```
//!
//! The signature is Ed25519's (RFC 8032) over the ticket's text before its last dot. It is checked
//! before the claims are read, and the length before anything else.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use crate::reason::Reason;

mod claims;

pub use claims::Claims;

/// Longest ticket, in bytes.
pub const TICKET_BYTES_MAX: usize = 1024;
/// Most keys by which a server checks tickets: the present one, and those before and after it.
pub const TICKET_KEYS_MAX: usize = 16;
/// Most roles in one ticket.
pub const TICKET_ROLES_MAX: usize = 32;
/// Longest key id, in bytes.
const KEY_ID_BYTES_MAX: usize = 32;
/// What every ticket of this form begins with.
const PREFIX: &str = "w1.";
const SIGNATURE_BYTES: usize = 64;
/// Claims of the longest ticket: three bytes for each four of its text.
const CLAIMS_BYTES_MAX: usize = TICKET_BYTES_MAX / 4 * 3;

/// What is wrong with a ticket. Clients hear only its [`reason`](Self::reason).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketFault {
    /// Longer than [`TICKET_BYTES_MAX`].
    TooLong,
    /// Not three parts behind `w1.`, or not in the one form that base64url has for them.
    Malformed,
    /// No key of that id is known here.
    KeyUnknown,
    /// The signature is not the key's over these claims.
    SignatureWrong,
    /// What is signed is not what claims look like.
    ClaimsMalformed,
    /// For another audience.
    Audience,
    /// Its time has not come.
    Early,
    /// Its time is over.
    Expired,
}

impl TicketFault {
    /// What a client hears.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Self::Audience => Reason::TicketAudience,
            Self::Early => Reason::TicketEarly,
            Self::Expired => Reason::TicketExpired,
            Self::TooLong
            | Self::Malformed
            | Self::KeyUnknown
            | Self::SignatureWrong
            | Self::ClaimsMalformed => Reason::TicketInvalid,
        }
    }
}

impl fmt::Display for TicketFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "it is longer than 1,024 bytes",
            Self::Malformed => "it is not of the form w1.KEY.CLAIMS.SIGNATURE",
            Self::KeyUnknown => "no key of that id is known here",
            Self::SignatureWrong => "the signature is not that key's",
            Self::ClaimsMalformed => "the claims are not in the form that claims have",
            Self::Audience => "it is for another audience",
            Self::Early => "its time has not come",
            Self::Expired => "its time is over",
        })
    }
}

/// A ticket's parts. Nothing in it is to be believed before it was verified.
pub struct Ticket<'t> {
    key_id: &'t str,
    /// What the signature is over.
    signed: &'t str,
    claims: [u8; CLAIMS_BYTES_MAX],
    claims_length: usize,
    signature: [u8; SIGNATURE_BYTES],
}

impl<'t> Ticket<'t> {
    /// Takes a ticket apart, and looks at none of its claims.
    ///
    /// # Errors
    /// [`TicketFault::TooLong`], [`TicketFault::Malformed`].
    pub fn read(text: &'t str) -> Result<Self, TicketFault> {
        if text.len() > TICKET_BYTES_MAX {
            return Err(TicketFault::TooLong);
        }
        let parts = || {
            let (signed, signature) = text.rsplit_once('.')?;
            let (key_id, claims) = signed.strip_prefix(PREFIX)?.split_once('.')?;
            Some((key_id, signed, claims, signature))
        };
        let (key_id, signed, claims, signature) = parts().ok_or(TicketFault::Malformed)?;
        check_key_id(key_id).ok_or(TicketFault::Malformed)?;
        let mut ticket = Self {
            key_id,
            signed,
            claims: [0; CLAIMS_BYTES_MAX],
            claims_length: 0,
            signature: [0; SIGNATURE_BYTES],
        };
        // The decoder takes one form only: no padding, no other alphabet, no bits to spare.
        let malformed = |_| TicketFault::Malformed;
        let decoded = URL_SAFE_NO_PAD.decode_slice(claims, &mut ticket.claims);
        ticket.claims_length = decoded.map_err(malformed)?;
        let decoded = URL_SAFE_NO_PAD.decode_slice(signature, &mut ticket.signature);
        match decoded {
            Ok(SIGNATURE_BYTES) => Ok(ticket),
            _ => Err(TicketFault::Malformed),
        }
    }

    /// Which key is said to have signed it.
    #[must_use]
    pub fn key_id(&self) -> &'t str {
        self.key_id
    }

    /// The claims, whoever made them.
    ///
    /// # Errors
    /// [`TicketFault::ClaimsMalformed`].
    pub fn unverified_claims(&self) -> Result<Claims<'_>, TicketFault> {
        Claims::read(&self.claims[..self.claims_length]).ok_or(TicketFault::ClaimsMalformed)
    }
}

/// A public key, with the name by which tickets say that it is theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TicketKey {
    id: Box<str>,
    key: VerifyingKey,
}

impl TicketKey {
    /// Reads `ID:KEY`, the key's 32 bytes in base64url.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let (id, key) = read_key(text)?;
        let key = VerifyingKey::from_bytes(&key).ok()?;
        // Signatures of such a key would hold for anything.
        (!key.is_weak()).then(|| Self { id: id.into(), key })
    }

    /// The public half of a key.
    #[must_use]
    pub fn of(issuer: &TicketIssuer) -> Self {
        Self { id: issuer.id.clone(), key: issuer.key.verifying_key() }
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// What [`TicketKey::read`] reads.
impl fmt::Display for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.id, URL_SAFE_NO_PAD.encode(self.key.as_bytes()))
    }
}

/// A key that signs tickets. It never shows itself but by [`secret_text`](Self::secret_text).
pub struct TicketIssuer {
    id: Box<str>,
    key: SigningKey,
}

impl TicketIssuer {
    /// What the text of a secret key begins with, so that nobody takes it for a public one.
    const SECRET: &str = "secret:";

    /// A key of these random bytes, if the id may be one.
    #[must_use]
    pub fn new(id: &str, random: &[u8; 32]) -> Option<Self> {
        check_key_id(id)?;
        Some(Self { id: id.into(), key: SigningKey::from_bytes(random) })
    }

    /// Reads what [`secret_text`](Self::secret_text) wrote.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let (id, key) = read_key(text.strip_prefix(Self::SECRET)?)?;
        Self::new(id, &key)
    }

    /// The key as a file holds it.
    #[must_use]
    pub fn secret_text(&self) -> String {
        format!("{}{}:{}", Self::SECRET, self.id, URL_SAFE_NO_PAD.encode(self.key.as_bytes()))
    }

    /// A ticket with these claims, unless a server would refuse their form or their length.
    ///
    /// # Errors
    /// [`TicketFault::ClaimsMalformed`], [`TicketFault::TooLong`].
    pub fn issue(&self, claims: &Claims<'_>) -> Result<String, TicketFault> {
        let claims_text = claims.write();
        if Claims::read(claims_text.as_bytes()).as_ref() != Some(claims) {
            return Err(TicketFault::ClaimsMalformed);
        }
        let mut ticket = format!("{PREFIX}{}.{}", self.id, URL_SAFE_NO_PAD.encode(claims_text));
        let signature = self.key.sign(ticket.as_bytes());
        ticket.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.to_bytes(), &mut ticket);
        if ticket.len() > TICKET_BYTES_MAX { Err(TicketFault::TooLong) } else { Ok(ticket) }
    }
}

/// What a server asks of tickets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TicketVerifier {
    keys: Vec<TicketKey>,
    audience: Box<str>,
    leeway_ms: u64,
}

impl TicketVerifier {
    /// A verifier by these keys. `leeway_ms` is how far the issuer's clock may be off.
    #[must_use]
    pub fn new(keys: Vec<TicketKey>, audience: &str, leeway_ms: u64) -> Self {
        Self { keys, audience: audience.into(), leeway_ms }
    }

    /// Whether the ticket says that it is of one of these keys.
    pub(crate) fn knows_key_of(&self, text: &str) -> bool {
        let key_id = text.strip_prefix(PREFIX).and_then(|rest| rest.split_once('.'));
        key_id.is_some_and(|(id, _)| self.keys.iter().any(|key| *key.id == *id))
    }

    /// The claims of a ticket that holds at this time, in milliseconds since 1970.
    ///
    /// # Errors
    /// The first fault.
    pub fn verify<'t>(
        &self,
        ticket: &'t Ticket<'_>,
        wall_ms: u64,
    ) -> Result<Claims<'t>, TicketFault> {
        let key = self.keys.iter().find(|key| *key.id == *ticket.key_id);
        let key = &key.ok_or(TicketFault::KeyUnknown)?.key;
        let signature = Signature::from_bytes(&ticket.signature);
        // The strict way also refuses the second form that some signatures have.
        key.verify_strict(ticket.signed.as_bytes(), &signature)
            .map_err(|_| TicketFault::SignatureWrong)?;
        let claims = ticket.unverified_claims()?;
        if claims.audience != &*self.audience {
            return Err(TicketFault::Audience);
        }
        if claims.not_before_s.is_some_and(|from_s| from_s * 1000 > wall_ms + self.leeway_ms) {
            return Err(TicketFault::Early);
        }
        if claims.expires_s * 1000 + self.leeway_ms <= wall_ms {
            return Err(TicketFault::Expired);
        }
        Ok(claims)
    }
}

fn check_key_id(id: &str) -> Option<&str> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let has_length = (1..=KEY_ID_BYTES_MAX).contains(&id.len());
    (has_length && id.bytes().all(is_allowed)).then_some(id)
}

fn read_key(text: &str) -> Option<(&str, [u8; 32])> {
    let (id, key) = text.split_once(':')?;
    let mut bytes = [0; 32];
    let length = URL_SAFE_NO_PAD.decode_slice(key, &mut bytes).ok()?;
    (length == bytes.len()).then_some((check_key_id(id)?, bytes))
}

#[cfg(test)]
mod tests;
