//! Whether a log goes on from where the tables are.

use std::path::Path;

use super::ExportCursor;
use crate::delta_log::{LogTail, TailError};

/// Why everything is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyReason {
    /// The tables were never filled.
    FirstExport,
    /// There are rows, and no cursor that says of which log.
    CursorMissing,
    /// Commits that are not in the tables are gone from the log.
    LogGone,
    /// The tables are of another log.
    OtherLog,
    /// The tables have more than the log: it was put back to an older state.
    CursorAhead,
    /// The log has another commit of a number that the cursor names: it was put back, and went on
    /// otherwise.
    OtherHistory,
    /// An object in the tables is not what the log goes on from.
    Gap,
}

impl CopyReason {
    /// Whether the tables may hold a world that is nowhere else.
    #[must_use]
    pub const fn is_other_world(self) -> bool {
        match self {
            Self::CursorMissing | Self::OtherLog | Self::CursorAhead | Self::OtherHistory => true,
            Self::FirstExport | Self::LogGone | Self::Gap => false,
        }
    }

    /// The word in the log.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::FirstExport => "first-export",
            Self::CursorMissing => "cursor-missing",
            Self::LogGone => "log-gone",
            Self::OtherLog => "other-log",
            Self::CursorAhead => "cursor-ahead",
            Self::OtherHistory => "other-history",
            Self::Gap => "export-gap",
        }
    }
}

/// The log of this folder, durable up to this commit, behind the cursor; or why it does not go on from
/// there.
///
/// # Errors
/// [`TailError`].
pub fn follow(
    folder: &Path,
    cursor: ExportCursor,
    durable: u64,
) -> Result<Result<LogTail, CopyReason>, TailError> {
    // Of a world without a log nothing says whether it was this one.
    let Some(log) = cursor.log else { return Ok(Err(CopyReason::CursorMissing)) };
    if LogTail::salt(folder)? != Some(log) {
        return Ok(Err(CopyReason::OtherLog));
    }
    // Rows have what comes before the end of a full copy, also where the cursor is not there yet.
    if cursor.commit.max(cursor.copied_to) > durable {
        return Ok(Err(CopyReason::CursorAhead));
    }
    let named = [
        (cursor.copied_to, cursor.copied_checksum.filter(|_| cursor.commit < cursor.copied_to)),
        (cursor.commit, cursor.checksum),
    ];
    // Right behind a full copy the cursor knows no commit of its own.
    let mut tail = LogTail::open(folder, cursor.commit + 1);
    for (commit, checksum) in named {
        let Some(checksum) = checksum else { continue };
        tail = LogTail::open(folder, commit);
        let known = match tail.next(durable) {
            Ok(commit) => commit.expect("it is not beyond the durable ones"),
            Err(TailError::Gone { .. }) => return Ok(Err(CopyReason::LogGone)),
            Err(error) => return Err(error),
        };
        if known.crc != checksum {
            return Ok(Err(CopyReason::OtherHistory));
        }
    }
    if tail.position() != cursor.commit + 1 {
        tail = LogTail::open(folder, cursor.commit + 1);
    }
    Ok(Ok(tail))
}

/// The checksum of a commit that is durable; none of the number before the first.
pub(super) fn checksum_of(folder: &Path, commit: u64) -> Result<Option<u32>, TailError> {
    if commit == 0 {
        return Ok(None);
    }
    Ok(LogTail::open(folder, commit).next(commit)?.map(|commit| commit.crc))
}
