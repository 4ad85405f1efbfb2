//! The daemon: the one owner of what is wanted and of what is done about it.

pub mod journal;
pub mod logs;
pub mod store;
