//! A log's thread that ends when it should not.

use warren_storage::delta_log::{DiskCall, LogError};

use super::*;

impl LogThread {
    /// One that does this and ends.
    pub(crate) fn that_does(
        body: impl FnOnce() -> Result<(), LogThreadError> + Send + 'static,
    ) -> Self {
        let (ending, ended) = oneshot::channel();
        let body = move || {
            let _ = ending.send(body());
        };
        let thread = std::thread::Builder::new().name("delta-log".to_owned()).spawn(body).unwrap();
        Self { ended, thread: Some(thread) }
    }
}

#[test]
fn a_log_that_cannot_begin_is_no_damage() {
    let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
    let call = DiskCall::Create;
    for (error, status) in [
        (LogThreadError::Executor(full()), 71),
        (LogThreadError::Folder { path: "log".into(), error: full() }, 71),
        (LogThreadError::NotBegun(LogError { call, segment: 1, error: full() }), 74),
    ] {
        assert_eq!(not_begun(&error).reason.exit_status(), status, "{error}");
    }
}
