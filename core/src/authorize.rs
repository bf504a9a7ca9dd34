//! Who may do what: one question, [`Policy::authorize`], asked where a request enters, for each
//! object that it reads or changes, and where what happened is about to leave.
//!
//! What nothing here allows is refused.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::handlers::Method;
use crate::ids::SessionId;
use crate::name::is_name;
use crate::reason::Reason;
use crate::tasks::methods::METHODS_MAX;

/// Most roles, with the three that every server has.
pub const ROLES_MAX: usize = 31;

/// The role of whoever has no other.
pub const ROLE_USER: &str = "user";
/// The role of whoever may change any object and see secret rooms.
pub const ROLE_ADMIN: &str = "admin";

/// The role of whoever does tasks.
pub const ROLE_WORKER: &str = "worker";

/// A set of roles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roles(u32);

impl Roles {
    /// No role, which may do next to nothing.
    pub const NONE: Self = Self(0);
    /// [`ROLE_USER`] alone.
    pub const USER: Self = Self(1);
    /// [`ROLE_ADMIN`] alone.
    pub const ADMIN: Self = Self(1 << 1);

    /// [`ROLE_WORKER`] alone.
    pub const WORKER: Self = Self(1 << 2);
    /// What a leased task may do, whoever its worker is. No name stands for it.
    pub(crate) const TASK: Self = Self(1 << 31);

    /// The roles of both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether a role is in both.
    #[must_use]
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The set as the bits of a number.
    #[must_use]
    pub const fn to_bits(self) -> u32 {
        self.0
    }

    /// What [`to_bits`](Self::to_bits) gave.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }
}

/// Who wants to do something, or would hear of something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) user: &'a str,
    pub(crate) session: Option<SessionId>,
    pub(crate) roles: Roles,
}

impl Subject<'_> {
    /// A connection on which nobody has logged in.
    pub(crate) const STRANGER: Self = Subject { user: "", session: None, roles: Roles::NONE };

    const fn is_logged_in(&self) -> bool {
        self.session.is_some()
    }
}

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Have a request answered.
    Call(Method),
    /// Have a request answered by others: a worker, say.
    Ask,
    /// Go on hearing of an object that they watch.
    Hear,
    /// Have a room told of an object that they changed.
    Notify,
    /// Learn in which room an object is.
    Locate,
}

/// With what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    /// Nothing of which anybody knows more yet than the request says.
    Server,
    /// A user who is spoken to.
    User,
    /// An object that is no room and no task.
    Object { owner: &'a str },
    /// A task, and who asked for it.
    Task { owner: &'a str },
    /// A method that the server does not do itself.
    Method { name: &'a str },
    /// A room, and whether this session is a member.
    Room { owner: &'a str, is_secret: bool, is_member: bool },
}

/// What it takes to use a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// Nothing, not even a login.
    Everyone,
    /// One of these roles.
    Roles(Roles),
}

/// The rules of methods, unless the configuration has others. A method that is not here is
/// forbidden.
const BUILT_IN: &[(Method, Rule)] = &{
    use Method::{
        Begin, CancelEvent, Chat, Create, Delete, Done, Effect, Emit, Extend, Fail, Find, Get,
        Hello, Join, Leave, Login, Move, NewEvent, Pending, Ping, Quit, RegisterWatcher, Release,
        Resume, Rooms, Set, Thought, Time, Unwatch, Watch, Who, Work,
    };
    const WORKERS: Rule = Rule::Roles(Roles::WORKER);
    const USERS: Rule = Rule::Roles(Roles::USER.with(Roles::ADMIN));
    [
        (Hello, Rule::Everyone),
        (Login, Rule::Everyone),
        (Resume, Rule::Everyone),
        (Ping, Rule::Everyone),
        (Quit, Rule::Everyone),
        (Time, USERS),
        (Create, USERS),
        (Get, USERS),
        (Set, USERS),
        (Delete, USERS),
        (Find, USERS),
        (Watch, USERS),
        (Unwatch, USERS),
        (Join, USERS),
        (Leave, USERS),
        (Rooms, USERS),
        (Who, USERS),
        (Chat, USERS),
        (Emit, USERS),
        (Move, USERS),
        (Work, WORKERS),
        (Begin, WORKERS),
        (Effect, WORKERS),
        (Extend, WORKERS),
        (Done, WORKERS),
        (Fail, WORKERS),
        (Release, WORKERS),
        (Thought, WORKERS),
        (NewEvent, USERS),
        (CancelEvent, USERS),
        (Pending, USERS),
        (RegisterWatcher, Rule::Roles(Roles::WORKER.with(Roles::ADMIN))),
    ]
};

/// What is wrong with a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyFault {
    /// There is no such role.
    RoleUnknown,
    /// There is such a role already.
    RoleTwice,
    /// More roles than [`ROLES_MAX`].
    TooManyRoles,
    /// No method can have that name.
    MethodInvalid,
    /// Rules for more methods that the server does not do itself than [`METHODS_MAX`].
    TooManyMethods,
    /// The method is for everyone, since nobody could log in or leave without it.
    MethodForEveryone,
}

/// Who may do what on a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Names of roles by their bits.
    role_names: Vec<Box<str>>,
    /// Rules by method.
    rules: [Rule; Method::COUNT],
    /// Who may ask for a method that the server does not do itself, where the configuration says so.
    asked: BTreeMap<Box<str>, Roles>,
}

impl Default for Policy {
    /// The three roles that every server has, and the rules that are built in.
    fn default() -> Self {
        let mut rules = [Rule::Roles(Roles::NONE); Method::COUNT];
        for (method, rule) in BUILT_IN {
            rules[*method as usize] = *rule;
        }
        let role_names = [ROLE_USER, ROLE_ADMIN, ROLE_WORKER].map(Box::from).into();
        Self { role_names, rules, asked: BTreeMap::new() }
    }
}

impl Policy {
    /// One more role.
    ///
    /// # Errors
    /// [`PolicyFault::RoleTwice`], [`PolicyFault::TooManyRoles`].
    pub fn add_role(&mut self, name: &str) -> Result<(), PolicyFault> {
        if self.role(name).is_some() {
            return Err(PolicyFault::RoleTwice);
        }
        if self.role_names.len() == ROLES_MAX {
            return Err(PolicyFault::TooManyRoles);
        }
        self.role_names.push(name.into());
        Ok(())
    }

    /// From here on a method is for whoever has one of these roles, and for nobody else. A name that is no
    /// method of the server is that of a method which others do.
    ///
    /// # Errors
    /// All [`PolicyFault`]s but those of roles that are added.
    pub fn set_rule<'r>(
        &mut self,
        method: &str,
        roles: impl IntoIterator<Item = &'r str>,
    ) -> Result<(), PolicyFault> {
        let known = Method::from_name(method);
        match known {
            Some(known) if self.rules[known as usize] == Rule::Everyone => {
                return Err(PolicyFault::MethodForEveryone);
            }
            Some(_) => {}
            None if !is_name(method.as_bytes()) => return Err(PolicyFault::MethodInvalid),
            None if self.asked.len() >= METHODS_MAX && !self.asked.contains_key(method) => {
                return Err(PolicyFault::TooManyMethods);
            }
            None => {}
        }
        let mut allowed = Roles::NONE;
        for name in roles {
            allowed = allowed.with(self.role(name).ok_or(PolicyFault::RoleUnknown)?);
        }
        match known {
            Some(known) => self.rules[known as usize] = Rule::Roles(allowed),
            None => {
                self.asked.insert(method.into(), allowed);
            }
        }
        Ok(())
    }

    /// The set of this one role, if there is such a role.
    #[must_use]
    pub fn role(&self, name: &str) -> Option<Roles> {
        let bit = self.role_names.iter().position(|known| **known == *name)?;
        Some(Roles(1 << bit))
    }

    /// The roles of these names. Names of no role are passed over: nothing is allowed to them.
    #[must_use]
    pub fn roles<'r>(&self, names: impl IntoIterator<Item = &'r str>) -> Roles {
        let known = names.into_iter().filter_map(|name| self.role(name));
        known.fold(Roles::NONE, Roles::with)
    }

    /// Names of the roles of a set.
    pub fn names(&self, roles: Roles) -> impl Iterator<Item = &str> {
        let named = self.role_names.iter().enumerate();
        named.filter(move |(bit, _)| roles.meets(Roles(1 << bit))).map(|(_, name)| &**name)
    }

    /// Whether the subject may do this.
    ///
    /// # Errors
    /// What the subject hears. A secret room looks to strangers as if it were not there.
    #[cfg_attr(test, track_caller)]
    pub(crate) fn authorize(
        &self,
        subject: Subject<'_>,
        verb: Verb,
        target: Target<'_>,
    ) -> Result<(), Reason> {
        #[cfg(test)]
        if removal::is_removed(core::panic::Location::caller()) {
            return Ok(());
        }
        if let Verb::Call(method) = verb {
            match self.rules[method as usize] {
                Rule::Everyone => return Ok(()),
                Rule::Roles(_) if !subject.is_logged_in() => return Err(Reason::NotLoggedIn),
                Rule::Roles(allowed) if !subject.roles.meets(allowed.with(Roles::TASK)) => {
                    return Err(Reason::Forbidden);
                }
                Rule::Roles(_) => {}
            }
        }
        if verb == Verb::Ask && !subject.is_logged_in() {
            return Err(Reason::NotLoggedIn);
        }
        match target {
            Target::Server => match verb {
                Verb::Call(_) => Ok(()),
                Verb::Ask | Verb::Hear | Verb::Notify | Verb::Locate => Err(Reason::Forbidden),
            },
            Target::Method { name } if verb == Verb::Ask => self.may_ask(subject, name),
            Target::Method { .. } => Err(Reason::Forbidden),
            Target::User => match verb {
                Verb::Call(Method::Chat | Method::Emit) => Ok(()),
                _ => Err(Reason::Forbidden),
            },
            Target::Object { owner } => with_object(subject, verb, owner),
            Target::Task { owner } => with_task(subject, verb, owner),
            Target::Room { owner, is_secret, is_member } => {
                let sees = !is_secret || is_member || owns(subject, owner);
                // Whoever knows the name of a secret room may join it: the name is the secret.
                if !sees && verb != Verb::Call(Method::Join) {
                    return Err(Reason::UnknownObject);
                }
                with_room(subject, verb, owner, is_member)
            }
        }
    }

    fn may_ask(&self, subject: Subject<'_>, method: &str) -> Result<(), Reason> {
        let allowed = self.asked.get(method).copied();
        let allowed = allowed.unwrap_or(Roles::USER.with(Roles::ADMIN));
        // What a task has done later is no more than it could do itself.
        let may = subject.roles.meets(allowed.with(Roles::TASK));
        if may { Ok(()) } else { Err(Reason::Forbidden) }
    }

    /// Whether a member of a world may move in it.
    pub(crate) fn may_move(&self, subject: Subject<'_>) -> bool {
        let target = Target::Room { owner: "", is_secret: false, is_member: true };
        self.authorize(subject, Verb::Call(Method::Move), target).is_ok()
    }
}

/// A task changes by what its worker says of it: nobody writes it, and nobody watches it.
fn with_task(subject: Subject<'_>, verb: Verb, owner: &str) -> Result<(), Reason> {
    match verb {
        Verb::Call(Method::Get | Method::Find | Method::Pending | Method::CancelEvent)
            if owns(subject, owner) =>
        {
            Ok(())
        }
        // As if it were not there.
        Verb::Call(
            Method::Get | Method::Find | Method::Pending | Method::CancelEvent | Method::Watch,
        ) if !owns(subject, owner) => Err(Reason::UnknownObject),
        _ => Err(Reason::Forbidden),
    }
}

/// The owner of an object, and whoever may do as if they were.
fn owns(subject: Subject<'_>, owner: &str) -> bool {
    let is_owner = !owner.is_empty() && subject.user == owner;
    is_owner || subject.roles.meets(Roles::ADMIN.with(Roles::TASK))
}

fn with_object(subject: Subject<'_>, verb: Verb, owner: &str) -> Result<(), Reason> {
    match verb {
        Verb::Call(Method::Get | Method::Find | Method::Watch | Method::Unwatch) | Verb::Hear => {
            Ok(())
        }
        Verb::Call(Method::Set | Method::Delete) => may_change(subject, owner),
        Verb::Locate if owns(subject, owner) => Ok(()),
        _ => Err(Reason::Forbidden),
    }
}

fn with_room(subject: Subject<'_>, verb: Verb, owner: &str, is_member: bool) -> Result<(), Reason> {
    match verb {
        Verb::Call(Method::Get | Method::Find | Method::Watch | Method::Unwatch)
        | Verb::Call(Method::Join | Method::Who | Method::Rooms)
        | Verb::Hear => Ok(()),
        Verb::Call(Method::Set | Method::Delete) => may_change(subject, owner),
        Verb::Call(Method::Chat | Method::Emit | Method::Leave | Method::Move) | Verb::Notify => {
            // A task says it for nobody.
            if is_member || subject.roles.meets(Roles::TASK) && verb == Verb::Notify {
                Ok(())
            } else {
                Err(Reason::NotAMember)
            }
        }
        _ => Err(Reason::Forbidden),
    }
}

fn may_change(subject: Subject<'_>, owner: &str) -> Result<(), Reason> {
    if owns(subject, owner) { Ok(()) } else { Err(Reason::NotOwner) }
}

#[cfg(test)]
pub(crate) mod removal;
#[cfg(test)]
mod tests;
