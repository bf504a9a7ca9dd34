//! `warren ticket`: makes keys, issues tickets, and says what is in one. What is secret comes from
//! files or standard input, since every process of the machine sees the others' arguments.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use warren_core::authentication::Authentication;
use warren_core::ticket::{
    Claims, TICKET_BYTES_MAX, Ticket, TicketFault, TicketIssuer, TicketKey, TicketVerifier,
};

use crate::clock::Clock;
use crate::config::{Overrides, ServerConfig};
use crate::fatal::{Fatal, FatalReason};

mod arguments;

pub use arguments::{
    InspectArguments, IssueArguments, KeygenArguments, TicketArguments, TicketCommand,
};

/// Bytes of the longest text that a key file has.
const KEY_FILE_BYTES_MAX: u64 = 256;

/// Runs the command, and writes to `out` what it found.
///
/// # Errors
/// A file, a claim or a configuration that is no use.
pub fn run(arguments: &TicketArguments, out: &mut dyn Write) -> Result<ExitCode, Fatal> {
    // Of what was asked for the exit status tells too, when nobody reads standard output.
    let (status, text) = match &arguments.command {
        TicketCommand::Keygen(keygen) => (ExitCode::SUCCESS, make_key(keygen)?),
        TicketCommand::Issue(issue) => (ExitCode::SUCCESS, issue_ticket(issue)?),
        TicketCommand::Inspect(inspect) => inspect_ticket(inspect, &mut std::io::stdin().lock())?,
    };
    let _ = writeln!(out, "{text}");
    Ok(status)
}

fn make_key(arguments: &KeygenArguments) -> Result<String, Fatal> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|error| {
        Fatal::new(FatalReason::SystemRefused, format!("no random bytes: {error}"))
    })?;
    let Some(issuer) = TicketIssuer::new(&arguments.id, &random) else {
        let id = &arguments.id;
        let detail = format!("`--id` is {id:?}; allowed: 1 to 32 letters, digits, `_` and `-`");
        return Err(Fatal::new(FatalReason::ConfigInvalid, detail));
    };
    let path = &arguments.key;
    // A key that is there already may be the one that a server trusts.
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    made.and_then(|mut file| {
        writeln!(file, "{}", issuer.secret_text())?;
        file.sync_all()
    })
    .map_err(|error| {
        let detail = format!("{}: cannot be made: {error}", path.display());
        Fatal::new(FatalReason::SystemRefused, detail)
    })?;
    let public = TicketKey::of(&issuer).to_string();
    Ok(if arguments.json {
        json!({ "id": arguments.id, "public": public, "file": path.display().to_string() })
            .to_string()
    } else {
        public
    })
}

fn issue_ticket(arguments: &IssueArguments) -> Result<String, Fatal> {
    let issuer = read_key(&arguments.key)?;
    let now_s = Clock::start().now().wall_ms / 1000;
    let roles = (!arguments.role.is_empty())
        .then(|| arguments.role.iter().map(String::as_str).collect::<Vec<_>>());
    let claims = Claims {
        user: &arguments.user,
        roles,
        audience: &arguments.audience,
        not_before_s: arguments.starts.map(|starts| now_s + starts.as_secs()),
        expires_s: now_s + arguments.expires.as_secs(),
    };
    let ticket = issuer.issue(&claims).map_err(|fault| {
        let detail = format!(
            "no ticket for these claims: {fault}; names match `[A-Za-z_][A-Za-z0-9_.-]{{0,63}}`, \
             and a ticket has at most 32 roles"
        );
        Fatal::new(FatalReason::ConfigInvalid, detail)
    })?;
    Ok(if arguments.json {
        json!({ "ticket": ticket, "claims": claims_json(&claims) }).to_string()
    } else {
        ticket
    })
}

fn inspect_ticket(
    arguments: &InspectArguments,
    input: &mut dyn Read,
) -> Result<(ExitCode, String), Fatal> {
    let mut text = String::new();
    // One byte more than the longest, and a line end, so that a longer one is seen to be longer.
    input.take(TICKET_BYTES_MAX as u64 + 3).read_to_string(&mut text).map_err(|error| {
        Fatal::new(FatalReason::ConfigInvalid, format!("no ticket on standard input: {error}"))
    })?;
    let ticket = Ticket::read(text.trim_end_matches(['\n', '\r']));
    let now_ms = Clock::start().now().wall_ms;
    let verifier = verifier(arguments)?;
    let claims = ticket.as_ref().map_err(|fault| *fault).and_then(Ticket::unverified_claims);
    let verdict = match (&ticket, &verifier) {
        (Err(fault), _) => Err(*fault),
        (Ok(_), None) => claims.as_ref().map(|_| ()).map_err(|fault| *fault),
        (Ok(ticket), Some(verifier)) => verifier.verify(ticket, now_ms).map(|_| ()),
    };
    let key_id = ticket.as_ref().ok().map(Ticket::key_id);
    let is_verified = verifier.is_some() && verdict.is_ok();
    let status = if verdict.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    let text = if arguments.json {
        json!({
            "key": key_id,
            "claims": claims.as_ref().ok().map(claims_json),
            "verified": is_verified,
            "reason": verdict.err().map(|fault| fault.reason().word()),
            "fault": verdict.err().map(|fault| fault.to_string()),
        })
        .to_string()
    } else {
        inspection(key_id, claims.as_ref().ok(), verdict, is_verified)
    };
    Ok((status, text))
}

/// What people read.
fn inspection(
    key_id: Option<&str>,
    claims: Option<&Claims<'_>>,
    verdict: Result<(), TicketFault>,
    is_verified: bool,
) -> String {
    let mut lines = Vec::new();
    lines.extend(key_id.map(|id| format!("key:      {id}")));
    if let Some(claims) = claims {
        let time = |time_s| {
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(time_s);
            humantime::format_rfc3339_seconds(time).to_string()
        };
        // Beyond the year 9999 there is no such text.
        let shown =
            |time_s: u64| if time_s < 253_402_300_800 { time(time_s) } else { time_s.to_string() };
        lines.push(format!("user:     {}", claims.user));
        let roles = claims.roles.as_ref().map_or_else(|| "user".to_owned(), |all| all.join(", "));
        lines.push(format!("roles:    {roles}"));
        lines.push(format!("audience: {}", claims.audience));
        lines.extend(claims.not_before_s.map(|from_s| format!("from:     {}", shown(from_s))));
        lines.push(format!("until:    {}", shown(claims.expires_s)));
    }
    lines.push(match verdict {
        Err(fault) => format!("refused:  {}: {fault}", fault.reason().word()),
        Ok(()) if is_verified => "verified: it holds now".to_owned(),
        Ok(()) => "verified: no; say by which key with --key or --config".to_owned(),
    });
    lines.join("\n")
}

fn verifier(arguments: &InspectArguments) -> Result<Option<TicketVerifier>, Fatal> {
    if let Some(file) = &arguments.config {
        let config = ServerConfig::load(Some(file), &Overrides::default(), 1)?;
        return match config.auth.authentication {
            Authentication::Tickets(verifier) => Ok(Some(verifier)),
            // A configuration never says what is a server's own.
            Authentication::Open | Authentication::OwnWorkersOr(..) => {
                let detail = format!("{}: `auth.mode` is \"open\": no keys", file.display());
                Err(Fatal::new(FatalReason::ConfigInvalid, detail))
            }
        };
    }
    let Some(file) = &arguments.key else { return Ok(None) };
    let keys = vec![TicketKey::of(&read_key(file)?)];
    Ok(Some(TicketVerifier::new(keys, &arguments.audience, 0)))
}

fn read_key(path: &Path) -> Result<TicketIssuer, Fatal> {
    let refused = |detail: String| {
        Fatal::new(FatalReason::ConfigInvalid, format!("{}: {detail}", path.display()))
    };
    let unreadable = |error: std::io::Error| refused(format!("cannot be read: {error}"));
    let file = File::open(path).map_err(unreadable)?;
    if file.metadata().map_err(unreadable)?.mode() & 0o077 != 0 {
        return Err(refused("others may read this key; `chmod 600` it, or make a new one".into()));
    }
    let mut text = String::new();
    file.take(KEY_FILE_BYTES_MAX).read_to_string(&mut text).map_err(unreadable)?;
    // Whatever the file is, it may be secret: nothing of it is told.
    let key = TicketIssuer::read(text.trim_end());
    key.ok_or_else(|| refused("no key as `warren ticket keygen` makes them".into()))
}

fn claims_json(claims: &Claims<'_>) -> serde_json::Value {
    json!({
        "user": claims.user,
        "roles": claims.roles,
        "aud": claims.audience,
        "nbf": claims.not_before_s,
        "exp": claims.expires_s,
    })
}

#[cfg(test)]
mod tests;
