//! Whatever becomes of a process and its disk: what was acknowledged is there once and in order, and
//! nothing is there that was not pushed.

use super::*;

const GROUPS: usize = 3;

/// What the runs went through, so that a test knows that it tested something.
#[derive(Default, Debug)]
struct Seen {
    cuts: u64,
    kills: u64,
    failures: u64,
    released: u64,
    durable: u64,
    /// Records that were found though no commit of theirs had returned.
    lucky: u64,
    torn: u64,
    starts_cut: u64,
    /// Starts that were refused since the oldest segments had been taken away, and those that could do
    /// without them.
    losses_told: u64,
    losses_harmless: u64,
}

/// A world of a few groups over one disk.
struct World {
    disk: ModelDisk,
    prng: Prng,
    /// All records ever, but those that were lost and could be.
    pushed: Vec<Pushed>,
    /// How many of them have to be there.
    durable: usize,
    /// By group: what a start would not replay.
    positions: [u64; GROUPS],
    /// What the store says of the log.
    mark: Option<LogMark>,
    life: u32,
}

/// How a life ended.
enum Ended {
    Cut,
    Fell(String),
}

impl World {
    /// Compares what is there with what has to be, and says how far it goes.
    fn check(&self, records: &[Pushed]) -> Result<usize, String> {
        let is_passed = |record: &Pushed| {
            record.header.sequence.0 <= self.positions[usize::from(record.header.group.0)]
        };
        let unpassed = self.pushed.iter().position(|record| !is_passed(record));
        let unpassed = unpassed.unwrap_or(self.pushed.len());
        let start = match records.first() {
            Some(first) => self.pushed.iter().position(|record| record == first),
            None => Some(unpassed),
        };
        let start = start.ok_or("a record that was never pushed")?;
        let end = start + records.len();
        if start > unpassed {
            return Err(format!("records {unpassed} to {start} are gone from the beginning"));
        }
        if self.pushed.get(start..end) != Some(records) {
            return Err("not what was pushed".into());
        }
        if end < self.durable {
            return Err(format!(
                "records {end} to {} were acknowledged and are lost",
                self.durable
            ));
        }
        Ok(end)
    }

    /// Takes the oldest segments away, one more each time. Either a start is refused, or it finds all that it
    /// needs.
    fn lose_segments(&self, seen: &mut Seen) -> Result<(), String> {
        let Some(mark) = self.mark else {
            // Nothing was acknowledged before there was one.
            return if self.durable == 0 { Ok(()) } else { Err("there is no mark".into()) };
        };
        let left = ModelDisk::new(0);
        for segment in self.disk.segments() {
            left.tamper(segment, Some(self.disk.read(segment)));
        }
        for segment in self.disk.segments() {
            left.tamper(segment, None);
            let is_told = match found(&left) {
                Err(_) => true,
                Ok((records, end)) => match mark.check(&end) {
                    Err(_) => true,
                    Ok(()) => self.check(&records).map(|_| false)?,
                },
            };
            seen.losses_told += u64::from(is_told);
            seen.losses_harmless += u64::from(!is_told);
        }
        let (_, nothing) = found(&left).map_err(|error| error.to_string())?;
        match mark.check(&nothing) {
            Err(LogLost::Gone { .. }) => Ok(()),
            other => Err(format!("without a log: {other:?}")),
        }
    }

    fn push_some(&mut self, log: &mut DeltaLog<ModelDisk>) {
        for _ in 0..self.prng.below(4) {
            let group = self.prng.index(GROUPS);
            let of_group = |record: &&Pushed| usize::from(record.header.group.0) == group;
            let sequence = self.pushed.iter().filter(of_group).count() as u64 + 1;
            let length = if self.prng.chance(20) { 9_000 } else { 60 };
            let length = self.prng.below(length);
            let payload = (0..length).map(|_| self.prng.next() as u8).collect();
            let header = header(group as u16, self.life, sequence);
            let record = Pushed { header, payload };
            push(log, std::slice::from_ref(&record));
            self.pushed.push(record);
        }
    }

    fn advance_positions(&mut self) {
        let group = self.prng.index(GROUPS);
        let durable = &self.pushed[..self.durable];
        let of_group = durable.iter().filter(|record| usize::from(record.header.group.0) == group);
        let last = of_group.count() as u64;
        let position = &mut self.positions[group];
        *position += self.prng.below(last - *position + 1);
    }

    fn was_cut(&self) -> bool {
        self.disk.0.borrow().calls_until_cut == Some(0)
    }

    /// One process, from its start to its end.
    fn live(&mut self, seen: &mut Seen) -> Ended {
        let (records, end) = match found(&self.disk) {
            Ok(found) => found,
            Err(error) => return Ended::Fell(error.to_string()),
        };
        seen.torn += u64::from(end.summary().torn.is_some());
        let durable = self.durable;
        match self.check(&records) {
            Ok(end) => self.pushed.truncate(end),
            Err(words) => return Ended::Fell(words),
        }
        if let Some(Err(lost)) = self.mark.map(|mark| mark.check(&end)) {
            return Ended::Fell(lost.to_string());
        }
        let mark = LogMark::of(&end, self.mark);
        seen.lucky += (self.pushed.len() - durable) as u64;
        self.disk.0.borrow_mut().calls_until_cut = Some(self.prng.between(1, 40));
        let Ok(mut log) = block_on(DeltaLog::begin(self.disk.clone(), settings(5), end)) else {
            seen.starts_cut += 1;
            return Ended::Cut;
        };
        if self.prng.chance(10) {
            return Ended::Cut;
        }
        self.mark = Some(mark);
        self.durable = self.pushed.len();
        loop {
            self.push_some(&mut log);
            let fault = *self.prng.pick(&[Fault::Full, Fault::Sync, Fault::Remove]);
            self.disk.set_fault(self.prng.chance(15).then_some(fault));
            match block_on(log.commit()) {
                Ok(()) => self.durable = self.pushed.len(),
                Err(_) if self.was_cut() => return Ended::Cut,
                Err(_) => seen.failures += 1,
            }
            self.advance_positions();
            let mut needs = Positions { stored: self.positions, first_needed: mark.first_needed };
            if self.prng.chance(50) {
                needs.first_needed = log.first_unstored(&needs);
                let reached = log.durable_commit();
                self.mark = Some(LogMark { first_needed: needs.first_needed, reached, ..mark });
            } else if let Some(mark) = self.mark {
                needs.first_needed = mark.first_needed;
            }
            match release_all(&mut log, &needs) {
                Ok(released) => seen.released += released as u64,
                Err(_) if self.was_cut() => return Ended::Cut,
                Err(_) => seen.failures += 1,
            }
        }
    }
}

struct Positions {
    stored: [u64; GROUPS],
    first_needed: u64,
}

impl Retention for Positions {
    fn stored(&self, group: GroupId) -> Sequence {
        Sequence(self.stored[usize::from(group.0)])
    }

    fn lets_go(&self, last_commit: u64, _: u64) -> bool {
        last_commit < self.first_needed
    }
}

/// Several lives over one disk. Says what was wrong, if something was.
fn run(seed: u64, is_sync_ignored: bool, seen: &mut Seen) -> Result<(), String> {
    let disk = ModelDisk::new(seed);
    disk.0.borrow_mut().is_sync_ignored = is_sync_ignored;
    let prng = Prng::new(seed ^ 0xd15c);
    let positions = [0; GROUPS];
    let mut world =
        World { disk, prng, pushed: vec![], durable: 0, positions, mark: None, life: 0 };
    for life in 1..=6 {
        world.life = life;
        if let Ended::Fell(words) = world.live(seen) {
            return Err(format!("seed {seed}, life {life}: {words}"));
        }
        // Whose process alone ends finds all that was written, and a later power cut does not.
        if world.prng.chance(30) {
            let mut model = world.disk.0.borrow_mut();
            (model.calls_until_cut, model.fault) = (None, None);
            seen.kills += 1;
        } else {
            world.disk.cut_power();
            seen.cuts += 1;
        }
        // It takes as long as all else.
        if seed.is_multiple_of(4) {
            world.lose_segments(seen).map_err(|words| format!("seed {seed}, {life}: {words}"))?;
        }
    }
    seen.durable += world.durable as u64;
    Ok(())
}

#[test]
fn what_was_acknowledged_survives_power_cuts_kills_and_failures() {
    let mut seen = Seen::default();
    for seed in 0..5_000 {
        run(seed, false, &mut seen).unwrap();
    }
    println!("{seen:?}");
    assert!(seen.cuts > 10_000 && seen.kills > 4_000 && seen.durable > 50_000, "{seen:?}");
    assert!(seen.failures > 5_000 && seen.released > 5_000, "{seen:?}");
    assert!(seen.lucky > 1_000 && seen.torn > 500 && seen.starts_cut > 500, "{seen:?}");
    assert!(seen.losses_told > 5_000 && seen.losses_harmless > 500, "{seen:?}");
}

#[test]
fn without_syncs_the_same_loses_what_was_acknowledged() {
    let seeds = 300;
    let lost = (0..seeds).filter(|seed| run(*seed, true, &mut Seen::default()).is_err()).count();
    println!("{lost} of {seeds}");
    assert!(lost > 200, "{lost} of {seeds} seeds lost something");
}
