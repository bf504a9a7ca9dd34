use super::*;

fn check(available: &[usize], shards: usize, generators: usize, server: &[usize], on: &[usize]) {
    let pinning = Pinning::plan(available, shards, generators);
    assert_eq!((pinning.server.as_slice(), pinning.generators.as_slice()), (server, on));
    let overlap = on.iter().any(|core| server.contains(core));
    assert_eq!(pinning.shared, overlap);
}

#[test]
fn the_server_comes_first_and_generators_take_the_other_cores_in_turn() {
    check(&[0, 1], 1, 1, &[0], &[1]);
    check(&[0, 1], 1, 2, &[0], &[1, 1]);
    check(&[0, 1, 2, 3], 2, 3, &[0, 1], &[2, 3, 2]);
    check(&[4, 6, 9], 1, 2, &[4], &[6, 9]);
}

#[test]
fn without_a_core_left_generators_share_those_of_the_server() {
    check(&[0, 1], 2, 2, &[0, 1], &[0, 1]);
    check(&[0, 1], 5, 3, &[0, 1], &[0, 1, 0]);
    check(&[3], 1, 1, &[3], &[3]);
}

#[test]
fn generator_cores_are_listed_once() {
    assert_eq!(Pinning::plan(&[0, 1, 2], 1, 5).generator_cores(), [1, 2]);
}

#[test]
fn the_cores_of_a_run_are_not_known_without_those_of_its_server() {
    let pinning = Pinning::plan(&[0, 1, 2], 2, 3);
    assert_eq!(pinning.all_cores(), Some(vec![0, 1, 2]));
    let pinning = pinning.of_generators_only();
    let generators_only = Pinning { server: vec![], generators: vec![2, 2, 2], shared: false };
    assert_eq!(pinning, generators_only);
    assert_eq!(pinning.all_cores(), None);
}

#[test]
fn a_thread_is_bound_to_the_cores_it_names() {
    let core = *available_cores().last().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            bind(&[core]).unwrap();
            assert_eq!(cores_now(), [core]);
            assert!(bind(&[100_000]).is_err());
        });
    });
}

#[test]
fn who_has_bound_itself_still_knows_the_cores_that_there_were() {
    let before = available_cores();
    bind(&before[..1]).unwrap();
    assert_eq!(available_cores(), before);
    bind(&before).unwrap();
}

#[test]
fn a_thread_steps_forward_where_that_is_permitted() {
    // SAFETY: no memory is passed.
    let policy_now = || unsafe { libc::sched_getscheduler(0) };
    std::thread::scope(|scope| {
        scope.spawn(|| match step_forward(0) {
            Ok(()) => assert_eq!(policy_now(), libc::SCHED_FIFO),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
                assert_eq!(policy_now(), libc::SCHED_OTHER);
            }
        });
    });
    assert!(step_forward(i32::MAX as u32).is_err(), "there is no such thread");
}
