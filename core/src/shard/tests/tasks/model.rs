//! Random sequences of what clients, workers, time and restarts can do, against a ledger: no task is lost,
//! none has effects twice, nobody is answered twice.

use alloc::collections::BTreeSet;
use core::fmt::Write;

use super::super::crashes::Random;
use super::*;
use crate::control::{Answer, Command, DeadOrder, DeadTasks};
use crate::tasks::record::{
    FIELD_ATTEMPT, FIELD_KEY, FIELD_LEASE, FIELD_ORDERED, KIND_TASK, TaskRecord, TaskState,
};

const STEPS: usize = 60;
const ATTEMPTS_MAX: u64 = 3;
const ASKERS: [u32; 2] = [1, 2];
const WORKERS: [u32; 2] = [3, 4];
/// Wolves that tasks are about, each of which counts how often it was hit.
const WOLVES: [&str; 2] = ["171.1", "171.2"];
const WOLVES_HOME: PartitionId = PartitionId(171);
/// Where tasks are made by those of the wolves only.
const ELSEWHERE: PartitionId = PartitionId(172);

/// A task that a worker was told of.
#[derive(Clone, Debug)]
struct Told {
    worker: u32,
    task: String,
    token: String,
    target: Option<usize>,
}

/// What a run has done, by what was said and heard.
#[derive(Default)]
struct Ledger {
    asked: u64,
    /// Requests that were not refused.
    taken: u64,
    answered: BTreeSet<String>,
    done: u64,
    expired: u64,
    /// Scheduled events that were made, by their tasks, and how many were called off.
    events: Vec<String>,
    called_off: u64,
    /// Events that tasks have made, and those that were known by their keys.
    made: u64,
    known: u64,
    /// Dead tasks that the operator has had tried again, and those that he has removed.
    retried: u64,
    dropped: u64,
    hits: [i64; WOLVES.len()],
    told: Vec<Told>,
    /// By task, who has the lease that was given last, and its token. Without those that are known to be over.
    leases: BTreeMap<String, (u32, String)>,
}

struct Run {
    random: Random,
    world: World,
    settings: ShardSettings,
    method: TaskMethod,
    ledger: Ledger,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let method = TaskMethod {
            attempts_max: ATTEMPTS_MAX,
            limit_ms: 1 + random.below(200) as u64,
            deadline_ms: [0, 100, 5000][random.below(3)],
            is_ordered: random.below(2) == 0,
            ..TaskMethod::DEFAULT
        };
        let limits =
            Limits { tasks_per_partition_max: 6, session_grace_ns: 0, ..Limits::PRODUCTION };
        let settings = task_settings(limits);
        let world = World::with_settings(settings.clone());
        let mut run = Self { random, world, settings, method, ledger: Ledger::default() };
        run.connect();
        for _ in WOLVES {
            run.say("1 create kind=wolf partition=171 hits=0");
        }
        run
    }

    fn connect(&mut self) {
        for connection in ASKERS.into_iter().chain(WORKERS) {
            self.say(&format!("{connection} open ; {connection} login user=u{connection}"));
        }
        for worker in WORKERS {
            let (credits, told) = (1 + self.random.below(3), told(self.method));
            self.say(&format!("{worker} work methods=hit credits={credits} {told}"));
        }
    }

    /// Lets the shard run, and notes what is heard.
    fn say(&mut self, line: &str) -> String {
        self.hear(|world| world.run(line))
    }

    fn hear(&mut self, act: impl FnOnce(&mut World) -> String) -> String {
        let known: BTreeMap<u32, usize> =
            self.world.tokens.iter().map(|(client, tokens)| (*client, tokens.len())).collect();
        let mut heard = act(&mut self.world);
        while self.world.shard.has_work() {
            heard += &self.world.run("+0");
        }
        let mut next = known;
        for line in heard.lines() {
            let (client, message) = line.split_once(": ").unwrap();
            let client: u32 = client.parse().unwrap();
            match message.split(' ').next().unwrap() {
                "hit" => self.note_answer(message),
                "login" => *next.entry(client).or_default() += 1,
                "task" => {
                    let at = next.entry(client).or_default();
                    let token = self.world.tokens[&client][*at].clone();
                    *at += 1;
                    self.note_told(client, message, token);
                }
                _ => {}
            }
        }
        heard
    }

    fn note_answer(&mut self, message: &str) {
        let id = field(message, "id").unwrap();
        assert!(self.ledger.answered.insert(id.to_string()), "answered twice: {message}");
        match field(message, "error") {
            None | Some("task-failed") => {}
            Some("task-expired") => {}
            Some("queue-full" | "task-pending") => self.ledger.taken -= 1,
            Some(_) => panic!("{message}"),
        }
        // The answer of a task of the same key that was done before.
        if field(message, "again").is_some_and(|first| first != id) {
            self.ledger.taken -= 1;
        }
    }

    fn note_told(&mut self, worker: u32, message: &str, token: String) {
        let attempt: u64 = field(message, "attempt").unwrap().parse().unwrap();
        assert!(attempt <= ATTEMPTS_MAX, "{message}");
        let task = field(message, "task").unwrap().to_string();
        let target = field(message, "target");
        let target = target.and_then(|target| WOLVES.iter().position(|wolf| *wolf == target));
        self.ledger.leases.insert(task.clone(), (worker, token.clone()));
        self.ledger.told.push(Told { worker, task, token, target });
        let few = self.ledger.told.len().saturating_sub(8);
        self.ledger.told.drain(..few);
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..26 => self.ask(),
            26..29 => self.schedule(),
            29 => self.call_off(),
            30..75 => self.work(),
            75..92 => {
                let ms = [1, 7, 40, 300, 6000, 700_000][self.random.below(6)];
                self.say(&format!("+{ms}"));
            }
            92..97 => self.lose_worker(),
            97 => self.restart(),
            98 => self.settle_dead(),
            _ => {
                let worker = self.random.of(&WORKERS).unwrap();
                let credits = self.random.below(3);
                self.say(&format!("{worker} work methods=hit credits={credits}"));
            }
        }
    }

    fn ask(&mut self) {
        let asker = self.random.of(&ASKERS).unwrap();
        self.ledger.asked += 1;
        self.ledger.taken += 1;
        let id = self.ledger.asked;
        let mut line = format!("{asker} hit id=q{id}");
        if let Some(wolf) = WOLVES.get(self.random.below(3)) {
            write!(line, " target={wolf}").unwrap();
        }
        if self.random.below(4) == 0 {
            write!(line, " key=k{}", self.random.below(3)).unwrap();
        }
        self.say(&line);
    }

    fn schedule(&mut self) {
        let asker = self.random.of(&ASKERS).unwrap();
        let delay_ms = [0, 30, 500][self.random.below(3)];
        let mut line = format!("{asker} new-event event=hit delay_ms={delay_ms}");
        if let Some(wolf) = WOLVES.get(self.random.below(3)) {
            write!(line, " target={wolf}").unwrap();
        }
        if self.random.below(4) == 0 {
            write!(line, " key=k{}", self.random.below(3)).unwrap();
        }
        let heard = self.say(&line);
        if let Some(made) = heard.lines().find(|line| line.contains("new-event status=0")) {
            self.ledger.taken += 1;
            self.ledger.events.push(field(made, "task").unwrap().to_string());
        }
    }

    /// Calls off an event, perhaps one that is done or that a worker has.
    fn call_off(&mut self) {
        let made: Vec<&str> = self.ledger.events.iter().map(String::as_str).collect();
        let Some(event) = self.random.of(&made) else { return };
        let asker = self.random.of(&ASKERS).unwrap();
        let heard = self.say(&format!("{asker} cancel-event task={event}"));
        self.ledger.called_off += u64::from(heard.contains("cancel-event status=0"));
    }

    fn work(&mut self) {
        if self.ledger.told.is_empty() {
            return;
        }
        let told = self.ledger.told[self.random.below(self.ledger.told.len())].clone();
        // Whoever has the token may: it need not be the worker that was told.
        let worker = if self.random.below(8) == 0 { WORKERS[0] } else { told.worker };
        match self.random.below(10) {
            0 => drop(self.say_of(&told, worker, "begin", "")),
            1 => drop(self.say_of(&told, worker, "extend", "")),
            2 => {
                let delay_ms = [0, 0, 50][self.random.below(3)];
                self.say_of(&told, worker, "release", &format!(" delay_ms={delay_ms}"));
            }
            3 => {
                let retry = self.random.below(4) > 0;
                self.say_of(&told, worker, "fail", &format!(" retry={retry} error_text=no"));
            }
            4 => drop(self.hit(&told, worker)),
            _ => {
                if self.random.below(3) == 0 {
                    self.say_of(&told, worker, "begin", "");
                }
                let staged = told.target.is_none() || self.hit(&told, worker);
                if self.random.below(5) == 0 {
                    self.stage_event(&told, worker);
                }
                if staged {
                    self.finish(&told, worker);
                }
            }
        }
    }

    /// Stages an event: here or elsewhere, perhaps under a key that is known.
    fn stage_event(&mut self, told: &Told, worker: u32) {
        let delay_ms = [0, 30, 500][self.random.below(3)];
        let mut event = format!(" do=new-event event=hit delay_ms={delay_ms}");
        if self.random.below(3) == 0 {
            write!(event, " target={}.9", ELSEWHERE.0).unwrap();
        }
        if self.random.below(3) == 0 {
            write!(event, " key=k{}", self.random.below(3)).unwrap();
        }
        self.say_of(told, worker, "effect", &event);
    }

    /// A worker's message about a task: it is refused if, and only if, its token is not the last one of the
    /// task or that lease is over.
    fn say_of(&mut self, told: &Told, worker: u32, step: &str, fields: &str) -> String {
        let Told { task, token, .. } = told;
        let is_over = self.ledger.leases.get(task).is_none_or(|(_, last)| last != token);
        let is_out = self.is_out(task, token);
        let heard = self.say(&format!("{worker} {step} task={task} token={token}{fields}"));
        let refused = format!("{worker}: {step} status=409 error=lease-lost");
        assert!(!is_over || heard.contains(&refused), "{step} with a token that is over: {heard}");
        assert!(!is_out || !heard.contains(&refused), "{step} with a token that holds: {heard}");
        let gives_back = matches!(step, "release" | "fail");
        if gives_back && heard.contains(&format!("{worker}: {step} status=0")) {
            // Perhaps it is out again already.
            let is_same = self.ledger.leases.get(task).is_some_and(|(_, last)| last == token);
            if is_same {
                self.ledger.leases.remove(task);
            }
        }
        heard
    }

    fn is_out(&self, task: &str, token: &str) -> bool {
        let id: ObjectId = task.parse().unwrap();
        let object = self.world.shard.partition(id.partition()).and_then(|of| of.object(id));
        let record = object.and_then(TaskRecord::of);
        record.is_some_and(|record| {
            let lease = record.number(FIELD_LEASE).to_string();
            record.state() == TaskState::Leased && lease == token
        })
    }

    /// Stages that the wolf was hit once more than it is now.
    fn hit(&mut self, told: &Told, worker: u32) -> bool {
        let Some(wolf) = told.target else { return false };
        let (version, hits) = self.wolf(wolf);
        let wolf = WOLVES[wolf];
        let (version, hits) = (version - u64::from(self.random.below(16) == 0), hits + 1);
        let set = format!(" do=set object={wolf} version={version} hits={hits}");
        self.say_of(told, worker, "effect", &set).contains("status=0")
    }

    fn finish(&mut self, told: &Told, worker: u32) {
        let task: ObjectId = told.task.parse().unwrap();
        let (id, staged) = (self.task_request_id(task), self.staged(task).count());
        let events = self.staged(task).filter(|effect| effect.method() == "new-event");
        let (events, new) =
            (events.clone().count(), events.filter(|event| self.is_new(task, *event)).count());
        let refused = self.world.shard.counters().events_refused;
        let fields = format!(" effects={staged} again={id}");
        let heard = self.say_of(told, worker, "done", &fields);
        if heard.lines().any(|line| line == format!("{worker}: done status=0")) {
            self.ledger.leases.remove(&told.task);
            self.ledger.done += 1;
            let refused = self.world.shard.counters().events_refused - refused;
            self.ledger.taken += new as u64 - refused;
            self.ledger.made += new as u64 - refused;
            self.ledger.known += (events - new) as u64;
            if let Some(wolf) = told.target.filter(|_| staged > events) {
                self.ledger.hits[wolf] += 1;
            }
        }
    }

    /// What the worker has staged before, or another with the same token.
    fn staged(&self, task: ObjectId) -> impl Iterator<Item = Message<'_>> + Clone {
        let staged = self.world.shard.tasks.staged.get(&task).map_or(&[][..], Vec::as_slice);
        crate::handlers::effects_of(staged)
    }

    /// Whether no task of the event's key is known where it belongs. A dead one's key is free.
    fn is_new(&self, task: ObjectId, event: Message<'_>) -> bool {
        let Some(key) = event.get("key") else { return true };
        let target = event.get("target").and_then(Value::as_object);
        let shard = &self.world.shard;
        let owner =
            shard.partition(task.partition()).and_then(|of| of.object(task)).unwrap().owner();
        let home = target.map_or(task.partition(), ObjectId::partition);
        let mut known = shard.partition(home).into_iter().flat_map(|partition| partition.tasks());
        !known.any(|(_, object)| {
            let record = TaskRecord::of(object).unwrap();
            let is_dead = record.state() == TaskState::Dead;
            !is_dead && object.owner() == owner && record.text(FIELD_KEY) == key.as_text()
        })
    }

    /// The id of the request that made the task, which its answer repeats.
    fn task_request_id(&self, task: ObjectId) -> String {
        let partition = self.world.shard.partition(task.partition());
        let object = partition.and_then(|partition| partition.object(task));
        let record = object.and_then(TaskRecord::of);
        let id = record.and_then(|record| record.request().get("id"));
        id.map_or_else(|| "none".to_string(), |id| id.to_string())
    }

    fn lose_worker(&mut self) {
        let worker = self.random.of(&WORKERS).unwrap();
        self.ledger.leases.retain(|_, (holder, _)| *holder != worker);
        self.say(&format!("{worker} close"));
        self.say(&format!("{worker} open ; {worker} login user=u{worker}"));
        self.say(&format!("{worker} work methods=hit credits=2"));
    }

    /// The operator has one dead task, or all, tried again or removed.
    fn settle_dead(&mut self) {
        let dead: Vec<_> = self.world.shard.tasks.index.dead_from(ObjectId(0)).collect();
        let one = dead.get(self.random.below(4)).map(|(id, _)| DeadTasks::One(*id));
        let from = ObjectId(0);
        let tasks = one.unwrap_or(DeadTasks::From { from, count: 3, method: None });
        let order = self.random.of(&[DeadOrder::Retry, DeadOrder::Retry, DeadOrder::Drop]).unwrap();
        let mut settled = 0;
        self.hear(|world| {
            let (answer, heard) = world.command(Command::SettleDead { order, tasks });
            let Answer::DeadSettled(page) = answer else { panic!("{answer:?}") };
            settled = page.rows.iter().filter(|row| row.refused.is_none()).count() as u64;
            heard
        });
        match order {
            DeadOrder::Retry => self.ledger.retried += settled,
            DeadOrder::Drop => self.ledger.dropped += settled,
        }
    }

    /// Everything is stored, and comes back without sessions.
    fn restart(&mut self) {
        while self.world.store_next_batch() {}
        let taken = self.world.shard.counters().tasks_expired;
        self.ledger.expired += taken;
        let mut shard = Shard::new(self.settings.clone());
        self.world.store.load(&mut shard, self.world.now).unwrap();
        let digest = self.world.shard.objects_digest();
        shard.restored(FIRST_ADDRESS).unwrap();
        assert_eq!(shard.objects_digest(), digest);
        self.world.shard = shard;
        self.world.outputs = ShardOutputs::new(1);
        self.world.tokens.clear();
        self.ledger.leases.clear();
        // The tokens of before are worth nothing, which those who have them may not know.
        self.connect();
    }

    fn wolf(&self, wolf: usize) -> (u64, i64) {
        let id: ObjectId = WOLVES[wolf].parse().unwrap();
        let object = self.world.shard.partition(id.partition()).unwrap().object(id).unwrap();
        (object.version(), object.get("hits").and_then(Value::as_integer).unwrap())
    }

    /// What holds at every moment, of the partitions in which tasks can be.
    fn check(&self) {
        let shard = &self.world.shard;
        let users = ASKERS.into_iter().chain(WORKERS).map(|client| format!("u{client}"));
        let homes: BTreeSet<_> = users.map(|user| PartitionId::of_name(&user)).collect();
        self.check_partitions(
            homes.iter().chain([&WOLVES_HOME, &ELSEWHERE]).filter_map(|id| shard.partition(*id)),
        );
    }

    /// The same of all there are.
    fn check_all(&self) {
        self.check_partitions(self.world.shard.partitions.iter().flatten().map(|of| &**of));
    }

    fn check_partitions<'p>(&self, partitions: impl Iterator<Item = &'p Partition>) {
        let shard = &self.world.shard;
        let (mut out, mut waiting, mut dead, mut kept) = (0, 0, 0, 0);
        let (mut targets, mut leases) = (BTreeSet::new(), BTreeSet::new());
        let mut lines = BTreeSet::new();
        for partition in partitions {
            for (id, object) in partition.tasks() {
                assert_eq!(object.kind(), KIND_TASK);
                let record = TaskRecord::of(object).unwrap();
                let attempt = record.number(FIELD_ATTEMPT);
                assert!(attempt <= ATTEMPTS_MAX);
                match record.state() {
                    TaskState::Ready => waiting += 1,
                    TaskState::Leased => {
                        out += 1;
                        assert!(leases.insert((id, record.number(FIELD_LEASE))));
                        let is_alone = record.target().is_none_or(|target| targets.insert(target));
                        assert!(is_alone, "two tasks with one target are out");
                        let line = (id.partition(), object.owner());
                        let leads = !record.is_set(FIELD_ORDERED) || lines.insert(line);
                        assert!(leads, "two tasks of one line are out");
                    }
                    TaskState::Dead => dead += 1,
                    TaskState::Done => kept += 1,
                }
            }
        }
        let counts = shard.tasks.index.counts();
        let counted = (counts.leased, counts.ready + counts.delayed, counts.dead, counts.done);
        assert_eq!(counted, (out, waiting, dead, kept), "what is derived is what is there");
        // Each is somewhere, or was done or given up. Those that are kept were done.
        let expired = self.ledger.expired + shard.counters().tasks_expired;
        let ended = self.ledger.done + expired + self.ledger.called_off + self.ledger.dropped;
        assert_eq!(self.ledger.taken, ended + out + waiting + dead, "none is lost");
        for (wolf, hits) in self.ledger.hits.iter().enumerate() {
            assert_eq!(self.wolf(wolf).1, *hits, "each task that was done has hit once");
        }
    }
}

fn field<'l>(line: &'l str, name: &str) -> Option<&'l str> {
    line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

/// Says which sequence it was, if it fails.
struct SeedOnPanic(u64);

impl Drop for SeedOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::eprintln!("this was the sequence of seed {}", self.0);
        }
    }
}

fn run(seed: u64) -> Run {
    let _says = SeedOnPanic(seed);
    let mut run = Run::new(seed);
    for _ in 0..STEPS {
        run.step();
        run.check();
    }
    run.check_all();
    run
}

/// How tasks have ended in a number of runs.
#[derive(Debug, Default)]
struct Ends {
    asked: u64,
    done: u64,
    expired: u64,
    called_off: u64,
    made: u64,
    known: u64,
    dead: u64,
    retried: u64,
    dropped: u64,
}

impl Ends {
    fn add(&mut self, run: &Run) {
        self.asked += run.ledger.asked;
        self.done += run.ledger.done;
        self.expired += run.ledger.expired;
        self.called_off += run.ledger.called_off;
        self.made += run.ledger.made;
        self.known += run.ledger.known;
        self.dead += run.world.shard.counters().tasks_dead_total;
        self.retried += run.ledger.retried;
        self.dropped += run.ledger.dropped;
    }

    fn merge(mut self, other: &Self) -> Self {
        self.asked += other.asked;
        self.done += other.done;
        self.expired += other.expired;
        self.called_off += other.called_off;
        self.made += other.made;
        self.known += other.known;
        self.dead += other.dead;
        self.retried += other.retried;
        self.dropped += other.dropped;
        self
    }
}

/// `WARREN_TASK_SEQUENCES` says how many. Each core runs its share of the seeds.
#[test]
fn no_sequence_loses_a_task_or_does_one_twice() {
    let count = std::env::var("WARREN_TASK_SEQUENCES").ok().and_then(|count| count.parse().ok());
    let count: u64 = count.unwrap_or(10_000);
    let cores = std::thread::available_parallelism().map_or(1, core::num::NonZero::get);
    let share = |first: usize| {
        let mut ends = Ends::default();
        for seed in (first as u64..count).step_by(cores) {
            ends.add(&run(seed));
        }
        ends
    };
    let ends = std::thread::scope(|scope| {
        let shares: Vec<_> = (0..cores).map(|first| scope.spawn(move || share(first))).collect();
        let ends = shares.into_iter().map(|share| share.join().expect("no sequence fails"));
        ends.fold(Ends::default(), |sum, ends| sum.merge(&ends))
    });
    std::println!("{count} sequences: {ends:?}");
    let Ends { asked: _, done, expired, called_off, made, known, dead, retried, dropped } = ends;
    let ends = [done, expired, dead, called_off, made, known, retried, dropped];
    assert!(ends.iter().all(|count| *count > 0), "the sequences come to all ends");
}
