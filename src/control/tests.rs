use warren_core::control::{Answer, Command};
use warren_core::ids::ShardId;
use warren_core::turn::ShardOutputs;

use super::*;

fn set_bans() -> Command {
    Command::SetBans(std::sync::Arc::default())
}

fn one_line() -> (Controls, ControlPort) {
    let (sender, port) = control_line();
    let wake: Box<dyn Fn() + Send + Sync> = Box::new(|| {});
    (Controls::new([(sender, wake)]), port)
}

/// A turn that answers each command.
fn turn(port: &mut ControlPort) -> usize {
    let mut inputs = ShardInputs::default();
    port.take(&mut inputs);
    let mut outputs = ShardOutputs::new(1);
    outputs.answers = inputs.commands.iter().map(|_| Answer::BansSet).collect();
    port.answer(&outputs, |_| None);
    inputs.commands.len()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.unwrap().block_on(future)
}

#[test]
fn a_command_is_answered_by_the_turn_that_takes_it() {
    let (controls, mut port) = one_line();
    block_on(async {
        let asked = controls.ask(ShardId(0), set_bans());
        let both = async { tokio::join!(asked, async { turn(&mut port) }) };
        let reply = Reply { answer: Answer::BansSet, origins: Vec::new() };
        assert_eq!(both.await, (Ok(reply), 1));
    });
    assert_eq!(turn(&mut port), 0);
}

#[test]
fn a_full_line_a_silent_shard_and_one_that_is_gone_are_told_apart() {
    let (mut controls, mut port) = one_line();
    // Nobody answers before that time.
    controls.answer_wait = Duration::from_millis(1);
    let shard = ShardId(0);
    block_on(async {
        for _ in 0..COMMANDS_MAX {
            assert_eq!(controls.ask(shard, set_bans()).await, Err(Unanswered::Silent(shard)));
        }
        assert_eq!(controls.ask(shard, set_bans()).await, Err(Unanswered::Busy(shard)));
        // Those who asked have gone; what they asked for is done all the same.
        assert_eq!(turn(&mut port), COMMANDS_MAX);
        drop(port);
        assert_eq!(controls.ask(shard, set_bans()).await, Err(Unanswered::Silent(shard)));
    });
}

#[test]
fn a_silent_shard_gets_one_look_until_it_answers() {
    let (mut controls, mut port) = one_line();
    controls.answer_wait = Duration::from_millis(1);
    let shard = ShardId(0);
    let silent = Err(Unanswered::Silent(shard));
    block_on(async {
        let look = || controls.ask_as(Asking::Look, shard, set_bans());
        for _ in 0..3 {
            // Also when two look at once.
            assert_eq!(tokio::join!(look(), look()), (silent.clone(), silent.clone()));
        }
        // An operator is not held up.
        assert_eq!(controls.ask_as(Asking::Operator, shard, set_bans()).await, silent);
        assert_eq!(turn(&mut port), 2, "one look, and the operator's command");
        // It answers again: the next look goes there.
        assert_eq!(look().await, silent);
        assert_eq!(turn(&mut port), 1);
        drop(port);
        assert_eq!(look().await, silent, "it is gone");
    });
    let (controls, mut port) = one_line();
    block_on(async {
        for _ in 0..2 {
            let asked = controls.ask_as(Asking::Look, shard, set_bans());
            let (reply, taken) = tokio::join!(asked, async { turn(&mut port) });
            assert_eq!((reply.is_ok(), taken), (true, 1));
        }
    });
}

#[test]
fn what_all_are_asked_reaches_each_that_hears() {
    let lines: Vec<_> = (0..4).map(|_| control_line()).collect();
    let (senders, mut ports): (Vec<_>, Vec<_>) = lines.into_iter().unzip();
    let wake = || -> Box<dyn Fn() + Send + Sync> { Box::new(|| {}) };
    let mut controls = Controls::new(senders.into_iter().map(|sender| (sender, wake())));
    controls.answer_wait = Duration::from_millis(1);
    block_on(async {
        // The first is full, the second is gone, nobody answers for the third.
        for _ in 0..COMMANDS_MAX {
            let _ = controls.ask(ShardId(0), set_bans()).await;
        }
        let mut last = ports.pop().unwrap();
        drop(ports.remove(1));
        let asked = controls.ask_all(set_bans);
        let (outcome, taken) = tokio::join!(asked, async { turn(&mut last) });
        assert_eq!((outcome, taken), (Err(Unanswered::Busy(ShardId(0))), 1));
        // What it does late it does all the same.
        assert_eq!(turn(&mut ports[1]), 1);
    });
}
