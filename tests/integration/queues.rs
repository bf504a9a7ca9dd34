//! What an operator sees of tasks and does to dead ones, and what workers may send.

use serde_json::{Value, json};

use crate::admin::{TestFolder, serve};
use crate::auth::Key;
use crate::client::Client;
use crate::ctl::Ctl;
use crate::server::TestServer;

/// Two shards that take tickets of this key.
fn start(folder: &TestFolder, key: &Key, more: &str) -> (TestServer, Ctl) {
    let command = serve(folder, "127.0.0.1:0");
    let token = folder.0.join("token");
    let config = format!(
        "[admin]\ntoken_file = {token:?}\n[log]\nformat = \"json\"\n\
         [auth]\nmode = \"ticket\"\nkeys = [\"{}\"]\n{more}",
        key.public
    );
    folder.file("warren.toml", &config);
    let server = TestServer::spawn(command);
    let ctl = Ctl::of(&server.admin, Some(&token));
    (server, ctl)
}

fn log_in(server: &TestServer, key: &Key, user: &str, role: &str) -> Client {
    let mut client = Client::connect(server.listen);
    let ticket = key.ticket(user, &["--role", role]);
    client.send(format!("{{\"msg\":\"login\",\"ticket\":\"{ticket}\"}}\n"));
    assert_eq!(client.reply("login")["status"], 0);
    client
}

fn say(client: &mut Client, message: &Value) -> Value {
    client.send(format!("{message}\n"));
    client.reply(message["msg"].as_str().unwrap())
}

/// The next task fails for good.
fn fail_next(worker: &mut Client) -> Value {
    let task = worker.heard("task");
    let fail = json!({"msg": "fail", "task": task["task"], "token": task["token"],
                      "retry": false, "error_text": "out\u{202e} of iron"});
    assert_eq!(say(worker, &fail)["status"], 0);
    task
}

#[test]
fn queues_are_told_and_dead_tasks_tried_again_or_dropped() {
    let (folder, key) = (TestFolder::new(), Key::new());
    let tasks = "[tasks]\nmethods = [\"forge\", \"mine\"]\n[methods.mine]\nroles = [\"admin\"]\n";
    let (server, ctl) = start(&folder, &key, tasks);
    let mut ann = log_in(&server, &key, "ann", "user");
    let mut boss = log_in(&server, &key, "boss", "admin");
    let mut dwarf = log_in(&server, &key, "dwarf", "worker");
    assert_eq!(say(&mut ann, &json!({"msg": "mine"}))["error"], "forbidden");
    let work = json!({"msg": "work", "methods": ["forge", "mine"], "credits": 8});
    assert_eq!(say(&mut dwarf, &work)["status"], 0);
    for (name, key) in [("axe", "a"), ("sword", "b"), ("helm", "c")] {
        ann.send(format!("{}\n", json!({"msg": "forge", "what": name, "key": key})));
        fail_next(&mut dwarf);
        assert_eq!(ann.reply("forge")["error"], "task-failed");
    }
    boss.send("{\"msg\":\"mine\"}\n");
    let mine = dwarf.heard("task");

    let told = ctl.json("queues --partitions 3");
    let row = |name: &str| {
        let rows = told["queues"].as_array().unwrap();
        rows.iter().find(|row| row["method"] == name).unwrap().clone()
    };
    assert_eq!(told["queues"].as_array().unwrap().len(), 2);
    let forge = row("forge");
    for (field, count) in [("dead", 3), ("taken_total", 3), ("failed_total", 3), ("ready", 0)] {
        assert_eq!(forge[field], count, "{field}: {forge}");
    }
    assert_eq!((&row("mine")["leased"], &row("mine")["done_total"]), (&1.into(), &0.into()));
    assert_eq!(told["partitions"].as_array().unwrap().len(), 2, "{told}");
    assert_eq!(told["partitions"][0]["leased"], 1);
    let text = ctl.text("queues");
    assert!(text.lines().nth(1).unwrap().starts_with("forge"), "{text}");

    let dead = ctl.json("dead list")["dead"].as_array().unwrap().clone();
    assert_eq!(dead.len(), 3);
    assert_eq!(ctl.text("dead list --method mine"), "no dead tasks\n");
    assert_eq!(ctl.text("dead list --method forge").lines().count(), 4);
    let ids: Vec<_> = dead.iter().map(|row| row["task"].as_str().unwrap()).collect();
    let shown = ctl.json(&format!("dead show {}", ids[0]));
    assert_eq!((&shown["request"]["what"], &shown["key"]), (&"axe".into(), &"a".into()));
    // No text of a client moves the terminal's letters.
    let text = ctl.text(&format!("dead show {}", ids[0]));
    assert!(text.contains("error: out\u{fffd} of iron\n") && text.contains("request.what: axe\n"));
    let (status, told) = ctl.refused("dead show 9.9");
    assert_eq!((status, told.as_str()), (Some(1), "warren: unknown-task: 9.9 is no dead task\n"));

    // One is done at last; of one the key was used anew; the rest goes.
    let text = ctl.text(&format!("dead retry {}", ids[0]));
    assert_eq!(text, "1 tasks: wait for a worker again\n");
    let task = dwarf.heard("task");
    assert_eq!((&task["what"], &task["attempt"]), (&"axe".into(), &1.into()));
    let done = json!({"msg": "done", "task": task["task"], "token": task["token"], "edge": 9});
    assert_eq!(say(&mut dwarf, &done)["status"], 0);
    assert_eq!(say(&mut ann, &json!({"msg": "forge", "key": "a"}))["edge"], 9);
    ann.send(format!("{}\n", json!({"msg": "forge", "what": "sword", "key": "b"})));
    let again = dwarf.heard("task");
    let (status, told) = ctl.refused(&format!("dead retry {}", ids[1]));
    assert!(status == Some(1) && told.starts_with("warren: key-taken: "), "{told}");
    let settled = ctl.json("dead retry --all --method forge");
    assert_eq!(settled["settled"], 1, "{settled}");
    assert_eq!(settled["kept"], json!([{"task": ids[1], "error": "task-pending"}]));
    assert_eq!(dwarf.heard("task")["what"], "helm");
    assert_eq!(ctl.text("dead drop --all"), "1 tasks: removed\n");
    assert_eq!(ctl.text("dead list"), "no dead tasks\n");
    assert_eq!(ctl.run("dead drop").status.code(), Some(2), "one, or all");
    for task in [mine, again] {
        let done = json!({"msg": "done", "task": task["task"], "token": task["token"]});
        assert_eq!(say(&mut dwarf, &done)["status"], 0);
    }
    server.stop();
}

#[test]
fn a_worker_may_send_more_than_a_user_and_a_user_who_works_may_not() {
    let (folder, key) = (TestFolder::new(), Key::new());
    let rules = "[limits]\nmessages_burst = 100\nmessages_per_s = 1\n\
                 [methods.work]\nroles = [\"user\", \"worker\"]\n";
    let (server, _) = start(&folder, &key, rules);
    let pings = "{\"msg\":\"ping\"}\n".repeat(250);
    for (user, role, is_refused) in [("dwarf", "worker", false), ("ann", "user", true)] {
        let mut client = log_in(&server, &key, user, role);
        let work = json!({"msg": "work", "methods": "forge"});
        assert_eq!(say(&mut client, &work)["status"], 0);
        client.send(&pings);
        let replies: Vec<_> = (0..250).map(|_| client.reply("ping")).collect();
        let refused = replies.iter().filter(|reply| reply["error"] == "message-rate").count();
        assert_eq!(refused > 100, is_refused, "{user}: {refused}");
    }
    server.stop();
}
