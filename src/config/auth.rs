//! The sections `auth` and `methods`: who clients are, and what they may do.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;
use warren_core::acknowledgement::{AckDefaults, AckLevel};
use warren_core::authentication::Authentication;
use warren_core::authorize::{Policy, PolicyFault};
use warren_core::ticket::{TicketKey, TicketVerifier};

use super::error::Located;
use super::keys::{AuthSection, METHOD_ACK_PATH, Setting};

/// The id of the key that a server makes for its own workers.
pub(crate) const OWN_KEY_ID: &str = "server-own";

/// The words of `auth.mode`.
pub(super) const AUTH_MODES: &[&str] = &["open", "ticket"];

/// Who clients are, and what they may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthConfig {
    /// How clients prove who they are.
    pub authentication: Authentication,
    /// Who may do what.
    pub policy: Policy,
    /// The operator accepts that other machines log in without proof.
    pub insecure_open: bool,
}

/// `[methods.NAME]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MethodSection {
    roles: Option<Spanned<Vec<String>>>,
    ack: Option<Spanned<String>>,
}

/// The methods with rules of their own, by name.
pub(super) type MethodSections = BTreeMap<Spanned<String>, MethodSection>;

pub(super) fn auth_config(
    auth: &AuthSection,
    methods: &MethodSections,
    insecure_open: bool,
) -> Result<AuthConfig, Located> {
    Ok(AuthConfig {
        authentication: authentication(auth)?,
        policy: policy(auth, methods)?,
        insecure_open,
    })
}

fn authentication(auth: &AuthSection) -> Result<Authentication, Located> {
    let keys = ticket_keys(&auth.keys())?;
    let audience = auth.audience().name()?;
    let leeway_s = auth.leeway_s().number()?;
    if auth.mode().word_index()? != Some(1) {
        return Ok(Authentication::Open);
    }
    if keys.is_empty() {
        let why = "allowed: with at least one key in `auth.keys`, by which tickets are checked";
        return Err(auth.mode().conflict(&format_args!("\"ticket\""), why.to_owned()));
    }
    Ok(Authentication::Tickets(TicketVerifier::new(keys, &audience, leeway_s * 1000)))
}

fn ticket_keys(setting: &Setting<'_, Vec<String>>) -> Result<Vec<TicketKey>, Located> {
    let mut keys: Vec<TicketKey> = Vec::new();
    for (index, text) in setting.list()?.iter().enumerate() {
        // A secret key that somebody put here by mistake is not to appear in a log, nor any part of it.
        let Some(key) = TicketKey::read(text) else {
            let number = index + 1;
            return Err(setting.out_of_range(&format_args!("a list whose key {number} is none")));
        };
        if key.id() == OWN_KEY_ID {
            let why = "allowed: another id, since the server's own key has this one".to_owned();
            return Err(setting.conflict(&format_args!("a list with `{OWN_KEY_ID}`"), why));
        }
        if keys.iter().any(|earlier| earlier.id() == key.id()) {
            let why = "allowed: one key of each id".to_owned();
            return Err(setting.conflict(&format_args!("a list with `{}` twice", key.id()), why));
        }
        keys.push(key);
    }
    Ok(keys)
}

fn policy(auth: &AuthSection, methods: &MethodSections) -> Result<Policy, Located> {
    let mut policy = Policy::default();
    for name in auth.roles().names()? {
        policy.add_role(&name).map_err(|fault| {
            auth.roles().conflict(&format_args!("a list with `{name}`"), why(fault))
        })?;
    }
    for (method, section) in methods {
        let Some(rule) = &section.roles else { continue };
        let roles = rule.get_ref();
        policy.set_rule(method.get_ref(), roles.iter().map(String::as_str)).map_err(|fault| {
            let span = match fault {
                PolicyFault::RoleUnknown => rule.span(),
                _ => method.span(),
            };
            let value = format!("{roles:?} for `{}`", method.get_ref());
            Located::conflict(Some(span), "methods.NAME.roles", value, why(fault))
        })?;
    }
    Ok(policy)
}

/// When requests that do not say so are answered.
pub(super) fn ack_defaults(
    methods: &MethodSections,
    has_data: bool,
) -> Result<AckDefaults, Located> {
    let mut defaults = AckDefaults::default();
    for (method, section) in methods {
        let Some(ack) = &section.ack else { continue };
        let wrong = |span, why| {
            let value = format!("{:?} for `{}`", ack.get_ref(), method.get_ref());
            Located::conflict(Some(span), METHOD_ACK_PATH, value, why)
        };
        let index = AckLevel::WORDS.iter().position(|word| word == ack.get_ref());
        let Some(level) = index.and_then(AckLevel::from_index) else {
            return Err(wrong(ack.span(), format!("allowed: {}", AckLevel::WORDS.join(", "))));
        };
        if level == AckLevel::Durable && !has_data {
            let why = "allowed: with `server.data`, where the log is".to_owned();
            return Err(wrong(ack.span(), why));
        }
        let set = defaults.set(method.get_ref(), level);
        set.map_err(|fault| wrong(method.span(), fault.to_string()))?;
    }
    Ok(defaults)
}

fn why(fault: PolicyFault) -> String {
    match fault {
        PolicyFault::RoleTwice => {
            "allowed: roles that are not there already, as `user`, `admin` and `worker` are"
        }
        PolicyFault::TooManyRoles => "allowed: 28 roles beside `user`, `admin` and `worker`",
        PolicyFault::RoleUnknown => {
            "allowed: `user`, `admin`, `worker` and the roles of `auth.roles`"
        }
        PolicyFault::MethodInvalid => "allowed: names of methods",
        PolicyFault::TooManyMethods => {
            "allowed: 1024 methods beside those that the server does itself"
        }
        PolicyFault::MethodForEveryone => "the method is for everyone",
    }
    .to_owned()
}
