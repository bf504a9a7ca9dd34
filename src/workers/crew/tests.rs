//! A crew beside a shard that answers nothing.

use std::os::unix::process::CommandExt;
use std::process::Command;

use warren_core::turn::ShardInputs;

use super::super::own_key::OwnKey;
use super::*;
use crate::config::{ServerConfig, WorkersConfig};
use crate::control::{ControlPort, Controls, control_line};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A section without seats, so that nothing is started.
fn section() -> WorkersConfig {
    WorkersConfig {
        name: "game".to_owned(),
        command: vec!["sleep".to_owned()],
        count: 0,
        folder: None,
        environment: BTreeMap::new(),
        url: None,
        memory_bytes_max: None,
        nice: 5,
        cores: None,
        start_ms: 30_000,
        silent_ms_max: 60_000,
        restart_ms_max: 30_000,
        stop_ms: 5_000,
    }
}

/// A crew with a process of this stage, and the line of a shard that nobody reads.
fn crew(stage: Stage) -> (Crew, ControlPort) {
    let listen = "127.0.0.1:1".parse().unwrap();
    let key = Arc::new(OwnKey::make().unwrap());
    let launch = Launch::new(&section(), &ServerConfig::default(), &key, listen, &[]);
    let (line, port) = control_line();
    let wake: Box<dyn Fn() + Send + Sync> = Box::new(|| {});
    // Whoever waits for an answer does so longer than the test.
    let controls = Controls::new([(line, wake)]).with_answer_wait(2 * PATIENCE);
    let board = Arc::new(Board::new(["game"].into_iter()));
    let mut crew = Crew::new(launch, Arc::new(Desk::of_controls(controls)), board);
    let child = Command::new("sleep").arg("100").process_group(0).spawn().unwrap();
    let started_ns = crew.now_ns();
    let (process, ended) = Process::of(child, (stage, Part::Leaving, started_ns)).unwrap();
    crew.processes.insert(1, process);
    crew.ends.spawn(async move { (1, ended.await) });
    (crew, port)
}

#[test]
fn while_a_shard_is_silent_workers_are_restarted_and_the_server_ends() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for stage in [Stage::Working, Stage::Starting { until_ns: u64::MAX }] {
        runtime.block_on(async {
            let (crew, mut port) = crew(stage);
            let (board, ending) = (Arc::clone(&crew.board), watch::Sender::new(false));
            let mut tasks = JoinSet::new();
            tasks.spawn(crew.run(ending.subscribe()));
            let all = async {
                let mut inputs = ShardInputs::default();
                while inputs.commands.is_empty() {
                    tokio::task::yield_now().await;
                    port.take(&mut inputs);
                }
                let number = board.order("game", WorkerOrder::Restart).unwrap();
                assert_eq!(board.end("game", number).await, Some(Ok(())));
                ending.send_replace(true);
                tasks.join_next().await.unwrap().unwrap();
            };
            tokio::time::timeout(PATIENCE, all).await.expect("nothing waits for the shard");
        });
    }
}

#[test]
fn one_look_of_each_kind_is_under_way_at_most() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for stage in [Stage::Working, Stage::Starting { until_ns: u64::MAX }] {
        runtime.block_on(async {
            let (mut crew, _port) = crew(stage);
            for _ in 0..3 {
                // The next is due at once.
                crew.processes.get_mut(&1).unwrap().look_ns = 0;
                crew.look();
                assert_eq!(crew.looks.len(), 1);
                // The time of the next does not come while one is under way.
                let wait = crew.wait();
                assert!(wait == IDLE || stage != Stage::Working && wait > LOOK, "{wait:?}");
            }
            // When it has come back there is the next.
            let found = match stage {
                Stage::Working => Found::Leases(Vec::new(), None),
                _ => Found::Begun(Vec::new()),
            };
            crew.found(found);
            crew.look();
            assert_eq!(crew.looks.len(), 2);
            crew.processes.get_mut(&1).unwrap().kill();
            crew.ends.join_next().await.unwrap().unwrap().1.unwrap();
        });
    }
}
