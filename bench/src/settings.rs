//! What a server is set up for beside its size: limits that clients of one machine would hit
//! together and users of the world would not.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

/// Keys and values, in the order in which they are told.
const WANTED: &[(&str, &str)] = &[
    ("limits.unauthenticated_max", "1048576"),
    ("limits.login_ms", "600000"),
    ("limits.connections_per_address_max", "268435456"),
    ("limits.logins_per_minute_per_address", "0"),
];

/// What `limits.world_entities_max` is by default.
pub const WORLD_ENTITIES_MAX: u32 = 16_384;

/// What `limits.npcs_max` is by default.
pub const NPCS_MAX: u32 = 100_000;

/// What a server is set up for besides: nothing where it has to stand the load as it is by default.
#[must_use]
pub fn wanted(is_storm: bool) -> &'static [(&'static str, &'static str)] {
    if is_storm { &[] } else { WANTED }
}

/// The same for those that load objects as fast as the server takes them.
pub const LOADING: &[(&str, &str)] = &[("limits.messages_per_s", "0"), ("limits.bytes_per_s", "0")];

/// What lets workers do as much as the server takes.
pub const WORKING: &[(&str, &str)] = &[
    ("limits.worker_messages_per_s", "1000000000"),
    ("limits.worker_bytes_per_s", "1099511627776"),
];

/// Those that the program knows: an older one, to compare with, has fewer limits.
///
/// # Errors
/// When the program cannot be started.
pub fn known(program: &Path, wanted: &[(&str, &str)]) -> Result<Vec<(String, String)>> {
    let mut known = Vec::new();
    for (key, value) in wanted {
        let path =
            std::env::temp_dir().join(format!("warren-bench-key-{}.toml", std::process::id()));
        std::fs::write(&path, format!("{key} = {value}\n"))?;
        let status = Command::new(program)
            .args(["check-config", "--config"])
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        std::fs::remove_file(&path)?;
        if status.with_context(|| format!("starting {}", program.display()))?.success() {
            known.push(((*key).to_owned(), (*value).to_owned()));
        }
    }
    Ok(known)
}

/// Sets keys to other values, or besides.
pub fn set(settings: &mut Vec<(String, String)>, others: &[(String, String)]) {
    for (key, value) in others {
        settings.retain(|(known, _)| known != key);
        settings.push((key.clone(), value.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_last_holds_alone() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let mut settings = vec![pair("a", "1"), pair("b", "2")];
        set(&mut settings, &[pair("a", "3"), pair("c", "4"), pair("c", "5")]);
        assert_eq!(settings, [pair("b", "2"), pair("a", "3"), pair("c", "5")]);
    }

    #[test]
    fn a_server_stands_a_storm_as_it_is_by_default() {
        assert!(wanted(true).is_empty());
        assert_eq!(wanted(false), WANTED);
    }
}
