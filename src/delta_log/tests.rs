//! A log's thread that ends when it should not.

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
