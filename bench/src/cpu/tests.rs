use super::*;

fn reading(threads: &[(u32, &str, u64)]) -> ProcessReading {
    let threads = threads
        .iter()
        .map(|(id, name, run_ns)| {
            (*id, ThreadReading { name: (*name).to_owned(), run_ns: *run_ns })
        })
        .collect();
    ProcessReading { threads }
}

#[test]
fn threads_of_one_name_are_added_up_and_the_busiest_comes_first() {
    let before = reading(&[(1, "warren", 100), (2, "shard", 1_000), (3, "shard", 2_000)]);
    let after =
        reading(&[(1, "warren", 105), (2, "shard", 1_500), (3, "shard", 2_700), (9, "log", 40)]);
    let used: Vec<(String, u32, u64)> = after
        .since(&before)
        .into_iter()
        .map(|thread| (thread.name, thread.count, thread.cpu_ns))
        .collect();
    let expected = [("shard", 2, 1_200), ("log", 1, 40), ("warren", 1, 5)];
    assert_eq!(used, expected.map(|(name, count, cpu_ns)| (name.to_owned(), count, cpu_ns)));
}

#[test]
fn threads_are_counted_by_the_beginning_of_their_names() {
    let reading = reading(&[(1, "warren", 0), (2, "shard-0", 0), (3, "shard-1", 0)]);
    assert_eq!(["shard-", "warren", "log"].map(|prefix| reading.count_of(prefix)), [2, 1, 0]);
    assert!(reading.threads_of("shard-").eq([2, 3]));
}

#[test]
fn run_time_is_the_first_number_of_schedstat() {
    for (text, run_ns) in
        [("781051 35593 3\n", Some(781_051)), ("0 0 0\n", Some(0)), ("", None), ("x 1 2", None)]
    {
        assert_eq!(parse_schedstat(text), run_ns, "{text:?}");
    }
}

#[test]
fn our_own_threads_are_found() {
    let before = ProcessReading::take(std::process::id()).unwrap();
    let mut sum = 0u64;
    while ProcessReading::take(std::process::id()).unwrap().since(&before)[0].cpu_ns == 0 {
        sum = std::hint::black_box(sum + 1);
    }
    assert!(ProcessReading::take(0).is_err());
}

#[test]
fn whom_a_process_has_started_is_of_its_family() {
    let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let own = std::process::id();
    let family = ProcessReading::take_family(own).unwrap();
    let alone = ProcessReading::take(own).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let is_there = |reading: &ProcessReading| reading.threads.contains_key(&child.id());
    assert_eq!([family, alone].map(|reading| is_there(&reading)), [true, false]);
    assert!(ProcessReading::take_family(0).is_err());
}

#[test]
fn busy_time_of_cores_is_all_but_idle_waiting_and_stolen_time() {
    let before = MachineReading::parse("cpu  9 9 9 9 9 9 9 9\ncpu0 1 0 0 0 0 0 0 0\n");
    let after = MachineReading::parse(
        "cpu  9 9 9 9 9 9 9 9\ncpu0 11 2 3 1000 1000 4 5 1000 0 0\ncpu1 1 1 1 1 1 1 1 1\nintr 5\n",
    );
    let tick_ns = 10_000_000;
    assert_eq!(after.busy_ns_since(&before, &[0]), (10 + 2 + 3 + 4 + 5) * tick_ns);
    assert_eq!(after.busy_ns_since(&before, &[0, 1]), (24 + 5) * tick_ns);
    assert_eq!(after.busy_ns_since(&before, &[7]), 0);
    assert!(!MachineReading::take().unwrap().busy_ticks.is_empty());
}
