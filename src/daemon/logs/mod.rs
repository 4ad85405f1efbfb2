//! Logs: what apps write, into files, and out of files to people.
//!
//! Owns the thread that moves bytes from the apps' pipes into files, and the reading of those files. It must not parse, stamp
//! or judge what it moves. What a reader would get wrong: nothing here ever reads a pipe where splice works; followers read
//! the file. See `DESIGN.md` in this folder.

mod files;
pub mod follow;
pub mod frame;
pub mod index;
pub mod place;
pub mod pump;
pub mod read;
pub mod series;
pub mod stamp;

mod stream;
mod worker;
