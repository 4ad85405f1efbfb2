//! The daemon: one event loop that owns all state, and around it the hands, the store, the log pump and the server.
//!
//! Owns running things for real; decides nothing (`supervise` does). What a reader would get wrong: daemon start is not
//! special. It reads what is desired, looks at what lives, and converges; a crash, an upgrade and a reboot all come this way.

mod adopt;
mod asks;
mod check;
mod clock_text;
mod deletions;
mod doctor;
mod effects;
mod event_loop;
mod events;
mod failpoint;
mod handle;
mod in_force;
pub mod journal;
mod keeper_link;
mod last_words;
mod limiter;
pub mod logs;
pub mod offline;
mod orders;
mod program;
mod reads;
mod resolve;
mod runs;
mod server;
mod shared_out;
mod sharing;
mod start;
pub mod store;
mod token;
mod told;
mod why;

pub use check::check;
pub use doctor::examine;
pub use start::serve;

use crate::kernel::own_log::{Level, say};

/// Says that something is not as it should be, to whoever reads the daemon's own log.
pub(crate) fn log(message: &str) {
    say("daemon", Level::Warn, message);
}

/// Says that something happened.
fn info(message: &str) {
    say("daemon", Level::Info, message);
}

/// A panic's words stand in the log as all others do, and are told from them.
fn say_panics() {
    std::panic::set_hook(Box::new(|panic| say("daemon", Level::Error, &panic.to_string())));
}
