//! Why the process ends before or instead of serving: a closed list of reasons, each with an exit
//! status that scripts and service managers can rely on (the numbers of BSD's `sysexits.h`).

use core::fmt;
use std::process::ExitCode;

use crate::config::ConfigError;

/// Why the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FatalReason {
    /// The configuration is not valid.
    ConfigInvalid,
    /// The kernel lacks or forbids a feature of io_uring that is needed.
    RingUnavailable,
    /// An address cannot be listened on.
    ListenFailed,
    /// The data folder cannot be made or written.
    DataFolderUnusable,
    /// The stored state cannot be opened or read.
    StateUnusable,
    /// What changed could not be stored.
    StateNotStored,
    /// The system refused something else: a thread, a core, a signal handler.
    SystemRefused,
    /// Another server has the data folder.
    DataFolderLocked,
    /// A service that is needed does not answer.
    ServiceUnavailable,
    /// A thread of the server ended that should not have.
    ThreadFailed,
}

impl FatalReason {
    /// Every reason.
    pub const ALL: &[Self] = &[
        Self::ConfigInvalid,
        Self::RingUnavailable,
        Self::ListenFailed,
        Self::DataFolderUnusable,
        Self::StateUnusable,
        Self::StateNotStored,
        Self::SystemRefused,
        Self::DataFolderLocked,
        Self::ServiceUnavailable,
        Self::ThreadFailed,
    ];

    /// The word in the log.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::ConfigInvalid => "config-invalid",
            Self::RingUnavailable => "ring-unavailable",
            Self::ListenFailed => "listen-failed",
            Self::DataFolderUnusable => "data-folder-unusable",
            Self::StateUnusable => "state-unusable",
            Self::StateNotStored => "state-not-stored",
            Self::SystemRefused => "system-refused",
            Self::DataFolderLocked => "data-folder-locked",
            Self::ServiceUnavailable => "service-unavailable",
            Self::ThreadFailed => "thread-failed",
        }
    }

    /// The exit status of the process.
    #[must_use]
    pub const fn exit_status(self) -> u8 {
        match self {
            Self::ConfigInvalid => 78,
            Self::RingUnavailable
            | Self::ListenFailed
            | Self::DataFolderUnusable
            | Self::SystemRefused => 71,
            Self::StateUnusable => 65,
            Self::StateNotStored => 74,
            Self::DataFolderLocked => 75,
            Self::ServiceUnavailable => 69,
            Self::ThreadFailed => 1,
        }
    }
}

/// The end of the process: why, and what exactly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fatal {
    /// Why.
    pub reason: FatalReason,
    /// What exactly, and what to do about it.
    pub detail: String,
}

impl Fatal {
    /// A reason, and what exactly.
    #[must_use]
    pub fn new(reason: FatalReason, detail: impl fmt::Display) -> Self {
        Self { reason, detail: detail.to_string() }
    }

    /// What `main` returns.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.reason.exit_status())
    }
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.word(), self.detail)
    }
}

impl core::error::Error for Fatal {}

impl From<ConfigError> for Fatal {
    fn from(error: ConfigError) -> Self {
        Self::new(FatalReason::ConfigInvalid, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_distinct_and_no_status_means_success_or_usage() {
        for (index, reason) in FatalReason::ALL.iter().enumerate() {
            assert!(!matches!(reason.exit_status(), 0 | 2), "{}", reason.word());
            assert!(
                FatalReason::ALL[..index].iter().all(|earlier| earlier.word() != reason.word())
            );
        }
    }

    #[test]
    fn each_status_is_told_in_the_help_and_to_operators() {
        let help = <crate::arguments::Arguments as clap::CommandFactory>::command();
        let help = help.clone().render_help().to_string();
        let operations = include_str!("../docs/operations.md");
        for reason in FatalReason::ALL {
            let status = reason.exit_status();
            let words = |c: char| !c.is_ascii_digit();
            let told = help.split_once("Exit status:").expect("it is told").1;
            assert!(told.split(words).any(|word| word == status.to_string()), "{status}: {told}");
            assert!(operations.contains(&format!("\n| {status} | ")), "{status}");
        }
    }

    #[test]
    fn a_fatal_error_reads_as_reason_and_detail() {
        let fatal = Fatal::new(FatalReason::DataFolderLocked, "/var/lib/warren: process 12");
        assert_eq!(fatal.to_string(), "data-folder-locked: /var/lib/warren: process 12");
        assert_eq!(fatal.reason.exit_status(), 75);
    }
}
