//! The operator's commands.

use super::*;
use crate::bans::NEVER_MS;
use crate::control::{Answer, Command, DIGEST_BYTES_MAX, PLACES_MAX, Page, RoomRow, SessionRow};
use crate::ids::{PartitionId, SessionId};
use crate::reason::Reason;

impl World {
    /// A turn with nothing but this command: its answer, and what clients hear.
    pub(super) fn command(&mut self, command: Command) -> (Answer, String) {
        let mut inputs = ShardInputs::default();
        inputs.commands.push(command);
        let heard = self.turn(&inputs);
        assert_eq!(self.outputs.answers.len(), 1, "one answer a command");
        (self.outputs.answers[0].clone(), heard)
    }

    fn sessions(&mut self, from: u32, count: usize) -> Page<SessionRow, u32> {
        match self.command(Command::ListSessions { from, count }).0 {
            Answer::Sessions(page) => page,
            other => panic!("{other:?}"),
        }
    }

    fn rooms(&mut self, from: ObjectId, count: usize) -> Page<RoomRow, ObjectId> {
        match self.command(Command::ListRooms { from, count }).0 {
            Answer::Rooms(page) => page,
            other => panic!("{other:?}"),
        }
    }

    /// Every room, page by page.
    fn all_rooms(&mut self, count: usize) -> Vec<RoomRow> {
        let mut next = Some(ObjectId(0));
        let mut all = Vec::new();
        while let Some(from) = next {
            let page = self.rooms(from, count);
            assert!(page.rows.len() <= count);
            all.extend(page.rows);
            next = page.next;
        }
        all
    }

    fn ban(&mut self, user: &str, until_ms: u64) {
        let mut bans = Bans::default();
        bans.ban_user(user, until_ms);
        let (answer, _) = self.command(Command::SetBans(Arc::new(bans)));
        assert_eq!(answer, Answer::BansSet);
    }
}

fn kick(user: &str) -> Command {
    Command::EndSession { user: user.into(), reason: Reason::Kicked }
}

fn id(index: u32) -> SessionId {
    SessionId { shard: ShardId(0), generation: 0, index }
}

fn world_of(users: &[&str]) -> World {
    let mut world = World::new(NO_GRACE);
    for (index, user) in users.iter().enumerate() {
        world.run(&format!("{index} open ; {index} login user={user}"));
    }
    world
}

#[test]
fn sessions_are_told_page_by_page() {
    let mut world = world_of(&["ann", "bob", "cleo"]);
    world.run("1 join room=r");
    world.run("1 close");
    world.run("2 join room=r");
    let page = world.sessions(0, 10);
    let told: Vec<_> = page.rows.iter().map(|row| (&*row.user, row.session, row.rooms)).collect();
    assert_eq!(told, [("ann", id(0), 0), ("cleo", id(2), 1)]);
    assert_eq!(page.next, None);
    let page = world.sessions(0, 1);
    assert_eq!((page.rows.len(), page.next), (1, Some(1)));
    // The place of the one who left is passed over.
    let page = world.sessions(1, 1);
    assert_eq!((&*page.rows[0].user, page.next), ("cleo", None));
    assert_eq!(world.sessions(u32::MAX, 1), Page { rows: Vec::new(), next: None });
}

#[test]
fn a_page_of_sessions_looks_at_so_many_places_at_most() {
    let mut world = World::new(NO_GRACE);
    let count = u32::try_from(PLACES_MAX).unwrap() + 1;
    for index in 0..count {
        world.run(&format!("{index} open ; {index} login user=u{index}"));
    }
    for index in 0..count - 1 {
        world.run(&format!("{index} close"));
    }
    assert_eq!(world.sessions(0, 10), Page { rows: Vec::new(), next: Some(count - 1) });
    let page = world.sessions(count - 1, 10);
    assert_eq!((page.rows.len(), page.next), (1, None));
}

#[test]
fn rooms_are_told_page_by_page_secret_ones_too() {
    let mut world = world_of(&["ann"]);
    for index in 0..20 {
        world.run(&format!("0 join room=r{index}"));
    }
    world.run("0 create kind=room room=hidden secret=true");
    world.run("0 chat to=r7 text=hi");
    let all = world.all_rooms(1000);
    assert_eq!(all.len(), 21);
    assert!(all.is_sorted_by_key(|row| row.object));
    for count in [1, 3, 7] {
        assert_eq!(world.all_rooms(count), all, "{count}");
    }
    let row = |name: &str| all.iter().find(|row| &*row.name == name).unwrap();
    assert_eq!((row("r7").members, row("r7").is_transient), (1, true));
    assert_eq!(row("r7").last_sequence, row("r6").last_sequence + 1);
    assert!(!row("hidden").is_transient && row("hidden").members == 0);
}

#[test]
fn a_kicked_user_is_out_and_may_come_back() {
    let mut world = world_of(&["ann", "bob"]);
    world.run("0 join room=r");
    world.run("1 join room=r");
    let (answer, heard) = world.command(kick("ann"));
    assert_eq!(
        (answer, &*heard),
        (Answer::Session(Some(id(0))), "0: CLOSE kicked\n1: left room=r user=ann seq=2\n")
    );
    assert_eq!(world.run("0 close"), "");
    let (answer, heard) = world.command(kick("ann"));
    assert_eq!((answer, &*heard), (Answer::Session(None), ""));
    let (answer, _) = world.command(kick("nobody"));
    assert_eq!(answer, Answer::Session(None));
    assert!(world.run("2 open ; 2 login user=ann").contains(" status=0"));
    let found = world.command(Command::FindUser { user: "ann".into() }).0;
    assert!(matches!(found, Answer::Session(Some(_))), "{found:?}");
}

#[test]
fn a_banned_user_is_refused_until_the_ban_ends() {
    let mut world = World::new(NO_GRACE);
    let until_ms = world.now.wall_ms + 1000;
    world.ban("ann", until_ms);
    world.run("0 open");
    let refused = world.run("0 login user=ann");
    assert!(refused.contains("error=banned") && refused.contains("status=403"), "{refused}");
    assert!(world.run("0 login user=bob").contains(" status=0"));
    world.now.wall_ms = until_ms;
    world.run("1 open");
    assert!(world.run("1 login user=ann").contains(" status=0"));
}

#[test]
fn a_login_that_comes_with_a_ban_is_refused() {
    let mut world = world_of(&["ann"]);
    let mut bans = Bans::default();
    bans.ban_user("bob", NEVER_MS);
    let mut inputs = ShardInputs::default();
    world.step("1 open", &mut inputs);
    world.step("1 login user=bob", &mut inputs);
    inputs.commands.push(Command::SetBans(Arc::new(bans)));
    inputs.commands.push(Command::EndSession { user: "bob".into(), reason: Reason::Banned });
    let heard = world.turn(&inputs);
    assert_eq!(world.outputs.answers, [Answer::BansSet, Answer::Session(None)]);
    assert!(heard.contains("error=banned"), "{heard}");
}

#[test]
fn a_session_that_is_not_open_yet_is_told_as_such() {
    let mut world = World::new(Limits { turn_events_max: 1, ..Limits::PRODUCTION });
    world.run("0 open ; 0 login user=ann ; 1 open ; 1 login user=bob");
    let page = world.sessions(0, 10);
    // The commands are carried out before the queues.
    let phases: Vec<bool> = page.rows.iter().map(|row| row.is_logging_in).collect();
    assert_eq!(phases, [false, true]);
    let home = PartitionId::of_name("bob");
    assert!(world.shard.partition(home).is_some_and(|home| home.user("bob").is_some()));
}

#[test]
fn whoever_is_at_a_banned_address_goes_with_session_and_connection() {
    // With time to resume: the session would outlive a connection that is merely gone.
    let mut world = World::new(Limits::PRODUCTION);
    world.run("0 open ; 0 login user=ann ; 0 join room=plaza");
    world.run("1 open ; 1 login user=bob ; 1 join room=plaza");
    let heard = world.run("0 banned");
    assert!(heard.contains("0: CLOSE banned\n"), "{heard}");
    assert!(heard.contains("1: left ") && heard.contains("user=ann"), "{heard}");
    // What it said meanwhile is ignored, and its session is nobody's to resume.
    assert_eq!(world.run("0 chat to=plaza text=hi"), "");
    assert_eq!(world.run("0 banned"), "");
    assert_eq!(world.run("0 close"), "");
    assert_eq!(world.sessions(0, 10).rows.len(), 1);
    // One that has not logged in has a connection alone.
    world.run("2 open");
    assert_eq!(world.run("2 banned"), "2: CLOSE banned\n");
    assert_eq!(world.run("2 close"), "");
}

#[test]
fn a_ban_of_the_address_takes_a_login_back_that_is_under_way() {
    let mut world = World::new(Limits { turn_events_max: 1, ..Limits::PRODUCTION });
    world.run("0 open ; 0 login user=ann ; 1 open ; 1 login user=bob");
    assert!(world.sessions(0, 10).rows[1].is_logging_in);
    assert_eq!(world.run("1 banned"), "1: CLOSE banned\n");
    world.settle();
    world.run("1 close");
    assert_eq!(world.sessions(0, 10).rows.len(), 1);
    let home = world.shard.partition(PartitionId::of_name("bob")).unwrap();
    assert_eq!(home.user("bob").and_then(|user| user.session), None);
}

#[test]
fn digests_are_told_group_by_group_and_added_to_that_of_all() {
    let mut world = world_of(&["ann", "bob"]);
    for _ in 0..30 {
        world.run("0 create kind=k partition=9 a=1 ; 1 create kind=k partition=70");
    }
    world.run("0 create kind=k partition=65535");
    let told = |world: &mut World, count| {
        let (mut next, mut all) = (Some(ObjectId(0)), BTreeMap::<u16, (u64, u64)>::new());
        while let Some(from) = next {
            let page = match world.command(Command::DigestObjects { from, count }).0 {
                Answer::Digests(page) => page,
                other => panic!("{other:?}"),
            };
            assert!(page.rows.len() <= count);
            for row in page.rows {
                let sum = all.entry(row.group.0).or_default();
                *sum = (sum.0 + row.objects, sum.1.wrapping_add(row.digest));
            }
            next = page.next;
        }
        all
    };
    let all = told(&mut world, 250);
    let digest = |all: &BTreeMap<u16, (u64, u64)>| {
        all.values().fold(0, |sum: u64, it| sum.wrapping_add(it.1))
    };
    assert_eq!(digest(&all), world.shard.objects_digest());
    assert_eq!((all[&0].0, all[&1].0, all[&1023].0), (30, 30, 1));
    assert_eq!(all.values().map(|it| it.0).sum::<u64>(), 63);
    assert_eq!(told(&mut world, 1), all);
    // A change of an object changes its group's.
    world.run("0 set object=9.7 a=2");
    let changed = told(&mut world, 250);
    let differ: Vec<_> = all.keys().filter(|group| all[group] != changed[group]).collect();
    assert_eq!(differ, [&0]);
}

#[test]
fn digests_of_many_bytes_come_in_parts() {
    let mut world = world_of(&["ann"]);
    let text = "x".repeat(16_000);
    let count = 2 * DIGEST_BYTES_MAX / text.len();
    for _ in 0..count {
        world.run(&format!("0 create kind=k partition=9 a={text}"));
    }
    let (mut next, mut parts, mut objects) = (Some(ObjectId(9 << 48)), 0, 0);
    while let Some(from) = next {
        let command = Command::DigestObjects { from, count: 250 };
        let Answer::Digests(page) = world.command(command).0 else { panic!() };
        let of_group = page.rows.iter().find(|row| row.group.0 == 0).map_or(0, |row| row.objects);
        assert!(of_group as usize * text.len() < DIGEST_BYTES_MAX + text.len());
        parts += u64::from(of_group > 0);
        objects += of_group;
        next = page.next;
    }
    assert_eq!((parts, objects), (2, count as u64));
}
