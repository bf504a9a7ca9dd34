//! All that answers to the operator need: what shards publish, the lines to them, the list of bans,
//! and the orders that concern the whole server.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{Mutex, Notify, mpsc, oneshot};
use warren_core::control::{Answer, Command};
use warren_core::ids::{PartitionId, SessionId, ShardId};
use warren_core::reason::Reason;
use warren_core::routing::RoutingTable;

use super::answers::{ApiError, ErrorWord};
use crate::bans::BanList;
use crate::clock::Clock;
use crate::control::Controls;
use crate::metrics::ServerState;
use crate::reload::ReloadReport;

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
}

/// Where requests are dealt with.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) state: Arc<ServerState>,
    pub(crate) clock: Clock,
    pub(crate) controls: Controls,
    pub(crate) routing: RoutingTable,
    /// Held while it changes and is stored: changes come one after the other.
    pub(crate) bans: Mutex<BanList>,
    pub(crate) bans_max: usize,
    pub(crate) orders: ServerOrders,
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
        self.ask_session(user, command).await
    }

    /// Ends the user's session, if there is one.
    pub(crate) async fn end_session(
        &self,
        user: &str,
        reason: Reason,
    ) -> Result<Option<SessionId>, ApiError> {
        let command = Command::EndSession { user: user.into(), reason };
        self.ask_session(user, command).await
    }

    async fn ask_session(
        &self,
        user: &str,
        command: Command,
    ) -> Result<Option<SessionId>, ApiError> {
        match self.controls.ask(self.home_of(user), command).await? {
            Answer::Session(session) => Ok(session),
            other => panic!("a shard answers what it was asked: {other:?}"),
        }
    }

    /// Gives every shard the list as it is, and stores it. Shards come first: a disk that fails must
    /// let nobody in.
    pub(crate) async fn publish_bans(&self, list: &BanList) -> Result<(), ApiError> {
        let bans = Arc::new(list.for_shards());
        for index in 0..self.controls.shard_count() {
            let command = Command::SetBans(Arc::clone(&bans));
            self.controls.ask(ShardId(index), command).await?;
        }
        let list = list.clone();
        let stored = tokio::task::spawn_blocking(move || list.store()).await;
        stored.expect("storing a list does not panic").map_err(|error| {
            let detail = format!("it holds until the server ends, and cannot be stored: {error}");
            ApiError::new(ErrorWord::NotStored, detail)
        })
    }
}
