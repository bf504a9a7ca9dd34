//! The command `search`: the highest number of users that holds the profile's bound, by as many runs as
//! that takes. Each starts a server of its own, so that none pays for what another has left.

pub mod bracket;
mod html;
pub mod report;

use std::fs;
use std::io::{Write as _, stdout};

use anyhow::{Context as _, Result, ensure};
use warren_net::io::descriptor_limit::descriptors_max;

use self::bracket::{Aim, Bracket};
use self::report::{Found, HEADER, Most, Step};
use crate::arguments::{LoadArguments, SearchArguments, Target};
use crate::phase::EntryFailed;
use crate::profile::storm::SOCKETS_PER_USER;
use crate::report::Circumstances;
use crate::verdict::{Limit, Verdict};
use crate::{capacity, clock, memory, runner};

/// What a step takes besides the load, as far as is known before the first, in seconds.
const OVERHEAD_S: f64 = 5.0;

/// Tries numbers of users until the highest that is held is known nearly enough, or the time is over.
///
/// # Errors
/// When a step cannot be made, but for too many users.
pub fn run(arguments: &SearchArguments) -> Result<Verdict> {
    let mut load = arguments.load.clone();
    let shards = runner::server_shards(&arguments.target, load.shards)?;
    load.shards = shards.unwrap_or(load.shards);
    let aim = Aim {
        first: load.users,
        precision: f64::from(arguments.precision) / 100.0,
        tries_max: arguments.tries,
    };
    let mut search = Search {
        bracket: Bracket::new(aim),
        bounds: bounds(arguments, &load),
        steps: Vec::new(),
        shards,
        held: None,
    };
    let until_s = now_s() + f64::from(arguments.time);
    print!("{HEADER}");
    while let Some(users) = search.bracket.next(search.most().users) {
        if !search.steps.is_empty() && now_s() + search.step_s(users, &load) > until_s {
            break;
        }
        search.step(&arguments.target, &LoadArguments { users, ..load.clone() })?;
    }
    let most = search.most();
    let Search { bracket, steps, held, shards, .. } = search;
    ensure!(!steps.is_empty(), "no number of users fits here: {}", most.limit.label());
    let circumstances = match held {
        Some(circumstances) => circumstances,
        None => Circumstances { shards, ..runner::prepare(&load)? },
    };
    let found = Found::new(&circumstances, (aim, bracket), most, steps);
    print!("{}", found.to_text());
    if let Some(path) = &load.json {
        let json = serde_json::to_string_pretty(&found)? + "\n";
        fs::write(path, json).with_context(|| format!("writing {}", path.display()))?;
    }
    runner::write_page(&load, || html::render(&found))?;
    Ok(found.verdict())
}

/// What bounds the number of users before anything was tried.
fn bounds(arguments: &SearchArguments, load: &LoadArguments) -> Vec<Most> {
    let users_max = arguments.users_max.min(load.profile_users_max());
    let mut bounds = vec![Most { users: users_max, limit: Limit::UsersMax }];
    let mut bound = |users| bounds.push(Most { users, limit: Limit::Descriptors });
    if arguments.target.connect.is_none() {
        bound(capacity::users_max(load.shards, runner::shard_places_max()));
    }
    if let Some(generators) = load.generators {
        let sockets = load.profile().storm.map_or(1, |_| SOCKETS_PER_USER);
        bound((descriptors_max() / sockets).saturating_mul(u32::from(generators)));
    }
    bounds
}

/// A search under way.
struct Search {
    bracket: Bracket,
    bounds: Vec<Most>,
    steps: Vec<Step>,
    shards: Option<u16>,
    /// How the highest number that was held was measured.
    held: Option<Circumstances>,
}

impl Search {
    /// The lowest bound.
    fn most(&self) -> Most {
        let lowest = self.bounds.iter().min_by_key(|most| most.users);
        *lowest.expect("there is always what was asked for")
    }

    /// How long a step with so many users will take, going by the last one.
    fn step_s(&self, users: u32, load: &LoadArguments) -> f64 {
        let played_s = f64::from(load.warm_up + load.duration);
        let overhead_s = self.steps.last().map_or(OVERHEAD_S, |last| {
            let more = f64::from(users) / f64::from(last.users);
            (last.elapsed_s - played_s).max(0.0) * more.max(1.0)
        });
        played_s + overhead_s
    }

    fn step(&mut self, target: &Target, load: &LoadArguments) -> Result<()> {
        let begun_s = now_s();
        let mut circumstances = runner::prepare(load)?;
        circumstances.shards = self.shards;
        if target.connect.is_some() {
            circumstances.pinning = circumstances.pinning.of_generators_only();
        }
        let sockets = memory::sockets_allocated()?;
        let outcome = runner::server_phase(target, load, &circumstances.pinning, "search");
        memory::sockets_settle(sockets)?;
        let elapsed_s = now_s() - begun_s;
        let step = match outcome {
            Ok(outcome) => {
                if let Some(users) =
                    outcome.memory.as_ref().ok().and_then(|it| it.users_max(load.users))
                {
                    self.bounds.retain(|most| most.limit != Limit::Memory);
                    self.bounds.push(Most { users, limit: Limit::Memory });
                }
                Step::new(&circumstances.profile, load.users, &outcome, elapsed_s)
            }
            Err(error) if error.is::<EntryFailed>() => {
                Step::not_entered(load.users, format!("{error:#}"), elapsed_s)
            }
            Err(error) => return Err(error),
        };
        print!("{}", step.to_row());
        stdout().flush()?;
        self.bracket.note(load.users, step.is_held());
        if step.is_held() {
            self.held = Some(circumstances);
        }
        self.steps.push(step);
        Ok(())
    }
}

fn now_s() -> f64 {
    clock::monotonic_ns() as f64 / 1e9
}

#[cfg(test)]
mod tests;
