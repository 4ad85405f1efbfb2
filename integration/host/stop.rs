//! The stop ladder: ask, wait, kill, and say "stopped" only when the tree is gone.

use crate::rig::Rig;
use crate::rig::observe::Grip;

/// B1: told first, killed after the grace time, and the record says that it was the deadline.
#[test]
fn a_program_that_ignores_sigterm_is_asked_first_and_then_killed() {
    let rig = Rig::new();
    rig.start("stubborn", &["--stop-timeout", "300ms"], &["trapnote:15:asked", "append:up:x", "pause"]);
    rig.await_lines("up", 1);
    rig.ok(&["stop", "stubborn"]);
    assert_eq!(rig.lines("asked").len(), 1, "asked once, before it was killed");
    assert!(rig.app_pids().is_empty());
    let row = rig.row("stubborn");
    assert_eq!(
        (&row["state"], &row["last_exit"]["cause"], &row["last_exit"]["signal"]),
        (&"stopped".into(), &"deadline".into(), &"SIGKILL".into()),
        "{row:#}"
    );
}

/// A program that goes when asked is not killed, and its own exit code is kept.
#[test]
fn a_program_that_obeys_keeps_its_exit_code() {
    let rig = Rig::new();
    rig.start("polite", &[], &["trap:15:42", "append:up:x", "pause"]);
    rig.await_lines("up", 1);
    rig.ok(&["stop", "polite"]);
    let row = rig.row("polite");
    assert_eq!((&row["last_exit"]["cause"], &row["last_exit"]["code"]), (&"stop_order".into(), &42.into()), "{row:#}");
    assert_eq!(row["restarts"], 0, "{row:#}");
}

/// E14: PM2 waits 1.6 s and sends SIGINT, and only the daemon's environment can change the signal. Here both are the app's.
#[test]
fn e14_signal_and_grace_are_the_apps_own() {
    let rig = Rig::new();
    rig.start(
        "int",
        &["--stop-signal", "SIGINT", "--stop-timeout", "5s"],
        &["trapnote:15:wrong", "trap:2:5", "append:up:x", "pause"],
    );
    rig.start("usr", &["--stop-signal", "usr2"], &["trapnote:15:wrong", "trap:12:6", "append:up:x", "pause"]);
    rig.await_lines("up", 2);
    rig.ok(&["stop", "all"]);
    assert_eq!((&rig.row("int")["last_exit"]["code"], &rig.row("usr")["last_exit"]["code"]), (&5.into(), &6.into()));
    assert_eq!(rig.lines("wrong"), Vec::<String>::new(), "nobody was sent SIGTERM");
}

/// `mixed`: the main process is asked alone; only once it is gone are the others asked, and they too before they are killed.
#[test]
fn mixed_asks_the_main_process_first_and_its_children_after() {
    let rig = Rig::new();
    let ops = [
        "child",
        "trapnote:15:order",
        "append:up:child",
        "pause",
        "--",
        "trapnote:15:order",
        "append:up:main",
        "waitfile:go",
        "exit:0",
    ];
    rig.start("pair", &["--stop-timeout", "20s"], &ops);
    rig.await_lines("up", 2);
    let main = rig.pid("pair");
    let stop = crate::rig::cli::start(rig.command().args(["stop", "pair"]));
    assert_eq!(rig.await_lines("order", 1), [format!("sig15 {main}")], "the main process, and nobody else");
    assert_eq!(rig.row("pair")["state"], "stopping");
    rig.write("go", "");
    stop.finish(crate::rig::cli::DEADLINE).ok();
    let asked = rig.lines("order");
    assert_eq!(asked.len(), 2, "the child was asked before it was killed: {asked:?}");
    assert!(rig.app_pids().is_empty());
}

/// `cgroup`: all at once.
#[test]
fn kill_mode_cgroup_asks_all_at_once() {
    let rig = Rig::new();
    let ops = [
        "child",
        "trapnote:15:order",
        "append:up:child",
        "pause",
        "--",
        "trapnote:15:order",
        "append:up:main",
        "waitfile:go",
        "exit:0",
    ];
    rig.start("pair", &["--kill-mode", "cgroup", "--stop-timeout", "20s"], &ops);
    rig.await_lines("up", 2);
    let stop = crate::rig::cli::start(rig.command().args(["stop", "pair"]));
    rig.await_lines("order", 2);
    for pid in rig.app_pids() {
        Grip::on(pid, &rig.cgroup).signal(rustix::process::Signal::KILL);
    }
    stop.finish(crate::rig::cli::DEADLINE).ok();
}

/// `process`: leftovers live on, which is not "stopped": exit code 5 says accepted, not reached. Nothing is started beside them.
#[test]
fn kill_mode_process_leaves_leftovers_and_says_so_with_exit_code_5() {
    let rig = Rig::new();
    let flags = ["--kill-mode", "process", "--stop-timeout", "100ms"];
    rig.start("web", &flags, &["child", "append:up:helper", "pause", "--", "pause"]);
    rig.await_lines("up", 1);
    rig.opm(&["stop", "web"]).code(5).says(&["web", "left"]);
    let left = rig.app_pids();
    assert_eq!(left.len(), 1, "the helper lives, the main process does not");
    assert_eq!(rig.row("web")["state"], "stopping");
    rig.opm(&["start", "web"]).code(5);
    assert_eq!(rig.app_pids(), left, "no successor beside a leftover");
    Grip::on(left[0], &rig.cgroup).kill();
    rig.await_state("web", "online");
    // For the rig: `opm kill` leaves alive what it was told to leave alive.
    rig.await_lines("up", 2);
    let main = rig.pid("web");
    for pid in rig.app_pids().into_iter().filter(|pid| *pid != main) {
        Grip::on(pid, &rig.cgroup).kill();
    }
}

/// B4: a stopped (SIGSTOP) program cannot act on a signal; it is ended all the same.
#[test]
fn a_program_stopped_by_sigstop_is_ended_too() {
    let rig = Rig::new();
    rig.start("frozen", &["--stop-timeout", "5s"], &["trap:15:9", "append:up:x", "pause"]);
    rig.await_lines("up", 1);
    rig.grip("frozen").signal(rustix::process::Signal::STOP);
    rig.ok(&["stop", "frozen"]);
    assert!(rig.app_pids().is_empty());
}

/// Orders that are already so are done, and `all` of nothing is nothing to do.
#[test]
fn what_is_already_so_is_exit_code_0() {
    let rig = Rig::new();
    rig.start("web", &["--no-autostart"], &["pause"]);
    assert!(rig.app_pids().is_empty(), "registered, not started");
    assert_eq!(rig.row("web")["state"], "stopped");
    rig.ok(&["stop", "web"]);
    rig.ok(&["stop", "web"]);
    rig.ok(&["delete", "all"]);
    for verb in ["stop", "restart", "delete", "start"] {
        rig.ok(&[verb, "all"]);
    }
}

/// `opm signal` reaches the main process and nobody else.
#[test]
fn a_signal_by_order_reaches_the_main_process() {
    let rig = Rig::new();
    rig.start(
        "web",
        &[],
        &["child", "trapnote:10:got", "append:up:child", "pause", "--", "trapnote:10:got", "append:up:main", "pause"],
    );
    rig.await_lines("up", 2);
    let main = rig.pid("web");
    rig.ok(&["signal", "SIGUSR1", "web"]);
    assert_eq!(rig.await_lines("got", 1), [format!("sig10 {main}")]);
    assert_eq!(rig.row("web")["state"], "online");
    rig.opm(&["signal", "SIGNONSENSE", "web"]).code(2).says(&["SIGNONSENSE"]);
}
