use super::*;

fn recorded(durations_ns: impl IntoIterator<Item = u64>) -> Latencies {
    let mut latencies = Latencies::default();
    durations_ns.into_iter().for_each(|duration_ns| latencies.record_ns(duration_ns));
    latencies
}

#[test]
fn percentiles_are_within_a_thousandth() {
    let latencies = recorded((1..=10_000).map(|step| step * 10_000));
    let percentiles = latencies.percentiles_us().unwrap();
    for (value, exact) in [
        (percentiles.p50, 50_000.0),
        (percentiles.p90, 90_000.0),
        (percentiles.p99, 99_000.0),
        (percentiles.p999, 99_900.0),
        (percentiles.max, 100_000.0),
    ] {
        assert!((value / exact - 1.0f64).abs() <= 0.001, "{value} for {exact}");
    }
}

#[test]
fn nothing_recorded_has_no_percentiles() {
    assert_eq!(Latencies::default().percentiles_us(), None);
}

#[test]
fn durations_beyond_the_bounds_are_kept_as_the_bounds() {
    let latencies = recorded([0, 1, u64::MAX]);
    assert_eq!(latencies.count(), 3);
    assert!(latencies.quantile_ns(1.0) >= HIGHEST_NS);
}

#[test]
fn merged_is_as_if_recorded_together() {
    let (low, high) = (recorded((1..500).map(|step| step * 7_000)), recorded([900_000_000; 5]));
    let mut merged = low.clone();
    merged.merge(&high);
    let together = recorded((1..500).map(|step| step * 7_000).chain([900_000_000; 5]));
    assert_eq!(merged.0, together.0);
}

#[test]
fn it_passes_through_json() {
    for latencies in [Latencies::default(), recorded([1_000, 5_000_000, 70_000_000_000])] {
        let json = serde_json::to_string(&latencies).unwrap();
        let read: Latencies = serde_json::from_str(&json).unwrap();
        assert_eq!(read.0, latencies.0);
    }
}

#[test]
fn text_that_is_no_histogram_of_ours_is_refused() {
    let mut foreign = Vec::new();
    let histogram = Histogram::<u64>::new_with_bounds(1, 1_000, 2).unwrap();
    V2Serializer::new().serialize(&histogram, &mut foreign).unwrap();
    let foreign: String = foreign.iter().map(|byte| format!("{byte:02x}")).collect();
    let whole = Latencies::default().to_hex();
    for text in ["", "0", "zz", "ü", "00", &whole[..whole.len() / 2], &foreign] {
        assert!(Latencies::from_hex(text).is_err(), "{text}");
    }
}

#[test]
fn the_hgrm_ends_at_the_maximum_and_counts_all() {
    let text = recorded((1..=1_000).map(|step| step * 1_000_000)).to_hgrm();
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .skip(2)
        .map(|line| line.split_ascii_whitespace().collect())
        .collect();
    let last = rows.last().unwrap();
    assert_eq!(last[1..], ["1.000000000000", "1000"]);
    assert!(last[0].parse::<f64>().unwrap() > 999_000.0);
    assert!(text.contains("Total count    =         1000]"));
}
