//! Takes single calls of [`Policy::authorize`](super::Policy::authorize) out of the code while a
//! test runs, so that a test can show of each of them that something fails without it.

use alloc::collections::BTreeSet;
use core::cell::RefCell;
use core::panic::Location;

/// A call in the source: its file and line.
pub(crate) type Site = (&'static str, u32);

std::thread_local! {
    static ASKED: RefCell<BTreeSet<Site>> = const { RefCell::new(BTreeSet::new()) };
    static REMOVED: RefCell<BTreeSet<Site>> = const { RefCell::new(BTreeSet::new()) };
}

/// Whether the call is taken out. Notes that it was reached.
pub(super) fn is_removed(call: &'static Location<'static>) -> bool {
    let site = (call.file(), call.line());
    ASKED.with_borrow_mut(|asked| asked.insert(site));
    REMOVED.with_borrow(|removed| removed.contains(&site))
}

/// Every call that this thread has reached so far.
pub(crate) fn reached() -> BTreeSet<Site> {
    ASKED.with_borrow(Clone::clone)
}

/// Runs this without the call, in this thread.
pub(crate) fn without(site: Site, run: impl FnOnce()) {
    struct Back(Site);
    impl Drop for Back {
        fn drop(&mut self) {
            REMOVED.with_borrow_mut(|removed| removed.remove(&self.0));
        }
    }
    REMOVED.with_borrow_mut(|removed| assert!(removed.insert(site), "taken out once"));
    let _back = Back(site);
    run();
}
