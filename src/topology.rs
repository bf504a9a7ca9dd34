//! Which core each shard is pinned to.
//!
//! Only cores of the inherited mask are used (`taskset`, a container's cpuset), in their order.
//! The mask is the calling thread's, so it is read before anything is pinned.

use core_affinity::CoreId;

use crate::fatal::{Fatal, FatalReason};

/// The cores of the shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// The core of each shard.
    pub shard_cores: Vec<usize>,
    /// Shards share cores, because there are more of them.
    pub oversubscribed: bool,
}

impl Topology {
    /// Gives each shard a core, round robin.
    ///
    /// # Panics
    /// When there is no core.
    #[must_use]
    pub fn new(cores: &[usize], shards: usize) -> Self {
        assert!(!cores.is_empty(), "a process runs on a core");
        Self {
            shard_cores: cores.iter().copied().cycle().take(shards).collect(),
            oversubscribed: shards > cores.len(),
        }
    }

    /// The core of each shard, for the log: `0,1`.
    pub(crate) fn cores_text(&self) -> String {
        self.shard_cores.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
    }

    /// What the operator should know, if anything.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        self.oversubscribed.then(|| {
            let mut cores = self.shard_cores.clone();
            cores.sort_unstable();
            cores.dedup();
            format!(
                "{} shards share {} cores ({cores:?}): latency will suffer; give the process more \
                 cores, or set `server.shards` (`--shards`) to at most {}",
                self.shard_cores.len(),
                cores.len(),
                cores.len()
            )
        })
    }
}

/// The cores that the calling thread may run on, in ascending order; never empty.
#[must_use]
pub fn inherited_cores() -> Vec<usize> {
    let mask = core_affinity::get_core_ids().unwrap_or_default();
    if !mask.is_empty() {
        return mask.into_iter().map(|core| core.id).collect();
    }
    // A machine with more cores than the C library's mask has bits: all that is known is a number.
    let count = std::thread::available_parallelism().map_or(1, core::num::NonZero::get);
    (0..count).collect()
}

/// Pins the calling thread to a core.
///
/// # Errors
/// `SystemRefused` when the core is not there, or not for this process.
pub fn pin_current_thread(core: usize) -> Result<(), Fatal> {
    if core_affinity::set_for_current(CoreId { id: core }) {
        Ok(())
    } else {
        let detail = format_args!("a shard cannot be pinned to core {core}").to_string();
        Err(Fatal::new(FatalReason::SystemRefused, detail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_take_cores_in_turn() {
        for (cores, shards, shard_cores, oversubscribed) in [
            (&[0, 1][..], 1, &[0][..], false),
            (&[0, 1], 2, &[0, 1], false),
            (&[3, 7, 9], 2, &[3, 7], false),
            (&[3, 7], 5, &[3, 7, 3, 7, 3], true),
            (&[5], 2, &[5, 5], true),
        ] {
            let topology = Topology::new(cores, shards);
            assert_eq!(topology.shard_cores, shard_cores, "{cores:?} {shards}");
            assert_eq!(topology.oversubscribed, oversubscribed, "{cores:?} {shards}");
            assert_eq!(topology.warning().is_some(), oversubscribed);
        }
    }

    #[test]
    fn the_warning_tells_how_many_would_fit() {
        let warning = Topology::new(&[3, 7], 5).warning().unwrap();
        assert!(warning.starts_with("5 shards share 2 cores ([3, 7])"), "{warning}");
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "pinning must not change the test's own thread")]
    fn the_inherited_mask_is_respected() {
        std::thread::spawn(|| {
            let last = *inherited_cores().last().unwrap();
            pin_current_thread(last).unwrap();
            assert_eq!(inherited_cores(), [last]);
        })
        .join()
        .unwrap();
    }
}
