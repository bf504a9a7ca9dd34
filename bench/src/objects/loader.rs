//! Who makes and changes the objects: a few users on binary connections, each with a bounded number
//! of requests on the way. Every reply is checked.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddrV4, TcpStream};
use std::ops::Range;
use std::thread::{self, Builder};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use warren_core::ids::{ObjectId, PARTITION_COUNT};
use warren_core::message::{Message, Value, packed};
use warren_net::gateway::binary::{PREAMBLE, ServerFrame, decode_server_frame, encode_request};

use crate::clock;

/// Connections, each of a user of its own who owns what is made there.
const CONNECTIONS: u32 = 4;
/// Requests of one connection on the way at one time.
const WINDOW: usize = 128;
/// The same where a pace is kept: so that they do not come in bursts.
const WINDOW_PACED: usize = 32;
/// A reply that takes longer is missing.
const REPLY_WAIT: Duration = Duration::from_secs(20);
/// Kinds of objects, in turn.
const KINDS: [&str; 4] = ["item", "creature", "door", "letter"];

/// Objects that were made, by the connection whose user owns them.
#[derive(Clone, Debug)]
pub(super) struct Loaded {
    objects: Vec<Vec<ObjectId>>,
    version: i64,
}

/// When a connection's requests are sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// When the first is.
    pub(super) start_ns: u64,
    /// How long all of them take.
    pub(super) elapsed_ns: u64,
}

/// Makes so many objects, spread over all partitions.
///
/// # Errors
/// When a reply is missing or is not what it has to be.
pub(super) fn create(address: SocketAddrV4, count: u32) -> Result<Loaded> {
    let objects = on_connections(|number| {
        let mut connection = Connection::open(address, number)?;
        let range = share(count, number);
        let mut objects = vec![ObjectId(0); range.len()];
        let request = |index: usize, id: i64, out: &mut Vec<u8>| {
            create_request(range.start + index as u32, id, out);
        };
        connection.exchange(range.len(), None, request, |index, reply| {
            let object = reply.get("object").and_then(Value::as_object);
            objects[index] = object.context("a create is answered without object")?;
            check_version(reply, 1)
        })?;
        Ok(objects)
    })?;
    Ok(Loaded { objects, version: 1 })
}

impl Loaded {
    /// Changes every object once, each by its owner.
    ///
    /// # Errors
    /// As [`create`].
    pub(super) fn change(&mut self, address: SocketAddrV4, pace: Option<Pace>) -> Result<()> {
        let version = self.version + 1;
        let all = &self.objects;
        on_connections(|number| {
            if let Some(pace) = pace {
                wait_until(pace.start_ns);
            }
            let mut connection = Connection::open(address, number)?;
            let objects = &all[number as usize];
            let request = |index: usize, id: i64, out: &mut Vec<u8>| {
                let fields = [
                    ("id", Value::Integer(id)),
                    ("object", Value::Object(objects[index])),
                    ("level", Value::Integer(version)),
                    ("x", Value::Float(index as f64 + 0.5)),
                ];
                encode_request(Message::from_checked(&packed("set", &fields)), out);
            };
            connection
                .exchange(objects.len(), pace, request, |_, reply| check_version(reply, version))
        })?;
        self.version = version;
        Ok(())
    }
}

/// Does the same on all connections at once.
fn on_connections<T: Send>(work: impl Fn(u32) -> Result<T> + Sync) -> Result<Vec<T>> {
    thread::scope(|scope| {
        let work = &work;
        let start = |number| {
            let name = format!("loader-{number}");
            Builder::new().name(name).spawn_scoped(scope, move || work(number))
        };
        let threads = (0..CONNECTIONS).map(start).collect::<std::io::Result<Vec<_>>>()?;
        threads.into_iter().map(|thread| thread.join().expect("a loader does not panic")).collect()
    })
}

/// The objects of one connection, by their numbers.
fn share(count: u32, number: u32) -> Range<u32> {
    let bound = |number: u32| {
        u32::try_from(u64::from(count) * u64::from(number) / u64::from(CONNECTIONS))
            .expect("a part is no more than the whole")
    };
    bound(number)..bound(number + 1)
}

/// About 100 bytes of record: kind, owner, and four fields.
fn create_request(object: u32, id: i64, out: &mut Vec<u8>) {
    let (partitions, number) = (PARTITION_COUNT as u32, i64::from(object));
    // Each partition gets objects of every kind.
    let kind = KINDS[(object / partitions + object) as usize % KINDS.len()];
    let name = format!("{kind} number {object:09}");
    let fields = [
        ("id", Value::Integer(id)),
        ("partition", Value::Integer(i64::from(object % partitions))),
        ("kind", Value::Text(kind)),
        ("name", Value::Text(&name)),
        ("level", Value::Integer(1)),
        ("x", Value::Float(f64::from(object % 1_000) + 0.25)),
        ("made", Value::Integer(number)),
    ];
    encode_request(Message::from_checked(&packed("create", &fields)), out);
}

fn check_version(reply: Message<'_>, expected: i64) -> Result<()> {
    let version = reply.get("version").and_then(Value::as_integer);
    ensure!(version == Some(expected), "version {version:?} in place of {expected}");
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "requests are sent at a pace")]
fn wait_until(at_ns: u64) {
    thread::sleep(Duration::from_nanos(at_ns.saturating_sub(clock::monotonic_ns())));
}

/// A connection of a user who is logged in.
struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    output: Vec<u8>,
}

impl Connection {
    fn open(address: SocketAddrV4, number: u32) -> Result<Self> {
        let stream = TcpStream::connect(address).context("connecting a loader")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_WAIT))?;
        stream.set_write_timeout(Some(REPLY_WAIT))?;
        let mut connection = Self { stream, received: Vec::new(), output: PREAMBLE.to_vec() };
        let login = move |_, id, out: &mut Vec<u8>| {
            let user = format!("loader{number}");
            let fields = [("id", Value::Integer(id)), ("user", Value::Text(&user))];
            encode_request(Message::from_checked(&packed("login", &fields)), out);
        };
        connection.exchange(1, None, login, |_, _| Ok(())).context("logging a loader in")?;
        Ok(connection)
    }

    /// Sends `count` requests and takes a reply to each, in whatever order those of a window come.
    fn exchange(
        &mut self,
        count: usize,
        pace: Option<Pace>,
        mut request: impl FnMut(usize, i64, &mut Vec<u8>),
        mut reply: impl FnMut(usize, Message<'_>) -> Result<()>,
    ) -> Result<()> {
        let window = if pace.is_some() { WINDOW_PACED } else { WINDOW };
        for first in (0..count).step_by(window) {
            if let Some(Pace { start_ns, elapsed_ns }) = pace {
                let due_ns = u128::from(elapsed_ns) * first as u128 / count as u128;
                wait_until(start_ns + u64::try_from(due_ns).expect("a part of a u64"));
            }
            let until = (first + window).min(count);
            for index in first..until {
                request(index, request_id(index), &mut self.output);
            }
            self.stream.write_all(&self.output).context("sending requests")?;
            self.output.clear();
            let mut awaited = vec![true; until - first];
            self.take_replies(first, &mut awaited, &mut reply)?;
        }
        Ok(())
    }

    fn take_replies(
        &mut self,
        first: usize,
        awaited: &mut [bool],
        take: &mut impl FnMut(usize, Message<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut missing = awaited.len();
        let mut bytes = [0; 16 << 10];
        while missing > 0 {
            let count = self.stream.read(&mut bytes);
            let count = count.with_context(|| format!("{missing} replies are missing"))?;
            ensure!(count > 0, "the server closed the connection; {missing} replies are missing");
            self.received.extend_from_slice(&bytes[..count]);
            let mut consumed = 0;
            while let Some((frame, length)) = decode_server_frame(&self.received[consumed..]) {
                let ServerFrame::Message(message) = frame else { bail!("not a reply: {frame:?}") };
                let index = reply_index(message)?;
                let place = index.checked_sub(first).and_then(|place| awaited.get_mut(place));
                let awaited = place.context("a reply to nothing that was asked")?;
                ensure!(std::mem::replace(awaited, false), "a second reply to one request");
                take(index, message)?;
                missing -= 1;
                consumed += length;
            }
            self.received.drain(..consumed);
        }
        Ok(())
    }
}

/// The id of a request: 0 would be none.
fn request_id(index: usize) -> i64 {
    i64::try_from(index).expect("counts fit") + 1
}

/// Which request is answered, and well.
fn reply_index(message: Message<'_>) -> Result<usize> {
    let integer = |name| message.get(name).and_then(Value::as_integer);
    let error = message.get("error").and_then(Value::as_text).unwrap_or("no reason");
    let (method, status) = (message.method(), integer("status"));
    ensure!(status == Some(0), "{method} is answered {status:?}: {error}");
    let id = integer("id").and_then(|id| usize::try_from(id).ok());
    id.and_then(|id| id.checked_sub(1)).context("a reply without id")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_has_one_maker() {
        for count in [1, 3, 4, 2_001, 100_000_000] {
            let shares: Vec<Range<u32>> = (0..CONNECTIONS).map(|it| share(count, it)).collect();
            assert_eq!((shares[0].start, shares.last().unwrap().end), (0, count));
            assert!(shares.windows(2).all(|pair| pair[0].end == pair[1].start), "{shares:?}");
        }
    }

    #[test]
    fn only_a_good_reply_to_a_request_counts() {
        let status = |status| ("status", Value::Integer(status));
        let id = |id| ("id", Value::Integer(id));
        for (fields, index) in [
            (vec![id(1), status(0)], Some(0)),
            (vec![id(9), status(0)], Some(8)),
            (vec![id(0), status(0)], None),
            (vec![id(-1), status(0)], None),
            (vec![status(0)], None),
            (vec![id(1)], None),
            (vec![id(1), status(503), ("error", Value::Text("busy"))], None),
        ] {
            let bytes = packed("set", &fields);
            assert_eq!(reply_index(Message::from_checked(&bytes)).ok(), index, "{fields:?}");
        }
    }
}
