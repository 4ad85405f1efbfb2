//! Many at once: first commands, equal orders, contrary orders.

use crate::rig::{OPM, Rig, cli};
use std::path::Path;

/// E9: of four to six parallel `pm2 start` with no daemon, as many daemons came up and one app was kept.
#[test]
fn e9_twenty_racing_first_commands_give_one_daemon_and_lose_none() {
    let rig = Rig::new();
    let starts: Vec<_> = (0..20)
        .map(|n| cli::start(&mut rig.start_command(&format!("app{n}"), &[], &[&format!("tag{n}"), "pause"])))
        .collect();
    for start in starts {
        start.finish(cli::DEADLINE).ok();
    }
    assert_eq!(rig.rows().len(), 20);
    for n in 0..20 {
        assert_eq!(rig.copies(&format!("tag{n}")).len(), 1, "app{n}");
    }
    let mut pair = crate::rig::observe::procs(&rig.cgroup.join("supervisor"));
    let mut said = vec![rig.daemon_pid(), rig.keeper_pid()];
    pair.sort_unstable();
    said.sort_unstable();
    assert_eq!(pair, said, "one keeper and one daemon, nobody else");
    let mut ids: Vec<_> = rig.rows().iter().map(|row| row["id"].as_u64().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..20).collect::<Vec<_>>());
}

/// Racing reads and orders with no daemon: none of them fails for the race.
#[test]
fn racing_first_reads_and_orders_all_get_their_answer() {
    let rig = Rig::new();
    let calls: Vec<_> = (0..12)
        .map(|n| match n % 3 {
            0 => cli::start(rig.command().args(["ls", "--json"])),
            1 => cli::start(rig.command().args(["stop", "all"])),
            _ => cli::start(&mut rig.start_command(&format!("app{n}"), &["--no-autostart"], &["pause"])),
        })
        .collect();
    for call in calls {
        call.finish(cli::DEADLINE).ok();
    }
    assert_eq!(rig.rows().len(), 4);
}

/// Fifty at once of the very same start: one app, one copy, and all fifty are told that it is so.
#[test]
fn fifty_parallel_starts_of_the_same_spec_give_one_app_and_one_copy() {
    let rig = Rig::new();
    let starts: Vec<_> = (0..50).map(|_| cli::start(&mut rig.start_command("web", &[], &["same", "pause"]))).collect();
    for start in starts {
        start.finish(cli::DEADLINE).ok();
    }
    assert_eq!(rig.rows().len(), 1);
    assert_eq!(rig.copies("same").len(), 1);
    assert_eq!(rig.row("web")["id"], 0);
}

/// Bug 1: five restarts left six copies running.
#[test]
fn bug_1_five_restarts_leave_one_copy() {
    let rig = Rig::new();
    rig.start("web", &[], &["append:runs:x", "tagged", "pause"]);
    for n in 1..=5 {
        let old = rig.grip("web");
        rig.ok(&["restart", "web"]);
        assert!(old.gone_within(std::time::Duration::ZERO), "restart {n} was answered while the old process lived");
        assert_eq!(rig.copies("tagged").len(), 1, "after restart {n}");
    }
    rig.await_lines("runs", 6);
    let restarts: Vec<_> = (0..10).map(|_| cli::start(rig.command().args(["restart", "web"]))).collect();
    for restart in restarts {
        restart.finish(cli::DEADLINE);
    }
    rig.await_state("web", "online");
    assert_eq!(rig.copies("tagged").len(), 1);
    rig.ok(&["stop", "web"]);
    assert!(rig.app_pids().is_empty(), "and stop leaves none");
}

/// B17: contrary orders from all sides, with crashes thrown in. Afterwards what is wanted and what lives agree.
#[test]
fn contrary_orders_from_many_clients_end_in_one_state() {
    let rig = Rig::new();
    rig.start("web", &["--stop-timeout", "2s"], &["tagged", "pause"]);
    let verbs = ["stop", "start", "restart", "reset"];
    let orders: Vec<_> = (0..32).map(|n| cli::start(rig.command().args([verbs[n % verbs.len()], "web"]))).collect();
    for order in orders {
        // Superseded by a later one is a fair answer, a hang is not.
        order.finish(cli::DEADLINE);
    }
    let row = rig.await_row("web", "settled", |row| matches!(row["state"].as_str(), Some("online" | "stopped")));
    let wanted = usize::from(row["desired"] == "up");
    assert_eq!(rig.copies("tagged").len(), wanted, "{row:#}");
    rig.ok(&["start", "web"]);
    assert_eq!(rig.copies("tagged").len(), 1);
}

/// Bug 8: what was started while another app crash-looped vanished from the table, and ran.
#[test]
fn bug_8_apps_started_beside_a_crash_loop_are_all_listed() {
    let rig = Rig::new();
    cli::run(&mut rig.start_command("loop", &["--backoff", "1ms..1ms", "--max-restarts", "1000000"], &["exit:1"]));
    for n in 0..7 {
        rig.start(&format!("app{n}"), &[], &[&format!("tag{n}"), "pause"]);
    }
    assert_eq!(rig.rows().len(), 8);
    for n in 0..7 {
        assert_eq!(rig.copies(&format!("tag{n}")).len(), 1);
    }
    rig.kill_daemon();
    assert_eq!(rig.rows().len(), 8);
}

/// A second daemon cannot start beside the first, and says why.
#[test]
fn a_second_daemon_is_refused_and_disturbs_nothing() {
    let rig = Rig::new();
    rig.start("web", &[], &["pause"]);
    let (pid, daemon) = (rig.pid("web"), rig.daemon_pid());
    let second = rig.opm(&["daemon", "run"]);
    assert!(second.code.is_some_and(|c| c != 0), "{second}");
    assert!(!second.err().is_empty(), "{second}");
    assert_eq!((rig.pid("web"), rig.daemon_pid()), (pid, daemon));
}

/// A client that is killed while it starts a daemon lets go of its place, and what it started may be quicker than what the next one starts: that
/// one is turned away by the lock, and its client goes on with whoever has it. Here the socket is away until then.
#[test]
fn whoever_is_turned_away_by_the_lock_goes_on_with_who_has_it() {
    let rig = Rig::with_own_opm();
    rig.start("web", &[], &["pause"]);
    let (socket, away) = (rig.home.join("run/opm.sock"), rig.home.join("run/away"));
    let keeper = format!(
        "#!/bin/sh\nsaid=$('{OPM}' \"$@\")\necho \"$said\" > '{}'\nmv '{}' '{}'\necho \"$said\"\n",
        rig.path("said"),
        away.display(),
        socket.display()
    );
    let keeper = rig.write("keeper", &keeper);
    std::fs::rename(&socket, &away).unwrap();
    // It waits for a while, because a pair that was killed has the lock for a moment longer than its socket. Then it starts what is installed.
    let client = cli::start(rig.command().args(["start", "web"]));
    rig.install(Path::new(&keeper));
    cli::run(std::process::Command::new("chmod").arg("755").arg(&rig.opm)).ok();
    client.finish(cli::DEADLINE).ok();
    rig.install(Path::new(OPM));
    let said = std::fs::read_to_string(rig.path("said")).unwrap();
    assert!(said.contains("another opm daemon holds"), "{said}");
    assert_eq!(rig.rows().len(), 1);
}
