//! One client that makes, changes and deletes objects of its own, and knows what has to be there.

use std::collections::VecDeque;
use std::ops::AddAssign;
use std::sync::mpsc::Sender;

use serde_json::{Value, json};

use super::drawn;
use crate::client::Client;

/// Requests that a client has on their way at once.
const WINDOW: usize = 16;
/// Objects that a writer has at least before it deletes one, and at most.
const OBJECTS: std::ops::Range<usize> = 2..6;
/// Deleted ones that are looked for again and again.
const DELETED_MAX: usize = 8;
/// One request in so many makes an object, and one deletes one.
const SETS_PER_OTHER: u64 = 10;

/// What was acknowledged.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) sets: u64,
    pub(super) creates: u64,
    pub(super) deletes: u64,
}

impl Tally {
    pub(super) fn add(&mut self, other: Self) {
        self.sets.add_assign(other.sets);
        self.creates.add_assign(other.creates);
        self.deletes.add_assign(other.deletes);
    }
}

/// How far the deletion of an object has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deletion {
    NotAsked,
    Asked,
    Acknowledged,
}

/// An object whose making was acknowledged.
#[derive(Clone, Debug)]
struct Object {
    name: String,
    /// The last value that was sent, and the last that was acknowledged.
    sent: u64,
    acknowledged: u64,
    deletion: Deletion,
}

/// What is on its way; objects by their place in the list.
#[derive(Clone, Copy, Debug)]
enum Request {
    Create,
    Set { object: usize, value: u64 },
    Delete { object: usize },
}

/// What one writer knows of its objects.
#[derive(Debug)]
pub(super) struct Writer {
    partition: usize,
    seed: u64,
    next_id: u64,
    objects: Vec<Object>,
}

impl Writer {
    pub(super) fn new(at: usize) -> Self {
        Self { partition: at * 17_000, seed: at as u64, next_id: 1, objects: Vec::new() }
    }

    /// Logs in, and changes the user's own object: a group of which only sessions have changed tells its
    /// position once a minute, and segments are kept until then.
    pub(super) fn log_in(&mut self, client: &mut Client, at: usize, round: u64) {
        client.send(format!("{}\n", json!({"msg": "login", "user": format!("writer-{at}")})));
        let own = client.reply("login")["object"].clone();
        client.send(format!("{}\n", json!({"msg": "set", "object": own, "round": round})));
        assert_eq!(client.reply("set")["status"], 0, "round {round}");
    }

    /// Looks whether what was acknowledged is there. What was not may be there, and then it stays.
    pub(super) fn check(&mut self, client: &mut Client, round: u64) {
        for object in &mut self.objects {
            client.send(format!("{}\n", json!({"msg": "get", "object": object.name})));
            let found = client.reply("get");
            if found["status"] == 404 {
                let asked = object.deletion != Deletion::NotAsked;
                assert!(asked, "round {round}: an object is lost: {object:?}");
                object.deletion = Deletion::Acknowledged;
                continue;
            }
            let value = found["value"].as_u64().unwrap_or_else(|| panic!("round {round}: {found}"));
            assert!(
                object.deletion != Deletion::Acknowledged
                    && (object.acknowledged..=object.sent).contains(&value),
                "round {round}: {value} is there of {object:?}"
            );
            (object.acknowledged, object.sent) = (value, value);
            object.deletion = Deletion::NotAsked;
        }
        let is_deleted = |object: &Object| object.deletion == Deletion::Acknowledged;
        let deleted = self.objects.iter().filter(|object| is_deleted(object)).count();
        let mut surplus = deleted.saturating_sub(DELETED_MAX);
        self.objects.retain(|object| {
            let goes = surplus > 0 && is_deleted(object);
            surplus -= usize::from(goes);
            !goes
        });
    }

    /// Writes until the server is gone.
    pub(super) fn write(&mut self, mut client: Client, told: &Sender<()>) -> Tally {
        let mut tally = Tally::default();
        let mut waiting: VecDeque<(u64, Request)> = VecDeque::new();
        loop {
            while waiting.len() < WINDOW {
                let Some(request) = self.next_request(&waiting) else { break };
                let id = self.next_id;
                self.next_id += 1;
                if client.try_send(format!("{}\n", self.message(id, request))).is_err() {
                    return tally;
                }
                waiting.push_back((id, request));
            }
            let Some(reply) = client.try_json() else { return tally };
            if reply["id"].is_null() {
                continue;
            }
            let (id, request) = waiting.pop_front().expect("what is answered was asked");
            assert_eq!((&reply["id"], &reply["status"]), (&json!(id), &json!(0)), "{reply}");
            self.acknowledge(request, &reply, &mut tally);
            // Nobody counts any more when the server is being killed.
            let _ = told.send(());
        }
    }

    /// Draws what comes next, and notes that it is sent: it may be, though sending fails.
    fn next_request(&mut self, waiting: &VecDeque<(u64, Request)>) -> Option<Request> {
        let is_there = |at: &usize| self.objects[*at].deletion == Deletion::NotAsked;
        let there: Vec<usize> = (0..self.objects.len()).filter(is_there).collect();
        let makes = |(_, request): &&(u64, Request)| matches!(request, Request::Create);
        let count = there.len() + waiting.iter().filter(makes).count();
        let choice = drawn(&mut self.seed, SETS_PER_OTHER);
        if there.is_empty() || (choice == 0 && count < OBJECTS.end) {
            // Some are on their way where there is none yet.
            return (count < OBJECTS.end).then_some(Request::Create);
        }
        let object = there[drawn(&mut self.seed, there.len() as u64) as usize];
        if choice == 1 && there.len() > OBJECTS.start {
            self.objects[object].deletion = Deletion::Asked;
            return Some(Request::Delete { object });
        }
        self.objects[object].sent += 1;
        Some(Request::Set { object, value: self.objects[object].sent })
    }

    fn message(&self, id: u64, request: Request) -> Value {
        let mut message = match request {
            Request::Create => {
                json!({"msg": "create", "kind": "counter", "partition": self.partition, "value": 0})
            }
            Request::Set { object, value } => {
                json!({"msg": "set", "object": self.objects[object].name, "value": value})
            }
            Request::Delete { object } => {
                json!({"msg": "delete", "object": self.objects[object].name})
            }
        };
        message["id"] = json!(id);
        message["ack"] = json!("durable");
        message
    }

    fn acknowledge(&mut self, request: Request, reply: &Value, tally: &mut Tally) {
        match request {
            Request::Create => {
                let name = reply["object"].as_str().expect("a create tells its object").to_owned();
                let deletion = Deletion::NotAsked;
                self.objects.push(Object { name, sent: 0, acknowledged: 0, deletion });
                tally.creates += 1;
            }
            Request::Set { object, value } => {
                self.objects[object].acknowledged = value;
                tally.sets += 1;
            }
            Request::Delete { object } => {
                self.objects[object].deletion = Deletion::Acknowledged;
                tally.deletes += 1;
            }
        }
    }
}
