//! Names and ids: what an app is called, and that no two things ever share it.

use crate::rig::{Rig, cli};

/// Bug 11: ids were renumbered on every removal, so that the next command hit another process.
#[test]
fn bug_11_ids_are_given_once_and_never_reused() {
    let rig = Rig::new();
    for name in ["a", "b", "c"] {
        rig.start(name, &[], &["pause"]);
    }
    rig.ok(&["delete", "1"]);
    assert_eq!((&rig.row("a")["id"], &rig.row("c")["id"]), (&0.into(), &2.into()));
    rig.ok(&["delete", "c"]);
    rig.start("d", &[], &["pause"]);
    assert_eq!(rig.row("d")["id"], 3);
    rig.ok(&["delete", "all"]);
    rig.ok(&["kill"]);
    rig.start("e", &[], &["pause"]);
    assert_eq!(rig.row("e")["id"], 4, "not even by a new daemon after everything was deleted");
}

/// The same spec again is already so; another one under the same name is refused, with what differs, and `--replace` replaces.
#[test]
fn a_taken_name_is_refused_with_the_differences() {
    let rig = Rig::new();
    rig.start("web", &["--env", "A=1"], &["first", "pause"]);
    let pid = rig.pid("web");
    rig.start("web", &["--env", "A=1"], &["first", "pause"]).says(&["already online"]);
    assert_eq!(rig.pid("web"), pid, "nothing happened to it");
    let mut other = rig.start_command("web", &["--env", "A=1", "--stop-timeout", "3s"], &["second", "pause"]);
    cli::run(&mut other).code(1).says(&["web", "args", "stop_timeout", "--replace"]);
    assert_eq!(rig.pid("web"), pid, "nor now");
    let mut other =
        rig.start_command("web", &["--env", "A=1", "--stop-timeout", "3s", "--replace"], &["second", "pause"]);
    cli::run(&mut other).ok();
    assert_eq!((rig.copies("first").len(), rig.copies("second").len()), (0, 1));
    assert_eq!(rig.row("web")["id"], 0, "it is the same app still");
    assert_eq!(rig.rows().len(), 1);
}

/// Bug 9: a new name for an app made two entries with one pid. A name is one app here, under any order of events.
#[test]
fn bug_9_one_process_is_never_in_two_rows() {
    let rig = Rig::new();
    rig.start("old", &[], &["tagged", "pause"]);
    rig.start("new", &[], &["tagged", "pause"]);
    cli::run(&mut rig.start_command("old", &["--replace"], &["tagged", "pause"])).ok();
    let pids: Vec<_> = rig.rows().iter().map(|row| row["pid"].as_u64().unwrap()).collect();
    assert_eq!(pids.len(), 2);
    assert_ne!(pids[0], pids[1]);
    assert_eq!(rig.copies("tagged").len(), 2);
}

/// Bug 10: what was removed came back with the next daemon.
#[test]
fn bug_10_what_is_deleted_stays_deleted() {
    let rig = Rig::new();
    for name in ["a", "b", "c"] {
        rig.start(name, &[], &["pause"]);
    }
    rig.ok(&["delete", "a", "b"]);
    rig.kill_daemon();
    rig.kill_pair();
    assert_eq!(rig.rows().len(), 1);
    rig.ok(&["rm", "all"]);
    rig.kill_daemon();
    assert_eq!(rig.rows().len(), 0);
    rig.ok(&["kill"]);
    rig.ok(&["save"]);
    assert_eq!(rig.rows().len(), 0);
    assert!(rig.app_pids().is_empty());
}
