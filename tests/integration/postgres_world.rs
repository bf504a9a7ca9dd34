//! A server that exports, and someone who changes its world at random.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Instant;

use serde_json::{Value, json};

use crate::client::{Client, PATIENCE};
use crate::postgres_server::PostgresServer;
use crate::server::{TestServer, command, unique};

/// A data folder and a configuration that exports it, removed with their test.
pub(crate) struct World {
    folder: PathBuf,
}

impl World {
    /// `export` is more of the section of that name.
    pub(crate) fn new(postgres: &PostgresServer, export: &str) -> Self {
        Self::at(&postgres.connection(), export)
    }

    /// The same by this connection.
    pub(crate) fn at(connection: &str, export: &str) -> Self {
        let name = format!("warren-export-{}-{}", std::process::id(), unique());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let config = format!(
            "[log]\nformat = \"json\"\n[server]\ndata = {:?}\n[storage]\nsnapshot_interval_ms = 20\n\
             segment_bytes = 65536\n\
             [limits]\nlogins_per_minute_per_address = 0\nlogins_per_minute_per_account = 0\n\
             messages_per_s = 100000\nmessages_burst = 100000\n\
             [export]\npostgres = {:?}\n{export}\n",
            folder.join("data"),
            connection,
        );
        std::fs::write(folder.join("warren.toml"), config).unwrap();
        Self { folder }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A server whose log can be read.
    pub(crate) fn start(&self) -> TestServer {
        self.start_with(&["--admin", "127.0.0.1:0"])
    }

    /// The same with more words on the command line.
    pub(crate) fn start_with(&self, words: &[&str]) -> TestServer {
        let mut serve = command(&["serve", "--listen", "127.0.0.1:0", "--shards", "2", "--config"]);
        serve.arg(self.folder.join("warren.toml")).args(words).stderr(Stdio::piped());
        TestServer::spawn(serve)
    }

    /// `warren export …` about this world.
    pub(crate) fn export(&self, words: &[&str]) -> Output {
        let mut export = command(&["export"]);
        export.args(words).arg("--config").arg(self.folder.join("warren.toml"));
        export.output().unwrap()
    }

    pub(crate) fn digest(&self, server: &TestServer) -> Value {
        digest(server, &self.data())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// What `warren ctl digest` tells.
pub(crate) fn digest(server: &TestServer, data: &Path) -> Value {
    let mut ctl = command(&["ctl", "digest", "--json", "--admin"]);
    let output = ctl.arg(server.admin.to_string()).arg("--data").arg(data).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// `warren import postgres` to this folder.
pub(crate) fn import(postgres: &PostgresServer, data: &Path) -> Output {
    let mut import = command(&["import", "postgres", "--json", "--from"]);
    import.arg(postgres.connection()).arg("--data").arg(data).output().unwrap()
}

/// What an import tells that has to succeed: number of objects and digest, as `ctl digest` does.
pub(crate) fn imported(postgres: &PostgresServer, data: &Path) -> Value {
    let output = import(postgres, data);
    assert!(output.status.success(), "{output:?}");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["of_one_moment"], true, "{told}");
    json!({ "objects": told["objects"], "digest": told["digest"] })
}

/// Waits until all that has changed is in the tables.
#[track_caller]
pub(crate) fn wait_until_exported(server: &TestServer) {
    server.metric_becomes("warren_delta_batches_waiting", "", 0);
    // Before it has reached Postgres it knows of no lag.
    wait_for(server, "warren_export_connected", |connected| connected == 1);
    wait_for(server, "warren_export_lag_commits", |lag| lag == 0);
    wait_for(server, "warren_export_connected", |connected| connected == 1);
}

/// Waits until a metric that the server has once is as it should be.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "the bound of a wait")]
pub(crate) fn wait_for(server: &TestServer, name: &str, is_so: impl Fn(u64) -> bool) {
    let end = Instant::now() + 2 * PATIENCE;
    loop {
        let value = server.metric_of_server(name);
        if is_so(value) {
            return;
        }
        assert!(Instant::now() < end, "{name} stays {value}");
    }
}

/// Someone who changes a world at random, and knows which objects there are.
pub(crate) struct Player {
    pub(crate) objects: Vec<String>,
    seed: u64,
}

impl Player {
    pub(crate) fn new(seed: u64) -> Self {
        Self { objects: Vec::new(), seed }
    }

    /// A number that follows from the seed.
    pub(crate) fn drawn(&mut self, below: usize) -> usize {
        let (factor, step) = (6_364_136_223_846_793_005, 1_442_695_040_888_963_407);
        self.seed = self.seed.wrapping_mul(factor).wrapping_add(step);
        (self.seed >> 33) as usize % below
    }

    /// The next request, and whether it removes an object.
    fn request(&mut self) -> (Value, Option<usize>) {
        let partition = [0, 1, 63, 64, 171, 40_000, 65_535][self.drawn(7)];
        if self.objects.len() < 8 || self.drawn(4) == 0 {
            let mut create = json!({"msg": "create", "kind": "sword", "partition": partition});
            self.add_fields(&mut create);
            return (create, None);
        }
        let index = self.drawn(self.objects.len());
        let object = self.objects[index].clone();
        if self.drawn(6) == 0 {
            return (json!({"msg": "delete", "object": object}), Some(index));
        }
        let mut set = json!({"msg": "set", "object": object});
        self.add_fields(&mut set);
        (set, None)
    }

    fn add_fields(&mut self, request: &mut Value) {
        for _ in 0..1 + self.drawn(3) {
            let name = ["a", "b", "colour", "Z_9.x-y"][self.drawn(4)];
            let values = [
                json!(self.drawn(1000)),
                json!(i64::MIN),
                json!(i64::MAX),
                json!(-0.0),
                json!(0.1),
                json!(1e300),
                json!(5e-324),
                json!(true),
                json!("tab\tline\nquote\" back\\slash 'one' \u{2028} é日本𝄞"),
                json!("{\"float\":\"1\"}"),
                json!(["a", "", "b,c", "{}"]),
                json!(""),
                json!(null),
            ];
            request[name] = values[self.drawn(values.len())].clone();
        }
    }

    /// Sends so many requests, and waits for each reply.
    pub(crate) fn play(&mut self, client: &mut Client, count: usize) {
        for _ in 0..count {
            let (request, removed) = self.request();
            client.send(format!("{request}\n"));
            let reply = client.reply(request["msg"].as_str().unwrap());
            assert_eq!(reply["status"], 0, "{request}: {reply}");
            self.note(&request, &reply, removed);
        }
    }

    fn note(&mut self, request: &Value, reply: &Value, removed: Option<usize>) {
        if request["msg"] == "create" {
            self.objects.push(reply["object"].as_str().unwrap().to_owned());
        } else if let Some(index) = removed {
            self.objects.swap_remove(index);
        }
    }
}
