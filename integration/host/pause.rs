//! Pause and resume, against the kernel's freezer and real programs. That something stands still is asked of `cgroup.events`; that
//! it goes on, of what it writes.

use crate::rig::observe::Grip;
use crate::rig::{Rig, cli, wait};
use rustix::process::Signal;
use std::path::PathBuf;

/// The cgroup of the only run.
#[track_caller]
fn cgroup(rig: &Rig) -> PathBuf {
    let runs = rig.runs();
    assert_eq!(runs.len(), 1, "{runs:?}");
    runs[0].path.clone()
}

fn is_frozen(rig: &Rig) -> bool {
    std::fs::read_to_string(cgroup(rig).join("cgroup.events")).unwrap().lines().any(|line| line == "frozen 1")
}

/// What a process does is seen in the file it waits for: it answers while it runs, and does not while it is paused.
const ECHO: [&str; 4] = ["append:up:x", "waitfile:ask", "append:answer:x", "pause"];

/// The reply follows the fact, in both directions, for a whole tree; what is wanted stays as it was.
#[test]
fn paused_and_resumed_are_said_when_the_kernel_says_so() {
    let rig = Rig::new();
    let ops = [&["child", "append:up:x", "pause", "--"][..], &ECHO].concat();
    rig.start("web", &[], &ops);
    rig.await_lines("up", 2);
    let pid = rig.pid("web");
    rig.ok(&["pause", "web"]).says(&["paused web", &format!("pid {pid}")]);
    assert!(is_frozen(&rig), "said after it was so");
    let row = rig.row("web");
    assert_eq!(
        (&row["state"], &row["desired"], row["pid"].as_u64()),
        (&"paused".into(), &"up".into(), Some(pid.into()))
    );
    assert!(rig.ok(&["ls"]).out().contains("paused"));
    rig.ok(&["pause", "web"]).says(&["already paused"]);
    rig.write("ask", "");
    rig.ok(&["resume", "web"]).says(&["resumed web"]);
    assert!(!is_frozen(&rig));
    rig.await_lines("answer", 1);
    rig.ok(&["resume", "web"]).says(&["already online"]);
    assert_eq!(
        (rig.pid("web"), &rig.row("web")["state"], &rig.row("web")["restarts"]),
        (pid, &"online".into(), &0.into())
    );
}

/// What is stopped by SIGSTOP is something else: both hold, and each is undone by its own means.
#[test]
fn a_pause_is_no_sigstop() {
    let rig = Rig::new();
    rig.start("web", &[], &ECHO);
    rig.await_lines("up", 1);
    rig.ok(&["pause", "web"]);
    rig.grip("web").signal(Signal::CONT);
    assert!(is_frozen(&rig), "SIGCONT does not undo it");
    rig.grip("web").signal(Signal::STOP);
    rig.ok(&["resume", "web"]);
    assert!(!is_frozen(&rig));
    rig.write("ask", "");
    rig.grip("web").signal(Signal::CONT);
    rig.await_lines("answer", 1);
}

/// A handler runs after the thaw, and its exit code is kept: the grace period is long, and is not waited for.
#[test]
fn a_paused_app_with_a_handler_is_stopped_by_its_handler() {
    let rig = Rig::new();
    let ops = ["child", "trapnote:15:asked", "append:up:child", "pause", "--", "trap:15:42", "append:up:x", "pause"];
    rig.start("web", &["--stop-timeout", "5m"], &ops);
    rig.await_lines("up", 2);
    rig.ok(&["pause", "web"]);
    rig.ok(&["stop", "web"]);
    assert!(rig.app_pids().is_empty());
    let row = rig.row("web");
    assert_eq!((&row["last_exit"]["cause"], &row["last_exit"]["code"]), (&"stop_order".into(), &42.into()), "{row:#}");
    assert_eq!(rig.lines("asked").len(), 1, "the child was asked, too, and could hear it");
}

/// Without a handler the signal ends what is frozen; what ignores it is killed, which works on what is frozen.
#[test]
fn a_paused_app_without_a_handler_is_stopped_and_one_that_ignores_it_is_killed() {
    let rig = Rig::new();
    rig.start("plain", &["--stop-timeout", "5m"], &["append:up:x", "pause"]);
    rig.start("deaf", &["--stop-timeout", "200ms"], &["ignore:15", "append:up:x", "pause"]);
    rig.await_lines("up", 2);
    rig.ok(&["pause", "all"]);
    rig.ok(&["stop", "all"]);
    assert!(rig.app_pids().is_empty());
    assert_eq!(rig.row("plain")["last_exit"]["signal"], "SIGTERM");
    assert_eq!(rig.row("deaf")["last_exit"]["cause"], "deadline");
}

/// `start` lets it go on, `restart` replaces it, `delete` and `kill` end it.
#[test]
fn start_resumes_restart_replaces_delete_ends() {
    let rig = Rig::new();
    rig.start("web", &[], &["append:up:x", "pause"]);
    rig.await_lines("up", 1);
    let pid = rig.pid("web");
    rig.ok(&["pause", "web"]);
    rig.ok(&["start", "web"]).says(&["resumed web"]);
    assert_eq!(rig.pid("web"), pid, "nothing is lost that the pause was to keep");
    rig.ok(&["pause", "web"]);
    rig.ok(&["restart", "web"]).says(&["restarted web"]);
    assert_ne!(rig.pid("web"), pid);
    wait::until("the old run's cgroup is removed", || rig.runs().len() == 1);
    assert!(!is_frozen(&rig), "a fresh cgroup");
    rig.ok(&["pause", "web"]);
    rig.ok(&["delete", "web"]);
    assert!(rig.app_pids().is_empty());
    rig.start("web", &[], &["append:up:x", "pause"]);
    rig.ok(&["pause", "web"]);
    rig.ok(&["kill"]);
    assert_eq!(rig.everybody(), Vec::<u32>::new());
}

/// What cannot be paused is refused with the reason; a wait for `online` waits until it is resumed.
#[test]
fn only_what_is_online_is_paused_and_paused_is_not_online() {
    let rig = Rig::new();
    rig.start("web", &["--no-autostart"], &["append:up:x", "pause"]);
    rig.opm(&["pause", "web"]).code(1).says(&["not running"]);
    rig.opm(&["resume", "web"]).code(1).says(&["not running"]);
    rig.opm(&["pause", "nobody"]).code(4);
    rig.ok(&["start", "web:0"]);
    rig.await_lines("up", 1);
    rig.ok(&["pause", "web:0"]);
    let waits = cli::start(rig.command().args(["wait", "web"]));
    assert_eq!(rig.row("web")["state"], "paused");
    rig.ok(&["resume", "web"]);
    waits.finish(cli::DEADLINE).ok();
}

/// A signal to what is paused is delivered at once and acted upon later, and that is said.
#[test]
fn a_signal_to_a_paused_app_waits_for_its_handler_and_says_so() {
    let rig = Rig::new();
    rig.start("web", &[], &["trapnote:10:got", "append:up:x", "pause"]);
    rig.await_lines("up", 1);
    rig.ok(&["pause", "web"]);
    rig.ok(&["signal", "USR1", "web"]).says(&["signalled web", "paused"]);
    assert!(is_frozen(&rig), "a signal with a handler does not wake it");
    assert_eq!(rig.lines("got"), Vec::<String>::new());
    rig.ok(&["resume", "web"]);
    rig.await_lines("got", 1);
}

/// `kill -9` from outside works on what is frozen, and is an exit like any other: told, and followed by a successor that runs.
#[test]
fn a_paused_app_that_is_killed_is_restarted() {
    let rig = Rig::new();
    let ops = ["child", "append:up:x", "pause", "--", "append:up:x", "pause"];
    rig.start("web", &["--backoff", "1ms..1ms"], &ops);
    rig.await_lines("up", 2);
    let pid = rig.pid("web");
    rig.ok(&["pause", "web"]);
    rig.grip("web").kill();
    let row = rig.await_row("web", "restarted", |row| {
        row["state"] == "online" && row["pid"].as_u64().is_some_and(|now| now != u64::from(pid))
    });
    assert_eq!((&row["last_exit"]["signal"], &row["restarts"]), (&"SIGKILL".into(), &1.into()), "{row:#}");
    rig.await_lines("up", 4);
    wait::until("the old run's cgroup is removed", || rig.runs().len() == 1);
    assert!(!is_frozen(&rig));
}

/// A child killed while the tree is paused: it is still paused, and goes on without that child.
#[test]
fn a_child_that_dies_while_paused_does_not_end_the_pause() {
    let rig = Rig::new();
    let ops = [&["child", "append:up:child", "pause", "--"][..], &ECHO].concat();
    rig.start("web", &[], &ops);
    rig.await_lines("up", 2);
    let main = rig.pid("web");
    rig.ok(&["pause", "web"]);
    let child = rig.app_pids().into_iter().find(|pid| *pid != main).unwrap();
    Grip::on(child, &rig.cgroup).kill();
    wait::until("all that is left is frozen", || is_frozen(&rig));
    assert_eq!(rig.row("web")["state"], "paused");
    rig.write("ask", "");
    rig.ok(&["resume", "web"]);
    rig.await_lines("answer", 1);
}

/// The freezer is the witness: a new daemon finds what is paused, resumes it, and can stop it.
#[test]
fn a_new_daemon_adopts_a_paused_app_as_paused() {
    let rig = Rig::new();
    rig.start("web", &["--stop-timeout", "5m"], &[&["trap:15:7"][..], &ECHO].concat());
    rig.await_lines("up", 1);
    let pid = rig.pid("web");
    rig.ok(&["pause", "web"]);
    for both in [false, true] {
        if both {
            rig.kill_pair()
        } else {
            rig.kill_daemon()
        }
        assert!(is_frozen(&rig), "nobody thawed it");
        assert_eq!((&rig.row("web")["state"], rig.pid("web")), (&"paused".into(), pid));
        rig.ok(&["pause", "web"]).says(&["already paused"]);
    }
    rig.write("ask", "");
    rig.ok(&["resume", "web"]).says(&["resumed web"]);
    rig.await_lines("answer", 1);
    rig.ok(&["pause", "web"]);
    rig.kill_daemon();
    rig.ok(&["stop", "web"]);
    assert_eq!(rig.row("web")["last_exit"]["code"], 7, "adopted and paused, it still hears its handler");
    assert_eq!(rig.lines("up").len(), 1);
}

/// `opm daemon stop --keep-apps` leaves it as it is.
#[test]
fn a_daemon_that_ends_and_keeps_its_apps_keeps_them_paused() {
    let rig = Rig::new();
    rig.start("web", &[], &ECHO);
    rig.await_lines("up", 1);
    rig.ok(&["pause", "web"]);
    rig.ok(&["daemon", "stop", "--keep-apps"]);
    assert!(is_frozen(&rig));
    assert_eq!(rig.row("web")["state"], "paused");
    rig.write("ask", "");
    rig.ok(&["resume", "web"]);
    rig.await_lines("answer", 1);
}

/// Somebody thaws it past opm: it is not called paused any more. Somebody freezes it past opm: `resume` lets it go.
#[test]
fn the_freezer_is_believed_and_not_what_was_ordered() {
    let rig = Rig::new();
    rig.start("web", &[], &ECHO);
    rig.await_lines("up", 1);
    rig.ok(&["pause", "web"]);
    let freezer = cgroup(&rig).join("cgroup.freeze");
    std::fs::write(&freezer, "0").unwrap();
    rig.await_state("web", "online");
    std::fs::write(&freezer, "1").unwrap();
    wait::until("it is frozen", || is_frozen(&rig));
    rig.ok(&["resume", "web"]);
    assert!(!is_frozen(&rig));
    rig.write("ask", "");
    rig.await_lines("answer", 1);
}

/// A daemon that may not signal an app says so, instead of "signalled". Root without CAP_KILL is such a daemon.
#[test]
fn a_signal_that_may_not_be_sent_is_not_called_sent() {
    let rig = Rig::new();
    let mut ping = std::process::Command::new("setpriv");
    ping.args(["--bounding-set", "-kill", crate::rig::OPM, "daemon", "start"]);
    rig.prepare(&mut ping);
    cli::run(&mut ping).ok();
    rig.start("web", &["--user", "nobody", "--stop-timeout", "100ms"], &["trapnote:10:/dev/null", "pause"]);
    rig.opm(&["signal", "USR1", "web"]).code(1).says(&["failed to signal web", "permitted"]);
    // The kill needs no such right: it goes through the cgroup.
    rig.ok(&["stop", "web"]);
    assert!(rig.app_pids().is_empty());
}
