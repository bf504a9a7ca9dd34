//! Runs a target: first what is in the corpus, then what the mutator makes of it. An input that
//! does what none has done before joins those that others are made of.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crate::corpus::{Seed, files_of};
use crate::mutator::{INPUT_BYTES_MAX, Mutator};
use crate::prng::Prng;
use crate::targets::{Behaviour, Target};

/// Inputs that did something new and are kept to make others of.
const KEPT_MAX: usize = 2_000;
/// Bytes of an input that are shown; the file has all.
const SHOWN_BYTES_MAX: usize = 1_024;

/// How many inputs, and which.
#[derive(Default)]
pub(crate) struct Plan {
    /// Made inputs; none: as many as the target says.
    pub(crate) inputs: Option<u64>,
    pub(crate) seed: u64,
    /// Where each input is written before it is tried, for faults that end the process.
    pub(crate) keep_last: Option<PathBuf>,
}

/// What a target went through.
pub(crate) struct Run {
    inputs: u64,
    bytes: u64,
    behaviours: usize,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { inputs, bytes, behaviours } = self;
        write!(f, "{inputs} inputs of {bytes} bytes did {behaviours} different things")
    }
}

thread_local! {
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Keeps the words of a panic, instead of printing them.
pub(crate) fn hear_panics() {
    std::panic::set_hook(Box::new(|panic| {
        LAST_PANIC.with(|last| *last.borrow_mut() = panic.to_string());
    }));
}

fn attempt(target: &Target, bytes: &[u8], seed: u64) -> Result<Behaviour, String> {
    catch_unwind(AssertUnwindSafe(|| (target.check)(bytes, &mut Prng::new(seed))))
        .map_err(|_| LAST_PANIC.with(|last| last.borrow().clone()))
}

/// Runs the corpus, and then inputs that are made.
pub(crate) fn run(target: &Target, plan: &Plan) -> Result<Run, String> {
    let mut seeds = files_of(target.name);
    seeds.extend((target.seeds)());
    assert!(!seeds.is_empty(), "{} has no corpus", target.name);
    let mut run = Run { inputs: 0, bytes: 0, behaviours: 0 };
    let mut seen = BTreeSet::new();
    let mut kept: Vec<Vec<u8>> = Vec::new();
    for Seed { name, bytes } in &seeds {
        let behaviour =
            attempt(target, bytes, plan.seed).map_err(|words| format!("{name}\n{words}"))?;
        run.inputs += 1;
        run.bytes += bytes.len() as u64;
        if bytes.len() <= INPUT_BYTES_MAX && seen.insert(behaviour) {
            kept.push(bytes.clone());
        }
    }
    let mutator = Mutator { words: target.words };
    let mut prng = Prng::new(plan.seed);
    for number in 0..plan.inputs.unwrap_or(target.inputs) {
        let mut bytes = prng.pick(&kept).clone();
        let other = prng.index(kept.len());
        mutator.mutate(&mut prng, &mut bytes, &kept[other]);
        let check_seed = prng.next();
        if let Some(path) = &plan.keep_last {
            fs::write(path, &bytes).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        run.inputs += 1;
        run.bytes += bytes.len() as u64;
        match attempt(target, &bytes, check_seed) {
            Ok(behaviour) => {
                if kept.len() < KEPT_MAX && seen.insert(behaviour) {
                    kept.push(bytes);
                }
            }
            Err(words) => {
                let which = format!("input {number} of seed {}", plan.seed);
                return Err(failure(target, &which, bytes, check_seed, &words));
            }
        }
    }
    run.behaviours = seen.len();
    Ok(run)
}

/// Runs one input again.
pub(crate) fn run_file(target: &Target, file: &str) -> Result<Run, String> {
    let bytes = fs::read(file).map_err(|error| format!("{file}: {error}"))?;
    // The pieces in which the bytes come are drawn: enough draws, and every cut was made.
    for seed in 0..1_000 {
        attempt(target, &bytes, seed)?;
    }
    Ok(Run { inputs: 1, bytes: bytes.len() as u64, behaviours: 1 })
}

/// Makes the input that failed small, saves it, and says how to keep it.
fn failure(target: &Target, which: &str, bytes: Vec<u8>, seed: u64, words: &str) -> String {
    let bytes = shrink(bytes, |bytes| attempt(target, bytes, seed).is_err());
    let words = attempt(target, &bytes, seed).err().unwrap_or_else(|| words.to_owned());
    let name = target.name;
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{name}.bin"));
    let saved = match fs::write(&path, &bytes) {
        Ok(()) => format!("saved as {}", path.display()),
        Err(error) => format!("not saved, {}: {error}", path.display()),
    };
    let mut hex = String::new();
    for byte in bytes.iter().take(SHOWN_BYTES_MAX) {
        let _ = write!(hex, "{byte:02x}");
    }
    format!(
        "{which}, made smaller: {} bytes, {saved}\n{hex}\n{:?}\n{words}\n\
         Run it again:  cargo test --release --test fuzz -- --target {name} --file {}\n\
         Make it a test: copy it to tests/fuzz/corpus/{name}/WHAT-IT-SHOWS",
        bytes.len(),
        String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_BYTES_MAX)]),
        path.display(),
    )
}

/// Leaves out whatever is not needed for the fault, in ever smaller parts.
fn shrink(mut bytes: Vec<u8>, fails: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut part = bytes.len() / 2;
    while part > 0 {
        let mut at = 0;
        while at < bytes.len() {
            let mut without = bytes.clone();
            without.drain(at..bytes.len().min(at + part));
            if fails(&without) {
                bytes = without;
            } else {
                at += part;
            }
        }
        part /= 2;
    }
    bytes
}
