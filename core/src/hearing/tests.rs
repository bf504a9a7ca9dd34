use alloc::vec;

use super::*;
use crate::ids::ShardId;

const SESSION: SessionId = SessionId { shard: ShardId(0), generation: 0, index: 1 };
const CONNECTION: ConnectionId = ConnectionId { index: 3, generation: 1 };

fn tell(hearing: &mut Hearing, message: &[u8]) {
    let position = hearing.keep(message);
    hearing.tell(SESSION, position);
}

fn hearing_of(messages_max: usize, bytes_max: usize, missed_bytes_max: usize) -> Hearing {
    let log = ReplayLog::new(bytes_max, 1000);
    let mut hearing = Hearing::kept(log, messages_max, missed_bytes_max);
    hearing.begin(SESSION, CONNECTION);
    hearing
}

/// The messages that a client has missed which has heard so many.
fn missed(hearing: &Hearing, session: SessionId, heard: u64) -> Result<Vec<&[u8]>, Reason> {
    let positions = hearing.missed(session, heard)?;
    Ok(positions.into_iter().map(|position| hearing.log().message_at(position).unwrap()).collect())
}

#[test]
fn a_session_hears_again_what_it_missed_and_no_more_than_is_kept() {
    let mut hearing = hearing_of(3, 4096, 4096);
    for number in 0..5u8 {
        tell(&mut hearing, &[number]);
    }
    assert_eq!(hearing.hearers[1].told_count, 5);
    assert_eq!(hearing.missed_count(SESSION, 6), Err(Reason::FieldInvalid));
    assert_eq!(hearing.missed_count(SESSION, 1), Ok(4));
    assert_eq!(missed(&hearing, SESSION, 6), Err(Reason::FieldInvalid));
    assert_eq!(missed(&hearing, SESSION, 5), Ok(vec![]));
    assert_eq!(missed(&hearing, SESSION, 2), Ok(vec![&[2][..], &[3], &[4]]));
    assert_eq!(missed(&hearing, SESSION, 1), Err(Reason::ResumeTooOld));
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
    assert_eq!(missed(&hearing, SESSION, 1), Err(Reason::ResumeTooOld));
    assert_eq!(missed(&hearing, SESSION, 2), Ok(vec![&b"last"[..]]));
    assert_eq!(missed(&hearing, SESSION, 4), Err(Reason::FieldInvalid));
    assert_eq!(missed(&hearing, OTHER, 0), Ok(vec![&b"first"[..]]));
}

#[test]
fn what_the_log_no_longer_has_is_too_old() {
    let mut hearing = hearing_of(100, 80, 4096);
    for number in 0..20u8 {
        tell(&mut hearing, &[number; 6]);
    }
    let kept = (0..=20).find(|heard| hearing.missed(SESSION, *heard).is_ok()).unwrap();
    assert!((12..=13).contains(&kept), "{kept}");
    let told: Vec<u8> =
        missed(&hearing, SESSION, kept).unwrap().iter().map(|message| message[0]).collect();
    assert_eq!(told, (kept as u8..20).collect::<Vec<_>>());
    assert!(hearing.log().message_bytes() <= 80);
}

#[test]
fn one_session_is_told_a_bounded_number_of_bytes_again() {
    let mut hearing = hearing_of(100, 4096, 10);
    tell(&mut hearing, &[0; 6]);
    tell(&mut hearing, &[0; 5]);
    assert_eq!(missed(&hearing, SESSION, 0), Err(Reason::ResumeTooOld));
    assert_eq!(missed(&hearing, SESSION, 1), Ok(vec![&[0; 5][..]]));
}

#[test]
fn the_next_session_of_a_slot_has_heard_nothing() {
    let mut hearing = hearing_of(1024, 1 << 20, 4096);
    tell(&mut hearing, b"x");
    assert_eq!(hearing.end(SESSION), Some(CONNECTION));
    assert_eq!((hearing.missed_count(SESSION, 0), hearing.connection(SESSION)), (Ok(0), None));
    hearing.begin(SESSION, CONNECTION);
    tell(&mut hearing, b"y");
    assert_eq!(missed(&hearing, SESSION, 0), Ok(vec![&b"y"[..]]));
    assert_eq!(missed(&hearing, SESSION, 2), Err(Reason::FieldInvalid));
}

#[test]
fn where_nothing_is_kept_nothing_is_counted() {
    let mut hearing = Hearing::unkept();
    hearing.begin(SESSION, CONNECTION);
    let position = hearing.keep(&[1; 100]);
    assert_eq!(position, None);
    assert_eq!(hearing.tell(SESSION, position), Some(CONNECTION));
    assert_eq!(hearing.hearers[1].told_count, 0);
    assert_eq!((hearing.log().message_bytes(), hearing.log().link_bytes()), (0, 0));
}
