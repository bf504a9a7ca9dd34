//! The command line of `warren ticket`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

const EXAMPLES: &str = "\
Examples:
  warren ticket keygen --key ticket.key               prints the line for `auth.keys`
  warren ticket issue --key ticket.key --user ann --role user --role builder --expires 15m
  warren ticket issue --key ticket.key --user ann | warren ticket inspect --config warren.toml

Tickets and keys are never arguments: a machine's processes see each other's.

Exit status: 0 when there is a key, a ticket, or a ticket that holds; 1 when `inspect` found one that
does not; 78 for a file or claims that are no use; 71 when the system refuses something.";

/// What `warren ticket` takes.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = EXAMPLES)]
pub struct TicketArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: TicketCommand,
}

/// What to do with tickets.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum TicketCommand {
    /// Make a secret key in a file of its own, and print the public key for `auth.keys`
    Keygen(KeygenArguments),
    /// Print a ticket
    Issue(IssueArguments),
    /// Show what is in the ticket on standard input, and whether it holds
    Inspect(InspectArguments),
}

/// What `keygen` takes.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct KeygenArguments {
    /// File for the secret key; must not be there yet
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// How tickets name this key
    #[arg(long, default_value = "main")]
    pub id: String,
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// What `issue` takes.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct IssueArguments {
    /// File of the secret key
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Whose ticket it is
    #[arg(long)]
    pub user: String,
    /// A role, as often as needed [default: user]
    #[arg(long)]
    pub role: Vec<String>,
    /// `auth.audience` of the servers that are to take it
    #[arg(long, default_value = "warren")]
    pub audience: String,
    /// How long from now on it holds
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
    pub expires: Duration,
    /// When, from now on, it begins to hold [default: at once]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub starts: Option<Duration>,
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// What `inspect` takes.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct InspectArguments {
    /// Configuration of a server: whether it takes the ticket
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key", "audience"])]
    pub config: Option<PathBuf>,
    /// File of the secret key: whether it signed the ticket, and the ticket holds
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Audience that the ticket is to have, beside `--key`
    #[arg(long, default_value = "warren")]
    pub audience: String,
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
}
