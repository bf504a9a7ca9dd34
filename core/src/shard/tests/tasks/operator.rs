//! What the operator hears of tasks, and what becomes of dead ones.

use super::*;
use crate::control::{
    Answer, Command, DeadOrder, DeadRow, DeadTasks, PLACES_MAX, Page, PartitionRow, QueueRow,
    SettledRow, TaskCounts, TaskTotals,
};
use crate::reason::Reason;

impl World {
    fn queues(&mut self, from: u32, count: usize) -> Page<QueueRow, u32> {
        match self.command(Command::ListQueues { from, count }).0 {
            Answer::Queues(page) => page,
            other => panic!("{other:?}"),
        }
    }

    fn partitions(&mut self, from: u16, count: usize) -> Page<PartitionRow, PartitionId> {
        let from = PartitionId(from);
        match self.command(Command::DeepestPartitions { from, count }).0 {
            Answer::Partitions(page) => page,
            other => panic!("{other:?}"),
        }
    }

    fn dead(&mut self, from: ObjectId, count: usize, method: Option<&str>) -> Vec<DeadRow> {
        let (mut rows, mut next) = (Vec::new(), Some(from));
        while let Some(from) = next {
            let method = method.map(Into::into);
            let (answer, _) = self.command(Command::ListDead { from, count, method });
            let Answer::Dead(page) = answer else { panic!("{answer:?}") };
            assert!(page.rows.len() <= count);
            rows.extend(page.rows);
            next = page.next;
        }
        rows
    }

    fn settle_dead(
        &mut self,
        order: DeadOrder,
        tasks: DeadTasks,
    ) -> (Page<SettledRow, ObjectId>, String) {
        let batches = self.deltas.len();
        let (answer, heard) = self.command(Command::SettleDead { order, tasks });
        let Answer::DeadSettled(page) = answer else { panic!("{answer:?}") };
        let settled = page.rows.iter().filter(|row| row.refused.is_none()).count();
        let leases = heard.lines().filter(|line| line.contains(": task ")).count();
        assert_eq!(self.deltas.len() - batches, settled + leases, "a batch for each");
        (page, heard)
    }

    fn settle_one(&mut self, order: DeadOrder, task: &str) -> Result<String, Reason> {
        let task = task.parse().unwrap();
        let (page, heard) = self.settle_dead(order, DeadTasks::One(task));
        assert_eq!((page.rows.len(), page.rows[0].task, page.next), (1, task, None));
        page.rows[0].refused.map_or(Ok(heard), Err)
    }
}

fn all(count: usize, method: Option<&str>) -> DeadTasks {
    DeadTasks::From { from: ObjectId(0), count, method: method.map(Into::into) }
}

/// Of ann's `hit`s the first is dead, and so is one `bite` of bob's.
fn world_of_dead() -> World {
    check_tasks(
        Limits { tasks_per_partition_max: 2, ..Limits::PRODUCTION },
        TaskMethod { deadline_ms: 0, ..TaskMethod::DEFAULT },
        "
        4 work methods=bite credits=1 deadline_ms=0
            4: work status=0
        3 work methods=hit credits=1
            3: work status=0
        1 hit key=k n=1
            3: task task=12626.2 method=hit user=ann attempt=1 limit_ms=30000 key=k n=1
        2 bite target=171.1
            4: task task=171.3 method=bite user=bob attempt=1 limit_ms=30000 target=171.1 target_version=1 target_record=WOLF
        3 begin task=12626.2 token=@3
            3: begin status=0
        3 fail task=12626.2 token=@3 retry=false error_text=no
            1: hit status=500 error=task-failed
            3: fail status=0
        4 fail task=171.3 token=@4 retry=false
            2: bite status=500 error=task-failed
            4: fail status=0
        ",
    )
}

#[test]
fn queues_are_told_by_method_with_what_has_come_of_them() {
    let mut world = check_tasks(
        Limits::PRODUCTION,
        TaskMethod { deadline_ms: 7000, ..TaskMethod::DEFAULT },
        "
        3 work methods=hit credits=2
            3: work status=0
        1 hit target=171.1 n=1 key=k
            3: task task=171.3 method=hit user=ann attempt=1 limit_ms=30000 target=171.1 n=1 key=k target_version=1 target_record=WOLF
        1 hit target=171.1 n=2 ; 1 hit target=171.1 n=3
        +1500
        1 hit n=4
            3: task task=12626.2 method=hit user=ann attempt=1 limit_ms=30000 n=4
        3 fail task=12626.2 token=@3
            3: fail status=0
        4 work methods=bite credits=0
            4: work status=0
        2 bite n=5
        +500
        ",
    );
    let counts = TaskCounts { ready: 2, delayed: 1, leased: 1, ..TaskCounts::default() };
    let totals = TaskTotals { taken: 4, leased: 2, failed: 1, ..TaskTotals::default() };
    let hit = QueueRow { method: "hit".into(), counts, oldest_ms: Some(2000), totals };
    let counts = TaskCounts { ready: 1, ..TaskCounts::default() };
    let totals = TaskTotals { taken: 1, ..TaskTotals::default() };
    let bite = QueueRow { method: "bite".into(), counts, oldest_ms: Some(500), totals };
    let page = world.queues(0, 10);
    assert_eq!(page, Page { rows: vec![hit.clone(), bite.clone()], next: None });
    assert_eq!(world.queues(0, 1), Page { rows: vec![hit], next: Some(1) });
    assert_eq!(world.queues(1, 1), Page { rows: vec![bite], next: None });
    assert_eq!(world.queues(9, 1), Page { rows: Vec::new(), next: None });
    // 171.3 is done and kept, 171.4 lost with its worker, 171.5 and ann's other one not taken in time.
    world.run("3 done task=171.3 token=@3.1");
    world.run("3 close");
    world.run("+6000");
    let row = &world.queues(0, 1).rows[0];
    assert_eq!(
        row.totals,
        TaskTotals { taken: 4, leased: 3, failed: 1, done: 1, lost: 1, expired: 1 }
    );
    assert_eq!(row.counts, TaskCounts { ready: 2, done: 1, ..TaskCounts::default() });
}

#[test]
fn partitions_are_told_deepest_first() {
    let mut world = check_default("3 work methods=hit credits=0\n            3: work status=0");
    for (partition, count) in [(3, 1), (9, 3), (4097, 2), (4098, 1)] {
        let create = format!("1 create kind=wolf partition={partition}");
        assert!(world.run(&create).contains("status=0"));
        for _ in 0..count {
            assert_eq!(world.run(&format!("1 hit target={partition}.1")), "");
        }
    }
    let told = |page: Page<PartitionRow, PartitionId>| {
        let rows = page.rows.iter().map(|row| (row.partition.0, row.counts.ready));
        (rows.collect::<Vec<_>>(), page.next.map(|next| usize::from(next.0)))
    };
    assert_eq!(told(world.partitions(0, 9)), (vec![(9, 3), (3, 1)], Some(PLACES_MAX)));
    assert_eq!(told(world.partitions(0, 1)), (vec![(9, 3)], Some(PLACES_MAX)));
    assert_eq!(told(world.partitions(4096, 9)), (vec![(4097, 2), (4098, 1)], Some(8192)));
    assert_eq!(told(world.partitions(65_535, 9)), (vec![], None));
}

#[test]
fn dead_tasks_are_told_page_by_page_and_one_in_full() {
    let mut world = world_of_dead();
    let first = ObjectId(0);
    let rows = world.dead(first, 10, None);
    let told: Vec<_> = rows.iter().map(|row| (format!("{}", row.task), &*row.method)).collect();
    assert_eq!(told, [("171.3".to_string(), "bite"), ("12626.2".to_string(), "hit")]);
    assert_eq!(world.dead(first, 1, None), rows);
    assert_eq!(world.dead(first, 1, Some("hit")), rows[1..]);
    assert_eq!(world.dead(first, 1, Some("unheard-of")), []);
    let expected = DeadRow {
        task: "12626.2".parse().unwrap(),
        method: "hit".into(),
        user: "ann".into(),
        attempts: 1,
        error_text: "no".into(),
        key: Some("k".into()),
        target: None,
        request: Vec::new(),
    };
    assert_eq!(rows[1], expected);
    assert_eq!(rows[0].target, Some("171.1".parse().unwrap()));
    let Answer::DeadTask(Some(shown)) = world.command(Command::ShowDead(rows[1].task)).0 else {
        panic!("it is dead")
    };
    let request = Message::parse(&shown.request).unwrap();
    assert_eq!(request.get("n"), Some(Value::Text("1")));
    assert_eq!(DeadRow { request: Vec::new(), ..*shown }, expected);
    for other in ["12626.1", "171.1", "9.9"] {
        let told = world.command(Command::ShowDead(other.parse().unwrap())).0;
        assert_eq!(told, Answer::DeadTask(None), "{other}");
    }
}

#[test]
fn a_page_of_dead_tasks_looks_at_so_many_places_at_most() {
    let limits = Limits { tasks_per_partition_max: 10_000, ..Limits::PRODUCTION };
    let mut world = check_tasks(
        limits,
        TaskMethod { deadline_ms: 0, ..TaskMethod::DEFAULT },
        "3 work methods=hit credits=1\n            3: work status=0",
    );
    for partition in 0..5 {
        for _ in 0..1024 {
            let target = format!("{}.1", 200 + partition);
            let told = world.run(&format!("1 hit target={target}"));
            let task = told.split(' ').find_map(|word| word.strip_prefix("task=")).unwrap();
            world.run(&format!("3 fail task={task} token=@3 retry=false"));
        }
    }
    let method = Some("bite".into());
    let (answer, _) = world.command(Command::ListDead { from: ObjectId(0), count: 250, method });
    let Answer::Dead(page) = answer else { panic!("{answer:?}") };
    assert!(page.rows.is_empty());
    assert_eq!(page.next.map(ObjectId::partition), Some(PartitionId(204)));
    assert_eq!(world.dead(ObjectId(0), 250, None).len(), 5 * 1024);
}

#[test]
fn a_dead_task_is_tried_again_as_if_nobody_had_begun() {
    let mut world = world_of_dead();
    let heard = world.settle_one(DeadOrder::Retry, "12626.2").unwrap();
    assert_eq!(
        heard,
        "3: task task=12626.2 method=hit user=ann attempt=1 limit_ms=30000 key=k n=1\n"
    );
    // The key is the task's again, and whoever asks with it hears what comes of it.
    assert!(world.run("1 hit key=k n=1").contains("error=task-pending"));
    assert_eq!(world.run("3 done task=12626.2 token=@3 gold=7"), "3: done status=0\n");
    assert_eq!(world.run("1 hit key=k n=1"), "1: hit status=0 gold=7\n");
    assert_eq!(world.settle_one(DeadOrder::Retry, "12626.2"), Err(Reason::UnknownObject));
    assert_eq!(world.settle_one(DeadOrder::Drop, "9.9"), Err(Reason::UnknownObject));
    assert_eq!(world.settle_one(DeadOrder::Drop, "171.1"), Err(Reason::UnknownObject));
    // It waits for a worker for as long as it takes.
    world.run("4 work methods=bite credits=0");
    assert_eq!(world.settle_one(DeadOrder::Retry, "171.3").unwrap(), "");
    assert_eq!(world.run("+100000000"), "");
    assert!(world.run("4 work methods=bite credits=1").contains("task=171.3"));
    replays_to_the_same_state(&world, Limits::PRODUCTION);
}

#[test]
fn a_dead_task_whose_key_was_used_anew_stays_dead() {
    let mut world = world_of_dead();
    assert!(world.run("1 hit key=k n=2").contains("task=12626.3"));
    assert_eq!(world.settle_one(DeadOrder::Retry, "12626.2"), Err(Reason::TaskPending));
    world.run("3 done task=12626.3 token=@3");
    assert_eq!(world.settle_one(DeadOrder::Retry, "12626.2"), Err(Reason::TaskPending));
    // Ten minutes later it is nobody's.
    world.run("+600000");
    assert!(world.settle_one(DeadOrder::Retry, "12626.2").unwrap().contains("task=12626.2"));
}

#[test]
fn dead_tasks_of_a_full_partition_or_a_slow_disk_stay_dead() {
    let mut world = world_of_dead();
    world.run("3 work methods=hit credits=0");
    world.run("1 hit n=1 ; 1 hit n=2");
    assert_eq!(world.settle_one(DeadOrder::Retry, "12626.2"), Err(Reason::QueueFull));
    let (page, _) = world.settle_dead(DeadOrder::Retry, all(10, None));
    let refused: Vec<_> = page.rows.iter().map(|row| row.refused).collect();
    assert_eq!(refused, [None, Some(Reason::QueueFull)]);
    world.shard.is_log_behind = true;
    assert_eq!(world.settle_one(DeadOrder::Drop, "12626.2"), Err(Reason::Busy));
    world.shard.is_log_behind = false;
    assert_eq!(world.settle_one(DeadOrder::Drop, "12626.2").unwrap(), "");
    assert_eq!(world.dead(ObjectId(0), 10, None), []);
    assert!(world.run("1 get object=12626.2").contains("error=unknown-object"));
}

#[test]
fn all_dead_tasks_are_settled_page_by_page_and_by_method() {
    let mut world = world_of_dead();
    let (page, _) = world.settle_dead(DeadOrder::Drop, all(1, None));
    assert_eq!(page.rows.len(), 1);
    assert_eq!(page.next, Some("12626.2".parse().unwrap()));
    let (page, _) = world.settle_dead(DeadOrder::Drop, all(1, Some("bite")));
    assert_eq!((page.rows.len(), page.next), (0, None));
    let (page, heard) = world.settle_dead(DeadOrder::Retry, all(10, Some("hit")));
    assert_eq!((page.rows.len(), page.next), (1, None));
    assert!(heard.contains("task=12626.2"), "{heard}");
}

/// An older task that comes back from the dead does not go out beside the one that took its place.
#[test]
fn a_retried_task_waits_until_its_line_is_free() {
    let mut world = check_tasks(
        Limits::PRODUCTION,
        TaskMethod { is_ordered: true, ..TaskMethod::DEFAULT },
        "
        3 work methods=hit credits=4
            3: work status=0
        1 hit n=1
            3: task task=12626.2 method=hit user=ann attempt=1 limit_ms=30000 n=1
        1 hit n=2
        1 hit n=3
        3 fail task=12626.2 token=@3 retry=false
            1: hit status=500 error=task-failed
            3: fail status=0
            3: task task=12626.3 method=hit user=ann attempt=1 limit_ms=30000 n=2
        ",
    );
    assert_eq!(world.settle_one(DeadOrder::Retry, "12626.2").unwrap(), "");
    let heard = world.run("3 done task=12626.3 token=@3");
    assert!(heard.contains("task=12626.2") && !heard.contains("task=12626.4"), "{heard}");
    let heard = world.run("3 done task=12626.2 token=@3");
    assert!(heard.contains("task=12626.4"), "{heard}");
}
