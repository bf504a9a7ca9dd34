//! What stands between a server and its Postgres, stops at a step of the export, and ends the connection
//! there. It reads what the server says; what Postgres answers it passes on unread.

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use crate::server::unique;

// What becomes of the answers of a connection.
const PASSED_ON: u8 = 0;
const HELD: u8 = 1;
const LOST: u8 = 2;

/// What a transaction of the exporter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Round,
    FullCopy,
}

/// Where in it, in the order in which they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The first statement behind `BEGIN`: the staging table's COPY, or TRUNCATE.
    Begun,
    Rows,
    RowsEnd,
    /// The upsert, of a round only.
    Apply,
    Cursor,
    /// COMMIT does not reach Postgres.
    Commit,
    /// Its answer does not reach the server.
    Committed,
}

/// A step that is waited for, once.
struct Trap {
    part: Part,
    step: Step,
    hit: SyncSender<()>,
    go_on: Receiver<()>,
}

type Traps = Arc<Mutex<Option<Trap>>>;

/// Tells when the step has come, and holds it until it is dropped. Then the connection ends.
pub(crate) struct Caught {
    hit: Receiver<()>,
    _go_on: SyncSender<()>,
}

impl Caught {
    pub(crate) fn has_come(&self) -> bool {
        self.hit.try_recv().is_ok()
    }
}

pub(crate) struct PostgresProxy {
    folder: PathBuf,
    traps: Traps,
}

impl PostgresProxy {
    /// Before the Postgres whose socket is in this folder.
    pub(crate) fn start(postgres: &Path) -> Self {
        let name = format!("warren-proxy-{}-{}", std::process::id(), unique());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let listener = UnixListener::bind(folder.join(".s.PGSQL.5432")).unwrap();
        let traps = Traps::default();
        let (target, shared) = (postgres.join(".s.PGSQL.5432"), Arc::clone(&traps));
        // It ends with the process, and so do those of its connections.
        spawn(move || {
            while let Ok((server, _)) = listener.accept() {
                let Ok(postgres) = UnixStream::connect(&target) else { continue };
                relay(&server, &postgres, &shared);
            }
        });
        Self { folder, traps }
    }

    pub(crate) fn connection(&self) -> String {
        format!("host={} user=postgres dbname=postgres", self.folder.display())
    }

    /// Stops at this step when it comes next.
    pub(crate) fn catch(&self, part: Part, step: Step) -> Caught {
        let ((hit, told), (go_on, gone_on)) = (sync_channel(1), sync_channel(0));
        *self.traps.lock().unwrap() = Some(Trap { part, step, hit, go_on: gone_on });
        Caught { hit: told, _go_on: go_on }
    }
}

impl Drop for PostgresProxy {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn spawn(body: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().name("proxy".to_owned()).spawn(body).unwrap();
}

fn relay(server: &UnixStream, postgres: &UnixStream, traps: &Traps) {
    let answers = Arc::new(AtomicU8::new(PASSED_ON));
    let (mut from, mut to) = (server.try_clone().unwrap(), postgres.try_clone().unwrap());
    let (traps, held) = (Arc::clone(traps), Arc::clone(&answers));
    spawn(move || {
        let _ = forward(&mut from, &mut to, &traps, &held);
        let _ = to.shutdown(std::net::Shutdown::Both);
        let _ = from.shutdown(std::net::Shutdown::Both);
    });
    let (mut from, mut to) = (postgres.try_clone().unwrap(), server.try_clone().unwrap());
    spawn(move || {
        let mut bytes = [0; 1 << 16];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            // The answer that is held back is the first one behind it.
            while answers.load(SeqCst) == HELD {
                std::thread::yield_now();
            }
            if answers.load(SeqCst) == LOST {
                break;
            }
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Both);
        let _ = from.shutdown(std::net::Shutdown::Both);
    });
}

/// Message by message: a type, a length, a body. The first one has no type.
fn forward(
    from: &mut UnixStream,
    to: &mut UnixStream,
    traps: &Traps,
    answers: &AtomicU8,
) -> io::Result<()> {
    let (mut part, mut is_first) = (None, true);
    loop {
        let mut head = vec![0; if is_first { 4 } else { 5 }];
        from.read_exact(&mut head)?;
        let length = u32::from_be_bytes(head[head.len() - 4..].try_into().unwrap()) as usize;
        let mut body = vec![0; length - 4];
        from.read_exact(&mut body)?;
        let kind = if is_first { 0 } else { head[0] };
        is_first = false;
        let text = String::from_utf8_lossy(&body);
        let step = step_of(kind, &text, &mut part);
        let mut trap = traps.lock().unwrap();
        let is_caught = |trap: &mut Trap| {
            let is_step = step == Some(trap.step)
                || (step == Some(Step::Commit) && trap.step == Step::Committed);
            Some(trap.part) == part && is_step
        };
        let caught = trap.take_if(is_caught);
        drop(trap);
        let is_answer = caught.as_ref().is_some_and(|trap| trap.step == Step::Committed);
        if is_answer {
            answers.store(HELD, SeqCst);
        }
        if !is_answer && let Some(Trap { hit, go_on, .. }) = &caught {
            hit.send(()).unwrap();
            // It does not come to Postgres any more.
            let _ = go_on.recv();
            return Ok(());
        }
        to.write_all(&[head, body].concat())?;
        if is_answer && let Some(Trap { hit, go_on, .. }) = caught {
            hit.send(()).unwrap();
            let _ = go_on.recv();
            answers.store(LOST, SeqCst);
            return Ok(());
        }
    }
}

/// Which step of which part a message of the server is.
fn step_of(kind: u8, text: &str, part: &mut Option<Part>) -> Option<Step> {
    let begins = |words: &str| text.contains(words);
    match kind {
        b'Q' if begins("BEGIN") => *part = None,
        b'P' if begins("COPY staged FROM") => {
            *part = Some(Part::Round);
            return Some(Step::Begun);
        }
        b'Q' if begins("TRUNCATE objects") => {
            *part = Some(Part::FullCopy);
            return Some(Step::Begun);
        }
        b'd' => return Some(Step::Rows),
        b'c' => return Some(Step::RowsEnd),
        b'Q' if begins("INTO objects") => return Some(Step::Apply),
        b'P' if begins("UPDATE cursor SET log") || begins("INSERT INTO cursor") => {
            return Some(Step::Cursor);
        }
        b'Q' if begins("COMMIT") => return Some(Step::Commit),
        _ => {}
    }
    None
}
