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
    let whole = to_hex(&Latencies::default().0);
    for text in ["", "0", "zz", "ü", "00", &whole[..whole.len() / 2], &foreign] {
        assert!(from_hex(text, &Latencies::default().0).is_err(), "{text}");
    }
}

#[test]
fn those_of_a_second_are_within_a_hundredth_and_pass_through_json() {
    let mut brief = Brief::default();
    assert_eq!(brief.quantile_us(0.5), None);
    (1..=1_000).for_each(|step| brief.record_ns(step * 100_000));
    let mut merged: Brief = serde_json::from_str(&serde_json::to_string(&brief).unwrap()).unwrap();
    assert_eq!(merged.0, brief.0);
    merged.merge(&brief);
    for (quantile, exact) in [(0.5, 50_000.0), (0.99, 99_000.0), (1.0, 100_000.0)] {
        let value = merged.quantile_us(quantile).unwrap();
        assert!((value / exact - 1.0f64).abs() <= 0.01, "{value} for {exact}");
    }
}

#[test]
fn the_curve_rises_to_the_longest_and_has_more_steps_towards_the_end() {
    let curve = recorded((1..=10_000).map(|step| step * 10_000)).curve_us();
    assert!(curve.windows(2).all(|pair| pair[0].0 <= pair[1].0 && pair[0].1 <= pair[1].1));
    let (last, half) = (curve.last().unwrap(), curve.iter().find(|(at, _)| *at >= 0.5).unwrap());
    assert!(last.0 == 1.0 && (99_900.0..100_100.0).contains(&last.1), "{last:?}");
    assert!((49_900.0..51_000.0).contains(&half.1), "{half:?}");
    let beyond =
        |from: f64, to: f64| curve.iter().filter(|(at, _)| (from..to).contains(at)).count();
    assert!(beyond(0.99, 1.0) >= 12 && beyond(0.99, 1.0) > beyond(0.4, 0.6), "{curve:?}");
    assert_eq!(Latencies::default().curve_us(), []);
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
