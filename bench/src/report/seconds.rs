//! The measured part second by second, as the report tells it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cpu::ThreadUse;
use crate::generator::series::Second as Played;

/// CPU of the server in one second of the measured part.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServerSecond {
    /// What each of its threads used, by name.
    pub threads: Vec<ThreadUse>,
    /// How long the second was, in nanoseconds.
    pub elapsed_ns: u64,
}

/// One second of the measured part.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Second {
    /// Messages said in it.
    pub sent: u64,
    /// Messages heard in it.
    pub heard: u64,
    /// Frames of worlds that came in it.
    pub frames: u64,
    /// Bytes that left users.
    pub bytes_sent: u64,
    /// Bytes that reached them.
    pub bytes_received: u64,
    /// Median latency of what was to be said in it, in microseconds.
    pub p50_us: Option<f64>,
    /// Its 99th percentile, in microseconds.
    pub p99_us: Option<f64>,
    /// The longest, in microseconds.
    pub max_us: Option<f64>,
    /// CPU of the server in cores, by thread name.
    pub server_cpu_cores: BTreeMap<String, f64>,
}

/// What users and the server did in each second; of a server that is not known, nothing.
#[must_use]
pub fn seconds(played: &[Played], server: &[ServerSecond]) -> Vec<Second> {
    let mut server = server.iter();
    let mut second = |played: &Played| {
        let quantile = |at| played.latencies.quantile_us(at);
        let cpu = server.next().filter(|second| second.elapsed_ns > 0);
        let cores = cpu.into_iter().flat_map(|second| {
            let cores = |used: &ThreadUse| used.cpu_ns as f64 / second.elapsed_ns as f64;
            second.threads.iter().map(move |used| (used.name.clone(), cores(used)))
        });
        Second {
            sent: played.sent,
            heard: played.heard,
            frames: played.frames,
            bytes_sent: played.bytes_sent,
            bytes_received: played.bytes_received,
            p50_us: quantile(0.5),
            p99_us: quantile(0.99),
            max_us: quantile(1.0),
            server_cpu_cores: cores.collect(),
        }
    };
    played.iter().map(&mut second).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::Brief;

    #[test]
    fn each_second_has_its_latency_its_bytes_and_the_server_s_cores() {
        let mut latencies = Brief::default();
        for latency_ns in [1_000_000, 1_000_000, 8_000_000] {
            latencies.record_ns(latency_ns);
        }
        let first = Played {
            latencies,
            sent: 1,
            heard: 3,
            frames: 2,
            bytes_sent: 70,
            bytes_received: 300,
            ..Played::default()
        };
        let threads = [("shard-0", 500_000_000), ("admin", 1_000_000)]
            .map(|(name, cpu_ns)| ThreadUse { name: name.to_owned(), count: 1, cpu_ns });
        let server = ServerSecond { threads: threads.into(), elapsed_ns: 1_000_000_000 };
        let found = seconds(&[first, Played::default()], &[server]);
        let [first, last] = &found[..] else { panic!("{found:?}") };
        assert_eq!(
            [first.sent, first.heard, first.frames, first.bytes_sent, first.bytes_received],
            [1, 3, 2, 70, 300]
        );
        assert_eq!(first.server_cpu_cores["shard-0"], 0.5);
        assert_eq!(first.server_cpu_cores["admin"], 0.001);
        let (p50_us, max_us) = (first.p50_us.unwrap(), first.max_us.unwrap());
        assert!((990.0..1_010.0).contains(&p50_us) && (7_900.0..8_100.0).contains(&max_us));
        assert_eq!((last.p50_us, last.p99_us, last.max_us), (None, None, None));
        assert!(last.server_cpu_cores.is_empty());
    }
}
