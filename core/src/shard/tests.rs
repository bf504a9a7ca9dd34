//! Scripts of one shard: what clients send in, what every client hears out.
//!
//! A line of a script is `client method field=value …`; `client from ADDRESS`, `client gone`,
//! `client open`, `client open echo`, `client open moved`, `client end` and `client close` are the
//! connection's, `client stalled` and `client flows` what it does with frames; `client fixed WORLD X Y`
//! is a move in the fixed layout; `client !method …` came over the rate; `+ms` lets time pass; `log N` is
//! the log's word that N more delta batches are durable, `log fails` and `log works` what becomes of it.
//! Under it, indented,
//! stands what that turn sent, one line a message: `client: method field=value …` or
//! `client: CLOSE reason`; frames as `worlds.rs` writes them. A token is not shown; `@client` is the last that this client heard,
//! `@client.N` the Nth, from 0.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;

use super::*;
use crate::ids::{ConnectionId, Epoch};
use crate::message::{MessageBuilder, Value};
use crate::reason::Reason;
use crate::turn::{ConnectionTraits, ShardOutput};
use crate::world::motion::{Motion, write_move};

mod admission;
mod authorisation;
mod control;
mod crashes;
mod crowd;
mod durability;
mod fan_out;
mod inline;
mod logged_snapshots;
mod logins;
mod npcs;
mod objects;
mod pages;
mod refusals;
mod sessions;
mod snapshots;
mod tasks;
mod thinks;
mod worlds;

const SNAPSHOT_INTERVAL_NS: u64 = 5_000_000_000;

/// Sessions end with their connections: for tests of what happens then.
const NO_GRACE: Limits = Limits { session_grace_ns: 0, ..Limits::PRODUCTION };

struct World {
    shard: Shard,
    outputs: ShardOutputs,
    now: Now,
    deltas: Vec<DeltaBatch>,
    /// How many of them are durable, where there is a log.
    durable_count: usize,
    store: snapshots::Store,
    takes_snapshots: bool,
    /// By client, the tokens that it heard.
    tokens: BTreeMap<u32, Vec<String>>,
    /// Clients that were let in, and whether as workers.
    admitted: Vec<(u32, bool)>,
}

impl World {
    fn new(limits: Limits) -> Self {
        Self::with_settings(settings(limits))
    }

    fn with_settings(settings: ShardSettings) -> Self {
        let shard = Shard::new(settings);
        let now = Now { monotonic_ns: 0, wall_ms: 1_700_000_000_000 };
        let (outputs, deltas) = (ShardOutputs::new(1), Vec::new());
        let store = snapshots::Store::default();
        let tokens = BTreeMap::new();
        Self {
            shard,
            outputs,
            now,
            deltas,
            durable_count: 0,
            store,
            takes_snapshots: true,
            tokens,
            admitted: Vec::new(),
        }
    }

    fn run(&mut self, line: &str) -> String {
        let mut inputs = ShardInputs::default();
        for step in line.split(" ; ") {
            self.step(step, &mut inputs);
        }
        self.turn(&inputs)
    }

    fn turn(&mut self, inputs: &ShardInputs) -> String {
        self.outputs.clear();
        self.shard.turn(self.now, inputs, &mut self.outputs);
        self.deltas.append(&mut self.outputs.deltas.clone());
        // One batch a turn: some changes wait while others are stored.
        if self.takes_snapshots {
            self.store_next_batch();
        }
        self.heard()
    }

    /// Turns until nothing waits.
    fn settle(&mut self) {
        while self.shard.has_work() {
            self.run("+0");
        }
    }

    fn store_next_batch(&mut self) -> bool {
        let batch = self.shard.take_snapshot(self.now);
        batch.map(|batch| self.store.write(&batch)).is_some()
    }

    fn step(&mut self, step: &str, inputs: &mut ShardInputs) {
        let mut words = step.split(' ');
        let first = words.next().unwrap();
        if let Some(ms) = first.strip_prefix('+') {
            self.now.monotonic_ns += ms.parse::<u64>().unwrap() * 1_000_000;
            return;
        }
        if first == "log" {
            self.log_says(words.next().unwrap(), inputs);
            return;
        }
        let connection = ConnectionId { index: first.parse().unwrap(), generation: 1 };
        match words.next().unwrap() {
            "open" => {
                let how = words.next();
                let traits = ConnectionTraits {
                    echoes_request: how == Some("echo"),
                    closes_on_unknown_method: false,
                    has_moved: how == Some("moved"),
                };
                inputs.list.push(ShardInput::Opened { connection, traits });
            }
            "from" => {
                let address = words.next().unwrap().parse().unwrap();
                let has_moved = words.next() == Some("moved");
                let peer = crate::peer::PeerAddress::of(address);
                inputs.list.push(ShardInput::Accepted { connection, peer, has_moved });
            }
            "gone" => inputs.list.push(ShardInput::Departed { connection, has_moved: false }),
            "stalled" => inputs.list.push(ShardInput::FramesStalled { connection }),
            "flows" => inputs.list.push(ShardInput::FramesFlow { connection }),
            "fixed" => {
                let world: ObjectId = words.next().unwrap().parse().unwrap();
                let mut axis = || words.next().unwrap().parse().unwrap();
                let position = [axis(), axis(), 0.0];
                let start = inputs.bytes.len();
                let motion = Motion { position, ..Motion::default() };
                write_move(world.0, motion, 2, &mut inputs.bytes);
                inputs.push_move(connection, start);
            }
            "end" => inputs.list.push(ShardInput::Ended { connection }),
            "banned" => inputs.list.push(ShardInput::Banned { connection }),
            "close" => inputs.list.push(ShardInput::Closed { connection }),
            method => {
                let (is_refused, method) = match method.strip_prefix('!') {
                    Some(method) => (true, method),
                    None => (false, method),
                };
                let start = inputs.bytes.len();
                let mut builder = MessageBuilder::new(&mut inputs.bytes, method);
                for word in words {
                    let (name, value) = word.split_once('=').unwrap();
                    let value = value.strip_prefix('@').map_or(value, |of| token(&self.tokens, of));
                    builder.try_field(name.as_bytes(), Value::Text(value)).unwrap();
                }
                if is_refused {
                    inputs.push_refused(connection, start, Reason::MessageRate);
                } else {
                    inputs.push_message(connection, start);
                }
            }
        }
    }

    fn log_says(&mut self, word: &str, inputs: &mut ShardInputs) {
        match word {
            "fails" => self.shard.log_failed(),
            "works" => self.shard.log_works(),
            count => {
                let count: usize = count.parse().unwrap();
                for batch in &self.deltas[self.durable_count..][..count] {
                    inputs.durable.push((batch.group_id(), batch.sequence_id()));
                }
                self.durable_count += count;
            }
        }
    }

    fn heard(&mut self) -> String {
        let mut lines = String::new();
        for at in 0..self.outputs.list.len() {
            match self.outputs.list[at] {
                ShardOutput::Send { connection, message } => {
                    lines += &self.line(connection, message);
                }
                ShardOutput::SendMany { recipients, message } => {
                    for at in 0..recipients.length {
                        let connection = recipients.of(&self.outputs.recipients)[at as usize];
                        lines += &self.line(connection, message);
                    }
                }
                ShardOutput::Close { connection, reason } => {
                    lines += &format!("{}: CLOSE {}\n", connection.index, reason.word());
                }
                ShardOutput::Admit { connection, is_worker } => {
                    self.admitted.push((connection.index, is_worker));
                }
                ShardOutput::Frame { recipients, frame } => {
                    for connection in recipients.of(&self.outputs.recipients) {
                        let frame = worlds::frame_text(self.outputs.frame(frame));
                        lines += &format!("{}: {frame}\n", connection.index);
                    }
                }
                ShardOutput::HandOver { connection, to, message, refused } => {
                    let refused =
                        refused.map_or(String::new(), |reason| format!(" {}", reason.word()));
                    let line = self.line(connection, message);
                    lines += &format!("HAND OVER to {}{refused}: {line}", to.0);
                }
            }
        }
        lines
    }

    fn line(&mut self, connection: ConnectionId, message: crate::turn::Span) -> String {
        let message = self.outputs.message(message);
        let mut line = format!("{}: {}", connection.index, message.method());
        for (name, value) in message.fields() {
            if name == "token" {
                self.tokens.entry(connection.index).or_default().push(format!("{value}"));
            } else {
                line += &format!(" {name}={value}");
            }
        }
        line + "\n"
    }
}

fn token<'t>(tokens: &'t BTreeMap<u32, Vec<String>>, of: &str) -> &'t str {
    let (client, at) = of.split_once('.').map_or((of, None), |(client, at)| (client, Some(at)));
    let heard = &tokens[&client.parse().unwrap()];
    at.map_or_else(|| heard.last().unwrap(), |at| &heard[at.parse::<usize>().unwrap()])
}

fn settings(limits: Limits) -> ShardSettings {
    ShardSettings {
        shard: ShardId(0),
        routing: RoutingTable::even(1, Epoch(1)),
        limits,
        seed: HashSeed(1, 2),
        authentication: Authentication::Open,
        policy: Policy::default(),
        token_seed: TokenSeed([7; 32]),
        join_creates_rooms: true,
        frame_bytes_max: 65536,
        heartbeat_ms: 10_000,
        messages_per_s: 200,
        bytes_per_s: 262_144,
        login_ms: 10_000,
        snapshot_interval_ns: Some(SNAPSHOT_INTERVAL_NS),
        has_log: false,
        ack_defaults: AckDefaults::default(),
        task_methods: TaskMethods::default(),
    }
}

#[track_caller]
fn check(script: &str) {
    check_with(Limits::PRODUCTION, script);
}

#[track_caller]
fn check_with(limits: Limits, script: &str) {
    let mut world = World::new(limits.clone());
    check_in(&mut world, script);
    replays_to_the_same_state(&world, limits.clone());
    while world.store_next_batch() {}
    let restored = world.store.restored(limits, world.now);
    assert_eq!(restored.objects_digest(), world.shard.objects_digest(), "restored from the store");
}

#[track_caller]
fn check_in(world: &mut World, script: &str) {
    let mut lines = script.lines().filter(|line| !line.trim().is_empty()).peekable();
    let indent = lines.peek().map_or(0, |line| line.len() - line.trim_start().len());
    while let Some(line) = lines.next() {
        let mut expected = String::new();
        while let Some(reply) = lines.next_if(|next| next[indent..].starts_with(' ')) {
            expected += reply.trim();
            expected += "\n";
        }
        assert_eq!(world.run(line.trim()), expected, "after: {}", line.trim());
    }
}

/// Every script is a test of recovery too.
#[track_caller]
fn replays_to_the_same_state(world: &World, limits: Limits) {
    let mut replica = Shard::new(settings(limits));
    for batch in &world.deltas {
        replica.replay(&DeltaBatch::decode(&batch.encode()).unwrap());
    }
    for partition in (0..=u16::MAX).map(PartitionId) {
        let digest = |shard: &Shard| shard.partition(partition).map(Partition::digest);
        let (live, replayed) = (digest(&world.shard), digest(&replica));
        // Partitions that were only read are empty in the one and not there in the other.
        let empty = Partition::new(partition, HashSeed(0, 0), FIRST_ADDRESS).digest();
        assert_eq!(live.unwrap_or(empty), replayed.unwrap_or(empty), "{partition:?}");
    }
    let (live, replayed) = (world.shard.counters(), replica.counters());
    assert_eq!((live.objects, live.rooms), (replayed.objects, replayed.rooms));
    assert_eq!((live.state_bytes, live.watches), (replayed.state_bytes, replayed.watches));
}

#[test]
fn before_login_only_a_few_methods_are_answered() {
    check(
        "
        1 open
        1 hello protocol=1 id=a
            1: hello id=a status=0 server=warren/0.1.0 protocol=1 frame_bytes_max=65536 heartbeat_ms=10000 resume_grace_ms=30000 messages_per_s=200 bytes_per_s=262144 login_ms=10000
        1 hello protocol=2
            1: hello status=400 error=version-unsupported
        1 ping
            1: ping status=0 time_ms=1700000000000
        1 time
            1: time status=401 error=not-logged-in
        1 chat to=r text=x id=7
            1: chat id=7 status=401 error=not-logged-in
        1 dance
            1: dance status=404 error=unknown-method
        1 quit
            1: quit status=0
            1: CLOSE quit
        1 ping
        1 close
        ",
    );
}

#[test]
fn members_of_a_room_hear_each_other_in_its_order() {
    check(
        "
        1 open ; 2 open
        1 login user=ann ; 2 login user=bob
            1: login status=0 session=0000000000000000 object=12626.1
            2: login status=0 session=0000000000000001 object=19122.1
        1 join room=r
            1: join status=0 room=r members=1
        2 chat to=r text=hi
            2: chat status=403 error=not-a-member
        2 join room=r
            2: join status=0 room=r members=2
            1: joined room=r user=bob seq=1
        2 join room=r
            2: join status=409 error=already-member
        1 chat to=r text=hi id=9
            1: chat id=9 status=0 seq=2
            1: chat room=r from=ann text=hi seq=2
            2: chat room=r from=ann text=hi seq=2
        2 say to=r text=ho
            2: say status=0 seq=3
            1: chat room=r from=bob text=ho seq=3
            2: chat room=r from=bob text=ho seq=3
        2 emit to=r event=wave hand=left
            2: emit status=0 seq=4
            1: emit room=r from=bob event=wave hand=left seq=4
            2: emit room=r from=bob event=wave hand=left seq=4
        1 emit to=r event=wave from=bob
            1: emit status=400 error=reserved-field
        1 who room=r count=1
            1: who status=0 users=ann after=ann
        1 who room=r after=ann
            1: who status=0 users=bob
        1 leave room=r
            1: leave status=0
            2: left room=r user=ann seq=5
        1 leave room=r
            1: leave status=403 error=not-a-member
        1 chat to=r text=x
            1: chat status=403 error=not-a-member
        2 close
        1 close
        ",
    );
}

#[test]
fn the_end_of_a_connection_takes_its_user_out_of_every_room() {
    check_with(
        NO_GRACE,
        "
        1 open ; 2 open
        1 login user=ann ; 2 login user=bob
            1: login status=0 session=0000000000000000 object=12626.1
            2: login status=0 session=0000000000000001 object=19122.1
        1 join room=r ; 2 join room=r ; 2 join room=s
            1: join status=0 room=r members=1
            2: join status=0 room=s members=1
            2: join status=0 room=r members=2
            1: joined room=r user=bob seq=1
        2 close
            1: left room=r user=bob seq=2
        1 chat to=bob text=hi
            1: chat status=404 error=unknown-recipient
        1 who room=s
            1: who status=0 users=
        +10000
        1 rooms
            1: rooms status=0 rooms=r
        ",
    );
}

#[test]
fn a_direct_message_finds_its_user_by_name() {
    check(
        "
        1 open ; 2 open
        1 login user=ann ; 2 login user=bob
            1: login status=0 session=0000000000000000 object=12626.1
            2: login status=0 session=0000000000000001 object=19122.1
        1 chat to=bob text=psst
            1: chat status=0
            2: chat to=bob from=ann text=psst
        1 chat to=carl text=psst
            1: chat status=404 error=unknown-recipient
        1 chat to=lobby text=all
            1: chat status=403 error=lobby
        1 chat to=9 text=x
            1: chat status=400 error=bad-name
        1 chat to=bob
            1: chat status=400 error=field-missing
        1 join room=bob
            1: join status=409 error=name-taken
        ",
    );
}

#[test]
fn what_is_sent_behind_a_login_waits_for_it() {
    check(
        "
        1 open ; 1 login user=ann ; 1 ping ; 1 login user=bob ; 1 join room=r
            1: login status=0 session=0000000000000000 object=12626.1
            1: ping status=0 time_ms=1700000000000
            1: login status=409 error=already-logged-in
            1: join status=0 room=r members=1
        2 open ; 2 login user=r ; 2 ping ; 2 time
            2: login status=409 error=name-taken
            2: ping status=0 time_ms=1700000000000
            2: time status=401 error=not-logged-in
        2 login user=bob
            2: login status=0 session=0000000100000001 object=19122.1
        ",
    );
    let parked = Limits { parked_bytes_max: 10, ..Limits::PRODUCTION };
    check_with(
        parked,
        "
        1 open ; 1 login user=ann ; 1 ping ; 1 ping id=twice
            1: ping id=twice status=503 error=busy
            1: login status=0 session=0000000000000000 object=12626.1
            1: ping status=0 time_ms=1700000000000
        ",
    );
}

#[test]
fn a_second_login_of_a_user_displaces_the_first() {
    check(
        "
        1 open ; 1 login user=ann ; 1 join room=r
            1: login status=0 session=0000000000000000 object=12626.1
            1: join status=0 room=r members=1
        2 open ; 2 login user=ann ; 2 join room=r
            2: login status=0 session=0000000000000001 object=12626.1
            1: CLOSE displaced
            2: join status=0 room=r members=1
        2 chat to=r text=me
            2: chat status=0 seq=1
            2: chat room=r from=ann text=me seq=1
        1 close
        2 chat to=ann text=still-here
            2: chat status=0
            2: chat to=ann from=ann text=still-here
        2 who room=r
            2: who status=0 users=ann
        ",
    );
}

#[test]
fn a_connection_that_goes_while_it_logs_in_leaves_nothing() {
    check(
        "
        1 open ; 1 login user=ann ; 1 join room=r ; 1 close
        2 open ; 2 login user=bob
            2: login status=0 session=0000000100000000 object=19122.1
        2 chat to=ann text=x
            2: chat status=404 error=unknown-recipient
        2 rooms
            2: rooms status=0 rooms=
        ",
    );
}

#[test]
fn a_client_that_has_said_all_hears_the_answers_and_then_the_end() {
    check(
        "
        1 open ; 2 open ; 2 login user=bob ; 2 join room=r
            2: login status=0 session=0000000000000000 object=19122.1
            2: join status=0 room=r members=1
        1 login user=ann ; 1 join room=r ; 1 chat to=r text=hi ; 1 end
            1: login status=0 session=0000000000000001 object=12626.1
            1: join status=0 room=r members=2
            2: joined room=r user=ann seq=1
            1: chat status=0 seq=2
            1: CLOSE peer-closed
            2: chat room=r from=ann text=hi seq=2
            1: chat room=r from=ann text=hi seq=2
        3 open ; 3 end
            3: CLOSE peer-closed
        ",
    );
}

#[test]
fn a_player_of_the_connserver_lands_in_its_room_and_hears_its_own_fields() {
    check(
        "
        1 open echo
        1 login player=ann@den pw=secret
            1: login player=ann@den status=0 session=0000000000000000 object=12626.1
            1: join status=0 room=den members=1
        1 chat to=den text=hi extra=7
            1: chat to=den text=hi extra=7 status=0 seq=1
            1: chat room=den from=ann text=hi seq=1
        1 dance with=me
            1: dance with=me status=404 error=unknown-method
        ",
    );
}

#[test]
fn objects_are_made_read_changed_found_and_deleted() {
    check(
        "
        1 open ; 2 open
        1 login user=ann ; 2 login user=bob
            1: login status=0 session=0000000000000000 object=12626.1
            2: login status=0 session=0000000000000001 object=19122.1
        1 create kind=sword length=7 colour=red partition=171
            1: create status=0 object=171.1 version=1
        1 create kind=sword length=8
            1: create status=0 object=12626.2 version=1
        2 get object=171.1
            2: get status=0 kind=sword version=1 owner=ann length=7 colour=red
        2 set object=171.1 length=9
            2: set status=403 error=not-owner
        1 set object=171.1 length=9 colour= version=1
            1: set status=0 version=2
        1 set object=171.1 length=9 version=1
            1: set status=409 error=version-conflict
        1 set object=171.1
            1: set status=400 error=field-missing
        1 set object=171.1 status=9
            1: set status=400 error=reserved-field
        1 set object=171.1 length=9 ack=durable
            1: set status=501 error=level-unavailable
        1 get object=171.1
            1: get status=0 kind=sword version=2 owner=ann length=9
        1 find kind=sword partition=171 length=9
            1: find status=0 objects=171.1
        1 find kind=sword length=7
            1: find status=0 objects=
        2 delete object=171.1
            2: delete status=403 error=not-owner
        1 delete object=171.1
            1: delete status=0
        1 get object=171.1
            1: get status=404 error=unknown-object
        1 get object=171
            1: get status=400 error=field-invalid
        1 create kind=user
            1: create status=400 error=field-invalid
        1 delete object=12626.1
            1: delete status=403 error=not-owner
        ",
    );
}

#[test]
fn a_page_ends_where_the_next_one_begins() {
    check(
        "
        1 open ; 1 login user=ann
            1: login status=0 session=0000000000000000 object=12626.1
        1 create kind=k partition=5 ; 1 create kind=k partition=5 ; 1 create kind=k partition=5
            1: create status=0 object=5.1 version=1
            1: create status=0 object=5.2 version=1
            1: create status=0 object=5.3 version=1
        1 find kind=k partition=5 count=2
            1: find status=0 objects=5.1|5.2 after=5.2
        1 find kind=k partition=5 count=2 after=5.2
            1: find status=0 objects=5.3
        1 join room=b ; 1 join room=a ; 1 join room=c
            1: join status=0 room=b members=1
            1: join status=0 room=a members=1
            1: join status=0 room=c members=1
        1 rooms count=2
            1: rooms status=0 rooms=a|b after=b
        1 rooms after=b count=1
            1: rooms status=0 rooms=c
        1 rooms count=0
            1: rooms status=400 error=field-invalid
        ",
    );
}

#[test]
fn a_room_that_was_created_stays_and_keeps_its_settings() {
    check(
        "
        1 open ; 1 login user=ann ; 2 open ; 2 login user=bob
            1: login status=0 session=0000000000000000 object=12626.1
            2: login status=0 session=0000000000000001 object=19122.1
        1 create kind=room room=r members_max=1 secret=true
            1: create status=0 object=40200.1 version=1
        1 create kind=room room=r
            1: create status=409 error=name-taken
        1 join room=r
            1: join status=0 room=r members=1
        2 join room=r
            2: join status=429 error=room-full limit=members_max
        2 rooms
            2: rooms status=0 rooms=
        2 who room=r
            2: who status=404 error=unknown-room
        2 get object=40200.1 ; 2 set object=40200.1 a=b ; 2 find kind=room partition=40200
            2: get status=404 error=unknown-object
            2: set status=404 error=unknown-object
            2: find status=0 objects=
        1 find kind=room partition=40200
            1: find status=0 objects=40200.1
        1 delete object=40200.1
            1: delete status=409 error=room-occupied
        1 set object=40200.1 name=other
            1: set status=400 error=reserved-field
        1 set object=40200.1 secret=false members_max=
            1: set status=0 version=2
        2 join room=r
            2: join status=0 room=r members=2
            1: joined room=r user=bob seq=1
        1 leave room=r ; 2 leave room=r
            1: leave status=0
            2: left room=r user=ann seq=2
            2: leave status=0
        +60000
        2 rooms
            2: rooms status=0 rooms=r
        1 delete object=40200.1
            1: delete status=0
        2 rooms
            2: rooms status=0 rooms=
        ",
    );
}

#[test]
fn an_empty_room_made_by_joining_goes_after_the_grace_time() {
    check(
        "
        1 open ; 1 login user=ann ; 1 join room=r
            1: login status=0 session=0000000000000000 object=12626.1
            1: join status=0 room=r members=1
        1 leave room=r
            1: leave status=0
        +9000 ; 1 join room=r
            1: join status=0 room=r members=1
        +1000 ; 1 leave room=r
            1: leave status=0
        +9000 ; 1 rooms
            1: rooms status=0 rooms=r
        +10000 ; 1 rooms
            1: rooms status=0 rooms=
        ",
    );
}

#[test]
fn limits_are_answered_by_name() {
    let limits = Limits {
        rooms_per_session_max: 1,
        presence_members_max: 1,
        object_bytes_max: 24,
        objects_per_partition_max: 1,
        ..Limits::PRODUCTION
    };
    check_with(
        limits,
        "
        1 open ; 1 login user=ann ; 2 open ; 2 login user=bob
            1: login status=0 session=0000000000000000 object=12626.1
            2: login status=0 session=0000000000000001 object=19122.1
        1 join room=r ; 1 join room=s
            1: join status=429 error=too-many-rooms limit=limits.rooms_per_session_max
            1: join status=0 room=r members=1
        2 join room=r
            2: join status=0 room=r members=2
            1: members room=r count=2 seq=1
            2: members room=r count=2 seq=1
        1 create kind=k partition=9 name=12345
            1: create status=413 error=object-too-large limit=limits.object_bytes_max
        1 create kind=k
            1: create status=507 error=partition-full limit=limits.objects_per_partition_max
        1 leave room=r
            1: leave status=0
        1 join room=s
            1: join status=0 room=s members=1
        ",
    );
}

#[test]
fn a_turn_puts_out_a_bounded_number_of_bytes() {
    let mut world = World::new(Limits::PRODUCTION);
    world.run("1 open ; 1 login user=ann");
    world.run(&format!("1 create kind=k partition=9 text={}", "x".repeat(60_000)));
    let gets = vec!["1 get object=9.1"; 1000].join(" ; ");
    world.run(&gets);
    let (mut turns, mut answers) = (0, 0);
    loop {
        assert!(world.outputs.bytes.len() < 2 * TURN_OUTPUT_BYTES_MAX);
        turns += 1;
        answers += world.outputs.list.len();
        if !world.shard.has_work() {
            break;
        }
        world.run("+1");
    }
    assert_eq!(answers, 1000);
    assert!(turns > 5, "{turns} turns");
}

#[test]
fn a_full_queue_answers_busy_and_lets_the_session_try_again() {
    let limits = Limits { partition_events_max: 1, rooms_per_session_max: 1, ..Limits::PRODUCTION };
    check_with(
        limits,
        "
        1 open ; 1 login user=ann
            1: login status=0 session=0000000000000000 object=12626.1
        1 chat to=r text=x ; 1 join room=r
            1: join status=503 error=busy
            1: chat status=404 error=unknown-recipient
        1 join room=r
            1: join status=0 room=r members=1
        ",
    );
}

#[test]
fn a_turn_handles_a_bounded_number_of_events() {
    let limits = Limits { turn_events_max: 2, ..Limits::PRODUCTION };
    check_with(
        limits,
        "
        1 open ; 1 login user=ann
            1: login status=0 session=0000000000000000 object=12626.1
        1 who room=a ; 1 who room=b ; 1 who room=c ; 1 ping
            1: ping status=0 time_ms=1700000000000
            1: who status=404 error=unknown-room
            1: who status=404 error=unknown-room
        +1
            1: who status=404 error=unknown-room
        ",
    );
}
