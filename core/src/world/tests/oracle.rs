//! What members were told against a brute-force computation, for random walks.
//!
//! A client keeps what the frames tell it, by the rules of `docs/protocol.md` and with no other
//! knowledge. After each tick every pair of a member and an entity is looked at. `WARREN_SEEDS=1000
//! cargo test --release -p warren-core oracle` walks with more seeds than the tests do.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::vec::Vec;
use std::string::ToString;

use super::*;
use crate::world::frame::Update;
use crate::world::motion::CELLS_FROM_ZERO_MAX;

/// Numbers from a seed (splitmix64; Steele, Lea and Flood, 2014).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    /// From -1 to 1.
    fn signed(&mut self) -> f32 {
        self.below(2_000_001) as f32 / 1_000_000.0 - 1.0
    }
}

/// What a client knows of an entity.
#[derive(Clone, Copy, Debug)]
struct Known {
    cell: [i16; 3],
    update: Update,
    /// Who that is: the client takes it for the same for as long as it knows the entity.
    life: u64,
}

/// The life of NPCs, which live as long as their world.
const NPC: u64 = u64::MAX;

/// A client, by the rules of the protocol.
#[derive(Debug, Default)]
struct Client {
    known: BTreeMap<u16, Known>,
    centre: [i16; 3],
    /// Its centres after the last ticks, the latest first.
    centres: VecDeque<[i16; 3]>,
    /// It has been told something, and has missed nothing since.
    is_synced: bool,
    /// Ticks at which it was told nothing, since it had been told too much.
    waited: u32,
}

fn touches(cell: [i16; 3], centre: [i16; 3]) -> bool {
    cell.iter().zip(centre).all(|(a, b)| (i32::from(*a) - i32::from(b)).abs() <= 1)
}

impl Client {
    /// Hears a frame. An entity that it does not know yet is the one of `life_of`.
    fn hear(&mut self, bytes: &[u8], life_of: impl Fn(u16) -> u64) {
        let frame = Frame::parse(bytes).expect("frames are whole");
        let before = if frame.header.is_whole { BTreeMap::new() } else { self.known.clone() };
        let life_of = |entity: u16| match before.get(&entity) {
            Some(known) => known.life,
            None => life_of(entity),
        };
        self.centre = frame.header.centre;
        if frame.header.is_whole {
            self.known.clear();
            self.is_synced = true;
        } else {
            self.known.retain(|_, known| touches(known.cell, frame.header.centre));
        }
        for section in frame.sections() {
            let cell = section.cell;
            assert!(touches(cell, self.centre), "told of what is out of view");
            if section.is_key {
                self.known.retain(|_, known| known.cell != cell);
            }
            for update in section.updates() {
                let life = life_of(update.entity);
                self.known.insert(update.entity, Known { cell, update, life });
            }
            for leave in section.leaves() {
                match leave.now.filter(|(cell, _)| touches(*cell, self.centre)) {
                    Some((cell, update)) => {
                        let life = life_of(leave.entity);
                        self.known.insert(leave.entity, Known { cell, update, life });
                    }
                    None => _ = self.known.remove(&leave.entity),
                }
            }
        }
    }
}

/// One walk: a world, its members' clients, and what was true at the last ticks.
struct Walk {
    dice: Dice,
    world: World,
    clients: BTreeMap<u64, Client>,
    /// By session: where each is.
    walkers: BTreeMap<u64, (u16, Motion)>,
    /// Who has an entity, by its number, and how many had one.
    lives: BTreeMap<u16, u64>,
    life_count: u64,
    /// Sessions that have left and may come back.
    left: Vec<SessionId>,
    /// The world of the last ticks: by entity, its update and cell.
    history: VecDeque<BTreeMap<u16, Known>>,
    /// Members get all they should at every tick.
    is_prompt: bool,
    next_session: u32,
    extent: f32,
}

const SHARDS: u64 = 2;
const MEMBERS_MAX: u64 = 40;
/// A member is told of everything so near, in parts of a cell's width.
const RADIUS: f64 = 7.0 / 8.0;

impl Walk {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let settings = WorldSettings {
            cell: [1.0, 10.0, 64.0, 7.3][dice.below(4) as usize],
            dims: if dice.one_in(2) { 2 } else { 3 },
            ..WorldSettings::default()
        };
        let is_prompt = dice.one_in(2);
        // In bytes a second: enough for everything, or for a few entities a tick.
        let budget = if is_prompt { NO_BUDGET } else { 200 + dice.below(2000) as usize };
        let clock = TickClock::new(0, settings.tick_hz, 0);
        let mut world = World::new(ObjectId(9), settings, clock, budget, HashSeed(seed, 1));
        let extent = settings.cell * (1.0 + dice.below(4) as f32);
        if dice.one_in(2) {
            world.populate(&npcs(settings, extent), usize::MAX, HashSeed(seed, 2));
        }
        let (clients, walkers) = (BTreeMap::new(), BTreeMap::new());
        Self {
            dice,
            world,
            clients,
            walkers,
            lives: BTreeMap::new(),
            life_count: 0,
            left: Vec::new(),
            history: VecDeque::new(),
            is_prompt,
            next_session: 0,
            extent,
        }
    }

    fn place(&mut self) -> [f32; 3] {
        let extent = self.extent;
        [(); 3].map(|()| self.dice.signed() * extent)
    }

    fn join(&mut self) {
        let shard = self.dice.below(SHARDS) as u16;
        let comes_back = if self.dice.one_in(2) { self.left.pop() } else { None };
        let session = comes_back.unwrap_or(session(shard, self.next_session));
        self.next_session += 1;
        let motion = Motion { position: self.place(), ..Motion::default() };
        let motion = motion.in_dims(self.world.settings.dims);
        let entity = self.world.join(session, motion);
        self.clients.insert(session.to_bits(), Client::default());
        self.walkers.insert(session.to_bits(), (entity, motion));
        self.lives.insert(entity, self.life_count);
        self.life_count += 1;
    }

    fn leave(&mut self) {
        let at = self.dice.below(self.walkers.len() as u64) as usize;
        let bits = *self.walkers.keys().nth(at).unwrap();
        assert!(self.world.leave(SessionId::from_bits(bits)));
        let (entity, _) = self.walkers.remove(&bits).unwrap();
        self.clients.remove(&bits);
        self.lives.remove(&entity);
        self.left.push(SessionId::from_bits(bits));
    }

    /// Everybody walks, some jump, some come and go. NPCs are moved, but not always all of them.
    fn act(&mut self) {
        let updates_max = self.dice.below(60) as usize;
        npcs::tests::think(&mut self.world, updates_max, &mut npcs::tests::built_in());
        if (self.walkers.len() as u64) < MEMBERS_MAX && self.dice.one_in(3) {
            self.join();
        }
        if !self.walkers.is_empty() && self.dice.one_in(20) {
            self.leave();
        }
        let sessions: Vec<u64> = self.walkers.keys().copied().collect();
        let stride = self.world.settings.cell / 8.0;
        for bits in sessions {
            if self.dice.one_in(4) {
                continue;
            }
            let (entity, mut motion) = self.walkers[&bits];
            for axis in &mut motion.position {
                let step = *axis + self.dice.signed() * stride;
                *axis = step.clamp(-self.extent, self.extent);
            }
            if self.dice.one_in(50) {
                motion.position = self.place();
            }
            motion.velocity = [self.dice.signed(), self.dice.signed(), 0.0];
            motion.heading = self.dice.signed() * 720.0;
            let motion = motion.in_dims(self.world.settings.dims);
            self.world.set_motion(entity, SessionId::from_bits(bits), motion, 0).unwrap();
            self.walkers.insert(bits, (entity, motion));
        }
    }

    /// A tick, whose frames reach everybody but those of a shard to which the way is full, and those
    /// who take theirs too slowly.
    fn tick(&mut self) {
        let due_ns = self.world.clock.due_ns();
        self.world.clock.advance(due_ns).expect("it is due");
        self.world.tick();
        self.world.expect_npcs();
        let lost = self.dice.one_in(30).then(|| ShardId(self.dice.below(SHARDS) as u16));
        let mut missed = Vec::new();
        for (session, bytes) in frames(&self.world) {
            let client = self.clients.get_mut(&session.to_bits()).expect("only members are told");
            let is_slow = self.dice.one_in(100);
            if lost == Some(session.shard) || is_slow {
                client.is_synced = false;
                missed.push((session, is_slow));
                continue;
            }
            let is_whole = Frame::parse(&bytes).unwrap().header.is_whole;
            if client.is_synced || is_whole {
                client.hear(&bytes, |entity| self.lives.get(&entity).copied().unwrap_or(NPC));
            }
        }
        for (bits, client) in &mut self.clients {
            let waits = self.world.seats[usize::from(self.walkers[bits].0)].needs_whole;
            client.is_synced &= !waits;
            client.waited = if waits { client.waited + 1 } else { 0 };
            assert!(client.waited <= if self.is_prompt { 0 } else { view::KEY_RUNS_MAX });
        }
        for (session, is_slow) in missed {
            if is_slow {
                self.world.resync(session);
            }
        }
        if let Some(shard) = lost {
            self.world.resync_shard(shard);
            for (bits, client) in &mut self.clients {
                client.is_synced &= SessionId::from_bits(*bits).shard != shard;
            }
        }
        for client in self.clients.values_mut() {
            client.centres.push_front(client.centre);
            client.centres.truncate(SLOWEST_PERIOD as usize + 1);
        }
        self.note_truth();
    }

    /// Notes where everybody is, by the world's rules for rounding and by nothing else of it.
    fn note_truth(&mut self) {
        let settings = self.world.settings;
        let npcs = (0..self.world.entities.len() as u16)
            .filter(|number| self.world.npc_behaviour(*number).is_some())
            .map(|number| (number, self.world.entities[usize::from(number)].motion));
        let truth = self.walkers.values().copied().chain(npcs).map(|(entity, motion)| {
            let packed = pack(entity, motion, settings);
            let header = super::super::frame::FrameHeader {
                world: 9,
                tick: 0,
                cell: settings.cell,
                dims: settings.dims,
                is_whole: true,
                centre: packed.cell,
            };
            let mut bytes = Vec::new();
            header.write(&mut bytes);
            let start = bytes.len();
            super::super::frame::start_section(packed.cell, settings.dims, true, &mut bytes);
            super::super::frame::count_section(start, settings.dims, (1, 0), &mut bytes);
            bytes.extend_from_slice(
                &packed.bytes[..super::super::frame::update_bytes(settings.dims)],
            );
            let frame = Frame::parse(&bytes).unwrap();
            let update = frame.sections().next().unwrap().updates().next().unwrap();
            let life = self.lives.get(&entity).copied().unwrap_or(NPC);
            (entity, Known { cell: packed.cell, update, life })
        });
        self.history.push_front(truth.collect());
        self.history.truncate(SLOWEST_PERIOD as usize + 1);
    }

    fn check(&self) {
        let width = f64::from(self.world.settings.cell);
        let now = &self.history[0];
        for (bits, client) in self.clients.iter().filter(|(_, client)| client.is_synced) {
            let (own, motion) = self.walkers[bits];
            self.check_centre(client, motion, width);
            for (entity, truth) in now {
                self.check_known(client, (own, motion), (*entity, truth), width);
            }
            for (entity, known) in &client.known {
                assert!(touches(known.cell, client.centre), "outside of the view");
                let was = self.history.iter().filter_map(|then| then.get(entity));
                let was = was.filter(|then| then.life == known.life);
                let mut was_there = was.clone().any(|then| then.cell == known.cell);
                if self.is_prompt {
                    let is_now = |now: &Known| (now.cell, now.life) == (known.cell, known.life);
                    was_there = now.get(entity).is_some_and(is_now);
                }
                assert!(was_there, "entity {entity} is not in {:?}", known.cell);
            }
        }
    }

    /// The centre is the member's cell, or one that it has not left by more than the margin.
    fn check_centre(&self, client: &Client, motion: Motion, width: f64) {
        let axes = usize::from(self.world.settings.dims);
        for (axis, centre) in client.centre.iter().enumerate().take(axes) {
            let place = f64::from(motion.position[axis]) / width - f64::from(*centre);
            assert!((-0.1251..=1.1251).contains(&place), "{place} from the centre");
        }
    }

    /// What is near is known, and what is known is as it is, or was within the slowest class.
    fn check_known(
        &self,
        client: &Client,
        (own, motion): (u16, Motion),
        (entity, truth): (u16, &Known),
        width: f64,
    ) {
        let axes = motion.position.iter().zip(self.walker(entity).position);
        let is_near =
            axes.into_iter().all(|(a, b)| f64::from((a - b).abs()) < (RADIUS - 0.001) * width);
        let known = client.known.get(&entity);
        if self.is_prompt {
            let is_in_view = touches(truth.cell, client.centre);
            assert_eq!(known.is_some(), is_in_view, "{own} of {entity} at {:?}", truth.cell);
            assert!(is_in_view || !is_near, "{entity} is near {own} and out of view");
            assert!(known.is_none_or(|known| known.update == truth.update), "{entity} is stale");
            return;
        }
        let then = self.history.iter().map_while(|then| then.get(&entity));
        let is_lasting = then.clone().count() > SLOWEST_PERIOD as usize;
        if let Some(known) = known {
            let is_recent = then.clone().any(|then| then.update == known.update);
            assert!(is_recent || !is_lasting, "{entity} is older than the slowest class");
        } else if is_near {
            // It has come into its cell, or that into view, and the cell's class was not due since.
            let mut seen = then.clone().zip(&client.centres);
            let is_settled =
                seen.all(|(then, centre)| then.cell == truth.cell && touches(then.cell, *centre));
            assert!(!is_lasting || !is_settled, "{own} does not know of {entity} nearby");
        }
    }

    fn walker(&self, entity: u16) -> Motion {
        if self.world.npc_behaviour(entity).is_some() {
            return self.world.entities[usize::from(entity)].motion;
        }
        self.walkers.values().find(|(known, _)| *known == entity).expect("it is there").1
    }
}

/// NPCs of every behaviour, all over the world.
fn npcs(settings: WorldSettings, extent: f32) -> Vec<npcs::Entry> {
    let dims = ("dims", Value::Integer(i64::from(settings.dims)));
    let cell = ("cell", Value::Float(f64::from(settings.cell)));
    let home = ["0:0", "0:0:0"][usize::from(settings.dims) - 2];
    let names = behaviours::ALL.iter().map(|behaviour| behaviour.name());
    let entries = names.map(|name| format!("{name}:6:{}:{home}:{extent}", settings.cell / 2.0));
    let text = entries.collect::<Vec<_>>().join("|");
    npcs::tests::entries_of(&[dims, cell, ("npcs", Value::Text(&text))]).unwrap()
}

fn seeds() -> u64 {
    std::env::var("WARREN_SEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(10)
}

#[test]
fn the_oracle_agrees_with_what_members_were_told() {
    for seed in 0..seeds() {
        let walked = std::panic::catch_unwind(|| {
            let mut walk = Walk::new(seed);
            let (mut members, mut synced) = (0, 0);
            for _ in 0..400 {
                walk.act();
                walk.tick();
                walk.check();
                members += walk.clients.len();
                synced += walk.clients.values().filter(|client| client.is_synced).count();
            }
            (members, synced)
        });
        let (members, synced) =
            walked.unwrap_or_else(|_| panic!("seed {}: see above", seed.to_string()));
        assert!(members > 4000 && synced * 3 > members, "seed {seed}: {synced} of {members}");
    }
}

#[test]
fn the_farthest_cells_have_neighbours() {
    let mut world = world(WorldSettings { cell: 1.0, dims: 3, ..WorldSettings::default() });
    let edge = CELLS_FROM_ZERO_MAX as f32;
    for (index, sign) in [1.0, -1.0].into_iter().enumerate() {
        let place = sign * (edge - 0.5);
        let motion = Motion { position: [place; 3], ..Motion::default() };
        world.join(session(0, index as u32), motion);
    }
    world.tick();
    assert_eq!(frames(&world).len(), 2);
}
