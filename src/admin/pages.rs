//! Pages of what shards hold: shard after shard, each page bounded. Where the next one begins is
//! `SHARD-PLACE`, which is nobody's business but ours.

use axum::response::Response;
use serde_json::{Value, json};
use warren_core::control::{Answer, Command, DigestRow, RoomRow, SessionRow};
use warren_core::ids::{ObjectId, SessionId, ShardId};
use warren_net::reactor::Origin;

use super::answers::{ApiError, ok};
use super::desk::Desk;
use super::requests::PageQuery;
use crate::control::Reply;

/// Commands for one page: a shard with many empty places answers with few rows at a time.
const COMMANDS_MAX: usize = 512;

/// A session's id as on the wire.
pub(super) fn session_text(session: SessionId) -> String {
    format!("{:016x}", session.to_bits())
}

/// Where a page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor<Place> {
    shard: ShardId,
    place: Place,
}

impl<Place: core::str::FromStr + core::fmt::Display> Cursor<Place> {
    fn read(text: &str, shard_count: u16) -> Option<Self> {
        let (shard, place) = text.split_once('-')?;
        let shard = shard.parse().ok().filter(|shard| *shard < shard_count)?;
        Some(Self { shard: ShardId(shard), place: place.parse().ok()? })
    }

    pub(super) fn text(&self) -> String {
        format!("{}-{}", self.shard.0, self.place)
    }
}

/// Rows of one shard, and where its next ones begin.
type Part<Row, Place> = (Vec<Row>, Option<Place>);

/// Gathers a page of at most so many rows, beginning there, and says where the next one begins.
pub(super) async fn gather<Row, Place: Copy>(
    desk: &Desk,
    mut at: Cursor<Place>,
    first: Place,
    count: usize,
    command: impl Fn(Place, usize) -> Command,
    part_of: impl Fn(Reply) -> Part<Row, Place>,
) -> Result<(Vec<Row>, Option<Cursor<Place>>), ApiError> {
    let mut rows = Vec::new();
    for _ in 0..COMMANDS_MAX {
        let left = count - rows.len();
        if left == 0 {
            return Ok((rows, Some(at)));
        }
        let reply = desk.controls.ask(at.shard, command(at.place, left)).await?;
        let (part, next) = part_of(reply);
        rows.extend(part);
        match next {
            Some(place) => at.place = place,
            None if at.shard.0 + 1 == desk.controls.shard_count() => return Ok((rows, None)),
            None => at = Cursor { shard: ShardId(at.shard.0 + 1), place: first },
        }
    }
    Ok((rows, Some(at)))
}

/// Gathers all rows of all shards.
pub(super) async fn gather_all<Row, Place>(
    desk: &Desk,
    first: Place,
    command: impl Fn(Place, usize) -> Command,
    part_of: impl Fn(Reply) -> Part<Row, Place>,
) -> Result<Vec<Row>, ApiError>
where
    Place: Copy + core::str::FromStr + core::fmt::Display,
{
    let mut rows = Vec::new();
    let mut at = begin(desk, None, first)?;
    loop {
        let (more, next) = gather(desk, at, first, usize::MAX, &command, &part_of).await?;
        rows.extend(more);
        let Some(next) = next else { return Ok(rows) };
        at = next;
    }
}

pub(super) fn begin<Place: core::str::FromStr + core::fmt::Display>(
    desk: &Desk,
    after: Option<&str>,
    first: Place,
) -> Result<Cursor<Place>, ApiError> {
    let Some(after) = after else { return Ok(Cursor { shard: ShardId(0), place: first }) };
    let told = || ApiError::malformed("`after` is none of a page before");
    Cursor::read(after, desk.controls.shard_count()).ok_or_else(told)
}

pub(super) async fn sessions_page(desk: &Desk, query: &PageQuery) -> Result<Response, ApiError> {
    let command = |from, count| Command::ListSessions { from, count };
    let part_of = |reply: Reply| match reply.answer {
        Answer::Sessions(page) => {
            let rows = page.rows.iter().zip(reply.origins);
            (rows.map(|(row, origin)| session_row(row, origin)).collect(), page.next)
        }
        other => panic!("a shard answers what it was asked: {other:?}"),
    };
    if let Some(user) = &query.user {
        let mut rows = Vec::new();
        if let Some(SessionId { shard, index, .. }) = desk.find_user(user).await? {
            let reply = desk.controls.ask(shard, command(index, 1)).await?;
            rows = part_of(reply).0;
            // It may have gone meanwhile, and another may have its place.
            rows.retain(|row| row["user"] == user.as_str());
        }
        return Ok(ok(&json!({ "sessions": rows, "after": null })));
    }
    let at = begin(desk, query.after.as_deref(), 0)?;
    let (rows, next) = gather(desk, at, 0, query.count, command, part_of).await?;
    Ok(ok(&json!({ "sessions": rows, "after": next.map(|next| next.text()) })))
}

fn session_row(row: &SessionRow, origin: Option<Origin>) -> Value {
    let state = match (row.is_logging_in, row.connection) {
        (true, _) => "logging-in",
        (false, Some(_)) => "connected",
        (false, None) => "detached",
    };
    json!({
        "session": session_text(row.session),
        "user": row.user,
        "shard": row.session.shard.0,
        "state": state,
        "protocol": origin.map(|origin| origin.protocol.label()),
        "address": origin.and_then(|origin| origin.address).map(|address| address.to_string()),
        "rooms": row.rooms,
        "watches": row.watches,
    })
}

pub(super) async fn rooms_page(desk: &Desk, query: &PageQuery) -> Result<Response, ApiError> {
    let command = |from, count| Command::ListRooms { from, count };
    let part_of = |reply: Reply| match reply.answer {
        Answer::Rooms(page) => {
            let rows = page.rows.iter().map(|row| room_row(row, desk));
            (rows.collect(), page.next)
        }
        other => panic!("a shard answers what it was asked: {other:?}"),
    };
    let first = ObjectId(0);
    let at = begin(desk, query.after.as_deref(), first)?;
    let (rows, next) = gather(desk, at, first, query.count, command, part_of).await?;
    Ok(ok(&json!({ "rooms": rows, "after": next.map(|next| next.text()) })))
}

/// Digests of the objects, group by group; one that is long comes in parts.
pub(super) async fn digests_page(desk: &Desk, query: &PageQuery) -> Result<Response, ApiError> {
    let command = |from, count| Command::DigestObjects { from, count };
    let part_of = |reply: Reply| match reply.answer {
        Answer::Digests(page) => (page.rows.iter().map(digest_row).collect(), page.next),
        other => panic!("a shard answers what it was asked: {other:?}"),
    };
    let first = ObjectId(0);
    let at = begin(desk, query.after.as_deref(), first)?;
    let (rows, next) = gather(desk, at, first, query.count, command, part_of).await?;
    Ok(ok(&json!({ "digests": rows, "after": next.map(|next| next.text()) })))
}

fn digest_row(row: &DigestRow) -> Value {
    json!({
        "group": row.group.0,
        "objects": row.objects,
        "digest": format!("{:016x}", row.digest),
    })
}

fn room_row(row: &RoomRow, desk: &Desk) -> Value {
    json!({
        "room": row.name,
        "object": row.object.to_string(),
        "shard": desk.routing.shard_of(row.object.partition()).0,
        "members": row.members,
        "seq": row.last_sequence,
        "secret": row.is_secret,
        "transient": row.is_transient,
    })
}
