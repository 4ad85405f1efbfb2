//! Time that passes strangely: 49.7 days, a suspend of a year, a clock that goes back. Shown with time namespaces
//! (time_namespaces(7)), which shift CLOCK_BOOTTIME and CLOCK_MONOTONIC of a daemon, for real. The wall clock cannot be shifted for
//! one process; what is keyed on it is nothing, and a guest with `date -s` shows that.

use crate::rig::cli::{self, Running};
use crate::rig::observe::identity;
use crate::rig::{Rig, wait::until};

/// When a counter of milliseconds in 32 bits is full.
const FULL: f64 = 4_294_967.296;

/// Seconds since the machine was started, as everybody else has it.
fn uptime() -> f64 {
    std::fs::read_to_string("/proc/uptime").unwrap().split(' ').next().unwrap().parse().unwrap()
}

/// A pair in a time of its own, ahead by so many seconds.
#[track_caller]
fn pair_ahead(rig: &Rig, seconds: i64) -> Running {
    let mut pair = std::process::Command::new("unshare");
    rig.prepare(&mut pair);
    let ahead = seconds.to_string();
    pair.args(["--time", "--boottime", &ahead, "--monotonic", &ahead]).arg(&rig.opm).args(["daemon", "run"]);
    let pair = cli::start(&mut pair);
    // Not by any command of opm: one that finds apps without a daemon starts a pair itself, in our own time.
    until("the pair to listen", || std::os::unix::net::UnixStream::connect(rig.home.join("run/opm.sock")).is_ok());
    rig.ok(&["ping"]);
    pair
}

/// Backoffs, uptimes and stop ladders go on over the moment at which 32 bits of milliseconds are full.
#[test]
fn day_49_is_a_day_like_any_other() {
    let rig = Rig::new();
    // So that it falls into what follows, wherever that is slow.
    let ahead = (FULL - uptime() - 2.0) as i64;
    let pair = pair_ahead(&rig, ahead);
    rig.start("stays", &[], &["append:stays:x", "pause"]);
    rig.start("fails", &["--backoff", "40ms..80ms", "--max-restarts", "100000"], &["append:fails:x", "exit:1"]);
    let stays = identity(rig.pid("stays"));
    until("32 bits of milliseconds to be full", || uptime() + ahead as f64 > FULL + 0.5);
    let failed = rig.lines("fails").len();
    rig.await_lines("fails", failed + 3);
    rig.ok(&["restart", "stays"]);
    rig.await_lines("stays", 2);
    assert_ne!(identity(rig.pid("stays")), stays);
    rig.start("deaf", &["--stop-timeout", "200ms"], &["ignore:15", "append:deaf:x", "pause"]);
    rig.await_lines("deaf", 1);
    rig.ok(&["stop", "deaf"]);
    rig.ok(&["kill"]);
    pair.finish(cli::DEADLINE).ok();
}

/// A pair that finds itself a year later (a suspend), and one that finds itself before its apps were started: each adopts them
/// as they are, shows them, and what waited for its time is started.
#[test]
fn a_year_forth_and_back_costs_no_app() {
    const YEAR: i64 = 366 * 24 * 3600;
    let rig = Rig::new();
    rig.start("stays", &[], &["append:stays:x", "pause"]);
    let flags = ["--backoff", "1h..1h", "--min-uptime", "1h"];
    rig.start("waits", &flags, &["append:waits:x", "exitfile:code"]);
    rig.await_lines("waits", 1);
    let stays = identity(rig.pid("stays"));
    rig.write("code", "9");
    rig.await_state("waits", "backoff");
    std::fs::remove_file(rig.path("code")).unwrap();
    rig.kill_pair();

    let later = pair_ahead(&rig, YEAR);
    rig.await_lines("waits", 2);
    rig.await_state("waits", "online");
    assert_eq!(identity(rig.pid("stays")), stays);
    assert_eq!(rig.row("stays")["restarts"], 0);
    rig.start("young", &[], &["pause"]);
    let young = identity(rig.pid("young"));
    rig.kill_pair();
    later.finish(cli::DEADLINE);

    // Back in our own time: two of the three were started in the future.
    let row = rig.row("young");
    assert_eq!((row["state"].as_str(), identity(rig.pid("young"))), (Some("online"), young), "{row:#}");
    assert_eq!(identity(rig.pid("stays")), stays);
    rig.ok(&["ls"]);
    rig.ok(&["info", "young"]);
    rig.ok(&["restart", "young"]);
    rig.grip("waits").kill();
    rig.await_state("waits", "backoff");
    rig.ok(&["delete", "all"]);
    assert!(rig.app_pids().is_empty());
}
