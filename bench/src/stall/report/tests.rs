use super::*;

fn turns(longest_us_max: Option<f64>, above: u64) -> LongTurns {
    LongTurns { turns: 10, longest_us_max, longer_than_us: [(2_048, above), (8_192, 0)].into() }
}

#[test]
fn the_longest_turn_is_that_of_all_rounds() {
    for (rounds, words) in [
        (vec![], "0, the longest within 0 us; 0 above 2 ms, 0 above 8 ms"),
        (
            vec![turns(Some(4_096.0), 1), turns(Some(2_048.0), 2)],
            "20, the longest within 4096 us; 3 above 2 ms, 0 above 8 ms",
        ),
        (
            vec![turns(None, 1), turns(Some(2_048.0), 0)],
            "20, the longest beyond all buckets; 1 above 2 ms, 0 above 8 ms",
        ),
    ] {
        assert_eq!(turn_words(&rounds), words);
    }
}
