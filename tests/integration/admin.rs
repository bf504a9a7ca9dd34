//! The admin endpoint of the real server: who may ask, and what an operator does to sessions.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;
use warren::config::Endpoint;

use crate::client::{Client, PATIENCE};
use crate::server::{TestServer, command, unique};

pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A folder that goes with its test.
pub(crate) struct TestFolder(pub(crate) PathBuf);

impl TestFolder {
    pub(crate) fn new() -> Self {
        let name = format!("warren-admin-{}-{}", std::process::id(), unique());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        options.open(&path).unwrap().write_all(text.as_bytes()).unwrap();
        path
    }
}

impl Drop for TestFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Two shards, and a token in a file.
pub(crate) fn serve(folder: &TestFolder, admin: &str) -> Command {
    let token = folder.file("token", TOKEN);
    let config = format!("[admin]\ntoken_file = {token:?}\n[log]\nformat = \"json\"\n");
    let config = folder.file("warren.toml", &config);
    let mut command = command(&["serve", "--listen", "127.0.0.1:0", "--shards", "2"]);
    command.args(["--admin", admin, "--config"]).arg(config);
    command
}

fn exchange(mut stream: impl Read + Write, request: &str) -> (u16, String) {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

impl TestServer {
    /// A request to the admin endpoint: status and body.
    fn ask(&self, method: &str, path: &str, token: Option<&str>, body: &str) -> (u16, String) {
        let token = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
        let (token, length) = (token.unwrap_or_default(), body.len());
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{token}\
             Content-Length: {length}\r\n\r\n{body}"
        );
        match &self.admin {
            Endpoint::Tcp(address) => {
                let stream = TcpStream::connect(address).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                exchange(stream, &request)
            }
            Endpoint::Unix(path) => {
                let stream = UnixStream::connect(path).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                exchange(stream, &request)
            }
        }
    }

    /// A request with the token: status and JSON.
    pub(crate) fn call(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let (status, text) = self.ask(method, path, Some(TOKEN), body);
        (status, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
    }

    fn sessions(&self, query: &str) -> Vec<Value> {
        let (status, page) = self.call("GET", &format!("/api/sessions{query}"), "");
        assert_eq!(status, 200, "{page}");
        page["sessions"].as_array().unwrap().clone()
    }
}

/// Each route with a body that does no harm, and its status when one may ask.
const ROUTES: &[(&str, &str, &str, u16)] = &[
    ("GET", "/api/status", "", 200),
    ("GET", "/api/sessions", "", 200),
    ("GET", "/api/rooms", "", 200),
    ("GET", "/api/digests", "", 200),
    ("GET", "/api/bans", "", 200),
    ("POST", "/api/kick", r#"{"user":"nobody"}"#, 404),
    ("POST", "/api/ban", r#"{"user":"nobody","for":"1s"}"#, 200),
    ("DELETE", "/api/ban", r#"{"user":"somebody"}"#, 404),
    ("POST", "/api/reload", "", 200),
    ("POST", "/api/none", "", 404),
];

fn check_routes(server: &TestServer, without: Option<u16>) {
    let wrong = TOKEN.replace('0', "1");
    for (method, path, body, right) in ROUTES {
        let status = |token| server.ask(method, path, token, body).0;
        let expected = without.unwrap_or(*right);
        let found = (status(None), status(Some(&wrong)), status(Some(TOKEN)));
        assert_eq!(found, (expected, expected, *right), "{method} {path}");
    }
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(server.ask("GET", path, None, "").0, 200, "{path}");
    }
}

#[test]
fn on_loopback_the_api_asks_for_the_token() {
    let folder = TestFolder::new();
    let server = TestServer::spawn(serve(&folder, "127.0.0.1:0"));
    check_routes(&server, Some(401));
    assert!(server.metric_of_server("warren_admin_refusals_total") > 0);
    server.stop();
}

#[test]
fn a_unix_socket_is_for_those_who_may_open_it() {
    let folder = TestFolder::new();
    let path = folder.0.join("admin.sock");
    let server = TestServer::spawn(serve(&folder, &format!("unix:{}", path.display())));
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    check_routes(&server, None);
    server.stop();
    assert!(!path.exists());
}

/// The status and the last line of a server that does not start.
fn refused(mut command: Command) -> (Option<i32>, String) {
    let output = command.stdout(Stdio::null()).stderr(Stdio::piped()).output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), log.lines().last().unwrap_or_default().to_owned())
}

#[test]
fn other_machines_need_a_token_file_that_is_one() {
    let (status, told) =
        refused(command(&["serve", "--listen", "127.0.0.1:0", "--admin", "0.0.0.0:0"]));
    assert_eq!(status, Some(78));
    assert!(told.contains("`admin.token_file`"), "{told}");

    let folder = TestFolder::new();
    let command = serve(&folder, "0.0.0.0:0");
    let token = folder.0.join("token");
    for (mode, text) in [(0o644, TOKEN), (0o600, "short")] {
        std::fs::write(&token, text).unwrap();
        std::fs::set_permissions(&token, std::fs::Permissions::from_mode(mode)).unwrap();
        let mut again = crate::server::command(&[]);
        again.args(command.get_args());
        let (status, told) = refused(again);
        assert_eq!(status, Some(78), "{told}");
        assert!(told.contains("admin.token_file") && told.contains("token"), "{told}");
    }
    // With one, all but the probes asks for it.
    let server = TestServer::spawn(serve(&folder, "0.0.0.0:0"));
    for (path, status) in [("/livez", 200), ("/readyz", 200), ("/metrics", 401), ("/demo", 401)] {
        assert_eq!(server.ask("GET", path, None, "").0, status, "{path}");
    }
    assert_eq!(server.ask("GET", "/metrics", Some(TOKEN), "").0, 200);
    server.stop();
}

#[test]
fn a_made_token_is_where_the_log_says_and_goes_with_the_server() {
    let (runtime, data) = (TestFolder::new(), TestFolder::new());
    let mut command = command(&["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    command.args(["--shards", "1", "--data"]).arg(&data.0).env("XDG_RUNTIME_DIR", &runtime.0);
    let server = TestServer::spawn(command);
    let port = server.admin_port();
    let files = [runtime.0.join(format!("warren/{port}.token")), data.0.join("admin-token")];
    for file in &files {
        let token = std::fs::read_to_string(file).unwrap();
        assert_eq!(server.ask("GET", "/api/status", Some(token.trim()), "").0, 200);
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    server.stop();
    assert!(files.iter().all(|file| !file.exists()));
}

#[test]
fn another_token_holds_after_a_reload() {
    let folder = TestFolder::new();
    let server = TestServer::spawn(serve(&folder, "127.0.0.1:0"));
    let newer = TOKEN.replace('0', "1");
    folder.file("token", &newer);
    let (status, told) = server.call("POST", "/api/reload", "");
    assert_eq!((status, &told["token"]), (200, &true.into()), "{told}");
    assert_eq!(server.ask("GET", "/api/status", Some(TOKEN), "").0, 401);
    assert_eq!(server.ask("GET", "/api/status", Some(&newer), "").0, 200);
    folder.file("warren.toml", "[log]\nlevel = 7\n");
    let (status, body) = server.ask("POST", "/api/reload", Some(&newer), "");
    assert_eq!(status, 422, "{body}");
    assert!(body.contains(":2:9:"), "{body}");
    server.stop();
}

/// Users on both shards, each in the room.
fn people(server: &TestServer, count: usize) -> Vec<Client> {
    let person = |index| {
        let mut client = Client::log_in(server.listen, &format!("u{index}"));
        client.join("plaza");
        client
    };
    let people = (0..count).map(person).collect();
    server.metric_becomes("warren_sessions", "", count as u64);
    people
}

#[test]
fn a_kicked_user_is_out_and_the_neighbours_stay() {
    let folder = TestFolder::new();
    let server = TestServer::spawn(serve(&folder, "127.0.0.1:0"));
    let mut people = people(&server, 12);
    let rows = server.sessions("");
    assert_eq!(rows.len(), 12);
    let on_shard = |shard: u64| rows.iter().find(|row| row["shard"] == shard);
    for row in [on_shard(0), on_shard(1)].into_iter().flatten() {
        let user = row["user"].as_str().unwrap();
        let index: usize = user[1..].parse().unwrap();
        let body = format!(r#"{{"user":{user:?},"reason":"noise"}}"#);
        let (status, answer) = server.call("POST", "/api/kick", &body);
        assert_eq!((status, &answer["session"]), (200, &row["session"]), "{answer}");
        let closed = people[index].reply("closed");
        assert_eq!(closed["error"], "kicked", "{closed}");
        assert_eq!(people[index].rest(), b"");
        // The others hear that the user has left, and talk on.
        let neighbour = (index + 1) % people.len();
        while people[neighbour].heard("left")["user"] != user {}
        people[neighbour].send("{\"msg\":\"chat\",\"to\":\"plaza\",\"text\":\"still here\"}\n");
        assert_eq!(people[neighbour].reply("chat")["status"], 0);
        assert_eq!(server.sessions(&format!("?user={user}")), [Value::Null; 0]);
        let (status, _) = server.call("POST", "/api/kick", &body);
        assert_eq!(status, 404);
        // Nothing forbids to come back.
        people[index] = Client::log_in(server.listen, user);
        people[index].join("plaza");
    }
    server.stop();
}

#[test]
fn a_banned_user_is_out_also_after_a_restart_until_the_ban_ends() {
    let (folder, data) = (TestFolder::new(), TestFolder::new());
    let start = || {
        let mut command = serve(&folder, "127.0.0.1:0");
        command.arg("--data").arg(&data.0);
        TestServer::spawn(command)
    };
    let server = start();
    let mut people = people(&server, 4);
    let body = r#"{"user":"u1","for":"30days","reason":"noise"}"#;
    let (status, answer) = server.call("POST", "/api/ban", body);
    assert_eq!((status, &answer["stored"]), (200, &true.into()), "{answer}");
    assert_eq!(people[1].reply("closed")["error"], "banned");
    assert_eq!(people[2].heard("left")["user"], "u1");
    check_login(&server, "u1", "banned");
    server.stop();

    let server = start();
    check_login(&server, "u1", "banned");
    drop(Client::log_in(server.listen, "u2"));
    let (_, page) = server.call("GET", "/api/bans", "");
    assert_eq!(page["bans"][0]["reason"], "noise", "{page}");
    let (status, _) = server.call("DELETE", "/api/ban", r#"{"user":"u1"}"#);
    assert_eq!(status, 200);
    drop(Client::log_in(server.listen, "u1"));
    server.stop();

    std::fs::write(data.0.join("bans.json"), "{").unwrap();
    let mut command = serve(&folder, "127.0.0.1:0");
    command.arg("--data").arg(&data.0);
    let (status, told) = refused(command);
    assert_eq!(status, Some(65), "{told}");
    assert!(told.contains("bans.json"), "{told}");
}

#[track_caller]
fn check_login(server: &TestServer, user: &str, error: &str) {
    let mut client = Client::connect(server.listen);
    client.send(format!("{{\"msg\":\"login\",\"user\":\"{user}\"}}\n"));
    assert_eq!(client.reply("login")["error"], error);
}

#[test]
fn a_drain_is_as_a_signal() {
    let folder = TestFolder::new();
    let server = TestServer::spawn(serve(&folder, "127.0.0.1:0"));
    let mut client = Client::log_in(server.listen, "ann");
    let (status, answer) = server.call("POST", "/api/drain", "");
    assert_eq!((status, &answer["phase"]), (202, &"draining".into()));
    assert_eq!(client.reply("closed")["error"], "draining");
    drop(client);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn the_log_never_tells_the_token() {
    let folder = TestFolder::new();
    let mut command = serve(&folder, "127.0.0.1:0");
    command.stderr(Stdio::piped());
    let server = TestServer::spawn(command);
    let wrong = TOKEN.replace('0', "1");
    server.ask("GET", "/api/status", Some(TOKEN), "");
    server.ask("GET", "/api/status", Some(&wrong), "");
    server.signal(15);
    let (_, lines) = server.wait_and_read_log();
    let text = format!("{lines:?}");
    assert!(text.contains("the admin endpoint has refused a request"), "{text}");
    assert!(!text.contains(TOKEN) && !text.contains(&wrong), "{text}");
}
