//! The endpoint over real sockets, with a real engine behind it on a thread, but no reactor: what
//! clients do is put in by the test.

mod bans;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;

use serde_json::{Value, json};
use tokio::sync::oneshot;
use warren_core::authentication::Authentication;
use warren_core::authorize::Policy;
use warren_core::hashing::HashSeed;
use warren_core::ids::{ConnectionId, Epoch, ShardId};
use warren_core::limits::Limits;
use warren_core::message::MessageBuilder;
use warren_core::message::Value as FieldValue;
use warren_core::routing::RoutingTable;
use warren_core::shard::{Shard, ShardSettings};
use warren_core::turn::{ConnectionTraits, ShardInput, ShardInputs, ShardOutput, ShardOutputs};
use warren_net::gateway::Protocol;
use warren_net::reactor::Origin;

use super::answers::ErrorWord;
use super::*;
use crate::backup::Backups;
use crate::bans::BanList;
use crate::clock::Clock;
use crate::control::{Controls, control_line};
use crate::ctl::{self, AdminArguments, CtlArguments, Order};
use crate::metrics::TURN_AGE_NS_MAX;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the engine's thread is told.
enum Step {
    /// A command has come.
    Wake,
    /// A user logs in and joins a room.
    LogIn(&'static str, mpsc::Sender<()>),
}

struct Running {
    listen: SocketAddr,
    state: Arc<ServerState>,
    desk: Arc<Desk>,
    now_ns: Arc<AtomicU64>,
    steps: mpsc::Sender<Step>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn settings() -> ShardSettings {
    ShardSettings {
        shard: ShardId(0),
        routing: RoutingTable::even(1, Epoch(1)),
        limits: Limits::PRODUCTION,
        seed: HashSeed(1, 2),
        token_seed: warren_core::token::TokenSeed([7; 32]),
        join_creates_rooms: true,
        authentication: Authentication::Open,
        policy: Policy::default(),
        frame_bytes_max: 65_536,
        heartbeat_ms: 10_000,
        messages_per_s: 200,
        bytes_per_s: 262_144,
        login_ms: 10_000,
        snapshot_interval_ns: None,
        has_log: false,
        ack_defaults: warren_core::acknowledgement::AckDefaults::default(),
        task_methods: warren_core::tasks::methods::TaskMethods::default(),
    }
}

/// The engine's life: a turn for each step. Closes are answered, as a reactor does.
fn run_engine(mut port: crate::control::ControlPort, steps: &mpsc::Receiver<Step>, clock: Clock) {
    let mut shard = Shard::new(settings());
    let (mut inputs, mut outputs) = (ShardInputs::default(), ShardOutputs::new(1));
    let mut next = 0;
    while let Ok(step) = steps.recv() {
        let mut done = None;
        if let Step::LogIn(user, sender) = step {
            let connection = ConnectionId { index: next, generation: 1 };
            next += 1;
            let traits = ConnectionTraits::default();
            inputs.list.push(ShardInput::Opened { connection, traits });
            for (method, field, value) in [("login", "user", user), ("join", "room", "plaza")] {
                let start = inputs.bytes.len();
                MessageBuilder::new(&mut inputs.bytes, method)
                    .field(field, FieldValue::Text(value));
                inputs.push_message(connection, start);
            }
            done = Some(sender);
        }
        port.take(&mut inputs);
        outputs.clear();
        shard.turn(clock.now(), &inputs, &mut outputs);
        inputs.clear();
        port.answer(&outputs, |_| {
            let address = Some("192.0.2.7".parse().unwrap());
            Some(Origin { protocol: Protocol::Json, address })
        });
        for output in &outputs.list {
            if let ShardOutput::Close { connection, .. } = *output {
                inputs.list.push(ShardInput::Closed { connection });
            }
        }
        drop(done);
    }
}

/// What a test sets up in another way.
struct Setup {
    list: BanList,
    bans_max: usize,
    life: Duration,
    /// There is one more shard, which is gone.
    has_lost_shard: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self { list: BanList::default(), bans_max: 10, life: LIFE, has_lost_shard: false }
    }
}

fn running_with(Setup { list, bans_max, life, has_lost_shard }: Setup) -> Running {
    let now_ns = Arc::new(AtomicU64::new(0));
    let clock = Arc::clone(&now_ns);
    let state = Arc::new(ServerState::new(2, move || clock.load(Ordering::Relaxed)));
    let (listener, endpoint) = AdminListener::bind(&"127.0.0.1:0".parse().unwrap()).unwrap();
    let Endpoint::Tcp(listen) = endpoint else { panic!("an address") };
    let token = Some(Token::of_text(TOKEN).unwrap());
    let access = Arc::new(Access::new(Reach::Loopback, token, None));
    let server = AdminServer { listener, endpoint, access, life, files: TokenFiles::default() };
    let (line, port) = control_line();
    let (steps, taken) = mpsc::channel();
    let waker = steps.clone();
    let wake: Box<dyn Fn() + Send + Sync> = Box::new(move || _ = waker.send(Step::Wake));
    let lost = has_lost_shard
        .then(|| -> (_, Box<dyn Fn() + Send + Sync>) { (control_line().0, Box::new(|| {})) });
    let clock = Clock::start();
    let desk = Arc::new(Desk {
        workers: Arc::default(),
        state: Arc::clone(&state),
        clock,
        controls: Controls::new([(line, wake)].into_iter().chain(lost)),
        routing: RoutingTable::even(1, Epoch(1)),
        bans: BanBook::new(list, bans_max),
        plugins: PluginBook::load(&ServerConfig::default(), clock).unwrap(),
        orders: ServerOrders::new(None),
        backups: Backups::new(None),
        listen: "127.0.0.1:1".parse().unwrap(),
    });
    let (stop, stopped) = oneshot::channel::<()>();
    let served = Arc::clone(&desk);
    // The engine ends when nobody can tell it anything any more; nobody waits for that.
    let engine = std::thread::Builder::new().name("engine".to_owned());
    engine.spawn(move || run_engine(port, &taken, clock)).unwrap();
    let thread = std::thread::Builder::new().name("admin".to_owned()).spawn(move || {
        let shutdown = async { _ = stopped.await };
        server.run(&make_runtime().unwrap(), served, shutdown).unwrap();
    });
    let (stop, thread) = (Some(stop), Some(thread.unwrap()));
    Running { listen, state, desk, now_ns, steps, stop, thread }
}

fn running() -> Running {
    running_with(Setup::default())
}

/// Status, headers in lower case, and body.
fn ask(listen: SocketAddr, head: &str, body: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(listen).unwrap();
    let length = body.len();
    write!(
        stream,
        "{head}host: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let (status, headers) = head.split_once("\r\n").unwrap();
    let status = status.split(' ').nth(1).unwrap().parse().unwrap();
    (status, headers.to_lowercase(), body.to_owned())
}

impl Running {
    fn get(&self, path: &str) -> (u16, String, String) {
        ask(self.listen, &format!("GET {path} HTTP/1.1\r\n"), "")
    }

    /// A request with the token: status and JSON.
    fn call(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let head = format!("{method} {path} HTTP/1.1\r\nauthorization: Bearer {TOKEN}\r\n");
        let (status, headers, body) = ask(self.listen, &head, body);
        assert!(headers.contains("content-type: application/json"), "{path}: {headers}");
        (status, serde_json::from_str(&body).unwrap())
    }

    #[track_caller]
    fn check(&self, path: &str, status: u16, body: &str) {
        let (found_status, _, found_body) = self.get(path);
        assert_eq!((found_status, found_body.as_str()), (status, body), "{path}");
    }

    #[track_caller]
    fn check_error(&self, (method, path, body): (&str, &str, &str), word: ErrorWord) {
        let (status, answer) = self.call(method, path, body);
        let expected = (word.status().as_u16(), Some(word.word()));
        assert_eq!((status, answer["error"].as_str()), expected, "{method} {path} {body}");
        assert!(answer["detail"].is_string(), "{answer}");
    }

    /// Connections that the endpoint has cut.
    fn cuts(&self) -> u64 {
        let metrics = self.get("/metrics").2;
        let line = metrics.lines().find_map(|line| line.strip_prefix("warren_admin_cuts_total "));
        line.unwrap().parse().unwrap()
    }

    fn log_in(&self, user: &'static str) {
        let (done, is_done) = mpsc::channel();
        self.steps.send(Step::LogIn(user, done)).unwrap();
        // The sender is dropped when the turn is over.
        assert!(is_done.recv().is_err());
    }

    fn users(&self, query: &str) -> Vec<String> {
        let (status, answer) = self.call("GET", &format!("/api/sessions{query}"), "");
        assert_eq!(status, 200, "{answer}");
        let rows = answer["sessions"].as_array().unwrap();
        rows.iter().map(|row| row["user"].as_str().unwrap().to_owned()).collect()
    }
}

#[test]
fn readyz_follows_the_phase() {
    let running = running();
    running.check("/readyz", 503, "starting\n");
    running.state.set_phase(Phase::Serving);
    running.check("/readyz", 200, "serving\n");
    running.state.set_phase(Phase::Draining);
    running.check("/readyz", 503, "draining\n");
    running.check("/livez", 200, "alive\n");
}

#[test]
fn livez_names_the_shards_that_make_no_turns() {
    let running = running();
    running.now_ns.store(TURN_AGE_NS_MAX + 1_000_000_000, Ordering::Relaxed);
    let body = "shard 0 has made no turn for 6.0 s\nshard 1 has made no turn for 6.0 s\n";
    running.check("/livez", 503, body);
}

#[test]
fn metrics_are_openmetrics() {
    let running = running();
    let (status, headers, body) = running.get("/metrics");
    assert_eq!(status, 200);
    assert!(headers.contains(&format!("content-type: {}", metrics::CONTENT_TYPE)), "{headers}");
    assert_eq!(body, metrics::text(&running.state, Vec::new()));
}

#[test]
fn who_has_no_token_hears_so_and_is_counted() {
    let running = running();
    let (status, headers, body) = running.get("/api/status");
    assert_eq!(status, 401);
    assert!(headers.contains("www-authenticate: bearer"), "{headers}");
    let head = format!("GET /api/status HTTP/1.1\r\nauthorization: Bearer {}\r\n", &TOKEN[1..]);
    let (wrong_status, _, wrong_body) = ask(running.listen, &head, "");
    assert_eq!((wrong_status, wrong_body), (401, body));
    assert!(running.get("/metrics").2.contains("\nwarren_admin_refusals_total 2\n"));
}

#[test]
fn what_is_not_there_is_told() {
    let running = running();
    running.check_error(("GET", "/", ""), ErrorWord::UnknownPath);
    running.check_error(("GET", "/api", ""), ErrorWord::UnknownPath);
    running.check_error(("GET", "/api/none", ""), ErrorWord::UnknownPath);
    for (path, allowed) in [
        ("/livez", "get, head"),
        ("/metrics", "get, head"),
        ("/api/status", "get, head"),
        ("/api/bans", "get, head"),
    ] {
        running.check_error(("POST", path, ""), ErrorWord::MethodNotAllowed);
        let head = format!("PUT {path} HTTP/1.1\r\nauthorization: Bearer {TOKEN}\r\n");
        let (_, headers, _) = ask(running.listen, &head, "");
        assert!(headers.contains(&format!("allow: {allowed}")), "{path}: {headers}");
    }
    for path in ["/api/kick", "/api/ban", "/api/reload"] {
        running.check_error(("GET", path, ""), ErrorWord::MethodNotAllowed);
    }
    running.check_error(("POST", "/api/reload", ""), ErrorWord::NothingToReload);
}

#[test]
fn what_comes_in_is_checked_and_bounded() {
    let running = running();
    let long = format!(r#"{{"user":"{}"}}"#, "x".repeat(requests::BODY_BYTES_MAX));
    running.check_error(("POST", "/api/kick", &long), ErrorWord::BodyTooLarge);
    for (method, path, body) in [
        ("POST", "/api/kick", ""),
        ("POST", "/api/kick", "{}"),
        ("POST", "/api/kick", r#"{"user":"a b"}"#),
        ("POST", "/api/kick", r#"{"user":"ann","reason":"a\nb"}"#),
        ("POST", "/api/ban", r#"{"user":"ann","for":"9999999years"}"#),
        ("DELETE", "/api/ban", r#"{"user":"ann","for":"1h"}"#),
        ("GET", "/api/sessions?after=7-0", ""),
        ("GET", "/api/sessions?after=x", ""),
        ("GET", "/api/rooms?after=0-x", ""),
        ("GET", "/api/rooms?user=ann", ""),
        ("GET", "/api/bans?after=%20", ""),
    ] {
        running.check_error((method, path, body), ErrorWord::Malformed);
    }
}

#[test]
fn sessions_and_rooms_are_told_page_by_page() {
    let running = running();
    assert_eq!(running.users(""), [""; 0]);
    for user in ["ann", "bob", "cleo"] {
        running.log_in(user);
    }
    assert_eq!(running.users(""), ["ann", "bob", "cleo"]);
    assert_eq!(running.users("?user=bob"), ["bob"]);
    assert_eq!(running.users("?user=dora"), [""; 0]);
    let (_, page) = running.call("GET", "/api/sessions?count=2", "");
    let after = page["after"].as_str().unwrap();
    assert_eq!(running.users(&format!("?count=2&after={after}")), ["cleo"]);
    let row = &page["sessions"][0];
    let expected = json!({"session": "0000000000000000", "user": "ann", "shard": 0,
        "state": "connected", "protocol": "json", "address": "192.0.2.7", "rooms": 1, "watches": 0});
    assert_eq!(row, &expected);
    let (_, page) = running.call("GET", "/api/rooms", "");
    assert_eq!((&page["after"], page["rooms"].as_array().unwrap().len()), (&Value::Null, 1));
    let row = &page["rooms"][0];
    assert_eq!(
        (&row["room"], &row["members"], &row["seq"]),
        (&"plaza".into(), &3.into(), &2.into())
    );
    let (status, answer) = running.call("GET", "/api/status", "");
    assert_eq!((status, &answer["phase"]), (200, &"starting".into()));
    assert_eq!(answer["shards"].as_array().unwrap().len(), 2);
}

#[test]
fn a_kicked_user_is_out() {
    let running = running();
    running.log_in("ann");
    running.log_in("bob");
    let (status, answer) = running.call("POST", "/api/kick", r#"{"user":"ann","reason":"noise"}"#);
    assert_eq!((status, &answer["session"]), (200, &"0000000000000000".into()), "{answer}");
    // The engine hears of the closed connection with the next turn, and tells of it after that.
    running.call("GET", "/api/rooms", "");
    assert_eq!(running.users(""), ["bob"]);
    running.check_error(("POST", "/api/kick", r#"{"user":"ann"}"#), ErrorWord::UnknownUser);
}

#[test]
fn a_drain_is_ordered_once_or_twice() {
    let running = running();
    for _ in 0..2 {
        let (status, answer) = running.call("POST", "/api/drain", "");
        assert_eq!((status, &answer["phase"]), (202, &"draining".into()));
    }
    // Whoever begins to wait now hears of it.
    make_runtime().unwrap().block_on(running.desk.orders.drain.notified());
}

#[test]
fn whoever_waits_for_the_end_of_a_drain_hears_whether_all_is_stored() {
    let running = running();
    let orders = &running.desk.orders;
    orders.tell_end(Ok(()));
    let (status, answer) = running.call("GET", "/api/drain", "");
    assert_eq!((status, &answer["phase"]), (200, &"drained".into()));
    orders.tell_end(Err("the disk is full".to_owned()));
    running.check_error(("GET", "/api/drain", ""), ErrorWord::NotStored);

    let token = std::env::temp_dir().join(format!("warren-drained-{}", std::process::id()));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(&token).unwrap().write_all(TOKEN.as_bytes()).unwrap();
    let arguments = CtlArguments {
        admin: AdminArguments {
            admin: Some(Endpoint::Tcp(running.listen)),
            token_file: Some(token.clone()),
            ..AdminArguments::default()
        },
        json: false,
        order: Order::Drain { wait: true },
    };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = ctl::run(&arguments, &mut out, &mut err).unwrap();
    std::fs::remove_file(token).unwrap();
    assert_eq!(format!("{code:?}"), format!("{:?}", std::process::ExitCode::from(1)));
    assert_eq!(err, b"warren: not-stored: the disk is full\n");
}

#[test]
fn it_stops_although_a_client_holds_a_half_sent_request() {
    let mut running = running();
    let mut idle = TcpStream::connect(running.listen).unwrap();
    idle.write_all(b"GET /livez HT").unwrap();
    running.stop.take().unwrap().send(()).unwrap();
    running.thread.take().unwrap().join().unwrap();
    assert!(TcpStream::connect(running.listen).is_err());
}

/// A connection that asks, and has been answered: so it is known to have a place.
fn answered(listen: SocketAddr, headers: &str) -> TcpStream {
    let mut stream = TcpStream::connect(listen).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET /livez HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n").unwrap();
    stream.read_exact(&mut [0; 1]).unwrap();
    stream
}

/// Asks for more and more, and reads nothing, until the endpoint takes no more or has cut it.
fn ask_without_reading(stream: &mut TcpStream) -> ErrorKind {
    let request = "GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(100);
    loop {
        if let Err(error) = stream.write_all(request.as_bytes()) {
            return error.kind();
        }
    }
}

#[test]
fn whoever_holds_all_places_and_does_not_read_keeps_nobody_out() {
    let running = running();
    running.log_in("ann");
    let mut held: Vec<TcpStream> = Vec::new();
    for index in 0..connections::CONNECTIONS_MAX {
        let mut stream = answered(running.listen, "");
        // As soon as the way back is full, nothing more is taken. A few such are enough.
        if index < 16 {
            stream.set_nonblocking(true).unwrap();
            ask_without_reading(&mut stream);
        }
        held.push(stream);
    }
    let (status, answer) = running.call("POST", "/api/kick", r#"{"user":"ann"}"#);
    assert_eq!(status, 200, "{answer}");
    running.check("/livez", 200, "alive\n");
    assert!(running.cuts() > 0);
}

#[test]
fn a_connection_too_many_makes_the_oldest_go_that_has_shown_no_token() {
    let running = running();
    let token = format!("authorization: Bearer {TOKEN}\r\n");
    let mut trusted = answered(running.listen, &token);
    let mut strangers: Vec<TcpStream> = Vec::new();
    for _ in 1..connections::CONNECTIONS_MAX {
        strangers.push(answered(running.listen, ""));
    }
    let mut newest = answered(running.listen, "");
    // It may be told by a reset, behind the rest of its answer.
    let _ = strangers[0].read_to_end(&mut Vec::new());
    assert_eq!(running.cuts(), 2);
    for stream in [&mut trusted, &mut newest, strangers.last_mut().unwrap()] {
        stream
            .write_all(b"GET /readyz HTTP/1.1\r\nconnection: close\r\nhost: localhost\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("starting\n"), "{answer}");
    }
}

#[test]
fn when_all_places_are_those_of_operators_one_more_is_closed() {
    let running = running();
    let token = format!("authorization: Bearer {TOKEN}\r\n");
    let mut held: Vec<TcpStream> = Vec::new();
    for _ in 0..connections::CONNECTIONS_MAX {
        held.push(answered(running.listen, &token));
    }
    let mut surplus = TcpStream::connect(running.listen).unwrap();
    // It may be told by a reset.
    assert_eq!(surplus.read_to_end(&mut Vec::new()).unwrap_or(0), 0);
    let last = held.last_mut().unwrap();
    last.write_all(b"GET /readyz HTTP/1.1\r\nconnection: close\r\nhost: localhost\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    last.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("starting\n"), "{answer}");
}

#[test]
fn a_connection_that_does_not_read_ends_with_its_time_also_with_the_token() {
    let running = running_with(Setup { life: Duration::from_millis(100), ..Setup::default() });
    let token = format!("authorization: Bearer {TOKEN}\r\n");
    let mut stream = answered(running.listen, &token);
    // It waits for the endpoint to take more, until the connection is cut.
    let ended = ask_without_reading(&mut stream);
    assert!(matches!(ended, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{ended}");
    assert_eq!(running.cuts(), 1);
}

#[test]
fn a_taken_address_is_told() {
    let running = running();
    let admin_listen = Endpoint::Tcp(running.listen);
    let fatal = AdminServer::bind(&ServerConfig { admin_listen, ..ServerConfig::default() });
    let fatal = fatal.unwrap_err();
    assert_eq!(fatal.reason, FatalReason::ListenFailed);
    assert!(fatal.detail.contains(&running.listen.to_string()), "{fatal}");
}

#[test]
fn error_words_are_told_in_the_documents() {
    let document = include_str!("../../docs/operations.md");
    for word in ErrorWord::ALL {
        let row = format!("| `{}` | {} |", word.word(), word.status().as_u16());
        assert!(document.contains(&row), "{row}");
    }
}
