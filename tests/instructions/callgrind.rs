//! Callgrind: counts the instructions of this program while it is in [`measured`], and leaves a
//! profile at each [`end_of_path`].

use std::hint::black_box;
use std::path::Path as File;
use std::process::Command;

use crate::counts::Row;
use crate::paths::Path;

/// The word by which the program is told to do the work.
pub(crate) const MEASURE: &str = "measure";

/// Runs what is counted. What stands around it is not.
#[inline(never)]
pub(crate) fn measured(part: &mut dyn FnMut()) {
    part();
    black_box(());
}

/// All events of a path are done: Callgrind writes what it has counted, and begins at zero.
#[inline(never)]
pub(crate) fn end_of_path(name: &str) {
    black_box(name);
}

/// Instructions of one event of each path.
pub(crate) fn count(paths: &[&Path]) -> Result<Vec<Row>, String> {
    let folder = std::env::temp_dir().join(format!("warren-instructions-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let rows = run(paths, &folder).and_then(|()| read(paths, &folder));
    std::fs::remove_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    rows
}

fn run(paths: &[&Path], folder: &File) -> Result<(), String> {
    let program = std::env::current_exe().expect("the program has a path");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no"])
        .arg("--toggle-collect=instructions::callgrind::measured")
        .arg("--dump-before=instructions::callgrind::end_of_path")
        .arg(format!("--callgrind-out-file={}", folder.join("profile").display()))
        .arg(program)
        .arg(MEASURE)
        .args(paths.iter().map(|path| path.name))
        .output()
        .map_err(|error| format!("valgrind: {error}; it is in Debian's package of that name"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("valgrind: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)))
}

/// The profiles are numbered in the order of the paths.
fn read(paths: &[&Path], folder: &File) -> Result<Vec<Row>, String> {
    let read_one = |(at, path): (usize, &&Path)| {
        let profile = folder.join(format!("profile.{}", at + 1));
        let text = std::fs::read_to_string(&profile)
            .map_err(|error| format!("{}: {error}", profile.display()))?;
        let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
        let total: f64 = total.and_then(|total| total.trim().parse().ok()).unwrap_or(0.0);
        if total == 0.0 {
            return Err(format!("{}: nothing was counted", path.name));
        }
        Ok(Row { name: path.name.to_owned(), instructions: total / f64::from(path.events) })
    };
    paths.iter().enumerate().map(read_one).collect()
}
