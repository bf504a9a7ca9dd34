//! The operator's list of bans: users and ranges of addresses, each until some time. It is a small
//! file of the data folder, replaced as a whole whenever it changes; shards get copies of what they
//! need of it.

use core::fmt;
use core::str::FromStr;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use warren_core::bans::{AddressRange, Bans, NEVER_MS};
use warren_core::name::check_name;

use crate::fatal::{Fatal, FatalReason};

/// The list's file in the data folder.
pub(crate) const FILE: &str = "bans.json";
/// The version of its form.
const VERSION: u32 = 1;
/// Longest reason that is kept with a ban, in bytes.
pub(crate) const REASON_BYTES_MAX: usize = 256;

/// Who is banned.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// The user of this name.
    User(String),
    /// Whoever connects from there.
    Addresses(AddressRange),
}

impl FromStr for Subject {
    type Err = String;

    /// An address or range of addresses, or else a user's name: no text is both.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(range) = text.parse() {
            return Ok(Self::Addresses(range));
        }
        match check_name(text.as_bytes()) {
            Ok(user) => Ok(Self::User(user.to_owned())),
            Err(_) => Err(format!("{text:?} is neither a user's name nor an address")),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => f.write_str(user),
            Self::Addresses(range) => range.fmt(f),
        }
    }
}

/// What is kept of a ban.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ban {
    /// Since when, in milliseconds since 1970.
    pub(crate) since_ms: u64,
    /// Until when; [`NEVER_MS`]: it has no end.
    pub(crate) until_ms: u64,
    /// What the operator has noted.
    pub(crate) reason: String,
}

/// A ban as it stands in the file.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct StoredBan {
    subject: String,
    since_ms: u64,
    until_ms: Option<u64>,
    reason: String,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct StoredList {
    version: u32,
    bans: Vec<StoredBan>,
}

/// There are as many bans as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooManyBans;

/// All bans.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BanList {
    bans: BTreeMap<Subject, Ban>,
    /// Where it is stored; none: it ends with the server.
    file: Option<PathBuf>,
}

impl BanList {
    /// The list of the data folder; an empty one when there is none yet, or no folder.
    pub(crate) fn load(data: Option<&Path>) -> Result<Self, Fatal> {
        let Some(folder) = data else { return Ok(Self::default()) };
        let file = folder.join(FILE);
        let unusable = |error: &dyn fmt::Display| {
            Fatal::new(FatalReason::StateUnusable, format_args!("{}: {error}", file.display()))
        };
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { bans: BTreeMap::new(), file: Some(file) });
            }
            Err(error) => return Err(unusable(&error)),
        };
        let stored: StoredList = serde_json::from_str(&text).map_err(|error| unusable(&error))?;
        if stored.version != VERSION {
            return Err(unusable(&format_args!("version {} is not known here", stored.version)));
        }
        let ban = |stored: StoredBan| {
            let subject: Subject = stored.subject.parse()?;
            let until_ms = stored.until_ms.unwrap_or(NEVER_MS);
            Ok((subject, Ban { since_ms: stored.since_ms, until_ms, reason: stored.reason }))
        };
        let bans = stored.bans.into_iter().map(ban).collect::<Result<_, String>>();
        let bans = bans.map_err(|error| unusable(&error))?;
        Ok(Self { bans, file: Some(file) })
    }

    /// Whether it outlives the server.
    pub(crate) fn is_stored(&self) -> bool {
        self.file.is_some()
    }

    /// Number of bans.
    pub(crate) fn len(&self) -> usize {
        self.bans.len()
    }

    /// Bans behind that subject, in order.
    pub(crate) fn after(&self, after: Option<&Subject>) -> impl Iterator<Item = (&Subject, &Ban)> {
        use std::ops::Bound;
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.bans.range((start, Bound::Unbounded))
    }

    /// Adds a ban, or replaces the subject's. Those that have ended make room.
    pub(crate) fn ban(
        &mut self,
        subject: Subject,
        ban: Ban,
        bans_max: usize,
    ) -> Result<(), TooManyBans> {
        self.forget_ended(ban.since_ms);
        if self.bans.len() >= bans_max && !self.bans.contains_key(&subject) {
            return Err(TooManyBans);
        }
        self.bans.insert(subject, ban);
        Ok(())
    }

    /// Ends a ban, and says whether there was one.
    pub(crate) fn unban(&mut self, subject: &Subject, now_ms: u64) -> bool {
        self.forget_ended(now_ms);
        self.bans.remove(subject).is_some()
    }

    /// Forgets the bans that have ended.
    pub(crate) fn forget_ended(&mut self, now_ms: u64) {
        self.bans.retain(|_, ban| now_ms < ban.until_ms);
    }

    /// What shards need of it.
    pub(crate) fn for_shards(&self) -> Bans {
        let mut bans = Bans::default();
        for (subject, ban) in &self.bans {
            match subject {
                Subject::User(user) => bans.ban_user(user, ban.until_ms),
                Subject::Addresses(range) => bans.ban_addresses(*range, ban.until_ms),
            }
        }
        bans
    }

    /// Replaces the file, and waits until that has reached the disk. Whatever ends the machine, the
    /// file is the old one or the new one.
    pub(crate) fn store(&self) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let stored = |(subject, ban): (&Subject, &Ban)| StoredBan {
            subject: subject.to_string(),
            since_ms: ban.since_ms,
            until_ms: (ban.until_ms != NEVER_MS).then_some(ban.until_ms),
            reason: ban.reason.clone(),
        };
        let list = StoredList { version: VERSION, bans: self.bans.iter().map(stored).collect() };
        let mut text = serde_json::to_vec_pretty(&list)?;
        text.push(b'\n');
        let draft = file.with_extension("json.draft");
        let mut out = File::create(&draft)?;
        out.write_all(&text)?;
        out.sync_all()?;
        fs::rename(&draft, file)?;
        File::open(file.parent().expect("the file is in the data folder"))?.sync_all()
    }
}

#[cfg(test)]
mod tests;
