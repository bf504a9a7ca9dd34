use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::metrics::TURN_AGE_NS_MAX;

/// Where clients would connect to the server.
const GAME: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7171);

struct Running {
    listen: SocketAddr,
    state: Arc<ServerState>,
    now_ns: Arc<AtomicU64>,
    thread: AdminThread,
}

fn running() -> Running {
    let now_ns = Arc::new(AtomicU64::new(0));
    let clock = Arc::clone(&now_ns);
    let state = Arc::new(ServerState::new(2, move || clock.load(Ordering::Relaxed)));
    let server =
        AdminServer::bind("127.0.0.1:0".parse().unwrap(), GAME, Arc::clone(&state)).unwrap();
    let listen = server.local_addr();
    Running { listen, state, now_ns, thread: server.start().unwrap() }
}

/// Status line, headers in lower case, and body.
fn get_path(listen: SocketAddr, path: &str) -> (String, String, String) {
    let mut stream = TcpStream::connect(listen).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: warren\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let (status, headers) = head.split_once("\r\n").unwrap();
    (status.to_owned(), headers.to_lowercase(), body.to_owned())
}

#[track_caller]
fn check(running: &Running, path: &str, status: &str, body: &str) {
    let (found_status, _, found_body) = get_path(running.listen, path);
    assert_eq!((found_status.as_str(), found_body.as_str()), (status, body), "{path}");
}

#[test]
fn readyz_follows_the_phase() {
    let running = running();
    check(&running, "/readyz", "HTTP/1.1 503 Service Unavailable", "starting\n");
    running.state.set_phase(Phase::Serving);
    check(&running, "/readyz", "HTTP/1.1 200 OK", "serving\n");
    running.state.set_phase(Phase::Draining);
    check(&running, "/readyz", "HTTP/1.1 503 Service Unavailable", "draining\n");
    check(&running, "/livez", "HTTP/1.1 200 OK", "alive\n");
}

#[test]
fn livez_names_the_shards_that_make_no_turns() {
    let running = running();
    running.now_ns.store(TURN_AGE_NS_MAX + 1_000_000_000, Ordering::Relaxed);
    check(
        &running,
        "/livez",
        "HTTP/1.1 503 Service Unavailable",
        "shard 0 has made no turn for 6.0 s\nshard 1 has made no turn for 6.0 s\n",
    );
}

#[test]
fn metrics_are_openmetrics() {
    let running = running();
    let (status, headers, body) = get_path(running.listen, "/metrics");
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert!(headers.contains(&format!("content-type: {}", metrics::CONTENT_TYPE)), "{headers}");
    assert_eq!(body, metrics::text(&running.state));
}

#[test]
fn other_paths_are_not_found() {
    let (status, _, _) = get_path(running().listen, "/");
    assert_eq!(status, "HTTP/1.1 404 Not Found");
}

#[test]
fn it_stops_although_a_client_holds_a_half_sent_request() {
    let running = running();
    let mut idle = TcpStream::connect(running.listen).unwrap();
    idle.write_all(b"GET /livez HT").unwrap();
    running.thread.stop().unwrap();
    assert!(TcpStream::connect(running.listen).is_err());
}

#[test]
fn a_taken_address_is_told() {
    let running = running();
    let fatal = AdminServer::bind(running.listen, GAME, Arc::clone(&running.state)).unwrap_err();
    assert_eq!(fatal.reason, FatalReason::ListenFailed);
    assert!(fatal.detail.contains(&running.listen.to_string()), "{fatal}");
}
