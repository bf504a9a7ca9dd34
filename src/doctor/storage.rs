//! Checks of the data folder.

use super::facts::SystemFacts;
use super::trials::DataFacts;
use super::{Facts, Row, bytes_text};

/// With less than this, the next thing that is stored may not fit.
const FREE_BYTES_MIN: u64 = 64 << 20;
/// With less than this, an operator should look.
const FREE_BYTES_LOW: u64 = 1 << 30;
/// File systems in memory.
const VOLATILE: &[&str] = &["tmpfs", "ramfs"];
/// File systems that wait for another machine.
const REMOTE: &[&str] = &["nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph", "glusterfs"];

pub(super) fn rows(facts: &Facts) -> Vec<Row> {
    let Some(data) = &facts.trials.data else {
        return vec![Row::pass("data-folder", "`server.data` is not set: nothing is stored")];
    };
    vec![folder(data), file_system(&facts.system, data), free_space(data)]
}

fn folder(data: &DataFacts) -> Row {
    const CHECK: &str = "data-folder";
    let path = data.folder.display();
    if let Some(process) = &data.locked_by {
        return Row::fail(
            CHECK,
            format!("{path} belongs to a server that is running (process {process})"),
            "stop that server, or set another server.data",
        );
    }
    if let Err(error) = &data.writable {
        let remedy = format!(
            "give it to the server's user (chown, StateDirectory= and ReadWritePaths= in the \
             systemd unit, a volume of the container); tried in {}",
            data.place.display()
        );
        return Row::fail(CHECK, format!("{path} cannot be written: {error}"), remedy);
    }
    let state = if data.exists { "can be written, and nobody has it" } else { "can be made" };
    Row::pass(CHECK, format!("{path} {state}"))
}

fn file_system(system: &SystemFacts, data: &DataFacts) -> Row {
    const CHECK: &str = "data-file-system";
    let Some(kind) = system.file_system(&data.place) else {
        return Row::pass(CHECK, "not told here");
    };
    if VOLATILE.contains(&kind) {
        let seen = format!("{kind}: in memory, gone when the machine restarts");
        return Row::warn(CHECK, seen, "set server.data to a folder on a disk");
    }
    if REMOTE.contains(&kind) {
        let seen = format!("{kind}: on another machine, whose locks and syncs may not hold");
        return Row::warn(CHECK, seen, "set server.data to a folder on a disk of this machine");
    }
    Row::pass(CHECK, kind)
}

fn free_space(data: &DataFacts) -> Row {
    const CHECK: &str = "data-free-space";
    let Some(free) = data.free_bytes else {
        return Row::warn(CHECK, "cannot be read", "look with df");
    };
    let seen = format!("{} free", bytes_text(free));
    const REMEDY: &str = "make room there, or set server.data to a folder on a larger disk";
    if free < FREE_BYTES_MIN {
        Row::fail(CHECK, seen, REMEDY)
    } else if free < FREE_BYTES_LOW {
        Row::warn(CHECK, seen, REMEDY)
    } else {
        Row::pass(CHECK, seen)
    }
}
