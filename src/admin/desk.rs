//! All that answers to the operator need: what shards publish, the lines to them, the list of bans,
//! and the orders that concern the whole server.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use warren_core::control::{Answer, Command, Leases, WorkerRow};
use warren_core::ids::{PartitionId, SessionId, ShardId};
use warren_core::reason::Reason;
use warren_core::routing::RoutingTable;

use super::answers::ApiError;
use super::ban_book::BanBook;
use super::plugin_book::PluginBook;
use crate::backup::Backups;
use crate::clock::Clock;
use crate::control::{Asking, Controls};
use crate::metrics::ServerState;
use crate::reload::ReloadReport;
use crate::workers::Board;

/// Reloads that wait for one that is under way; the next is refused.
pub(crate) const RELOADS_MAX: usize = 4;

/// Who waits for a reload.
pub(crate) type ReloadAsker = oneshot::Sender<ReloadReport>;

/// What the operator may ask of the whole server.
#[derive(Debug)]
pub(crate) struct ServerOrders {
    /// The drain is to begin.
    pub(crate) drain: Notify,
    /// None: this server does not reload.
    pub(crate) reloads: Option<mpsc::Sender<ReloadAsker>>,
    end: watch::Sender<Option<DrainEnd>>,
}

/// How a drain has ended: everything is stored, or why not.
pub(crate) type DrainEnd = Result<(), String>;

impl ServerOrders {
    /// Of a server that serves.
    pub(crate) fn new(reloads: Option<mpsc::Sender<ReloadAsker>>) -> Self {
        Self { drain: Notify::new(), reloads, end: watch::Sender::new(None) }
    }

    /// The drain is over, and so is the server.
    pub(crate) fn tell_end(&self, end: DrainEnd) {
        self.end.send_replace(Some(end));
    }

    /// How the drain has ended, once it has.
    pub(crate) async fn end(&self) -> DrainEnd {
        let mut end = self.end.subscribe();
        let end = end.wait_for(Option::is_some).await.expect("the orders have the sender");
        end.clone().expect("it was waited for")
    }
}

/// Where requests are dealt with.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) state: Arc<ServerState>,
    pub(crate) clock: Clock,
    pub(crate) controls: Controls,
    pub(crate) routing: RoutingTable,
    pub(crate) bans: BanBook,
    pub(crate) plugins: PluginBook,
    pub(crate) orders: ServerOrders,
    pub(crate) backups: Backups,
    /// Of the workers that the configuration names.
    pub(crate) workers: Arc<Board>,
    /// Where clients connect.
    pub(crate) listen: SocketAddr,
}

impl Desk {
    /// The shard that knows whether the user is here.
    fn home_of(&self, user: &str) -> ShardId {
        self.routing.shard_of(PartitionId::of_name(user))
    }

    pub(crate) async fn find_user(&self, user: &str) -> Result<Option<SessionId>, ApiError> {
        let command = Command::FindUser { user: user.into() };
        self.ask_session(Asking::Operator, user, command).await
    }

    /// A look at the user's session, if it does tasks.
    pub(crate) async fn find_worker(&self, user: &str) -> Result<Option<WorkerRow>, ApiError> {
        let find = Command::FindUser { user: user.into() };
        let Some(session) = self.ask_session(Asking::Look, user, find).await? else {
            return Ok(None);
        };
        let command = Command::ListWorkers { from: session.index, count: 1 };
        match self.controls.ask_as(Asking::Look, session.shard, command).await?.answer {
            Answer::Workers(page) => Ok(page.rows.into_iter().find(|row| row.session == session)),
            other => panic!("a shard answers what it was asked: {other:?}"),
        }
    }

    /// What each session has of all shards.
    pub(super) async fn leases_of(
        &self,
        asking: Asking,
        sessions: Arc<[SessionId]>,
    ) -> Result<Vec<Leases>, ApiError> {
        let mut sums = vec![Leases::default(); sessions.len()];
        for shard in 0..self.controls.shard_count() {
            let command = Command::CountLeases { sessions: Arc::clone(&sessions) };
            let reply = self.controls.ask_as(asking, ShardId(shard), command).await?;
            let Answer::Leases(leases) = reply.answer else {
                panic!("a shard answers what it was asked")
            };
            for (sum, one) in sums.iter_mut().zip(leases) {
                sum.count += one.count;
                sum.oldest_ms = sum.oldest_ms.max(one.oldest_ms);
                sum.thinks += one.thinks;
                sum.silent_ms = sum.silent_ms.max(one.silent_ms);
            }
        }
        Ok(sums)
    }

    /// A look at what each user has of all shards; none if it has no session that does tasks. The first shard that does
    /// not answer is the end of it.
    pub(crate) async fn worker_leases<'u>(
        &self,
        users: impl Iterator<Item = &'u str>,
    ) -> Result<Vec<Option<Leases>>, ApiError> {
        let (mut places, mut sessions) = (Vec::new(), Vec::new());
        for user in users {
            let row = self.find_worker(user).await?;
            places.push(row.as_ref().map(|_| sessions.len()));
            sessions.extend(row.map(|row| row.session));
        }
        let leases = self.leases_of(Asking::Look, sessions.into()).await?;
        Ok(places.into_iter().map(|place| place.map(|place| leases[place])).collect())
    }

    /// Ends the user's session, if there is one.
    pub(crate) async fn end_session(
        &self,
        user: &str,
        reason: Reason,
    ) -> Result<Option<SessionId>, ApiError> {
        let command = Command::EndSession { user: user.into(), reason };
        self.ask_session(Asking::Operator, user, command).await
    }

    async fn ask_session(
        &self,
        asking: Asking,
        user: &str,
        command: Command,
    ) -> Result<Option<SessionId>, ApiError> {
        match self.controls.ask_as(asking, self.home_of(user), command).await?.answer {
            Answer::Session(session) => Ok(session),
            other => panic!("a shard answers what it was asked: {other:?}"),
        }
    }
}

#[cfg(test)]
impl Desk {
    /// One that has these controls, and nothing else of a server.
    pub(crate) fn of_controls(controls: Controls) -> Self {
        let clock = Clock::start();
        let config = crate::config::ServerConfig::default();
        Self {
            state: Arc::new(ServerState::new(1, || 0)),
            clock,
            controls,
            routing: RoutingTable::even(1, warren_core::ids::Epoch(1)),
            bans: BanBook::new(crate::bans::BanList::default(), 1),
            plugins: PluginBook::load(&config, clock).unwrap(),
            orders: ServerOrders::new(None),
            backups: Backups::new(None),
            workers: Arc::default(),
            listen: SocketAddr::from(([127, 0, 0, 1], 1)),
        }
    }
}
