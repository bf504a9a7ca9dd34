//! One version of a plugin at work: its calls, each with a look at the clock before and behind it.

use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::Arc;

use warren_core::ids::ShardId;
use warren_core::inline::{InlineCall, InlineCode};
use warren_core::reason::Reason;
use warren_core::world::behaviours::{Batch, Behaviour, Surroundings};

use crate::library::{CallFailure, Library, LibraryBehaviour, LibraryMethod};

/// At least so far apart are two log lines of one kind about one version.
const WARNING_INTERVAL_NS: u64 = 1_000_000_000;
/// Strikes are counted anew after so long: a moment in which the machine has done something else is none of the
/// plugin's faults.
const STRIKES_FORGOTTEN_NS: u64 = 60_000_000_000;

/// A version is called no more when it was too slow in more than one of so many calls.
const CALLS_PER_STRIKE: u64 = 100;

/// What a plugin's calls may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// A call that takes longer is a strike.
    pub call_ns_max: u64,
    /// With so many strikes within a minute, and more than one in 100 calls, a version is called no
    /// more.
    pub strikes_max: u64,
}

/// A clock in nanoseconds that never goes back.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Clock {
    /// A clock that is read so.
    pub fn new(read: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// What one shard counts of a plugin. Aligned to two cache lines, so that shards do not slow each other
/// down: each writes its own alone.
#[derive(Debug, Default)]
#[repr(align(128))]
struct ShardCalls {
    calls: AtomicU64,
    failures: AtomicU64,
    busy_ns: AtomicU64,
    strikes: AtomicU64,
    thinks: AtomicU64,
    think_ns: AtomicU64,
}

/// What is counted of a plugin, of all its versions.
#[derive(Debug)]
pub struct PluginCounters {
    shards: Box<[ShardCalls]>,
}

impl PluginCounters {
    pub(crate) fn new(shard_count: usize) -> Self {
        Self { shards: (0..shard_count).map(|_| ShardCalls::default()).collect() }
    }

    fn sum(&self, read: impl Fn(&ShardCalls) -> &AtomicU64) -> u64 {
        self.shards.iter().map(|shard| read(shard).load(Relaxed)).sum()
    }

    /// Calls of methods that have ended.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.sum(|shard| &shard.calls)
    }

    /// Of these, those that said that they cannot.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.sum(|shard| &shard.failures)
    }

    /// Calls of methods and of behaviours. Nothing is shared for this by those that count.
    fn all_calls(&self) -> u64 {
        self.calls().wrapping_add(self.thinks())
    }

    /// Calls of behaviours.
    #[must_use]
    pub fn thinks(&self) -> u64 {
        self.sum(|shard| &shard.thinks)
    }

    /// Time in all of these, in nanoseconds.
    #[must_use]
    pub fn think_ns(&self) -> u64 {
        self.sum(|shard| &shard.think_ns)
    }

    /// Time in all calls of methods, in nanoseconds.
    #[must_use]
    pub fn busy_ns(&self) -> u64 {
        self.sum(|shard| &shard.busy_ns)
    }

    /// Calls of either that took longer than they may.
    #[must_use]
    pub fn strikes(&self) -> u64 {
        self.sum(|shard| &shard.strikes)
    }
}

/// More of what only one thread counts.
fn add(count: &AtomicU64, more: u64) {
    count.store(count.load(Relaxed).wrapping_add(more), Relaxed);
}

/// One version of a plugin, ready to be called.
#[derive(Debug)]
pub(crate) struct Plugin {
    pub(crate) name: Box<str>,
    pub(crate) version: Box<str>,
    /// `name@version`.
    pub(crate) label: Box<str>,
    pub(crate) hash: Box<str>,
    pub(crate) methods: Vec<LibraryMethod>,
    pub(crate) behaviours: Vec<LibraryBehaviour>,
    counters: Arc<PluginCounters>,
    budget: Budget,
    clock: Clock,
    /// Of this version.
    strikes: AtomicU64,
    /// Since when they are counted.
    counted_since_ns: AtomicU64,
    /// How many calls there were before.
    calls_before: AtomicU64,
    is_disabled: AtomicBool,
    warned_ns: AtomicU64,
}

impl Plugin {
    pub(crate) fn new(
        library: Library,
        counters: Arc<PluginCounters>,
        budget: Budget,
        clock: Clock,
    ) -> Self {
        let label = library.label().into();
        let Library { name, version, hash, methods, behaviours } = library;
        let (strikes, warned_ns) = (AtomicU64::default(), AtomicU64::default());
        let counted_since_ns = AtomicU64::default();
        let calls_before = AtomicU64::new(counters.all_calls());
        let is_disabled = AtomicBool::default();
        Self {
            name,
            version,
            label,
            hash,
            methods,
            behaviours,
            counters,
            budget,
            clock,
            strikes,
            counted_since_ns,
            calls_before,
            is_disabled,
            warned_ns,
        }
    }

    pub(crate) fn is_disabled(&self) -> bool {
        self.is_disabled.load(Relaxed)
    }

    /// It may be called again.
    pub(crate) fn forgive(&self) {
        self.strikes.store(0, Relaxed);
        self.calls_before.store(self.counters.all_calls(), Relaxed);
        self.is_disabled.store(false, Relaxed);
    }

    /// Whether a line may go to the log now.
    fn may_warn(&self, now_ns: u64) -> bool {
        let warned_ns = self.warned_ns.load(Relaxed);
        let is_due = warned_ns == 0 || now_ns.saturating_sub(warned_ns) >= WARNING_INTERVAL_NS;
        // Of several shards one writes it.
        let now_ns = now_ns.max(1);
        is_due && self.warned_ns.compare_exchange(warned_ns, now_ns, Relaxed, Relaxed).is_ok()
    }

    /// A call of the method or behaviour of this name, which is counted already, took too long.
    fn strike(&self, name: &str, shard: ShardId, now_ns: u64, busy_ns: u64) {
        add(&self.counters.shards[shard.index()].strikes, 1);
        let counted_since_ns = self.counted_since_ns.load(Relaxed);
        if now_ns.saturating_sub(counted_since_ns) >= STRIKES_FORGOTTEN_NS {
            // Of several shards each may begin: one strike more or less does not matter.
            self.counted_since_ns.store(now_ns, Relaxed);
            self.strikes.store(0, Relaxed);
            self.calls_before.store(self.counters.all_calls().wrapping_sub(1), Relaxed);
        }
        let strikes = self.strikes.fetch_add(1, Relaxed) + 1;
        let (plugin, busy_us) = (&*self.label, busy_ns / 1000);
        let calls = self.counters.all_calls().wrapping_sub(self.calls_before.load(Relaxed));
        let is_too_often = strikes.saturating_mul(CALLS_PER_STRIKE) > calls;
        if strikes >= self.budget.strikes_max && is_too_often {
            if !self.is_disabled.swap(true, Relaxed) {
                tracing::error!(
                    plugin,
                    name,
                    strikes,
                    calls,
                    "a plugin is called no more: it was too slow"
                );
            }
        } else if self.may_warn(now_ns) {
            let shard = shard.0;
            tracing::warn!(plugin, name, shard, busy_us, strikes, "a plugin was too slow");
        }
    }
}

impl InlineCode for Plugin {
    fn call(&self, method: usize, call: &mut InlineCall<'_>) -> Result<(), Reason> {
        if self.is_disabled() {
            return Err(Reason::PluginDisabled);
        }
        let method = &self.methods[method];
        let shard = call.shard();
        let began_ns = (self.clock.0)();
        let called = method.call(call);
        let now_ns = (self.clock.0)();
        let busy_ns = now_ns - began_ns;
        call.note_busy_ns(busy_ns);
        let counters = &self.counters.shards[shard.index()];
        add(&counters.calls, 1);
        add(&counters.busy_ns, busy_ns);
        if busy_ns > self.budget.call_ns_max {
            self.strike(&method.name, shard, now_ns, busy_ns);
        }
        let Err(CallFailure { status, why }) = called else { return Ok(()) };
        add(&counters.failures, 1);
        if self.may_warn(now_ns) {
            let (plugin, method, shard) = (&*self.label, &*method.name, shard.0);
            tracing::warn!(plugin, method, shard, status, why, "a plugin failed");
        }
        Err(call.refusal().unwrap_or(Reason::PluginFailed))
    }
}

/// A behaviour of a plugin, as shards have it.
#[derive(Debug)]
pub(crate) struct PluginBehaviour {
    pub(crate) plugin: Arc<Plugin>,
    /// Which of the plugin's.
    pub(crate) number: usize,
}

impl PluginBehaviour {
    fn behaviour(&self) -> &LibraryBehaviour {
        &self.plugin.behaviours[self.number]
    }
}

impl Behaviour for PluginBehaviour {
    fn name(&self) -> &str {
        &self.behaviour().name
    }

    /// NPCs of a plugin that is called no more stand.
    fn think(&self, batch: &mut Batch<'_>, near: &Surroundings<'_>) {
        let plugin = &*self.plugin;
        if plugin.is_disabled() {
            batch.stand_all();
            return;
        }
        let (behaviour, shard) = (self.behaviour(), batch.shard);
        let began_ns = (plugin.clock.0)();
        behaviour.think(batch, near);
        let now_ns = (plugin.clock.0)();
        let busy_ns = now_ns - began_ns;
        let counters = &plugin.counters.shards[shard.index()];
        add(&counters.thinks, 1);
        add(&counters.think_ns, busy_ns);
        if busy_ns > plugin.budget.call_ns_max {
            plugin.strike(&behaviour.name, shard, now_ns, busy_ns);
        }
    }
}
