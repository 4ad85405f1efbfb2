//! opm, a Linux-native process supervisor. This file is the map; each room says for itself what it owns.
//!
//! ```text
//!        people                                       machines
//!          |                                             |
//!    cli (type, see)                    faces (web page, metrics, fleet, tui: to come)
//!          |                 api (the words both speak)  |
//!          +---------------------+-----------------------+
//!                                |
//!                             daemon   the one event loop; the only owner of state
//!                            /      \
//!             supervise (decisions)   kernel (means: Linux; the only unsafe)
//!                            \      /
//!                             model (nouns)              config (files -> specs) -> model
//! ```
//!
//! `supervise` and `kernel` do not know each other: decisions are tested without Linux, and Linux code without decisions.
//! `keeper` is the tiny process above the daemon: parent of every run, restarter of the daemon. `tests/architecture.rs`
//! holds who may import whom.

pub mod api;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod keeper;
pub mod kernel;
pub mod model;
pub mod supervise;
