//! What is told of configured workers, and what is asked of them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::sync::{mpsc, watch};

/// Orders that wait for those of one section; the next is refused.
const ORDERS_MAX: usize = 4;

/// What an operator may ask of the processes of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WorkerOrder {
    /// End each, and start it anew.
    Restart,
    /// Start as many beside them, and end those before once these work.
    Reload,
}

impl WorkerOrder {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Reload => "reload",
        }
    }
}

/// Why an order is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// There is no such section.
    Unknown,
    /// Another order is being carried out.
    Busy,
}

/// How an order has ended.
pub(crate) type OrderEnd = Result<(), String>;

/// One process of a section, or a seat without one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ProcessRow {
    pub(crate) workers: String,
    pub(crate) user: Option<String>,
    pub(crate) pid: Option<u32>,
    pub(crate) state: &'static str,
    pub(crate) restarts: u64,
    pub(crate) last_exit: Option<String>,
}

/// What is known of one section.
#[derive(Debug)]
struct Place {
    orders: mpsc::Sender<(u64, WorkerOrder)>,
    /// None once its crew has it.
    taken: Mutex<Option<mpsc::Receiver<(u64, WorkerOrder)>>>,
    rows: Mutex<Vec<ProcessRow>>,
    restarts: AtomicU64,
    stuck: AtomicU64,
    /// The last order that has ended.
    ended: watch::Sender<(u64, OrderEnd)>,
    last_order: AtomicU64,
}

/// What is known of all sections, by name.
#[derive(Debug, Default)]
pub(crate) struct Board(BTreeMap<String, Place>);

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Board {
    pub(super) fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let place = |name: &str| {
            let (orders, taken) = mpsc::channel(ORDERS_MAX);
            let place = Place {
                orders,
                taken: Mutex::new(Some(taken)),
                rows: Mutex::default(),
                restarts: AtomicU64::default(),
                stuck: AtomicU64::default(),
                ended: watch::Sender::new((0, Ok(()))),
                last_order: AtomicU64::default(),
            };
            (name.to_owned(), place)
        };
        Self(names.map(place).collect())
    }

    fn place(&self, name: &str) -> &Place {
        self.0.get(name).expect("each section has its place")
    }

    /// The orders for a section, for whoever carries them out.
    pub(super) fn take_orders(&self, name: &str) -> mpsc::Receiver<(u64, WorkerOrder)> {
        locked(&self.place(name).taken).take().expect("a section has one crew")
    }

    pub(super) fn set_rows(&self, name: &str, rows: Vec<ProcessRow>) {
        *locked(&self.place(name).rows) = rows;
    }

    pub(super) fn count_restart(&self, name: &str) {
        self.place(name).restarts.fetch_add(1, Relaxed);
    }

    pub(super) fn count_stuck(&self, name: &str) {
        self.place(name).stuck.fetch_add(1, Relaxed);
    }

    pub(super) fn tell_end(&self, name: &str, number: u64, end: OrderEnd) {
        let _ = self.place(name).ended.send_replace((number, end));
    }

    /// All processes.
    pub(crate) fn rows(&self) -> Vec<ProcessRow> {
        self.0.values().flat_map(|place| locked(&place.rows).clone()).collect()
    }

    /// How often processes of each section were started again, and how many were ended because they were stuck.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&str, [u64; 2])> {
        self.0.iter().map(|(name, place)| {
            (name.as_str(), [&place.restarts, &place.stuck].map(|count| count.load(Relaxed)))
        })
    }

    /// Gives an order to the processes of a section, and says by which number its end is told.
    pub(crate) fn order(&self, name: &str, order: WorkerOrder) -> Result<u64, NotTaken> {
        let place = self.0.get(name).ok_or(NotTaken::Unknown)?;
        let number = place.last_order.fetch_add(1, Relaxed) + 1;
        place.orders.try_send((number, order)).map_err(|_| NotTaken::Busy)?;
        Ok(number)
    }

    /// Waits for the end of an order; none when there is no such section.
    pub(crate) async fn end(&self, name: &str, number: u64) -> Option<OrderEnd> {
        let mut ended = self.0.get(name)?.ended.subscribe();
        let end = ended.wait_for(|(last, _)| *last >= number).await;
        let (last, end) = end.expect("the board has the sender").clone();
        let unknown = "a later order has ended since";
        Some(if last == number { end } else { Err(unknown.to_owned()) })
    }
}
