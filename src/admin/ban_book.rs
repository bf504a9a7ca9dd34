//! The list of bans in operation. Changes come one after the other, and each is carried to its end,
//! whether or not whoever ordered it still waits: shards and disk never have parts of two lists. Who only
//! reads waits for neither.

use std::sync::{Arc, RwLock};

use tokio::sync::{Mutex, MutexGuard};
use warren_core::control::Command;
use warren_core::ids::SessionId;
use warren_core::reason::Reason;

use super::answers::{ApiError, ErrorWord};
use super::api::until_text;
use super::desk::Desk;
use crate::bans::{Ban, BanList, Subject};

/// The list, and who may change it.
#[derive(Debug)]
pub(crate) struct BanBook {
    list: RwLock<Arc<BanList>>,
    changing: Mutex<Spread>,
    bans_max: usize,
}

/// How far the list has come.
#[derive(Debug)]
struct Spread {
    /// All shards and the disk have it as it is.
    is_complete: bool,
    /// The server is on its way out: it changes no more.
    is_closed: bool,
}

impl BanBook {
    /// Of the list with which the shards begin.
    pub(crate) fn new(list: BanList, bans_max: usize) -> Self {
        let list = RwLock::new(Arc::new(list));
        let spread = Spread { is_complete: true, is_closed: false };
        Self { list, changing: Mutex::new(spread), bans_max }
    }

    /// The list as it is.
    pub(crate) fn list(&self) -> Arc<BanList> {
        Arc::clone(&self.list.read().expect("nobody panics with the list in hand"))
    }

    /// Waits until no change is under way, and lets none begin any more.
    pub(crate) async fn close(&self) {
        self.changing.lock().await.is_closed = true;
    }

    /// Waits for the changes before.
    async fn begin_change(&self) -> Result<MutexGuard<'_, Spread>, ApiError> {
        let spread = self.changing.lock().await;
        if spread.is_closed {
            return Err(ApiError::new(ErrorWord::Busy, "the server is on its way out"));
        }
        Ok(spread)
    }

    fn replace(&self, list: Arc<BanList>) {
        *self.list.write().expect("nobody panics with the list in hand") = list;
    }
}

impl Desk {
    /// Bans, and ends the user's session if there is one.
    pub(crate) async fn ban(
        self: &Arc<Self>,
        subject: Subject,
        ban: Ban,
    ) -> Result<Option<SessionId>, ApiError> {
        let desk = Arc::clone(self);
        let work = async move {
            let mut spread = desk.bans.begin_change().await?;
            let mut list = BanList::clone(&desk.bans.list());
            let bans_max = desk.bans.bans_max;
            let (until, note) = (until_text(ban.until_ms), ban.reason.clone());
            list.ban(subject.clone(), ban, bans_max).map_err(|_| {
                let detail = format!("there are {bans_max} bans, `limits.bans_max`");
                ApiError::new(ErrorWord::TooManyBans, detail)
            })?;
            let published = desk.publish(list, &mut spread).await;
            tracing::info!(%subject, until, note, "banned");
            // A user that is here goes, also when not everybody has heard of the ban.
            let session = match &subject {
                Subject::User(user) => desk.end_session(user, Reason::Banned).await,
                Subject::Addresses(_) => Ok(None),
            };
            published.and(session)
        };
        tokio::spawn(work).await.expect("a ban does not panic")
    }

    /// Ends a ban. One that an earlier order has ended, but not everywhere, is ended everywhere now.
    pub(crate) async fn unban(self: &Arc<Self>, subject: Subject) -> Result<(), ApiError> {
        let desk = Arc::clone(self);
        let work = async move {
            let mut spread = desk.bans.begin_change().await?;
            let mut list = BanList::clone(&desk.bans.list());
            let is_banned = list.unban(&subject, desk.clock.now().wall_ms);
            if is_banned || !spread.is_complete {
                let published = desk.publish(list, &mut spread).await;
                tracing::info!(%subject, "no longer banned");
                published?;
            }
            let told = || ApiError::new(ErrorWord::UnknownBan, format!("{subject} is not banned"));
            is_banned.then_some(()).ok_or_else(told)
        };
        tokio::spawn(work).await.expect("the end of a ban does not panic")
    }

    /// Gives every shard the list as it is, and stores it. Shards come first: a disk that fails must
    /// let nobody in; and what one of them misses is kept from no other.
    async fn publish(&self, list: BanList, spread: &mut Spread) -> Result<(), ApiError> {
        spread.is_complete = false;
        let list = Arc::new(list);
        self.bans.replace(Arc::clone(&list));
        let bans = Arc::new(list.for_shards());
        let told = self.controls.ask_all(|| Command::SetBans(Arc::clone(&bans))).await;
        let stored = tokio::task::spawn_blocking(move || list.store()).await;
        stored.expect("storing a list does not panic").map_err(|error| {
            let detail = format!("it holds until the server ends, and cannot be stored: {error}");
            ApiError::new(ErrorWord::NotStored, detail)
        })?;
        told?;
        spread.is_complete = true;
        Ok(())
    }
}
