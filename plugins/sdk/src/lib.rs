//! Game code for Warren in Rust: `warren_plugin.h` in other words, without `unsafe`.
//!
//! ```
//! use warren_plugin::{Call, Failure, field, method, plugin};
//!
//! fn hit(call: &mut Call) -> Result<(), Failure> {
//!     let wolf = call.target()?;
//!     let hp = wolf.integer("hp")? - 7;
//!     call.set(&wolf, &[field("hp", hp)])?;
//!     call.emit("arena", "hit", &[field("target", &wolf), field("hp", hp)])?;
//!     call.reply(&[field("hp", hp)])
//! }
//!
//! plugin! { name: "combat", version: "1.0", methods: [method("hit", hit)] }
//! # fn main() {}
//! ```
//!
//! A library of the type `cdylib` with this is a plugin: the server does its methods inline, or a worker does them
//! in a process of its own. A method fails its request with a [`Failure`], and with a panic too: then nothing has
//! changed, and the server's log has the text.
//!
//! Files: `call.rs` what a method reads and says, `value.rs` values, `batch.rs` what a behaviour moves, `table.rs`
//! what a plugin says of itself, `failure.rs`, `panics.rs`; `raw.rs` the header's structs, `border.rs` all `unsafe` of a plugin;
//! `testing.rs` calls without a server.
//!
//! Nothing that a call gives outlives it:
//!
//! ```compile_fail,E0521
//! # use warren_plugin::{Call, Failure};
//! static USER: std::sync::Mutex<&'static str> = std::sync::Mutex::new("");
//!
//! fn keep(call: &mut Call) -> Result<(), Failure> {
//!     *USER.lock().unwrap() = call.user();
//!     Ok(())
//! }
//! ```
//!
//! ```compile_fail
//! # use warren_plugin::{Call, Failure, Object};
//! thread_local! {
//!     static WOLF: std::cell::Cell<Option<Object<'static>>> = const { std::cell::Cell::new(None) };
//! }
//!
//! fn keep(call: &mut Call) -> Result<(), Failure> {
//!     WOLF.set(Some(call.target()?));
//!     Ok(())
//! }
//! ```
//!
//! ```compile_fail
//! # use warren_plugin::{Batch, Near};
//! static STATES: std::sync::Mutex<&'static [u64]> = std::sync::Mutex::new(&[]);
//!
//! fn keep(batch: &mut Batch, _: &Near) {
//!     *STATES.lock().unwrap() = batch.states;
//! }
//! ```
//!
//! A call belongs to its thread:
//!
//! ```compile_fail,E0277
//! # use warren_plugin::{Call, Failure};
//! fn share(call: &mut Call) -> Result<(), Failure> {
//!     std::thread::scope(|scope| scope.spawn(|| call.user().len()).join().unwrap());
//!     Ok(())
//! }
//! ```

mod batch;
#[doc(hidden)]
pub mod border;
mod call;
mod failure;
#[doc(hidden)]
pub mod panics;
#[doc(hidden)]
pub mod raw;
mod table;
pub mod testing;
#[cfg(test)]
mod tests;
mod value;

pub use batch::{Batch, NEIGHBOURS_MAX, Near, Neighbour, Neighbours, Vector};
pub use call::{Call, Fields, Object};
pub use failure::Failure;
pub use table::{Behaviour, BehaviourFunction, Method, MethodFunction, behaviour, method};
#[doc(hidden)]
pub use table::{Plugin, SelfCheck};
pub use value::{Field, List, ObjectId, TextList, Value, field};
