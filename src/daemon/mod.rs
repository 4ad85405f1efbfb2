//! The daemon: one event loop that owns all state, and around it the hands, the store, the log pump and the server.
//!
//! Owns running things for real; decides nothing (`supervise` does). What a reader would get wrong: daemon start is not
//! special. It reads what is desired, looks at what lives, and converges; a crash, an upgrade and a reboot all come this way.

mod adopt;
mod asks;
mod check;
mod clock_text;
mod deletions;
mod effects;
mod event_loop;
mod events;
mod failpoint;
mod handle;
pub mod journal;
mod keeper_link;
mod last_words;
pub mod logs;
pub mod offline;
mod orders;
mod program;
mod reads;
mod resolve;
mod runs;
mod server;
mod start;
pub mod store;
mod token;
mod told;
mod why;

pub use check::check;
pub use start::serve;

use std::io::Write;

/// Says something to whoever reads the daemon's own log: the journal under systemd, else a file.
pub(crate) fn log(message: &str) {
    let _ = writeln!(std::io::stderr(), "opm: {message}");
}
