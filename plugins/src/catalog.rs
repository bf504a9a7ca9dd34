//! Which plugins there are, and which version of each is at work. A catalog does not change: a new one takes
//! its place when all shards have its table.

use std::collections::BTreeMap;
use std::sync::Arc;

use warren_core::inline::{InlineCode, InlineFault, InlineMethods, InlineTable};
use warren_core::world::behaviours::Behaviours;

use crate::library::{Library, LoadError};
use crate::plugin::{Budget, Clock, Plugin, PluginBehaviour, PluginCounters};

/// Plugins of one server.
const PLUGINS_MAX: usize = 64;
/// Versions of a plugin to which a rollback may go back, and the one at work.
const VERSIONS_MAX: usize = 16;

/// Why there is nothing to go back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RollbackError {
    /// No plugin of that name was loaded.
    #[error("there is no such plugin")]
    UnknownPlugin,
    /// It has only the version that is at work.
    #[error("there is no version before this one")]
    NoEarlierVersion,
    /// Another plugin has a method or a behaviour of the earlier version meanwhile.
    #[error("another plugin has a method or a behaviour of the version before")]
    Taken,
}

/// One plugin: its versions in the order in which they were loaded, the last of which is at work.
#[derive(Clone, Debug)]
struct Slot {
    counters: Arc<PluginCounters>,
    versions: Vec<Arc<Plugin>>,
}

impl Slot {
    fn current(&self) -> &Arc<Plugin> {
        self.versions.last().expect("a plugin has a version")
    }
}

/// What is told of a plugin.
#[derive(Clone, Debug)]
pub struct PluginRow {
    /// Its name.
    pub name: Box<str>,
    /// The version at work.
    pub version: Box<str>,
    /// SHA-256 of its file, in hexadecimal digits.
    pub hash: Box<str>,
    /// What it does.
    pub methods: Vec<Box<str>>,
    /// What moves NPCs in it.
    pub behaviours: Vec<Box<str>>,
    /// It was too slow, and is called no more.
    pub is_disabled: bool,
    /// The version to which a rollback goes back.
    pub earlier: Option<Box<str>>,
    /// What is counted of it.
    pub counters: Arc<PluginCounters>,
}

/// All plugins of a server.
#[derive(Clone, Debug)]
pub struct Catalog {
    shard_count: usize,
    budget: Budget,
    clock: Clock,
    slots: BTreeMap<Box<str>, Slot>,
}

impl Catalog {
    /// None yet.
    #[must_use]
    pub fn new(shard_count: usize, budget: Budget, clock: Clock) -> Self {
        Self { shard_count, budget, clock, slots: BTreeMap::new() }
    }

    /// The same with this library: a plugin more, or a version of one that is there.
    ///
    /// # Errors
    /// [`LoadError::MethodTaken`], [`LoadError::BehaviourTaken`], [`LoadError::TooManyPlugins`],
    /// [`LoadError::TooManyMethods`], [`LoadError::TooManyBehaviours`].
    pub fn with(&self, library: Library) -> Result<Self, LoadError> {
        let mut next = self.clone();
        let name = library.name.clone();
        if !next.slots.contains_key(&name) && next.slots.len() >= PLUGINS_MAX {
            return Err(LoadError::TooManyPlugins);
        }
        let slot = next.slots.entry(name).or_insert_with(|| Slot {
            counters: Arc::new(PluginCounters::new(self.shard_count)),
            versions: Vec::new(),
        });
        let counters = Arc::clone(&slot.counters);
        let plugin = Plugin::new(library, counters, self.budget, self.clock.clone());
        if slot.versions.len() >= VERSIONS_MAX {
            slot.versions.remove(0);
        }
        slot.versions.push(Arc::new(plugin));
        next.methods().map_err(|(fault, method)| match fault {
            InlineFault::TooMany => LoadError::TooManyMethods,
            _ => LoadError::MethodTaken { method: method.into() },
        })?;
        next.behaviours().map_err(|(fault, behaviour)| match fault {
            InlineFault::TooMany => LoadError::TooManyBehaviours,
            _ => LoadError::BehaviourTaken { behaviour: behaviour.into() },
        })?;
        Ok(next)
    }

    /// The same with the version before of this plugin, which may be called again if it was too slow.
    ///
    /// # Errors
    /// [`RollbackError`].
    pub fn rolled_back(&self, name: &str) -> Result<Self, RollbackError> {
        let mut next = self.clone();
        let slot = next.slots.get_mut(name).ok_or(RollbackError::UnknownPlugin)?;
        if slot.versions.len() < 2 {
            return Err(RollbackError::NoEarlierVersion);
        }
        slot.versions.pop();
        let earlier = Arc::clone(slot.current());
        next.methods().map_err(|_| RollbackError::Taken)?;
        next.behaviours().map_err(|_| RollbackError::Taken)?;
        earlier.forgive();
        Ok(next)
    }

    /// What shards need of it.
    ///
    /// # Panics
    /// Never: what does not fit together is no catalog.
    #[must_use]
    pub fn table(&self) -> InlineTable {
        let fit = "a catalog's plugins fit together";
        let methods = Arc::new(self.methods().expect(fit));
        InlineTable { methods, behaviours: Arc::new(self.behaviours().expect(fit)) }
    }

    fn behaviours(&self) -> Result<Behaviours, (InlineFault, Box<str>)> {
        let mut behaviours = Behaviours::default();
        for plugin in self.slots.values().map(Slot::current) {
            for (number, behaviour) in plugin.behaviours.iter().enumerate() {
                let brought = PluginBehaviour { plugin: Arc::clone(plugin), number };
                let added = behaviours.add(Arc::new(brought));
                added.map_err(|fault| (fault, behaviour.name.clone()))?;
            }
        }
        Ok(behaviours)
    }

    fn methods(&self) -> Result<InlineMethods, (InlineFault, Box<str>)> {
        let mut methods = InlineMethods::default();
        for plugin in self.slots.values().map(Slot::current) {
            for (number, method) in plugin.methods.iter().enumerate() {
                let code: Arc<dyn InlineCode> = Arc::clone(plugin) as _;
                let added = methods.add(&method.name, (code, number), &plugin.label);
                added.map_err(|fault| (fault, method.name.clone()))?;
            }
        }
        Ok(methods)
    }

    /// What is told of each, in the order of names.
    pub fn rows(&self) -> impl Iterator<Item = PluginRow> {
        self.slots.values().map(|slot| {
            let current = slot.current();
            let earlier = slot.versions.iter().rev().nth(1);
            PluginRow {
                name: current.name.clone(),
                version: current.version.clone(),
                hash: current.hash.clone(),
                methods: current.methods.iter().map(|method| method.name.clone()).collect(),
                behaviours: current.behaviours.iter().map(|one| one.name.clone()).collect(),
                is_disabled: current.is_disabled(),
                earlier: earlier.map(|plugin| plugin.version.clone()),
                counters: Arc::clone(&slot.counters),
            }
        })
    }

    /// What is told of one.
    #[must_use]
    pub fn row(&self, name: &str) -> Option<PluginRow> {
        self.rows().find(|row| *row.name == *name)
    }
}
