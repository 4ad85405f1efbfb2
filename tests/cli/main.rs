//! The command line as a whole, against a stand-in for the daemon that answers as it is told.
//!
//! It speaks just enough HTTP to be scripted: each test says what comes back, or that the connection breaks. What the real
//! daemon does is tested where it lives.
#![expect(clippy::unwrap_used, reason = "tests")]

mod client;
mod doctor;
mod fake;
mod happened;
mod logs;
mod words;
