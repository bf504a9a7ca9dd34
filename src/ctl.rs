//! `warren ctl`: asks a running server over its admin endpoint, and tells people or programs what
//! it answers. One order, then it ends.
//!
//! Files: `ctl/place.rs` where the endpoint and its token are, `ctl/client.rs` requests,
//! `ctl/digest.rs` one digest of many, `ctl/queues.rs` tasks, `ctl/tables.rs` answers for people.

mod client;
mod digest;
mod place;
mod queues;
mod tables;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};

use crate::admin::token::Token;
use crate::admin::{ROWS_PER_PAGE_MAX, make_runtime};
use crate::bans::Subject;
use crate::config::Endpoint;
use crate::fatal::{Fatal, FatalReason};

use client::{AdminClient, Life};
pub(crate) use place::find as find_endpoint;
pub use queues::{DeadOrder, QueuesArguments, Which};

/// Asks a running server for a number of its metrics. Where others reach it, that takes the token.
pub(crate) async fn read_metric(
    endpoint: &Endpoint,
    token_file: Option<&Path>,
    name: &str,
) -> Result<u64, Fatal> {
    let told = |error| Fatal::new(FatalReason::ConfigInvalid, format_args!("the token: {error}"));
    let token = token_file.filter(|_| endpoint.is_reachable()).map(Token::read);
    let token = token.transpose().map_err(told)?;
    AdminClient { endpoint: endpoint.clone(), token }.metric(name).await
}

/// Rows that a list has when nobody says how many.
const COUNT_DEFAULT: u32 = 1000;
/// Most rows of a list: they are all in memory before the first is printed.
const COUNT_MAX: u32 = 1_000_000;
/// How often `drain --wait` looks.
const WAIT_INTERVAL: Duration = Duration::from_millis(100);
/// How long it looks: longer than a server that cannot store its state tries to.
const WAIT_MAX: Duration = Duration::from_secs(180);
/// The server has refused.
const STATUS_REFUSED: u8 = 1;

const EXAMPLES: &str = "\
Examples:
  warren ctl status
  warren ctl sessions --user ann
  warren ctl digest --groups
  warren ctl queues --partitions 10
  warren ctl dead retry --all --method craft
  warren ctl kick ann --reason \"shouts\"
  warren ctl ban 192.0.2.0/24 --for 1h
  warren ctl ban mallory --for 30days --reason \"steals\"
  warren ctl unban mallory
  warren ctl workers
  warren ctl workers reload combat
  warren ctl plugins load ./combat.so
  warren ctl --config /etc/warren/warren.toml drain --wait
  warren ctl --admin unix:/run/warren/admin.sock status --json

The token is that of --token-file, else of the configuration's `admin.token_file`, else the one that
a server on this machine has left in XDG_RUNTIME_DIR or in its data folder. A Unix socket asks for
none.

Exit status: 0 when it is done; 1 when the server refuses, or ends without having stored its state,
with its word (docs/operations.md); 2 for a wrong command line; 69 when the server does not answer; 71 when the system lacks something; 78 for
a wrong configuration or a token that is not there.";

/// `warren ctl …`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = EXAMPLES, subcommand_required = true, arg_required_else_help = true)]
pub struct CtlArguments {
    /// Where the server is.
    #[command(flatten)]
    pub admin: AdminArguments,
    /// One JSON object, as the server answers
    #[arg(long, global = true)]
    pub json: bool,
    /// What to ask or to order.
    #[command(subcommand)]
    pub order: Order,
}

/// Where the admin endpoint of a running server is, and what opens it.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct AdminArguments {
    /// Address and port of the admin endpoint, or unix:/path [default: the configuration's]
    #[arg(long, value_name = "ADDR", global = true)]
    pub admin: Option<Endpoint>,
    /// The server's configuration file: where its endpoint, its token and its data are
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// The server's data folder, where it may have left its token [default: the configuration's]
    #[arg(long, value_name = "DIR", global = true)]
    pub data: Option<PathBuf>,
    /// File with the token
    #[arg(long, value_name = "FILE", global = true)]
    pub token_file: Option<PathBuf>,
}

/// What to ask or to order.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Order {
    /// What the server does, in all and shard by shard
    Status,
    /// Who is here
    Sessions {
        /// Only this user's
        #[arg(long)]
        user: Option<String>,
        /// How many to tell
        #[command(flatten)]
        count: Count,
    },
    /// Rooms, secret ones too
    Rooms {
        /// How many to tell
        #[command(flatten)]
        count: Count,
    },
    /// One number of all objects: equal for equal objects, also after a restart
    Digest {
        /// Also of each group that has objects
        #[arg(long)]
        groups: bool,
    },
    /// How tasks stand, by method
    Queues(QueuesArguments),
    /// Tasks that nobody could do
    Dead {
        /// What to do with them
        #[command(subcommand)]
        order: DeadOrder,
    },
    /// End a user's session; the user may log in again
    Kick {
        /// The user's name
        user: String,
        /// A note for operators, for the log
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
    /// Let a user, or whoever is at an address, in no more
    Ban {
        /// A user's name, an address, or a range of addresses
        #[arg(value_name = "USER|ADDRESS|RANGE", value_parser = checked_subject)]
        subject: String,
        /// For how long, as 1h or 30days [default: for ever]
        #[arg(long = "for", value_name = "TIME")]
        time: Option<String>,
        /// A note for operators, kept with the ban
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
    /// End a ban
    Unban {
        /// Who is banned, as `bans` tells it
        #[arg(value_name = "USER|ADDRESS|RANGE", value_parser = checked_subject)]
        subject: String,
    },
    /// Who is banned, and until when
    Bans {
        /// How many to tell
        #[command(flatten)]
        count: Count,
    },
    /// Stop the server as SIGTERM does: clients are told, state is stored
    Drain {
        /// Wait until it has stored its state and answers no more
        #[arg(long)]
        wait: bool,
    },
    /// Read the configuration file again, as SIGHUP does
    Reload,
    /// Who does tasks, and the processes that the server has started for that
    Workers {
        /// How many to tell
        #[command(flatten)]
        count: Count,
        /// What to order
        #[command(subcommand)]
        order: Option<WorkersOrder>,
    },
    /// Native libraries whose methods the server does inline
    #[command(subcommand)]
    Plugins(PluginOrder),
}

/// What to order the processes of a section `workers.NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum WorkersOrder {
    /// End each, and start it anew
    Restart {
        /// The section's name
        name: String,
    },
    /// Start as many of what is there now, and end those before once the new ones work
    Reload {
        /// The section's name
        name: String,
    },
}

/// What to ask or to order of plugins.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum PluginOrder {
    /// Which are there, in which version, and what they did
    List,
    /// Load a library beside what is there, and have all shards change to it
    Load {
        /// The library, where the server finds it
        file: PathBuf,
    },
    /// Have all shards change to the version before
    Rollback {
        /// The plugin's name
        plugin: String,
    },
}

/// How many rows of a list to tell.
#[derive(Args, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Most rows to tell
    #[arg(
        long,
        value_name = "N",
        default_value_t = COUNT_DEFAULT,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(COUNT_MAX))
    )]
    pub count: u32,
}

fn checked_subject(text: &str) -> Result<String, String> {
    text.parse::<Subject>().map(|subject| subject.to_string())
}

/// Why an order came to nothing.
pub(crate) enum Failure {
    /// The server has refused: its answer.
    Refused(Value),
    /// There was no answer.
    Fatal(Fatal),
}

impl From<Fatal> for Failure {
    fn from(fatal: Fatal) -> Self {
        Self::Fatal(fatal)
    }
}

/// Carries out one order: answers go to `out`, and what the server refuses, for people, to `err`.
/// Whether anybody reads them changes nothing: the exit status is the answer.
///
/// # Errors
/// The endpoint or its token is not there, or does not answer.
pub fn run(
    arguments: &CtlArguments,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<ExitCode, Fatal> {
    let client = find_endpoint(&arguments.admin)?;
    let console = &mut Console { is_json: arguments.json, out, err };
    match make_runtime()?.block_on(carry_out(&client, &arguments.order, console)) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(Failure::Fatal(fatal)) => Err(fatal),
        Err(Failure::Refused(answer)) => {
            let status = tell_refusal(&answer, console.err);
            if console.is_json {
                console.tell(&answer, |_| String::new());
            }
            Ok(status)
        }
    }
}

/// Says for people what a server has refused, and gives the exit status that says so.
pub(crate) fn tell_refusal(answer: &Value, err: &mut dyn Write) -> ExitCode {
    let word = answer["error"].as_str().unwrap_or_default();
    let detail = tables::printable(answer["detail"].as_str().unwrap_or_default());
    let _ = writeln!(err, "warren: {word}: {detail}");
    ExitCode::from(STATUS_REFUSED)
}

/// Where answers go.
struct Console<'a> {
    is_json: bool,
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
}

impl Console<'_> {
    fn tell(&mut self, answer: &Value, text: impl FnOnce(&Value) -> String) {
        let _ = if self.is_json {
            writeln!(self.out, "{answer}")
        } else {
            self.out.write_all(text(answer).as_bytes())
        };
        let _ = self.out.flush();
    }
}

async fn carry_out(
    client: &AdminClient,
    order: &Order,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    match order {
        Order::Status => {
            let answer = client.ask(Method::GET, "/api/status", None).await?.done()?;
            console.tell(&answer, tables::status);
        }
        Order::Sessions { user, count } => {
            let user = user.as_ref().map(|user| ("user", user.as_str()));
            let answer = list(client, "sessions", user, count.count, console).await?;
            console.tell(&answer, tables::sessions);
        }
        Order::Rooms { count } => {
            let answer = list(client, "rooms", None, count.count, console).await?;
            console.tell(&answer, tables::rooms);
        }
        Order::Digest { groups } => {
            // There are more rows than groups only where one has very many objects.
            let parts = list(client, "digests", None, COUNT_MAX, console).await?;
            let answer = digest::of_node(&parts, *groups)
                .ok_or_else(|| client.no_answer("there is no digest in its answer"))?;
            console.tell(&answer, tables::digest);
        }
        Order::Bans { count } => {
            let answer = list(client, "bans", None, count.count, console).await?;
            console.tell(&answer, tables::bans);
        }
        Order::Queues(arguments) => queues::queues(client, arguments, console).await?,
        Order::Dead { order } => queues::dead(client, order, console).await?,
        Order::Kick { user, reason } => {
            let body = json!({ "user": user, "reason": reason });
            let answer = client.ask(Method::POST, "/api/kick", Some(body)).await?.done()?;
            console.tell(&answer, tables::kicked);
        }
        Order::Ban { subject, time, reason } => {
            let mut body = subject_body(subject);
            body["reason"] = reason.as_str().into();
            if let Some(time) = time {
                body["for"] = time.as_str().into();
            }
            let answer = client.ask(Method::POST, "/api/ban", Some(body)).await?.done()?;
            console.tell(&answer, tables::banned);
        }
        Order::Unban { subject } => {
            let body = Some(subject_body(subject));
            let answer = client.ask(Method::DELETE, "/api/ban", body).await?.done()?;
            console.tell(&answer, tables::unbanned);
        }
        Order::Drain { wait } => drain(client, *wait, console).await?,
        Order::Workers { count, order: None } => {
            let answer = list(client, "workers", None, count.count, console).await?;
            console.tell(&answer, tables::workers);
        }
        Order::Workers { order: Some(order), .. } => {
            let (name, order) = match order {
                WorkersOrder::Restart { name } => (name, "restart"),
                WorkersOrder::Reload { name } => (name, "reload"),
            };
            let answer = order_workers(client, name, order).await?;
            console.tell(&answer, tables::workers_ordered);
        }
        Order::Reload => {
            let answer = client.ask(Method::POST, "/api/reload", None).await?.done()?;
            console.tell(&answer, tables::reloaded);
        }
        Order::Plugins(order) => carry_out_plugins(client, order, console).await?,
    }
    Ok(())
}

async fn drain(
    client: &AdminClient,
    waits: bool,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let answer = client.ask(Method::POST, "/api/drain", None).await?.done()?;
    console.tell(&answer, |_| "draining\n".to_owned());
    if waits {
        wait_for_end(client).await?;
        if !console.is_json {
            console.tell(&Value::Null, |_| "the server has ended\n".to_owned());
        }
    }
    Ok(())
}

async fn carry_out_plugins(
    client: &AdminClient,
    order: &PluginOrder,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let (path, body) = match order {
        PluginOrder::List => {
            let answer = client.ask(Method::GET, "/api/plugins", None).await?.done()?;
            console.tell(&answer, tables::plugins);
            return Ok(());
        }
        PluginOrder::Load { file } => {
            let file = std::path::absolute(file);
            let file = file.map_err(|error| Fatal::new(FatalReason::SystemRefused, error))?;
            ("/api/plugins/load", json!({ "file": file }))
        }
        PluginOrder::Rollback { plugin } => ("/api/plugins/rollback", json!({ "plugin": plugin })),
    };
    let answer = client.ask(Method::POST, path, Some(body)).await?.done()?;
    console.tell(&answer, tables::plugin_changed);
    Ok(())
}

fn subject_body(subject: &str) -> Value {
    match subject.parse::<Subject>().expect("the command line was checked") {
        Subject::User(user) => json!({ "user": user }),
        Subject::Addresses(range) => json!({ "address": range.to_string() }),
    }
}

/// Gives an order to workers, and waits until it is carried out.
async fn order_workers(client: &AdminClient, name: &str, order: &str) -> Result<Value, Failure> {
    let body = json!({ "workers": name, "order": order });
    let mut answer = client.ask(Method::POST, "/api/workers", Some(body)).await?.done()?;
    // The server bounds how long its processes may take.
    while answer["phase"] == "running" {
        let body = json!({ "workers": name, "number": answer["number"] });
        answer = client.ask(Method::POST, "/api/workers/order", Some(body)).await?.done()?;
    }
    Ok(answer)
}

/// A list of at most so many rows, page after page: an answer as that to one page.
async fn list(
    client: &AdminClient,
    name: &str,
    parameter: Option<(&str, &str)>,
    count: u32,
    console: &mut Console<'_>,
) -> Result<Value, Failure> {
    let count = count as usize;
    let mut gathered: Vec<Value> = Vec::new();
    let mut after = None;
    loop {
        let page_count = (count - gathered.len()).min(ROWS_PER_PAGE_MAX).to_string();
        let after_parameter = after.as_deref().map(|after| ("after", after));
        let parameters =
            [("count", page_count.as_str())].into_iter().chain(parameter).chain(after_parameter);
        let path = client::path_with(&format!("/api/{name}"), parameters);
        let mut page = client.ask(Method::GET, &path, None).await?.done()?;
        let Some(rows) = page[name].as_array_mut() else {
            return Err(client.no_answer("there is no list in its answer").into());
        };
        gathered.append(rows);
        after = page["after"].as_str().map(str::to_owned);
        if after.is_none() || gathered.len() >= count {
            if after.is_some() {
                let count = gathered.len();
                let _ = writeln!(console.err, "warren: there are more than {count}: --count N");
            }
            page[name] = gathered.into();
            return Ok(page);
        }
    }
}

/// Waits until a server that drains has said that it has stored its state, and nobody listens there.
async fn wait_for_end(client: &AdminClient) -> Result<(), Failure> {
    let ended = tokio::time::timeout(WAIT_MAX, async {
        // Each answer comes when there is something to tell, or after a while.
        while client.ask(Method::GET, "/api/drain", None).await?.done()?["phase"] != "drained" {}
        // Where somebody serves, the next server has started already.
        while !matches!(client.life().await, Life::Gone | Life::Serving) {
            tokio::time::sleep(WAIT_INTERVAL).await;
        }
        Ok(())
    });
    let late = format_args!("it has not ended within {} s", WAIT_MAX.as_secs());
    ended.await.unwrap_or_else(|_| Err(client.no_answer(late).into()))
}

#[cfg(test)]
mod tests;
