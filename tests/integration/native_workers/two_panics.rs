//! A method that panics, and once more while that unwinds. The test compiles it as a library of its own.

use warren_plugin::{Call, Failure, method, plugin};

/// What is at the end of a panic.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("and once more");
    }
}

fn fall(call: &mut Call) -> Result<(), Failure> {
    let _bomb = (call.text("what")? == "twice").then(|| Bomb);
    panic!("no place {}", 7);
}

plugin! { name: "two-panics", version: "1", methods: [method("fall", fall)] }
