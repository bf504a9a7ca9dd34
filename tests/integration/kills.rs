//! What was acknowledged `durable` is there after `kill -9`, however often and whenever it comes.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};

use serde_json::json;

use crate::client::Client;
use crate::server::{TestServer, command, unique};

const KILL: i32 = 9;
/// Clients that write at the same time, each to objects of its own.
const WRITERS: usize = 4;
/// Requests that a client has on their way at once.
const WINDOW: u64 = 16;
/// Most acknowledgements after which a server is killed.
const LIFE_MAX: u64 = 60;

/// How often the server is killed: `WARREN_KILLS`, or 200.
fn kills() -> u64 {
    std::env::var("WARREN_KILLS").map_or(200, |text| text.parse().expect("a number"))
}

/// A number that follows from the seed.
fn drawn(seed: &mut u64, below: u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) % below
}

struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let name = format!("warren-kills-{}-{}", std::process::id(), unique());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        // Snapshots are taken all the time.
        let config = "[log]\nlevel = \"warn\"\n[storage]\nsnapshot_interval_ms = 20\n";
        std::fs::write(folder.join("warren.toml"), config).unwrap();
        Self(folder)
    }

    fn start(&self) -> TestServer {
        let mut serve: Command =
            command(&["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        serve.args(["--shards", "2", "--config"]).arg(self.0.join("warren.toml"));
        serve.arg("--data").arg(self.0.join("data")).stderr(Stdio::inherit());
        TestServer::spawn(serve)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What one writer knows of its object.
#[derive(Clone, Debug)]
struct Writer {
    object: String,
    /// The last value that it has sent, and the last that was acknowledged.
    sent: u64,
    acknowledged: u64,
}

impl Writer {
    /// Sets the object to one number after the other until the server is gone.
    fn write(&mut self, mut client: Client, told: Sender<()>) -> u64 {
        let before = self.acknowledged;
        let mut waiting = 0;
        loop {
            while waiting < WINDOW {
                let value = self.sent + 1;
                let set = json!({"msg": "set", "object": self.object, "value": value,
                                 "id": value, "ack": "durable"});
                if client.try_send(format!("{set}\n")).is_err() {
                    return self.acknowledged - before;
                }
                self.sent = value;
                waiting += 1;
            }
            let Some(reply) = client.try_json() else { return self.acknowledged - before };
            if reply["msg"] == "set" {
                assert_eq!(reply["status"], 0, "{reply}");
                let value = reply["id"].as_u64().unwrap();
                assert_eq!(value, self.acknowledged + 1, "replies come in order");
                self.acknowledged = value;
                waiting -= 1;
                // Nobody counts any more when the server is being killed.
                let _ = told.send(());
            }
        }
    }
}

#[test]
fn what_was_acknowledged_durable_survives_a_kill_at_any_moment() {
    let place = Place::new();
    let mut seed = 7;
    let mut writers: Vec<Writer> = Vec::new();
    let mut acknowledged = 0;
    for round in 0..=kills() {
        let server = place.start();
        let mut clients: Vec<Client> = (0..WRITERS)
            .map(|writer| Client::log_in(server.listen, &format!("writer-{writer}")))
            .collect();
        if writers.is_empty() {
            writers =
                clients.iter_mut().enumerate().map(|(at, client)| create(client, at)).collect();
        }
        for (writer, client) in writers.iter_mut().zip(&mut clients) {
            client.send(format!("{}\n", json!({"msg": "get", "object": writer.object})));
            let found = client.reply("get");
            let value = found["value"].as_u64().unwrap_or_else(|| panic!("round {round}: {found}"));
            assert!(
                (writer.acknowledged..=writer.sent).contains(&value),
                "round {round}: {value} is there; {} was acknowledged, {} sent",
                writer.acknowledged,
                writer.sent
            );
            // What was not acknowledged may be there, and then it stays.
            (writer.acknowledged, writer.sent) = (value, value);
        }
        if round == kills() {
            server.stop();
            break;
        }
        let (told, heard) = channel();
        let life = drawn(&mut seed, LIFE_MAX);
        acknowledged += std::thread::scope(|scope| {
            let threads: Vec<_> = writers
                .iter_mut()
                .zip(clients)
                .map(|(writer, client)| {
                    let told = told.clone();
                    scope.spawn(move || writer.write(client, told))
                })
                .collect();
            // The four are anywhere then, and so are the log and the snapshots.
            heard.iter().take(life as usize).for_each(drop);
            server.signal(KILL);
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<u64>()
        });
        let status = server.wait();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(KILL));
    }
    println!("{} kills, {acknowledged} sets acknowledged, 0 lost", kills());
    assert!(acknowledged > kills(), "{acknowledged} sets acknowledged");
}

fn create(client: &mut Client, at: usize) -> Writer {
    let partition = at * 17_000;
    let create = json!({"msg": "create", "kind": "counter", "partition": partition, "value": 0,
                        "ack": "durable"});
    client.send(format!("{create}\n"));
    let created = client.reply("create");
    assert_eq!(created["status"], 0, "{created}");
    let object = created["object"].as_str().unwrap().to_owned();
    Writer { object, sent: 0, acknowledged: 0 }
}
