//! Logs: what apps write, into files, and out of files to people.
//!
//! Owns the thread that moves bytes from the apps' pipes to where they go, and the reading of those files. It must not judge what it
//! moves. What a reader would get wrong: nothing here ever reads a pipe where splice works, and followers read the file. See
//! `DESIGN.md` in this folder.

pub mod files;
pub mod follow;
pub mod frame;
mod gaps;
pub mod index;
mod indexing;
pub mod journald;
pub mod keeping;
mod lines;
pub mod pack;
pub mod place;
pub mod pump;
pub mod reading;
pub mod series;
pub mod spool;
pub mod stamp;
mod stream;
mod worker;
