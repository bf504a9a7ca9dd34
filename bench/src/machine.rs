//! What the figures were taken on.

use std::fs;

use serde::Serialize;

/// The machine, as far as it bears on the figures.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// Cores on which this process may run.
    pub cores: usize,
    /// The kernel's release.
    pub kernel: String,
    /// Memory in MiB.
    pub memory_mib: u64,
}

impl Machine {
    /// This machine; what cannot be read is "unknown" or 0.
    #[must_use]
    pub fn read() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let kernel = read("/proc/sys/kernel/osrelease").trim().to_owned();
        let memory_kib = value_of(&read("/proc/meminfo"), "MemTotal")
            .and_then(|value| value.strip_suffix(" kB")?.parse::<u64>().ok());
        Self {
            cpu: value_of(&read("/proc/cpuinfo"), "model name").unwrap_or("unknown".into()),
            cores: crate::pinning::available_cores().len(),
            kernel: if kernel.is_empty() { "unknown".to_owned() } else { kernel },
            memory_mib: memory_kib.unwrap_or(0) / 1024,
        }
    }
}

/// The value of the first line `key : value`.
fn value_of(text: &str, key: &str) -> Option<String> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.trim() == key)
        .map(|(_, value)| value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_their_key() {
        let text = "vendor_id\t: X\nmodel name\t: Some CPU @ 2: fast\nmodel name\t: Other\n";
        for (key, value) in
            [("model name", Some("Some CPU @ 2: fast")), ("vendor_id", Some("X")), ("model", None)]
        {
            assert_eq!(value_of(text, key).as_deref(), value);
        }
    }
}
