//! Worlds over real sockets: members on every shard, in binary and in JSON, see the same.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use warren_core::message::{Message, Value, packed};
use warren_core::world::frame::Frame;
use warren_core::world::motion::Motion;
use warren_net::gateway::binary::{ServerFrame, encode_move, encode_request, read_server_frame};

use crate::client::Client;
use crate::rooms::clients_on_all_shards;
use crate::server::TestServer;

const CELL: f64 = 64.0;
const KIND_FRAME: u8 = 5;

/// A cell, and a position in it.
type Place = ([i64; 2], [f64; 2]);

/// What a member knows of its world: by entity, its cell and position. Kept by the rules of
/// docs/protocol.md.
#[derive(Debug, Default)]
struct Surroundings {
    known: BTreeMap<u64, Place>,
    whole_count: usize,
}

/// A section of a frame, of whichever protocol.
#[derive(Debug, Default)]
struct Section {
    cell: [i64; 2],
    is_key: bool,
    /// Entities in the cell, with their positions.
    updates: Vec<(u64, [f64; 2])>,
    /// Entities elsewhere, with cell and position, or gone.
    leaves: Vec<(u64, Option<Place>)>,
}

fn touches(cell: [i64; 2], centre: [i64; 2]) -> bool {
    (0..2).all(|axis| (cell[axis] - centre[axis]).abs() <= 1)
}

impl Surroundings {
    fn hear(&mut self, is_whole: bool, centre: [i64; 2], sections: Vec<Section>) {
        self.whole_count += usize::from(is_whole);
        self.known.retain(|_, (cell, _)| !is_whole && touches(*cell, centre));
        for section in sections {
            if section.is_key {
                self.known.retain(|_, (cell, _)| *cell != section.cell);
            }
            for (entity, position) in section.updates {
                self.known.insert(entity, (section.cell, position));
            }
            for (entity, now) in section.leaves {
                self.known.remove(&entity);
                if let Some((cell, position)) = now.filter(|(cell, _)| touches(*cell, centre)) {
                    self.known.insert(entity, (cell, position));
                }
            }
        }
    }

    fn hear_binary(&mut self, payload: &[u8]) {
        let frame = Frame::parse(payload).expect("a frame is whole");
        let flat = |cell: [i16; 3]| [i64::from(cell[0]), i64::from(cell[1])];
        let place = |position: [f64; 3]| [position[0], position[1]];
        let sections = frame.sections().map(|section| Section {
            cell: flat(section.cell),
            is_key: section.is_key,
            updates: section
                .updates()
                .map(|update| (u64::from(update.entity), place(update.position)))
                .collect(),
            leaves: section
                .leaves()
                .map(|leave| {
                    let now = leave.now.map(|(cell, update)| (flat(cell), place(update.position)));
                    (u64::from(leave.entity), now)
                })
                .collect(),
        });
        self.hear(frame.header.is_whole, flat(frame.header.centre), sections.collect());
    }

    fn hear_json(&mut self, frame: &Json) {
        let numbers = |text: &str| -> Vec<f64> {
            text.split(':').map(|number| number.parse().unwrap()).collect()
        };
        let cell = |numbers: &[f64]| [numbers[0] as i64, numbers[1] as i64];
        let mut sections = Vec::new();
        for text in frame["cells"].as_array().unwrap() {
            let mut parts = text.as_str().unwrap().split(' ');
            let head = parts.next().unwrap();
            let mut section = Section {
                cell: cell(&numbers(head.trim_start_matches('*'))),
                is_key: head.starts_with('*'),
                ..Section::default()
            };
            for part in parts {
                let numbers = numbers(part.trim_start_matches('-'));
                let entity = numbers[0] as u64;
                match (part.starts_with('-'), &numbers[1..]) {
                    (false, [x, y, ..]) => section.updates.push((entity, [*x, *y])),
                    (true, []) => section.leaves.push((entity, None)),
                    (true, [cell_x, cell_y, x, y, ..]) => {
                        let now = (cell(&[*cell_x, *cell_y]), [*x, *y]);
                        section.leaves.push((entity, Some(now)));
                    }
                    _ => panic!("{part}"),
                }
            }
            sections.push(section);
        }
        let centre = cell(&numbers(frame["cell"].as_str().unwrap()));
        self.hear(frame["whole"] == true, centre, sections);
    }

    fn positions(&self) -> BTreeMap<u64, [f64; 2]> {
        self.known.iter().map(|(entity, (_, position))| (*entity, *position)).collect()
    }
}

fn request(method: &str, fields: &[(&str, Value<'_>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let message = packed(method, fields);
    encode_request(Message::parse(&message).unwrap(), &mut bytes);
    bytes
}

/// A member with a binary connection.
struct BinaryMember {
    client: Client,
    world: u64,
    entity: u64,
    around: Surroundings,
}

impl BinaryMember {
    fn join(server: &TestServer, user: &str, world: &str) -> Self {
        let mut client = Client::connect(server.listen);
        let mut bytes = b"WRN1".to_vec();
        bytes.extend(request("login", &[("user", Value::Text(user))]));
        bytes.extend(request("join", &[("room", Value::Text(world))]));
        client.send(bytes);
        loop {
            let (kind, payload) = client.binary_frame();
            let frame = [&[kind], &*payload].concat();
            let ServerFrame::Message(message) = read_server_frame(&frame) else { continue };
            if message.method() != "join" {
                continue;
            }
            let number = |name| message.get(name).and_then(Value::as_integer).unwrap() as u64;
            let world = message.get("world").and_then(Value::as_object).unwrap().0;
            let (entity, around) = (number("entity"), Surroundings::default());
            return Self { client, world, entity, around };
        }
    }

    fn go(&mut self, [x, y]: [f64; 2]) {
        let position = [x as f32, y as f32, 0.0];
        let mut bytes = Vec::new();
        encode_move(self.world, Motion { position, ..Motion::default() }, 2, &mut bytes);
        self.client.send(bytes);
    }

    /// Hears the next frame of its world.
    fn next_frame(&mut self) {
        loop {
            let (kind, payload) = self.client.binary_frame();
            if kind == KIND_FRAME {
                return self.around.hear_binary(&payload);
            }
        }
    }

    #[track_caller]
    fn sees(&mut self, expected: &BTreeMap<u64, [f64; 2]>) {
        while self.around.positions() != *expected {
            self.next_frame();
        }
    }
}

/// Who is seen from a centre.
fn around(all: &BTreeMap<u64, [f64; 2]>, from: [f64; 2]) -> BTreeMap<u64, [f64; 2]> {
    let cell = |place: [f64; 2]| place.map(|axis| (axis / CELL).floor() as i64);
    let seen = all.iter().filter(|(_, place)| touches(cell(**place), cell(from)));
    seen.map(|(entity, place)| (*entity, *place)).collect()
}

#[test]
fn members_on_all_shards_and_of_both_protocols_see_the_same_world() {
    const BINARY: usize = 6;
    let server = TestServer::start(2);
    let mut json = clients_on_all_shards(&server, 8);
    json[0].send("{\"msg\":\"create\",\"kind\":\"world\",\"room\":\"plaza\",\"tick_hz\":30}\n");
    assert_eq!(json[0].reply("create")["status"], 0);
    let mut everyone = BTreeMap::new();
    let mut json: Vec<(Client, u64, Surroundings)> = json
        .into_iter()
        .map(|mut client| {
            client.send("{\"msg\":\"join\",\"room\":\"plaza\",\"x\":1}\n");
            let reply = client.reply("join");
            assert_eq!((&reply["status"], &reply["cell"]), (&0.into(), &CELL.into()));
            (client, reply["entity"].as_u64().unwrap(), Surroundings::default())
        })
        .collect();
    let mut binary: Vec<BinaryMember> = (0..BINARY)
        .map(|index| BinaryMember::join(&server, &format!("binary{index}"), "plaza"))
        .collect();
    // Places on the grid of what is told: some near each other, some far away.
    let mut place = |entity: u64, round: u64| {
        let (at, far) = (entity as f64, (entity + round) % 3);
        let place = [at * 0.5 + far as f64 * 100.0, round as f64 - at * 0.25];
        everyone.insert(entity, place);
        place
    };
    for round in 1..6 {
        for (client, entity, _) in &mut json {
            let [x, y] = place(*entity, round);
            client.send(format!(
                "{{\"msg\":\"move\",\"room\":\"plaza\",\"x\":{x},\"y\":{y},\"heading\":90}}\n"
            ));
        }
        for member in &mut binary {
            let place = place(member.entity, round);
            member.go(place);
        }
    }
    for member in &mut binary {
        let expected = around(&everyone, everyone[&member.entity]);
        member.sees(&expected);
    }
    for (client, entity, surroundings) in &mut json {
        let expected = around(&everyone, everyone[&*entity]);
        while surroundings.positions() != expected {
            let frame = client.heard("frame");
            assert_eq!(frame["room"], "plaza");
            surroundings.hear_json(&frame);
        }
        assert_eq!(surroundings.whole_count, 1);
    }
    assert_eq!(server.metric("warren_world_ticks_skipped_total", ""), 0);
    server.stop();
}

#[test]
fn whoever_comes_back_is_told_all_and_seen_once_from_every_shard() {
    const TIMES: u32 = 4;
    let server = TestServer::start(2);
    let mut clients = clients_on_all_shards(&server, 6);
    clients[0].send("{\"msg\":\"create\",\"kind\":\"world\",\"room\":\"plaza\"}\n");
    assert_eq!(clients[0].reply("create")["status"], 0);
    let mut watcher = BinaryMember::join(&server, "watcher", "plaza");
    let mut everyone = BTreeMap::from([(watcher.entity, [0.0, 0.0])]);
    let mut members: Vec<(Client, Option<u64>, Surroundings)> =
        clients.into_iter().map(|client| (client, None, Surroundings::default())).collect();
    for time in 0..TIMES {
        for (index, (client, entity, surroundings)) in members.iter_mut().enumerate() {
            let place = [f64::from(time) * 100.0 - 150.0, index as f64];
            let join = format!(
                "{{\"msg\":\"join\",\"room\":\"plaza\",\"x\":{},\"y\":{}}}\n",
                place[0], place[1]
            );
            if let Some(before) = entity.take() {
                client.send(format!("{{\"msg\":\"leave\",\"room\":\"plaza\"}}\n{join}"));
                assert_eq!(client.reply("leave")["status"], 0);
                everyone.remove(&before);
            } else {
                client.send(join);
            }
            let reply = client.reply("join");
            let number = reply["entity"].as_u64().unwrap();
            assert!(everyone.insert(number, place).is_none(), "{number} is somebody's");
            *entity = Some(number);
            *surroundings = Surroundings::default();
            // What was on its way to whom it was before came before the reply.
            let frame = client.heard("frame");
            assert_eq!(frame["whole"], true);
            surroundings.hear_json(&frame);
            assert!(surroundings.known.contains_key(&number));
        }
        for (client, entity, surroundings) in &mut members {
            let expected = around(&everyone, everyone[&entity.unwrap()]);
            while surroundings.positions() != expected {
                surroundings.hear_json(&client.heard("frame"));
            }
            assert_eq!(surroundings.whole_count, 1);
        }
        let expected = around(&everyone, [0.0, 0.0]);
        watcher.sees(&expected);
    }
    assert_eq!(watcher.around.whole_count, 1);
    let entities = server.metric_by_shard("warren_world_entities", "");
    assert_eq!(entities.iter().sum::<u64>(), everyone.len() as u64);
    server.stop();
}

#[test]
fn npcs_move_and_members_hear_of_it_in_json() {
    const NPCS: u64 = 500;
    let server = TestServer::start(1);
    let mut ann = Client::log_in(server.listen, "ann");
    ann.send(
        "{\"msg\":\"create\",\"kind\":\"world\",\"room\":\"w\",\"tick_hz\":60,\
         \"npcs\":[\"patrol:400:8:0:0:50\",\"flock:100:8:0:0:50\"]}\n",
    );
    assert_eq!(ann.reply("create")["status"], 0);
    ann.send("{\"msg\":\"join\",\"room\":\"w\"}\n");
    let join = ann.reply("join");
    assert_eq!((&join["members"], &join["entity"]), (&1.into(), &0.into()));
    let mut surroundings = Surroundings::default();
    surroundings.hear_json(&ann.heard("frame"));
    let before = surroundings.positions();
    assert_eq!(before.len() as u64, NPCS + 1);
    let mut moved = |rounds: usize| {
        for _ in 0..rounds {
            surroundings.hear_json(&ann.heard("frame"));
        }
        let now = surroundings.positions();
        assert_eq!(now.len() as u64, NPCS + 1);
        now.iter().filter(|(entity, place)| before[*entity] != **place).count() as u64
    };
    // All but the member.
    while moved(1) < NPCS {}
    moved(60);
    assert_eq!(server.metric("warren_npcs", ""), NPCS);
    assert!(server.metric("warren_npc_updates_total", "") > 30 * NPCS);
    ann.send("{\"msg\":\"who\",\"room\":\"w\",\"entity\":500}\n");
    let who = ann.reply("who");
    assert_eq!((&who["users"], &who["behaviour"]), (&serde_json::json!([]), &"flock".into()));
    ann.send("{\"msg\":\"leave\",\"room\":\"w\"}\n");
    assert_eq!(ann.reply("leave")["status"], 0);
    server.metric_becomes("warren_npcs", "", 0);
    server.stop();
}

#[test]
fn whoever_resumes_is_told_the_whole_world_once() {
    let server = TestServer::start(1);
    let mut ann = Client::connect(server.listen);
    ann.send("{\"msg\":\"login\",\"user\":\"ann\"}\n");
    let login = ann.reply("login");
    ann.send("{\"msg\":\"create\",\"kind\":\"world\",\"room\":\"w\",\"tick_hz\":60}\n");
    ann.reply("create");
    ann.send("{\"msg\":\"join\",\"room\":\"w\"}\n");
    ann.reply("join");
    let mut bob = BinaryMember::join(&server, "bob", "w");
    ann.heard("joined");
    drop(ann);
    server.metric_becomes("warren_sessions_detached", "", 1);
    bob.go([5.0, 6.0]);
    bob.sees(&BTreeMap::from([(0, [0.0, 0.0]), (1, [5.0, 6.0])]));
    let mut again = Client::connect(server.listen);
    let (session, token) = (&login["session"], &login["token"]);
    // The replies to `create` and `join`, and `joined`; no frame counts.
    again.send(format!(
        "{{\"msg\":\"resume\",\"session\":{session},\"token\":{token},\"received\":3}}\n"
    ));
    assert_eq!(again.reply("resume")["replayed"], 0);
    let mut surroundings = Surroundings::default();
    let frame = again.heard("frame");
    assert_eq!(frame["whole"], true);
    surroundings.hear_json(&frame);
    assert_eq!(surroundings.positions(), bob.around.positions());
    bob.go([7.0, 6.0]);
    let frame = again.heard("frame");
    assert!(frame["whole"].is_null());
    server.stop();
}

#[test]
fn a_warm_shard_allocates_nothing_per_move_and_tick() {
    const MEMBERS: usize = 20;
    const ROUNDS: u64 = 60;
    let server = TestServer::start_with(1, "[limits]\nmessages_per_s = 0\n");
    let mut maker = Client::log_in(server.listen, "maker");
    maker.send("{\"msg\":\"create\",\"kind\":\"world\",\"room\":\"w\",\"tick_hz\":60}\n");
    maker.reply("create");
    let mut members: Vec<BinaryMember> =
        (0..MEMBERS).map(|index| BinaryMember::join(&server, &format!("u{index}"), "w")).collect();
    // Everybody moves, and sees where everybody is. Half of the rounds cross into other cells.
    let mut walk = |rounds: std::ops::Range<u64>| {
        for round in rounds {
            let place = |entity: u64| [(round % 2 * 100) as f64, entity as f64];
            let all: BTreeMap<_, _> = (0..MEMBERS as u64).map(|who| (who, place(who))).collect();
            for member in &mut members {
                let place = place(member.entity);
                member.go(place);
            }
            for member in &mut members {
                member.sees(&all);
            }
        }
    };
    walk(0..2 * ROUNDS);
    let moves = |rounds: u64| {
        server.metric_becomes("warren_world_moves_total", "", rounds * MEMBERS as u64);
        server.metric("warren_allocations_total", "")
    };
    let before = moves(2 * ROUNDS);
    walk(2 * ROUNDS..3 * ROUNDS);
    let after = moves(3 * ROUNDS);
    let (allocations, count) = (after - before, ROUNDS * MEMBERS as u64);
    println!("{allocations} allocations for {count} moves");
    // Memory that all cells share, and buffers of a tick, still grow when more happens at one tick than
    // ever before, which is chance here. They double then: so this is no allocation per move, per tick
    // or per frame.
    assert!(allocations * 100 < count, "{allocations} allocations for {count} moves");
    server.stop();
}
