//! What becomes of a panic: a text for the server's log, and nothing on stderr, where it would be a line a call.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::io::{Write, stderr};
use std::panic::{UnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// The server has called this thread into the plugin.
    static IS_CALLED: Cell<bool> = const { Cell::new(false) };
    /// It has panicked in this call.
    static HAS_PANICKED: Cell<bool> = const { Cell::new(false) };
    /// Where the last panic was.
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// From here on panics in what the server calls are told by [`caught`] alone; but a second one in a call may be the
/// end of the process, as one while another unwinds.
#[doc(hidden)]
pub fn keep_from_stderr() {
    static DONE: Once = Once::new();
    DONE.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            if IS_CALLED.get() && !HAS_PANICKED.replace(true) {
                let place = panic.location().map(ToString::to_string);
                PLACE.set(place.unwrap_or_default());
            } else {
                let first = PLACE.take();
                if !first.is_empty() {
                    let _ = writeln!(stderr(), "a plugin has panicked at {first}, and then:");
                }
                before(panic);
            }
        }));
    });
}

/// What it returns; or the text of its panic and its place.
pub(crate) fn caught<T>(function: impl FnOnce() -> T + UnwindSafe) -> Result<T, String> {
    HAS_PANICKED.set(false);
    IS_CALLED.set(true);
    let ended = catch_unwind(function);
    IS_CALLED.set(false);
    ended.map_err(|panic| {
        let text = text_of(panic);
        let place = PLACE.take();
        if place.is_empty() { text } else { format!("{text}, at {place}") }
    })
}

fn text_of(panic: Box<dyn Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            // Whatever else it is: its end may panic again.
            core::mem::forget(panic);
            text.unwrap_or_else(|| "a panic that is no text".to_owned())
        }
    }
}

/// Tells the first panic of a behaviour, which has nobody whom it fails.
pub(crate) fn tell_once(why: &str) {
    static TOLD: Once = Once::new();
    TOLD.call_once(|| {
        let _ = writeln!(stderr(), "a behaviour panicked, and is called again: {why}");
    });
}
