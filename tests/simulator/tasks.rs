//! Clients that ask for what the server does not do itself, and clients that do it: what they say next, by
//! a seed of their own, so that what else happens is as without.

use warren_core::authorize::Policy;
use warren_core::ids::ObjectId;
use warren_core::message::{Value, packed};
use warren_core::tasks::methods::TaskMethods;

use crate::auditor::{Lease, View};
use crate::oracle::Oracle;
use crate::plan::Plan;
use crate::prng::Prng;

/// The method that workers do.
pub(crate) const TOIL: &str = "toil";
/// What each task makes when it is done.
pub(crate) const DEED: &str = "deed";
/// What workers say.
const WORKER_METHODS: [&str; 7] = ["work", "begin", "effect", "extend", "done", "fail", "release"];
/// Attempts that a task may have.
pub(crate) const ATTEMPTS_MAX: i64 = 3;

/// The conditions of tasks in one simulation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TaskPlan {
    pub(crate) has_tasks: bool,
    /// Of a hundred requests, how many are about tasks.
    percent: u64,
    limit_ms: i64,
    deadline_ms: i64,
    is_ordered: bool,
    /// Some effects of tasks are scheduled events.
    makes_events: bool,
}

impl TaskPlan {
    /// Draws them, and the bound of a partition's tasks. Whether there are events is drawn by a seed of its own.
    pub(crate) fn draw(prng: &mut Prng, event_prng: &mut Prng, plan: &mut Plan) -> Self {
        let has_tasks = prng.chance(60);
        if has_tasks {
            plan.limits.tasks_per_partition_max = *prng.pick(&[3, 40]);
        }
        Self {
            has_tasks,
            percent: *prng.pick(&[10, 30, 60]),
            // Long enough that leases are not over before anybody can do anything.
            limit_ms: (plan.step_ns_max * prng.pick(&[30, 300]) / 1_000_000).max(1) as i64,
            deadline_ms: *prng.pick(&[5, 500, 60_000]),
            is_ordered: prng.chance(50),
            makes_events: event_prng.chance(40),
        }
    }

    /// Everybody works who likes.
    pub(crate) fn policy(self) -> Policy {
        let mut policy = Policy::default();
        for name in WORKER_METHODS.iter().filter(|_| self.has_tasks) {
            policy.set_rule(name, ["user"]).expect("it is a method with a rule");
        }
        policy
    }

    pub(crate) fn methods(self) -> TaskMethods {
        let mut methods = TaskMethods::default();
        if self.has_tasks {
            methods.add(TOIL).expect("nobody else does it");
        }
        methods
    }
}

/// How requests about tasks are drawn.
#[derive(Debug)]
pub(crate) struct Toil {
    pub(crate) plan: TaskPlan,
    prng: Prng,
    event_prng: Prng,
}

impl Toil {
    pub(crate) fn new(plan: TaskPlan, prng: Prng, event_prng: Prng) -> Self {
        Self { plan, prng, event_prng }
    }

    /// What the client says of tasks next, if it says something of them.
    pub(crate) fn draft(&mut self, id: i64, view: &View, oracle: &Oracle) -> Option<Vec<u8>> {
        let is_here = self.plan.has_tasks && view.user().is_some();
        if !is_here || !self.prng.chance(self.plan.percent) {
            return None;
        }
        if !view.leases.is_empty() && self.prng.chance(60) {
            let lease = self.prng.pick(&view.leases).clone();
            return Some(self.step(id, &lease, view));
        }
        Some(match self.prng.chance(20) {
            true => {
                let credits = self.prng.between(0, 3) as i64;
                self.work(id, credits)
            }
            false => self.ask(id, oracle),
        })
    }

    /// The client takes so many tasks at a time from each shard.
    pub(crate) fn work(&self, id: i64, credits: i64) -> Vec<u8> {
        packed(
            "work",
            &[
                ("id", Value::Integer(id)),
                ("methods", Value::Text(TOIL)),
                ("credits", Value::Integer(credits)),
                ("limit_ms", Value::Integer(self.plan.limit_ms)),
                ("deadline_ms", Value::Integer(self.plan.deadline_ms)),
                ("attempts_max", Value::Integer(ATTEMPTS_MAX)),
                ("ordered", Value::Boolean(self.plan.is_ordered)),
            ],
        )
    }

    fn ask(&mut self, id: i64, oracle: &Oracle) -> Vec<u8> {
        let key = format!("k{}", self.prng.below(4));
        let mut fields = vec![("id", Value::Integer(id))];
        if !oracle.object_list.is_empty() && self.prng.chance(60) {
            let target = ObjectId(*self.prng.pick(&oracle.object_list));
            fields.push(("target", Value::Object(target)));
        }
        if self.prng.chance(20) {
            fields.push(("key", Value::Text(&key)));
        }
        packed(TOIL, &fields)
    }

    /// What the client says of a task that it has, or has had.
    fn step(&mut self, id: i64, lease: &Lease, view: &View) -> Vec<u8> {
        let about = about(id, lease);
        match self.prng.below(12) {
            0..3 | 6..9 if self.plan.makes_events && self.event_prng.chance(50) => {
                event(id, lease, self.event_prng.below(4) as i64)
            }
            0..3 => packed("begin", &about),
            3 => packed("extend", &about),
            4 => {
                let delay = ("delay_ms", Value::Integer(self.prng.below(3) as i64));
                packed("release", &[&about[..], &[delay]].concat())
            }
            5 => {
                let retry = ("retry", Value::Boolean(self.prng.chance(80)));
                packed("fail", &[&about[..], &[retry]].concat())
            }
            6..9 => effect(id, lease),
            _ => done(id, lease, view),
        }
    }
}

fn about(id: i64, lease: &Lease) -> [(&'static str, Value<'static>); 3] {
    [
        ("id", Value::Integer(id)),
        ("task", Value::Object(ObjectId(lease.task))),
        ("token", Value::Integer(lease.token)),
    ]
}

/// One deed for each effect, which says whose it is.
fn effect(id: i64, lease: &Lease) -> Vec<u8> {
    let partition = i64::from(ObjectId(lease.task).partition().0);
    let deed = [
        ("do", Value::Text("create")),
        ("kind", Value::Text(DEED)),
        ("partition", Value::Integer(partition)),
        ("of", Value::Integer(lease.task as i64)),
    ];
    packed("effect", &[&about(id, lease)[..], &deed].concat())
}

/// A task in its place, which says whose deed it is.
fn event(id: i64, lease: &Lease, delay_ms: i64) -> Vec<u8> {
    let event = [
        ("do", Value::Text("new-event")),
        ("event", Value::Text(TOIL)),
        ("delay_ms", Value::Integer(delay_ms)),
        ("of", Value::Integer(lease.task as i64)),
    ];
    packed("effect", &[&about(id, lease)[..], &event].concat())
}

/// It is not tried again.
pub(crate) fn give_up(id: i64, lease: &Lease) -> Vec<u8> {
    packed("fail", &[&about(id, lease)[..], &[("retry", Value::Boolean(false))]].concat())
}

/// It is done, with the effects that were taken, and whoever asked is told which task it was. The client
/// is sure if it waits to hear of no other.
pub(crate) fn done(id: i64, lease: &Lease, view: &View) -> Vec<u8> {
    let end = [
        ("effects", Value::Integer(lease.effects)),
        ("by", Value::Integer(lease.task as i64)),
        ("sure", Value::Boolean(!view.has_effect_underway(lease))),
    ];
    packed("done", &[&about(id, lease)[..], &end].concat())
}
