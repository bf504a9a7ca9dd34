//! `warren ctl` against a server of two shards: what it does, what it prints, how it ends.

use std::net::TcpListener;
use std::path::Path;
use std::process::Output;

use serde_json::Value;
use warren::config::Endpoint;

use crate::admin::{TOKEN, TestFolder, serve};
use crate::client::Client;
use crate::server::{TestServer, command};

/// Where the server is, and which token is for it.
pub(crate) struct Ctl {
    flags: Vec<String>,
}

impl Ctl {
    pub(crate) fn of(admin: &Endpoint, token: Option<&Path>) -> Self {
        let mut flags = vec!["--admin".to_owned(), admin.to_string()];
        if let Some(token) = token {
            flags.extend(["--token-file".to_owned(), token.display().to_string()]);
        }
        Self { flags }
    }

    pub(crate) fn run(&self, order: &str) -> Output {
        let mut command = command(&["ctl"]);
        command.args(order.split(' ')).args(&self.flags);
        command.output().unwrap()
    }

    /// What it prints for people.
    #[track_caller]
    pub(crate) fn text(&self, order: &str) -> String {
        let output = self.run(order);
        assert_eq!(output.status.code(), Some(0), "{order}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What it prints for programs.
    #[track_caller]
    pub(crate) fn json(&self, order: &str) -> Value {
        let text = self.text(&format!("{order} --json"));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The status and the line of an order that comes to nothing.
    #[track_caller]
    pub(crate) fn refused(&self, order: &str) -> (Option<i32>, String) {
        let output = self.run(order);
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.starts_with("warren: "), "{told}");
        assert!(!told.contains(TOKEN), "{told}");
        (output.status.code(), told)
    }
}

/// A server of two shards with so many users in a room, and what asks it.
fn peopled(folder: &TestFolder, count: usize) -> (TestServer, Ctl, Vec<Client>) {
    let server = TestServer::spawn(serve(folder, "127.0.0.1:0"));
    let person = |index| {
        let mut client = Client::log_in(server.listen, &format!("u{index}"));
        client.join("plaza");
        client
    };
    let people = (0..count).map(person).collect();
    server.metric_becomes("warren_sessions", "", count as u64);
    let ctl = Ctl::of(&server.admin, Some(&folder.0.join("token")));
    (server, ctl, people)
}

#[test]
fn status_is_of_both_shards() {
    let folder = TestFolder::new();
    let (server, ctl, _people) = peopled(&folder, 3);
    let status = ctl.json("status");
    assert_eq!((&status["phase"], &status["sessions"]), (&"serving".into(), &3.into()));
    assert_eq!(status["shards"].as_array().unwrap().len(), 2);
    let text = ctl.text("status");
    assert!(text.contains(&format!("is serving on {}", server.listen)), "{text}");
    assert!(text.contains("3 sessions, 1 rooms"), "{text}");
    assert_eq!(text.lines().count(), 6, "{text}");
    server.stop();
}

#[test]
fn lists_are_told_page_after_page() {
    let folder = TestFolder::new();
    let (server, ctl, mut people) = peopled(&folder, 3);
    for number in 0..300 {
        people[0]
            .send(format!("{{\"msg\":\"create\",\"kind\":\"room\",\"room\":\"r{number}\"}}\n"));
        assert_eq!(people[0].reply("create")["status"], 0);
    }
    let rooms = ctl.json("rooms");
    assert_eq!(rooms["after"], Value::Null);
    let mut names: Vec<_> =
        rooms["rooms"].as_array().unwrap().iter().map(|room| room["room"].to_string()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 301);
    assert_eq!(ctl.text("rooms").lines().count(), 302);

    let output = ctl.run("rooms --count 260 --json");
    let part: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(part["rooms"].as_array().unwrap().len(), 260);
    assert!(part["after"].is_string());
    assert!(String::from_utf8(output.stderr).unwrap().contains("more than 260"));

    let sessions = ctl.json("sessions");
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), 3);
    let text = ctl.text("sessions --user u1");
    let row = text.lines().nth(1).unwrap();
    assert!(row.starts_with("u1    connected  json      127.0.0.1  "), "{text}");
    assert_eq!(ctl.text("sessions --user nobody"), "no sessions\n");
    server.stop();
}

#[test]
fn kicked_and_banned_users_are_out() {
    let folder = TestFolder::new();
    let (server, ctl, mut people) = peopled(&folder, 3);
    let text = ctl.text("kick u0 --reason noise");
    assert!(text.starts_with("u0 is out (session "), "{text}");
    assert_eq!(people[0].reply("closed")["error"], "kicked");
    let (status, told) = ctl.refused("kick u0");
    assert_eq!((status, told.as_str()), (Some(1), "warren: unknown-user: u0 is not here\n"));
    let output = ctl.run("kick u0 --json");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &answer["error"]), (Some(1), &"unknown-user".into()));

    let banned = ctl.json("ban u1 --for 1h --reason noise");
    assert_eq!((&banned["user"], &banned["stored"]), (&"u1".into(), &false.into()));
    assert_eq!(people[1].reply("closed")["error"], "banned");
    let text = ctl.text("ban 192.0.2.7/24");
    assert!(text.starts_with("192.0.2.0/24 is banned for ever\n"), "{text}");
    assert_eq!(ctl.json("bans")["bans"].as_array().unwrap().len(), 2);
    let text = ctl.text("bans");
    assert!(text.contains("192.0.2.0/24  ") && text.contains("  noise\n"), "{text}");

    assert_eq!(ctl.text("unban u1"), "u1 is banned no more\n");
    drop(Client::log_in(server.listen, "u1"));
    let (status, told) = ctl.refused("unban u1");
    assert!(status == Some(1) && told.contains("unknown-ban"), "{told}");
    let (status, told) = ctl.refused("ban u1 --for soon");
    assert!(status == Some(1) && told.contains("malformed"), "{told}");
    server.stop();
}

#[test]
fn a_reload_tells_what_was_read() {
    let folder = TestFolder::new();
    let (server, ctl, _people) = peopled(&folder, 0);
    let token = folder.0.join("token");
    folder.file(
        "warren.toml",
        &format!("[admin]\ntoken_file = {token:?}\n[log]\nformat = \"json\"\nlevel = \"warn\"\n[protocol]\nheartbeat_ms = 5000\n"),
    );
    let text = ctl.text("reload");
    assert!(text.contains("level is warn now"), "{text}");
    assert!(text.contains("next start will change: protocol.heartbeat_ms"), "{text}");
    assert_eq!(ctl.json("reload")["token"], true);
    folder.file("warren.toml", "[log]\nlevel = 7\n");
    let (status, told) = ctl.refused("reload");
    assert!(status == Some(1) && told.contains("config-invalid"), "{told}");
    server.stop();
}

#[test]
fn a_drain_can_be_waited_for() {
    for (order, told) in
        [("drain --wait", "draining\nthe server has ended\n"), ("drain", "draining\n")]
    {
        let (folder, data) = (TestFolder::new(), TestFolder::new());
        let mut command = serve(&folder, "127.0.0.1:0");
        command.arg("--data").arg(&data.0);
        let server = TestServer::spawn(command);
        let mut client = Client::log_in(server.listen, "ann");
        let ctl = Ctl::of(&server.admin, Some(&folder.0.join("token")));
        assert_eq!(ctl.text(order), told);
        if order.ends_with("--wait") {
            // Nobody answers there any more.
            let (status, told) = ctl.refused("status");
            assert_eq!(status, Some(69), "{told}");
        }
        assert_eq!(client.reply("closed")["error"], "draining");
        drop(client);
        assert_eq!(server.wait().code(), Some(0));
    }
}

#[test]
fn after_a_drain_that_was_waited_for_the_next_server_can_start_at_once() {
    let (folder, data, runtime) = (TestFolder::new(), TestFolder::new(), TestFolder::new());
    let socket = folder.0.join("admin.sock");
    for admin in [format!("unix:{}", socket.display()), "127.0.0.1:0".to_owned()] {
        let start = || {
            let mut command = command(&["serve", "--listen", "127.0.0.1:0", "--shards", "2"]);
            command.args(["--admin", &admin, "--data"]).arg(&data.0);
            command.env("XDG_RUNTIME_DIR", &runtime.0);
            TestServer::spawn(command)
        };
        let mut server = start();
        for _ in 0..3 {
            let token = data.0.join("admin-token");
            let ctl = Ctl::of(&server.admin, token.exists().then_some(token.as_path()));
            assert_eq!(ctl.text("drain --wait"), "draining\nthe server has ended\n");
            let next = start();
            assert_eq!(server.wait().code(), Some(0));
            // Whatever the one before has taken away, it was its own.
            assert_eq!(Ctl::of(&next.admin, Some(&token)).json("status")["phase"], "serving");
            server = next;
        }
        server.stop();
    }
}

#[test]
fn a_unix_socket_asks_for_no_token() {
    let folder = TestFolder::new();
    let path = folder.0.join("admin.sock");
    let server = TestServer::spawn(serve(&folder, &format!("unix:{}", path.display())));
    let ctl = Ctl::of(&server.admin, None);
    assert_eq!(ctl.json("status")["phase"], "serving");
    assert_eq!(ctl.text("drain --wait --json").lines().count(), 1);
    assert_eq!(server.wait().code(), Some(0));
    let (status, told) = ctl.refused("status");
    assert_eq!(status, Some(69), "{told}");
}

#[test]
fn endpoint_and_token_are_found_where_the_server_leaves_them() {
    let (runtime, data, folder) = (TestFolder::new(), TestFolder::new(), TestFolder::new());
    let mut serve =
        command(&["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--shards", "2"]);
    serve.arg("--data").arg(&data.0).env("XDG_RUNTIME_DIR", &runtime.0);
    let server = TestServer::spawn(serve);
    let admin = server.admin.to_string();
    let asks = |flags: &[&str], runtime: Option<&Path>| {
        let mut command = command(&["ctl", "status", "--json"]);
        command.args(flags).env_remove("XDG_RUNTIME_DIR");
        if let Some(runtime) = runtime {
            command.env("XDG_RUNTIME_DIR", runtime);
        }
        command.output().unwrap()
    };
    let data_folder = data.0.to_str().unwrap();
    let config = format!("[server]\ndata = {data_folder:?}\n[admin]\nlisten = {admin:?}\n");
    let config = folder.file("found.toml", &config);
    for (flags, runtime) in [
        (&["--admin", &admin][..], Some(runtime.0.as_path())),
        (&["--admin", &admin, "--data", data_folder], None),
        (&["--config", config.to_str().unwrap()], None),
    ] {
        let output = asks(flags, runtime);
        assert_eq!(output.status.code(), Some(0), "{flags:?}: {output:?}");
    }
    for (flags, told) in [
        (&["--admin", &admin][..], "--token-file"),
        (&["--admin", &admin, "--token-file", "/nowhere"], "/nowhere"),
        (&["--config", "/nowhere"], "/nowhere"),
    ] {
        let output = asks(flags, None);
        let found = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{flags:?}: {found}");
        assert!(found.contains(told), "{found}");
    }
    server.stop();
}

#[test]
fn who_is_not_let_in_hears_so() {
    let folder = TestFolder::new();
    let (server, _, _people) = peopled(&folder, 0);
    let wrong = folder.file("wrong", &TOKEN.replace('0', "1"));
    let (status, told) = Ctl::of(&server.admin, Some(&wrong)).refused("status");
    assert!(status == Some(1) && told.starts_with("warren: unauthorized: "), "{told}");
    // What listens there is no admin endpoint.
    let clients = Endpoint::Tcp(server.listen);
    let (status, told) = Ctl::of(&clients, Some(&wrong)).refused("status");
    assert_eq!(status, Some(69), "{told}");
    server.stop();
    // Nobody listens.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (status, told) = Ctl::of(&Endpoint::Tcp(free), Some(&wrong)).refused("drain --wait");
    assert_eq!(status, Some(69), "{told}");
    assert!(told.contains(&free.to_string()), "{told}");
}
