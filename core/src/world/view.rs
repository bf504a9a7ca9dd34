//! Views: what those around one centre are told at a tick, and how often of which cell.

use alloc::vec::Vec;

use super::frame::update_bytes;
use super::grid::{CELLS_PER_ENTITY_MAX, NO_CELL};
use super::plan::write_group;
use super::section::Form;
use super::{SLOWEST_PERIOD, World};
use crate::ids::{SessionId, ShardId};
use crate::turn::Span;

/// Bytes of a section without updates, rounded up; and of a frame without sections.
const SECTION_HEAD_BYTES: usize = 12;
/// The most runs that somebody waits to be told cells as a whole again.
pub(super) const KEY_RUNS_MAX: u32 = 64;
/// The slowest class.
const CLASS_MAX: u8 = SLOWEST_PERIOD.ilog2() as u8;

/// What is kept from tick to tick for its memory.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// Sections of all who are told the same.
    usual: Vec<Span>,
    /// Sections of some who are not.
    special: Vec<Span>,
    /// Members who come from another centre.
    newcomers: Vec<Newcomer>,
    plans: Vec<ShardPlan>,
    /// Centres in whose views something may be to tell.
    centres: Vec<u32>,
}

/// A member who sees around another centre than before. Those who come from the same one are told the
/// same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Newcomer {
    /// The cell; none where the views have nothing in common.
    came_from: u32,
    session: u64,
}

/// What goes to one shard.
#[derive(Debug)]
struct ShardPlan {
    shard: ShardId,
    bytes: Vec<u8>,
    /// Members who are told what their view is told.
    usual: Vec<u64>,
    /// Members who are told everything.
    whole: Vec<u64>,
}

/// A world's tick, as it goes to one shard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TickPart<'a> {
    /// To which.
    pub(crate) shard: ShardId,
    /// Who is told which sections.
    pub(crate) plan: &'a [u8],
}

impl World {
    /// Runs a tick: what has moved is where it is now, and everybody's frame is planned.
    pub(crate) fn tick(&mut self) {
        self.run += 1;
        self.settle();
        self.sections.clear();
        self.start_plans();
        let mut centres = core::mem::take(&mut self.scratch.centres);
        self.grid.collect_centres(self.run, &mut centres);
        for centre in &centres {
            self.plan_view(*centre);
        }
        for centre in centres.drain(..) {
            self.adopt_classes(centre);
        }
        self.scratch.centres = centres;
        self.grid.tidy(self.run);
        assert!(self.grid.used_count() <= CELLS_PER_ENTITY_MAX * self.entities.len());
    }

    /// The sections of the last tick, of which its parts name ranges.
    pub(crate) fn tick_sections(&self) -> &[u8] {
        &self.sections.bytes
    }

    /// The last tick's plans, one for each shard with somebody to tell.
    pub(crate) fn tick_parts(&self) -> impl Iterator<Item = TickPart<'_>> {
        let plans = self.scratch.plans.iter().filter(|plan| !plan.bytes.is_empty());
        plans.map(|plan| TickPart { shard: plan.shard, plan: &plan.bytes })
    }

    fn start_plans(&mut self) {
        let plans = &mut self.scratch.plans;
        for plan in plans.iter_mut() {
            plan.bytes.clear();
        }
        for members in &self.shards {
            if plans.iter().all(|plan| plan.shard != members.shard) {
                let shard = members.shard;
                plans.push(ShardPlan {
                    shard,
                    bytes: Vec::new(),
                    usual: Vec::new(),
                    whole: Vec::new(),
                });
            }
        }
    }

    /// Plans what those around a centre are told.
    fn plan_view(&mut self, centre: u32) {
        let mut scratch = core::mem::take(&mut self.scratch);
        if core::mem::take(&mut self.grid.cell_mut(centre).has_news) {
            self.plan_mixed_view(centre, &mut scratch);
        } else {
            self.usual_sections(centre, &mut scratch.usual);
            // Where nothing has changed, nothing is told.
            if !scratch.usual.is_empty() {
                for viewer in &self.grid.cell(centre).viewers {
                    let bits = self.sessions[usize::from(*viewer)];
                    plan_of(&mut scratch.plans, bits).usual.push(bits);
                }
                self.write_usual(centre, &mut scratch);
            }
        }
        self.scratch = scratch;
    }

    /// Tells all who were collected for it what has changed, if anything has.
    fn write_usual(&self, centre: u32, scratch: &mut Scratch) {
        let what = (false, self.grid.cell(centre).at);
        for plan in &mut scratch.plans {
            if !plan.usual.is_empty() && !scratch.usual.is_empty() {
                write_group(&mut plan.bytes, what, &scratch.usual, &plan.usual);
            }
            plan.usual.clear();
        }
    }

    /// The same where some are told something else than the others.
    fn plan_mixed_view(&mut self, centre: u32, scratch: &mut Scratch) {
        let at = self.grid.cell(centre).at;
        let keys_from = self.run + self.key_runs(centre);
        let (mut has_special, mut has_waiting) = (false, false);
        for viewer in &self.grid.cell(centre).viewers {
            let viewer = usize::from(*viewer);
            let (bits, seat) = (self.sessions[viewer], &mut self.seats[viewer]);
            let plan = plan_of(&mut scratch.plans, bits);
            if seat.needs_whole || seat.came_from != NO_CELL {
                if seat.keys_from > self.run {
                    // What lies between is no use without the whole.
                    (seat.needs_whole, has_waiting) = (true, true);
                    continue;
                }
                seat.keys_from = keys_from;
            }
            if core::mem::take(&mut seat.needs_whole) {
                seat.came_from = NO_CELL;
                plan.whole.push(bits);
            } else if seat.came_from == NO_CELL {
                plan.usual.push(bits);
            } else {
                has_special = true;
            }
        }
        if has_waiting {
            self.grid.note_news(centre, self.run);
        }
        if scratch.plans.iter().any(|plan| !plan.usual.is_empty()) {
            self.usual_sections(centre, &mut scratch.usual);
            self.write_usual(centre, scratch);
        }
        if scratch.plans.iter().any(|plan| !plan.whole.is_empty()) {
            self.whole_sections(centre, &mut scratch.special);
            for plan in &mut scratch.plans {
                if !plan.whole.is_empty() {
                    let what = (true, at);
                    write_group(&mut plan.bytes, what, &scratch.special, &plan.whole);
                }
                plan.whole.clear();
            }
        }
        if has_special {
            self.plan_newcomers(centre, scratch);
        }
    }

    /// What has changed in the cells that are due.
    fn usual_sections(&mut self, centre: u32, out: &mut Vec<Span>) {
        out.clear();
        for place in 0..self.grid.neighbour_count() {
            let view = self.grid.cell(centre);
            let (cell, class) = (view.neighbours[place], view.classes[place]);
            if cell != NO_CELL && self.grid.cell(cell).is_due(class, self.run) {
                push(out, self.section(cell, Form::Since(class)));
            }
        }
    }

    /// All there is around the centre.
    fn whole_sections(&mut self, centre: u32, out: &mut Vec<Span>) {
        out.clear();
        for place in 0..self.grid.neighbour_count() {
            let cell = self.grid.cell(centre).neighbours[place];
            if cell != NO_CELL && !self.grid.cell(cell).entities.is_empty() {
                push(out, self.section(cell, Form::Key));
            }
        }
    }

    /// Those who come from another centre: cells that they did not see, or not as often, are told
    /// whole. Views that have nothing in common count as one, so there are few groups.
    fn plan_newcomers(&mut self, centre: u32, scratch: &mut Scratch) {
        let at = self.grid.cell(centre).at;
        scratch.newcomers.clear();
        for viewer in &self.grid.cell(centre).viewers {
            let viewer = usize::from(*viewer);
            let came_from = core::mem::replace(&mut self.seats[viewer].came_from, NO_CELL);
            if came_from != NO_CELL && !self.seats[viewer].needs_whole {
                let overlaps = self.grid.views_overlap(self.grid.cell(came_from).at, at);
                let came_from = if overlaps { came_from } else { NO_CELL };
                let session = self.sessions[viewer];
                scratch.newcomers.push(Newcomer { came_from, session });
            }
        }
        scratch.newcomers.sort_unstable();
        let same = |one: &Newcomer, other: &Newcomer| one.came_from == other.came_from;
        for group in scratch.newcomers.chunk_by(same) {
            self.newcomers_sections(centre, group[0].came_from, &mut scratch.special);
            for newcomer in group {
                plan_of(&mut scratch.plans, newcomer.session).whole.push(newcomer.session);
            }
            for plan in &mut scratch.plans {
                if !plan.whole.is_empty() {
                    write_group(&mut plan.bytes, (false, at), &scratch.special, &plan.whole);
                }
                plan.whole.clear();
            }
        }
    }

    /// What they are told who saw around another centre before; none if that was far away.
    fn newcomers_sections(&mut self, centre: u32, came_from: u32, out: &mut Vec<Span>) {
        out.clear();
        for place in 0..self.grid.neighbour_count() {
            let view = self.grid.cell(centre);
            let (cell, class) = (view.neighbours[place], view.classes[place]);
            if cell == NO_CELL {
                continue;
            }
            let known = self.grid.cell(cell);
            let class_before = (came_from != NO_CELL).then(|| {
                let before = self.grid.cell(came_from);
                let place_before = self.grid.place_in_view(known.at, before.at);
                place_before.map(|place| before.classes[place])
            });
            let (is_due, is_empty) = (known.is_due(class, self.run), known.entities.is_empty());
            match class_before.flatten() {
                // They were told of the cell at least as lately as the new class says.
                Some(class_before) if class >= class_before => {
                    if is_due {
                        push(out, self.section(cell, Form::Since(class)));
                    }
                }
                None if is_empty => {}
                _ => push(out, self.section(cell, Form::Key)),
            }
        }
    }

    /// After a tick: cells of a view that were due in every class may be told more or less often
    /// from now on.
    fn adopt_classes(&mut self, centre: u32) {
        let run = self.run;
        if self.grid.cell(centre).is_due(CLASS_MAX, run) {
            self.choose_classes(centre);
        }
        for place in 0..self.grid.neighbour_count() {
            let view = self.grid.cell(centre);
            let (cell, wanted) = (view.neighbours[place], view.wanted[place]);
            if view.classes[place] == wanted {
                continue;
            }
            // Where there is no cell, nobody has been told anything.
            if cell == NO_CELL || self.grid.cell(cell).is_due(CLASS_MAX, run) {
                self.grid.cell_mut(centre).classes[place] = wanted;
            }
        }
    }

    /// What a member may be told at a run, in bytes.
    fn bytes_per_run(&self) -> u64 {
        self.bytes_per_s as u64 * self.clock.period_ns() / 1_000_000_000
    }

    /// What there is to tell of a view's cells as a whole, in bytes, by how far they are from the centre.
    fn bytes_by_ring(&self, centre: u32) -> [usize; 4] {
        let entry_bytes = update_bytes(self.settings.dims);
        let mut bytes_by_ring = [0; 4];
        for place in 0..self.grid.neighbour_count() {
            let cell = self.grid.cell(centre).neighbours[place];
            if cell != NO_CELL {
                let entities = self.grid.cell(cell).entities.len();
                bytes_by_ring[self.grid.steps_off(place) as usize] +=
                    SECTION_HEAD_BYTES + entities * entry_bytes;
            }
        }
        bytes_by_ring
    }

    /// For how many runs the whole of a view has a member's bytes.
    fn key_runs(&self, centre: u32) -> u32 {
        let bytes = self.bytes_by_ring(centre).iter().sum::<usize>() as u64;
        let runs = bytes.div_ceil(self.bytes_per_run().max(1));
        runs.min(u64::from(KEY_RUNS_MAX)) as u32
    }

    /// Finds out how often the cells of a view are told so that its members get no more than the
    /// budget: cells that touch the centre by a corner become slow first, then those that touch it
    /// by more, and then the centre itself.
    fn choose_classes(&mut self, centre: u32) {
        let per_run = self.bytes_per_run();
        let bytes_by_ring = self.bytes_by_ring(centre);
        let mut class_by_ring = [0_u8; 4];
        let total = |classes: &[u8; 4]| {
            let told = bytes_by_ring.iter().zip(classes).map(|(bytes, class)| bytes >> class);
            told.sum::<usize>() as u64
        };
        // The farther ring is slower than the nearer one by a class at most.
        while total(&class_by_ring) > per_run {
            let slower = (0..4_usize).rev().find(|ring| {
                let class = class_by_ring[*ring];
                let nearer = ring.checked_sub(1).map_or(CLASS_MAX, |ring| class_by_ring[ring]);
                class < CLASS_MAX && (class <= nearer || *ring == 0)
            });
            let Some(ring) = slower else { break };
            class_by_ring[ring] += 1;
        }
        for place in 0..self.grid.neighbour_count() {
            let class = class_by_ring[self.grid.steps_off(place) as usize];
            self.grid.cell_mut(centre).wanted[place] = class;
        }
    }
}

fn push(out: &mut Vec<Span>, section: Span) {
    if section.length > 0 {
        out.push(section);
    }
}

/// Looked for one by one: a world has a plan for each shard with members, which are as few as cores.
fn plan_of(plans: &mut [ShardPlan], session: u64) -> &mut ShardPlan {
    let shard = SessionId::from_bits(session).shard;
    let plan = plans.iter_mut().find(|plan| plan.shard == shard);
    plan.expect("a member's shard has a plan")
}
