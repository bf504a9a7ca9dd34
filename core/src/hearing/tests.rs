use super::*;
use crate::ids::ShardId;

const SESSION: SessionId = SessionId { shard: ShardId(0), generation: 0, index: 1 };
const CONNECTION: ConnectionId = ConnectionId { index: 3, generation: 1 };

fn tell(hearing: &mut Hearing, message: &[u8]) {
    let position = hearing.keep(message);
    hearing.tell(SESSION, position);
}

fn hearing_of(positions_max: usize, bytes_max: usize, missed_bytes_max: usize) -> Hearing {
    let mut hearing = Hearing::kept(positions_max, bytes_max, missed_bytes_max);
    hearing.begin(SESSION, CONNECTION);
    hearing
}

#[test]
fn a_session_hears_again_what_it_missed_and_no_more_than_is_kept() {
    let mut hearing = hearing_of(3, 4096, 4096);
    for number in 0..5u8 {
        tell(&mut hearing, &[number]);
    }
    assert_eq!(hearing.hearers[1].told_count, 5);
    assert_eq!(hearing.missed_count(SESSION, 6), Err(Reason::FieldInvalid));
    assert_eq!(hearing.missed_count(SESSION, 5), Ok(0));
    assert_eq!(hearing.missed_count(SESSION, 2), Ok(3));
    assert_eq!(hearing.last(SESSION, 3).collect::<Vec<_>>(), [[2], [3], [4]]);
    assert_eq!(hearing.missed_count(SESSION, 1), Err(Reason::ResumeTooOld));
    hearing.forget(SESSION, 4).unwrap();
    assert_eq!(hearing.missed_count(SESSION, 3), Err(Reason::ResumeTooOld));
    assert_eq!(hearing.last(SESSION, 1).collect::<Vec<_>>(), [[4]]);
    assert_eq!(hearing.forget(SESSION, 6), Err(Reason::FieldInvalid));
}

#[test]
fn what_is_not_kept_counts_and_hides_what_was_before_it_from_its_session_alone() {
    const OTHER: SessionId = SessionId { index: 2, ..SESSION };
    let mut hearing = hearing_of(10, 4096, 4096);
    hearing.begin(OTHER, CONNECTION);
    let first = hearing.keep(b"first");
    for session in [SESSION, OTHER] {
        assert_eq!(hearing.tell(session, first), Some(CONNECTION));
    }
    assert_eq!(hearing.tell(SESSION, None), Some(CONNECTION));
    tell(&mut hearing, b"last");
    assert_eq!(hearing.missed_count(SESSION, 1), Err(Reason::ResumeTooOld));
    assert_eq!(hearing.missed_count(SESSION, 2), Ok(1));
    assert_eq!(hearing.last(SESSION, 1).collect::<Vec<_>>(), [b"last"]);
    assert_eq!(hearing.missed_count(SESSION, 4), Err(Reason::FieldInvalid));
    assert_eq!(hearing.missed_count(OTHER, 0), Ok(1));
    assert_eq!(hearing.last(OTHER, 1).collect::<Vec<_>>(), [b"first"]);
}

#[test]
fn what_the_log_no_longer_has_is_too_old() {
    let mut hearing = hearing_of(100, 80, 4096);
    for number in 0..20u8 {
        tell(&mut hearing, &[number; 6]);
    }
    let kept = (0..=20).find_map(|heard| hearing.missed_count(SESSION, heard).ok()).unwrap();
    assert!((7..=8).contains(&kept), "{kept}");
    let last: Vec<_> = hearing.last(SESSION, kept).map(|message| message[0]).collect();
    assert_eq!(last, (20 - kept as u8..20).collect::<Vec<_>>());
    // The list of positions does not grow over what the log holds.
    for _ in 0..10_000 {
        tell(&mut hearing, &[1; 6]);
    }
    assert!(hearing.hearers[1].positions.capacity() <= 32);
}

#[test]
fn one_session_is_told_a_bounded_number_of_bytes_again() {
    let mut hearing = hearing_of(100, 4096, 10);
    tell(&mut hearing, &[0; 6]);
    tell(&mut hearing, &[0; 5]);
    assert_eq!(hearing.missed_count(SESSION, 0), Err(Reason::ResumeTooOld));
    assert_eq!(hearing.missed_count(SESSION, 1), Ok(1));
}

#[test]
fn a_session_that_has_heard_all_holds_nothing() {
    let mut hearing = hearing_of(1024, 1 << 20, 4096);
    for _ in 0..1000 {
        tell(&mut hearing, b"x");
    }
    hearing.forget(SESSION, 1000).unwrap();
    assert_eq!(hearing.hearers[1].positions.capacity(), 0);
    assert_eq!(hearing.first_position(SESSION), None);
    assert_eq!(hearing.end(SESSION), Some(CONNECTION));
    assert_eq!((hearing.hearers[1].told_count, hearing.connection(SESSION)), (0, None));
}

#[test]
fn where_nothing_is_kept_nothing_is_counted() {
    let mut hearing = Hearing::unkept();
    hearing.begin(SESSION, CONNECTION);
    let position = hearing.keep(&[1; 100]);
    assert_eq!(position, None);
    assert_eq!(hearing.tell(SESSION, position), Some(CONNECTION));
    assert_eq!(hearing.hearers[1].told_count, 0);
    assert_eq!(hearing.log().reserved_bytes(), 0);
}
