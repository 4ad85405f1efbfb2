//! Files that people write, and what they mean. It must not talk to the daemon or start anything.

pub mod paths;

pub use paths::Paths;
