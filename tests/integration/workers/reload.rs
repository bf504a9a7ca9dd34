//! A new version of workers while requests come: none fails, and each is done by one version.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use serde_json::{Value, json};

use super::{Place, hit, script};
use crate::admin::{TOKEN, TestFolder};
use crate::client::Client;
use crate::server::{TestServer, command};

/// A section whose version stands in a file.
fn place() -> Place {
    let place = Place::with_workers("");
    let (script, version) = (script(), place.folder.file("version", "game@1"));
    let config = std::fs::read_to_string(place.folder.0.join("warren.toml")).unwrap();
    let config = config.split("[workers.game]").next().unwrap();
    let config = format!(
        "{config}[workers.game]\ncommand = [\"python3\", {script:?}]\ncount = 2\n\
         environment = {{ TEST_VERSION_FILE = {version:?} }}\n"
    );
    place.folder.file("warren.toml", &config);
    place
}

impl TestServer {
    /// Gives an order to workers as an operator does: exit status, and what is told.
    pub(super) fn order_workers(&self, place: &Place, order: &str) -> (Option<i32>, String) {
        let token = place.folder.file("operator-token", TOKEN);
        let mut ctl = command(&["ctl", "--admin", &self.admin.to_string(), "--token-file"]);
        let output = ctl.arg(token).args(["workers", order, "game"]).output().unwrap();
        let told = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(told).unwrap())
    }
}

fn version_of(reply: &Value) -> u64 {
    assert_eq!(reply["status"], 0, "{reply}");
    let plugin = reply["plugin"].as_str().unwrap();
    plugin.strip_prefix("game@").unwrap().parse().unwrap()
}

/// Ends the load also when the test fails.
struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// `WARREN_WORKER_RELOADS` says how many new versions there are.
#[test]
fn new_versions_fail_no_request_and_each_is_done_by_one() {
    let reloads = std::env::var("WARREN_WORKER_RELOADS").ok();
    let reloads: u64 = reloads.map_or(5, |text| text.parse().expect("a number"));
    let place = place();
    let mut server = place.start();
    server.working(2);
    // The version that alone is there, and the newest that may be.
    let (settled, newest, has_ended) =
        (AtomicU64::new(1), AtomicU64::new(1), AtomicBool::new(false));
    let load = |user: &str| {
        let mut client = Client::log_in(server.listen, user);
        let mut requests = 0_u64;
        while !has_ended.load(SeqCst) {
            let least = settled.load(SeqCst);
            let reply = hit(&mut client, json!({"plugin": true}));
            let version = version_of(&reply);
            assert_eq!(reply["tries"], 1, "what was begun is finished: {reply}");
            let most = newest.load(SeqCst);
            assert!((least..=most).contains(&version), "{version} is none of {least} to {most}");
            requests += 1;
        }
        requests
    };
    let requests: u64 = std::thread::scope(|scope| {
        let load = &load;
        let clients = ["ann", "bob", "cat"].map(|user| scope.spawn(move || load(user)));
        let ended = Ended(&has_ended);
        for version in 2..=reloads + 1 {
            place.folder.file("version", &format!("game@{version}"));
            newest.store(version, SeqCst);
            let (status, told) = server.order_workers(&place, "reload");
            assert_eq!((status, &*told), (Some(0), "the workers game work anew\n"));
            settled.store(version, SeqCst);
        }
        drop(ended);
        clients.map(|client| client.join().unwrap()).iter().sum()
    });
    println!("{reloads} new versions, {requests} requests, 0 failed");
    assert!(requests > reloads);
    let told = server.workers();
    assert_eq!(told["workers"][0]["plugins"], json!([format!("game@{}", reloads + 1)]));
    assert_eq!(told["processes"].as_array().unwrap().len(), 2, "{told}");
    server.stop();
}

#[test]
fn a_restart_of_workers_that_cannot_be_started_is_told() {
    let home = TestFolder::new();
    let place = Place::with_workers(&format!("folder = {:?}\nrestart_ms_max = 100\n", home.0));
    let mut server = place.start();
    server.working(1);
    let away = home.0.with_extension("away");
    std::fs::rename(&home.0, &away).unwrap();
    let (status, told) = server.order_workers(&place, "restart");
    std::fs::rename(&away, &home.0).unwrap();
    assert_eq!(status, Some(1), "{told}");
    let why = "warren: order-failed: a worker cannot be started: No such file or directory";
    assert!(told.starts_with(why), "{told}");
    // It is tried again as ever.
    server.working(1);
    server.stop();
}

#[test]
fn a_version_that_cannot_be_imported_gets_no_task_and_those_before_stay() {
    let place = place();
    let mut server = place.start();
    let before = server.working(2);
    let mut client = Client::log_in(server.listen, "ann");
    place.folder.file("version", "broken");
    let (status, told) = server.order_workers(&place, "reload");
    assert_eq!(status, Some(1), "{told}");
    assert!(told.starts_with("warren: order-failed: worker.game."), "{told}");
    assert!(told.contains("exit status: 1"), "{told}");
    assert_eq!(version_of(&hit(&mut client, json!({"plugin": true}))), 1);
    assert_eq!(server.worker_pids("working"), before, "they stay");
    // And the next version comes as ever.
    place.folder.file("version", "game@2");
    assert_eq!(server.order_workers(&place, "restart").0, Some(0));
    assert_eq!(version_of(&hit(&mut client, json!({"plugin": true}))), 2);
    let answer = server.call("POST", "/api/workers", r#"{"workers":"none","order":"reload"}"#);
    assert_eq!((answer.0, &answer.1["error"]), (404, &json!("unknown-workers")));
    let answer = server.call("POST", "/api/workers", r#"{"workers":"game","order":"dance"}"#);
    assert_eq!((answer.0, &answer.1["error"]), (400, &json!("malformed")));
    server.stop();
}
