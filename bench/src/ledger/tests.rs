use super::*;

/// Messages of a user in a run.
const MESSAGE_COUNT: u32 = 100;

/// What a listener heard of one speaker, and how many of it came first and again.
fn check_heard(numbers: &[u32], first: u32, again: u64) {
    let rooms = Rooms::new(2, 2);
    let places = Places::new(rooms, |_| MESSAGE_COUNT);
    let mut tally = Tally::new(2, rooms);
    let mut listener = Listener::default();
    listener.begin(places.count(0));
    for (sequence, number) in numbers.iter().enumerate() {
        listener.note(&mut tally, sequence as u64, places.of(1, *number), 1, *number);
    }
    assert_eq!((tally.delivered[1], tally.duplicated), (first, again), "{numbers:?}");
    assert_eq!(tally.delivered[0], 0);
}

#[test]
fn each_number_is_delivered_once_however_it_comes() {
    check_heard(&[0, 1, 2, 3], 4, 0);
    check_heard(&[0, 3], 2, 0);
    check_heard(&[0, 3, 1, 2], 4, 0);
    check_heard(&[0, 0], 1, 1);
    check_heard(&[0, 3, 1, 1, 2, 3, 0], 4, 3);
    check_heard(&[5, 4, 3, 2, 1, 0, 5, 0], 6, 2);
    check_heard(&[99, 0, 64, 63, 65, 99], 5, 1);
}

#[test]
fn every_message_of_a_room_has_a_place_of_its_own() {
    let rooms = Rooms::new(5, 3);
    let count = |user: u32| user % 3;
    let places = Places::new(rooms, count);
    for room in 0..rooms.count() {
        let of = |user| (0..count(user)).map(move |number| (user, number));
        let messages = rooms.members(room).flat_map(of);
        let found: Vec<u32> = messages.map(|(user, number)| places.of(user, number)).collect();
        assert_eq!(found, (0..places.count(room)).collect::<Vec<u32>>());
    }
}

struct Hall {
    rooms: Rooms,
    places: Places,
    tally: Tally,
    listeners: Vec<Listener>,
}

impl Hall {
    fn new(users: u32) -> Self {
        let rooms = Rooms::new(users, 4);
        let places = Places::new(rooms, |_| MESSAGE_COUNT);
        let listener = |user| {
            let mut listener = Listener::default();
            listener.begin(places.count(rooms.of(user)));
            listener
        };
        let listeners = (0..users).map(listener).collect();
        Self { rooms, places, tally: Tally::new(users, rooms), listeners }
    }

    fn hear(&mut self, listener: u32, sequence: u64, user: u32, number: u32) {
        let place = self.places.of(user, number);
        self.listeners[listener as usize].note(&mut self.tally, sequence, place, user, number);
    }

    fn say(&mut self, sequence: u64, user: u32, number: u32) {
        self.tally.sent[user as usize] += 1;
        for listener in self.rooms.members(self.rooms.of(user)) {
            self.hear(listener, sequence, user, number);
        }
    }

    fn account(mut self) -> Account {
        for (user, listener) in self.listeners.iter().enumerate() {
            self.tally.note_digest(self.rooms.of(user as u32), listener.digest());
        }
        Account::reconcile(self.rooms, &[self.tally])
    }
}

#[test]
fn a_run_without_fault_is_clean() {
    let mut hall = Hall::new(6);
    hall.say(10, 0, 0);
    hall.say(11, 3, 0);
    hall.say(12, 0, 1);
    hall.say(1, 5, 0);
    let account = hall.account();
    assert!(account.is_clean());
    assert_eq!((account.sent, account.expected, account.delivered), (4, 14, 14));
}

#[test]
fn a_message_that_one_member_did_not_hear_is_one_loss() {
    let mut hall = Hall::new(4);
    hall.tally.sent[2] = 1;
    for listener in 0..3 {
        hall.hear(listener, 1, 2, 0);
    }
    let account = hall.account();
    assert_eq!((account.lost, account.rooms_disagreeing), (1, 1));
    assert!(!account.is_clean());
}

#[test]
fn a_doubled_message_does_not_make_up_for_a_lost_one() {
    let mut hall = Hall::new(4);
    hall.tally.sent[2] = 1;
    for listener in [0, 1, 2, 2] {
        hall.hear(listener, 1, 2, 0);
    }
    let account = hall.account();
    assert_eq!((account.lost, account.duplicated), (1, 1));
}

#[test]
fn what_nobody_said_is_corrupt() {
    let mut hall = Hall::new(4);
    for listener in 0..4 {
        hall.hear(listener, 1, 2, 0);
    }
    assert_eq!(hall.account().corrupted, 4);
}

#[test]
fn a_gap_or_a_step_back_in_the_rooms_numbers_is_out_of_order() {
    for (sequences, out_of_order) in
        [([1, 2, 3], 0), ([7, 8, 9], 0), ([1, 3, 4], 4), ([1, 3, 2], 8), ([1, 1, 2], 4)]
    {
        let mut hall = Hall::new(4);
        for (number, sequence) in sequences.iter().enumerate() {
            hall.say(*sequence, 0, number as u32);
        }
        assert_eq!(hall.account().out_of_order, out_of_order, "{sequences:?}");
    }
}

#[test]
fn whatever_a_room_numbers_counts_in_its_order_and_not_as_heard() {
    let mut hall = Hall::new(4);
    hall.say(4, 0, 0);
    for listener in 0..4 {
        hall.listeners[listener].number(&mut hall.tally, 5);
    }
    hall.say(6, 0, 1);
    hall.listeners[3].number(&mut hall.tally, 8);
    let account = hall.account();
    assert_eq!((account.out_of_order, account.rooms_disagreeing), (1, 0));
    assert_eq!((account.delivered, account.lost), (8, 0));
}

#[test]
fn members_that_hear_two_orders_disagree_though_each_is_dense() {
    let mut hall = Hall::new(2);
    hall.tally.sent = vec![1, 1];
    for (listener, first, second) in [(0, 0, 1), (1, 1, 0)] {
        hall.hear(listener, 1, first, 0);
        hall.hear(listener, 2, second, 0);
    }
    let account = hall.account();
    assert_eq!((account.lost, account.out_of_order), (0, 0));
    assert_eq!(account.rooms_disagreeing, 1);
}

#[test]
fn tallies_of_processes_that_share_rooms_add_up() {
    let rooms = Rooms::new(4, 4);
    let mut tallies = [Tally::new(4, rooms), Tally::new(4, rooms)];
    let mut listeners: Vec<Listener> = (0..4).map(|_| Listener::default()).collect();
    tallies[1].sent[3] = 1;
    for (user, listener) in listeners.iter_mut().enumerate() {
        listener.begin(1);
        listener.note(&mut tallies[user % 2], 1, 0, 3, 0);
        tallies[user % 2].note_digest(0, listener.digest());
    }
    let account = Account::reconcile(rooms, &tallies);
    assert!(account.is_clean());
    assert_eq!((account.expected, account.delivered), (4, 4));
    tallies[0].digests[0] ^= 1;
    assert_eq!(Account::reconcile(rooms, &tallies).rooms_disagreeing, 1);
}

#[test]
fn in_worlds_moves_frames_and_lines_are_in_one_account() {
    let rooms = Rooms::new(2, 2);
    let mut tally = Tally::new(2, rooms);
    (tally.sent, tally.delivered) = (vec![3, 1], vec![6, 1]);
    let worlds = WorldTally {
        moves: 40,
        entities: 100,
        frames_missing: 1,
        stale: 2,
        npcs_missing: 3,
        npcs_still: 4,
        ..WorldTally::default()
    };
    let account = Account::of_worlds(rooms, &[tally], &worlds);
    let expected = Account {
        sent: 44,
        expected: 8 + 110,
        delivered: 7 + 100,
        lost: 1 + 10,
        ..Account::default()
    };
    assert_eq!(account, expected);
}
