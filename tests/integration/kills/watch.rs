//! What a server does in its data folder, as inotify tells it.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, Event, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use crate::client::PATIENCE;

/// Something that is done there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// A segment of the log was written.
    LogWrite,
    SegmentMade,
    SegmentRemoved,
    /// A log of the snapshots' store was written.
    StateWrite,
}

/// An eye on `log` and `state`.
pub(super) struct Watch {
    inotify: OwnedFd,
    state: i32,
}

impl Watch {
    pub(super) fn on(data: &Path) -> Self {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).unwrap();
        let log = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MODIFY;
        inotify::add_watch(&inotify, data.join("log"), log).unwrap();
        let state = inotify::add_watch(&inotify, data.join("state"), WatchFlags::MODIFY).unwrap();
        Self { inotify, state }
    }

    /// Passes over what was done until now.
    pub(super) fn forget(&self) {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&self.inotify, &mut buffer);
        while reader.next().is_ok() {}
    }

    /// Waits until this is done once more after so many times.
    pub(super) fn wait_for(&self, deed: Deed, passed: u64) {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&self.inotify, &mut buffer);
        let mut seen = 0;
        while seen <= passed {
            match reader.next() {
                Ok(event) if self.deed(&event) == Some(deed) => seen += 1,
                Ok(_) => {}
                Err(Errno::AGAIN) => self.wait(deed),
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn wait(&self, deed: Deed) {
        let mut descriptors = [PollFd::new(&self.inotify, PollFlags::IN)];
        let patience = Timespec::try_from(PATIENCE).unwrap();
        let ready = poll(&mut descriptors, Some(&patience)).unwrap();
        assert!(ready > 0, "the server does nothing, and {deed:?} is waited for");
    }

    fn deed(&self, event: &Event<'_>) -> Option<Deed> {
        // Watches are counted from 1, and what is told without one is that too much was.
        assert!(event.wd() > 0, "{event:?}");
        if event.wd() == self.state {
            let is_log = event.file_name().is_some_and(|name| name.to_bytes().ends_with(b".log"));
            return is_log.then_some(Deed::StateWrite);
        }
        let events = event.events();
        [
            (ReadFlags::CREATE, Deed::SegmentMade),
            (ReadFlags::DELETE, Deed::SegmentRemoved),
            (ReadFlags::MODIFY, Deed::LogWrite),
        ]
        .into_iter()
        .find_map(|(flag, deed)| events.contains(flag).then_some(deed))
    }
}
