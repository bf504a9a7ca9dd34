use super::*;

const LIMITS: Limits = Limits {
    connections_per_address_max: 2,
    logins_per_minute_per_address: 3,
    addresses_max: 2,
    ..Limits::PRODUCTION
};
const SECOND_NS: u64 = 1_000_000_000;
const SEED: HashSeed = HashSeed(3, 4);

fn peer(last: u8) -> PeerAddress {
    PeerAddress::of(core::net::IpAddr::from([192, 0, 2, last]))
}

/// One shard's counting, at some second.
struct Counted {
    admission: Admission,
    now_ns: u64,
}

impl Counted {
    fn new() -> Self {
        Self { admission: Admission::new(SEED), now_ns: 1000 * SECOND_NS }
    }

    fn count(&mut self, last: u8, event: AddressEvent) -> Result<(), Reason> {
        self.admission.count(peer(last), event, &LIMITS, self.now_ns)
    }

    fn wait_s(&mut self, seconds: u64) {
        self.now_ns += seconds * SECOND_NS;
        self.admission.forget_idle(self.now_ns);
    }
}

use AddressEvent::{Came, Gone, LogsIn, Moved};

#[test]
fn an_address_has_so_many_connections_and_others_have_their_own() {
    let mut counted = Counted::new();
    let too_many = Err(Reason::TooManyConnections);
    assert_eq!([1, 1, 1].map(|last| counted.count(last, Came)), [Ok(()), Ok(()), too_many]);
    assert_eq!(counted.count(2, Came), Ok(()));
    // The one that is refused counts until it is gone.
    assert_eq!(counted.count(1, Came), too_many);
    assert_eq!([Gone; 2].map(|gone| counted.count(1, gone)), [Ok(()); 2]);
    assert_eq!(counted.count(1, Came), too_many);
    assert_eq!([Gone; 2].map(|gone| counted.count(1, gone)), [Ok(()); 2]);
    assert_eq!(counted.count(1, Came), Ok(()));
    for last in [1, 1, 2] {
        assert_eq!(counted.count(last, Gone), Ok(()));
    }
    assert_eq!(counted.admission.len(), 0);
}

#[test]
fn a_connection_that_moves_counts_once_whichever_word_comes_first() {
    let mut counted = Counted::new();
    assert_eq!([1, 1].map(|last| counted.count(last, Came)), [Ok(()); 2]);
    assert_eq!([Moved; 3].map(|moved| counted.count(1, moved)), [Ok(()); 3]);
    // One too many that has gone to another shard before it was refused is refused there.
    assert_eq!(counted.count(1, Came), Err(Reason::TooManyConnections));
    assert_eq!(counted.count(1, Moved), Err(Reason::TooManyConnections));
    for _ in 0..3 {
        assert_eq!(counted.count(1, Gone), Ok(()));
    }
    for event in [Moved, Gone, Came] {
        assert_eq!(counted.count(2, event), Ok(()));
    }
    assert_eq!(counted.admission.len(), 0);
}

#[test]
fn an_address_logs_in_so_often_in_a_minute() {
    let mut counted = Counted::new();
    let too_often = Err(Reason::LoginRate);
    assert_eq!([LogsIn; 3].map(|event| counted.count(1, event)), [Ok(()); 3]);
    assert_eq!(counted.count(1, LogsIn), too_often);
    assert_eq!(counted.count(2, LogsIn), Ok(()));
    counted.wait_s(19);
    assert_eq!(counted.count(1, LogsIn), too_often);
    counted.wait_s(1);
    assert_eq!([LogsIn; 2].map(|event| counted.count(1, event)), [Ok(()), too_often]);
    counted.wait_s(60);
    assert_eq!(
        [LogsIn; 4].map(|event| counted.count(1, event)).map(|r| r.is_ok()),
        [true, true, true, false]
    );
}

#[test]
fn who_has_been_idle_is_forgotten() {
    let mut counted = Counted::new();
    for event in [Came, LogsIn, Gone] {
        assert_eq!(counted.count(1, event), Ok(()));
    }
    assert_eq!(counted.count(2, LogsIn), Ok(()));
    assert_eq!(counted.count(2, Came), Ok(()));
    counted.wait_s(19);
    assert_eq!(counted.admission.len(), 2);
    counted.wait_s(1);
    // Who is connected is not, until the connection goes.
    assert_eq!(counted.admission.len(), 1);
    assert_eq!(counted.count(2, Gone), Ok(()));
    assert_eq!((counted.admission.len(), counted.admission.evicted()), (0, 0));
}

#[test]
fn of_too_many_that_logged_in_the_oldest_is_forgotten() {
    let mut counted = Counted::new();
    for last in [1, 1, 1, 2, 2, 2, 3, 3, 3] {
        assert_eq!(counted.count(last, LogsIn), Ok(()));
    }
    assert_eq!((counted.admission.len(), counted.admission.evicted()), (2, 1));
    for last in [2, 3] {
        assert_eq!(counted.count(last, LogsIn), Err(Reason::LoginRate), "{last} is remembered");
    }
    assert_eq!(counted.count(1, LogsIn), Ok(()), "1 is not");
    // Addresses with a connection are never among them.
    for last in 4..=9 {
        assert_eq!([Came, LogsIn].map(|event| counted.count(last, event)), [Ok(()); 2]);
    }
    assert_eq!(counted.admission.len(), 2 + 6);
    counted.wait_s(60);
    assert_eq!(counted.admission.len(), 6);
}

#[test]
fn accounts_and_addresses_are_counted_apart() {
    let mut counted = Counted::new();
    let mut log_in = |user: &str| {
        let whose = Whose::account(user.as_bytes(), SEED);
        counted.admission.log_in(whose, 1, 10, counted.now_ns)
    };
    assert_eq!(["ann", "ann", "bob"].map(&mut log_in), [true, false, true]);
    assert_eq!(counted.count(1, Came), Ok(()));
    assert_eq!(counted.admission.len(), 3);
    assert!(counted.admission.log_in(Whose::Account(1), 0, 10, 0), "0 is any number");
    assert_eq!(counted.admission.len(), 3);
}

#[test]
fn addresses_are_dealt_out_to_all_shards() {
    let mut counts = [0; 4];
    for last in 0..=255 {
        counts[shard_of(peer(last), 4).index()] += 1;
    }
    assert!(counts.iter().all(|count| *count > 32), "{counts:?}");
}
