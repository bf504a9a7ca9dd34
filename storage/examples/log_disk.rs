//! What the disk under a delta log takes: appending and syncing by direct I/O of glommio, against writes
//! through the page cache with `fdatasync`; and what becomes of appends while another task of the executor
//! reads, by the shares of their task queues.
//!
//! ```text
//! cargo run --release -p warren-storage --example log_disk -- FOLDER
//! ```
//!
//! Times are of one append with its sync, in microseconds.

use std::cell::Cell;
use std::error::Error;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use glommio::io::{DmaFile, OpenOptions};
use glommio::{Latency, LocalExecutorBuilder, Placement, Shares, TaskQueueHandle};

const FILE_BYTES: u64 = 256 << 20;
const SIZES: [usize; 3] = [4 << 10, 64 << 10, 256 << 10];
/// Appends of a round, and rounds: the two ways take turns.
const APPENDS: u64 = 100;
const ROUNDS: usize = 5;
/// Bytes that the reader reads at a time.
const READ_BYTES: usize = 1 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("which folder?")?);
    let executor = LocalExecutorBuilder::new(Placement::Unbound).make()?;
    let (direct, cached) = (folder.join("direct"), folder.join("cached"));
    let mut out = std::io::stdout();
    let result = executor.run(async {
        writeln!(out, "append and sync    glommio: median, p99    page cache: median, p99    ratio of medians")?;
        for size in SIZES {
            let (mut by_glommio, mut by_cache) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                by_glommio.extend(append_directly(&direct, size).await?);
                by_cache.extend(append_through_cache(&cached, size)?);
            }
            let ([median, p99], [cache_median, cache_p99]) =
                (percentiles(by_glommio), percentiles(by_cache));
            let ratio = median / cache_median;
            let kib = size >> 10;
            writeln!(out, "{kib:>7} KiB {median:>17.0} {p99:>9.0} {cache_median:>15.0} {cache_p99:>9.0} {ratio:>17.2}")?;
        }
        writeln!(out, "\nappend and sync of 64 KiB beside reads of 1 MiB    median, p99    read")?;
        for (label, append_shares, read_shares) in
            [("nobody reads", 1000, None), ("equal shares", 500, Some(500)), ("1000 to 50", 1000, Some(50))]
        {
            let (times, read_bytes) =
                append_beside_reads(&folder, &direct, append_shares, read_shares).await?;
            let [median, p99] = percentiles(times);
            writeln!(out, "{label:<45} {median:>10.0} {p99:>9.0} {:>10} MiB", read_bytes >> 20)?;
        }
        Ok::<_, Box<dyn Error>>(())
    });
    for path in [direct, cached, folder.join("read")] {
        let _ = std::fs::remove_file(path);
    }
    result
}

async fn segment(path: &Path) -> Result<DmaFile, Box<dyn Error>> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(true).dma_open(path).await?;
    file.pre_allocate(FILE_BYTES, false).await?;
    file.fdatasync().await?;
    Ok(file)
}

async fn append(file: &DmaFile, offset: u64, size: usize) -> Result<Duration, Box<dyn Error>> {
    let begun = now();
    let mut buffer = file.alloc_dma_buffer(size);
    buffer.as_bytes_mut().fill(7);
    if file.write_at(buffer, offset).await? != size {
        return Err("a short write".into());
    }
    file.fdatasync().await?;
    Ok(now() - begun)
}

async fn append_directly(path: &Path, size: usize) -> Result<Vec<Duration>, Box<dyn Error>> {
    let file = segment(path).await?;
    let mut times = Vec::new();
    for number in 0..APPENDS {
        times.push(append(&file, number * size as u64, size).await?);
    }
    file.close().await?;
    Ok(times)
}

fn append_through_cache(path: &Path, size: usize) -> Result<Vec<Duration>, Box<dyn Error>> {
    let file = File::create(path)?;
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, FILE_BYTES)?;
    file.sync_data()?;
    let buffer = vec![7; size];
    let mut times = Vec::new();
    for number in 0..APPENDS {
        let begun = now();
        file.write_all_at(&buffer, number * size as u64)?;
        file.sync_data()?;
        times.push(now() - begun);
    }
    Ok(times)
}

/// Appends in a task queue of its own while another reads a file again and again.
async fn append_beside_reads(
    folder: &Path,
    path: &Path,
    append_shares: usize,
    read_shares: Option<usize>,
) -> Result<(Vec<Duration>, u64), Box<dyn Error>> {
    let queue = |shares, latency, name| {
        glommio::executor().create_task_queue(Shares::Static(shares), latency, name)
    };
    let appends = queue(append_shares, Latency::Matters(Duration::from_millis(1)), "append");
    let is_over = Rc::new(Cell::new(false));
    let read_bytes = Rc::new(Cell::new(0));
    let reader = match read_shares {
        None => None,
        Some(shares) => {
            let queue = queue(shares, Latency::NotImportant, "read");
            Some(read_again_and_again(folder, queue, &is_over, &read_bytes).await?)
        }
    };
    let file = segment(path).await?;
    let times = glommio::spawn_local_into(
        async move {
            let mut times = Vec::new();
            for number in 0..4 * APPENDS {
                let size = 64 << 10;
                let time = append(&file, number * size as u64, size).await;
                times.push(time.map_err(|error| error.to_string())?);
            }
            file.close().await.map_err(|error| error.to_string())?;
            Ok::<_, String>(times)
        },
        appends,
    )?
    .await?;
    is_over.set(true);
    if let Some(reader) = reader {
        reader.await?;
    }
    Ok((times, read_bytes.get()))
}

async fn read_again_and_again(
    folder: &Path,
    queue: TaskQueueHandle,
    is_over: &Rc<Cell<bool>>,
    read_bytes: &Rc<Cell<u64>>,
) -> Result<glommio::Task<Result<(), String>>, Box<dyn Error>> {
    let file = segment(&folder.join("read")).await?;
    // What was never written is not on the disk.
    for number in 0..FILE_BYTES / READ_BYTES as u64 {
        let mut buffer = file.alloc_dma_buffer(READ_BYTES);
        buffer.as_bytes_mut().fill(3);
        file.write_at(buffer, number * READ_BYTES as u64).await?;
    }
    let (is_over, read_bytes) = (Rc::clone(is_over), Rc::clone(read_bytes));
    let body = async move {
        for number in (0..FILE_BYTES / READ_BYTES as u64).cycle() {
            if is_over.get() {
                break;
            }
            let read = file.read_at_aligned(number * READ_BYTES as u64, READ_BYTES).await;
            let read = read.map_err(|error| error.to_string())?;
            // As who decodes it would.
            let sum = read.iter().fold(0_u64, |sum, byte| sum.wrapping_add(u64::from(*byte)));
            if sum == 0 {
                return Err("what was written is not there".to_owned());
            }
            read_bytes.set(read_bytes.get() + READ_BYTES as u64);
            glommio::yield_if_needed().await;
        }
        file.close().await.map_err(|error| error.to_string())
    };
    Ok(glommio::spawn_local_into(body, queue)?)
}

fn now() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::try_from(now).expect("the clock began at its boot")
}

/// The median and the 99th percentile, in microseconds.
fn percentiles(mut times: Vec<Duration>) -> [f64; 2] {
    times.sort_unstable();
    [50, 99].map(|percent| times[(times.len() - 1) * percent / 100].as_nanos() as f64 / 1e3)
}
