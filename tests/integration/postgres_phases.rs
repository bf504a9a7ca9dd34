//! Whatever ends at whichever step of the export: the server, or its Postgres' side of the connection.
//! Afterwards everything is there once.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use crate::client::{Client, PATIENCE};
use crate::postgres_proxy::{Caught, Part, PostgresProxy, Step};
use crate::postgres_server::PostgresServer;
use crate::postgres_world::{Player, World, imported, wait_until_exported};
use crate::server::TestServer;

const KILL: i32 = 9;
const STEPS_OF_A_ROUND: [Step; 7] = [
    Step::Begun,
    Step::Rows,
    Step::RowsEnd,
    Step::Apply,
    Step::Cursor,
    Step::Commit,
    Step::Committed,
];
const STEPS_OF_A_COPY: [Step; 6] =
    [Step::Begun, Step::Rows, Step::RowsEnd, Step::Cursor, Step::Commit, Step::Committed];
/// How often each step is ended at.
const TIMES: usize = 2;

/// A world whose export goes through the proxy.
struct Stage {
    postgres: PostgresServer,
    proxy: PostgresProxy,
    world: World,
    player: Player,
    ends: BTreeMap<String, usize>,
}

impl Stage {
    fn new(seed: u64) -> Self {
        let postgres = PostgresServer::start();
        let connection = postgres.connection();
        let folder = connection.split_once(' ').unwrap().0.strip_prefix("host=").unwrap();
        let proxy = PostgresProxy::start(Path::new(folder));
        let world = World::at(&proxy.connection(), "interval_ms = 1\nreplace = true");
        Self { postgres, proxy, world, player: Player::new(seed), ends: BTreeMap::new() }
    }

    fn play(&mut self, server: &TestServer, count: usize) {
        self.player.objects.clear();
        self.player.play(&mut Client::log_in(server.listen, "ann"), count);
    }

    /// Changes the world until the exporter has come to the step.
    #[expect(clippy::disallowed_methods, reason = "the bound of a wait")]
    fn await_step(&mut self, server: &TestServer, caught: &Caught, name: &str) {
        let end = Instant::now() + PATIENCE;
        while !caught.has_come() {
            assert!(Instant::now() < end, "{name} does not come");
            self.play(server, 5);
        }
        *self.ends.entry(name.to_owned()).or_default() += 1;
    }

    fn kill(&mut self, server: TestServer, caught: Caught, name: &str) {
        self.await_step(&server, &caught, name);
        server.signal(KILL);
        server.wait();
        drop(caught);
    }

    /// Ends Postgres' side of the connection.
    fn terminate(&mut self, server: &TestServer, caught: Caught, name: &str) {
        self.await_step(server, &caught, name);
        self.postgres.sql(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
             WHERE application_name = 'warren'",
        );
        drop(caught);
    }

    #[track_caller]
    fn assert_equal(&self, server: &TestServer) {
        wait_until_exported(server);
        let told = self.world.digest(server);
        let copy = self.world.beside("copy");
        assert_eq!(imported(&self.postgres, &copy), told);
        std::fs::remove_dir_all(copy).unwrap();
        let rows = self.postgres.sql("SELECT count(*) FROM warren.objects");
        assert_eq!(rows.trim(), told["objects"].to_string());
        assert_eq!(server.metric_of_server("warren_export_gaps_total"), 0);
    }
}

#[test]
fn a_server_that_is_killed_at_any_step_of_a_round_goes_on_where_it_was() {
    let mut stage = Stage::new(21);
    let server = stage.world.start();
    stage.play(&server, 100);
    stage.assert_equal(&server);
    server.stop();
    for step in STEPS_OF_A_ROUND.repeat(TIMES) {
        let server = stage.world.start();
        wait_until_exported(&server);
        let before = stage.player.drawn(40);
        stage.play(&server, before);
        let caught = stage.proxy.catch(Part::Round, step);
        stage.kill(server, caught, &format!("{step:?}"));
        let server = stage.world.start();
        stage.assert_equal(&server);
        assert_eq!(server.metric_of_server("warren_export_full_copies_total"), 0);
        server.stop();
    }
    eprintln!("killed in a round: {:?}", stage.ends);
}

#[test]
fn a_server_that_is_killed_at_any_step_of_a_full_copy_copies_again_or_goes_on() {
    let mut stage = Stage::new(22);
    let server = stage.world.start();
    stage.play(&server, 100);
    stage.assert_equal(&server);
    server.stop();
    for step in STEPS_OF_A_COPY.repeat(TIMES) {
        stage.postgres.sql("DELETE FROM warren.cursor");
        let caught = stage.proxy.catch(Part::FullCopy, step);
        let server = stage.world.start();
        stage.kill(server, caught, &format!("{step:?}"));
        let server = stage.world.start();
        stage.assert_equal(&server);
        let copies = u64::from(step != Step::Committed);
        assert_eq!(server.metric_of_server("warren_export_full_copies_total"), copies);
        server.stop();
    }
    eprintln!("killed in a full copy: {:?}", stage.ends);
}

#[test]
fn a_connection_that_postgres_ends_at_any_step_is_made_anew() {
    let mut stage = Stage::new(23);
    let server = stage.world.start();
    stage.play(&server, 100);
    stage.assert_equal(&server);
    for step in STEPS_OF_A_ROUND.repeat(TIMES) {
        let before = stage.player.drawn(40);
        stage.play(&server, before);
        let caught = stage.proxy.catch(Part::Round, step);
        stage.terminate(&server, caught, &format!("round {step:?}"));
        stage.assert_equal(&server);
    }
    assert_eq!(server.metric_of_server("warren_export_full_copies_total"), 1);
    server.stop();
    for step in STEPS_OF_A_COPY.repeat(TIMES) {
        stage.postgres.sql("DELETE FROM warren.cursor");
        let caught = stage.proxy.catch(Part::FullCopy, step);
        let server = stage.world.start();
        stage.terminate(&server, caught, &format!("full copy {step:?}"));
        stage.assert_equal(&server);
        server.stop();
    }
    eprintln!("ended by Postgres: {:?}", stage.ends);
}
