//! The daemon is mortal and its apps are not its hostages: what dies, what is adopted, and what is known afterwards.

use crate::rig::observe::{Identity, identity};
use crate::rig::{Rig, cli, wait::until};
use std::collections::BTreeMap;

/// Main processes by app name, as opm says and the kernel confirms.
fn mains(rig: &Rig) -> BTreeMap<String, Identity> {
    rig.rows()
        .iter()
        .map(|row| {
            assert_eq!(row["state"], "online", "{row:#}");
            let pid = row["pid"].as_u64().unwrap() as u32;
            (row["name"].as_str().unwrap().to_owned(), identity(pid).expect("it lives"))
        })
        .collect()
}

fn start_ten(rig: &Rig) -> BTreeMap<String, Identity> {
    let apps: Vec<_> = (0..10)
        .map(|n| serde_json::json!({"name": format!("a{n}"), "script": rig.prog, "args": ["append:runs:x", "pause"]}))
        .collect();
    let file = rig.write("apps.json", &serde_json::json!({ "apps": apps }).to_string());
    rig.ok(&["start", &file]);
    rig.await_lines("runs", 10);
    mains(rig)
}

/// E3: of a node and a python app PM2 lost one to the death of its daemon and forgot the other, which then ran twice. Here the
/// keeper starts another daemon, and it adopts all: same pids, same start times, no restart counted.
#[test]
fn e3_a_killed_daemon_is_replaced_and_adopts_every_app() {
    let rig = Rig::new();
    let before = start_ten(&rig);
    let keeper = rig.keeper_pid();
    for _ in 0..3 {
        rig.kill_daemon();
        assert_eq!(mains(&rig), before);
    }
    assert_eq!(rig.keeper_pid(), keeper, "the keeper stays");
    assert_eq!(rig.lines("runs").len(), 10, "nothing was started a second time");
    assert!(rig.rows().iter().all(|row| row["restarts"] == 0));
    rig.ok(&["delete", "all"]);
    assert!(rig.app_pids().is_empty(), "adopted apps obey");
}

/// Keeper and daemon both gone: a mere `opm ls` finds living runs, starts a pair, and it adopts by enumeration alone.
#[test]
fn after_keeper_and_daemon_are_killed_the_next_pair_adopts_every_app() {
    let rig = Rig::new();
    let before = start_ten(&rig);
    for _ in 0..2 {
        rig.kill_pair();
        assert_eq!(rig.app_pids().len(), 10, "no app was disturbed");
        assert_eq!(mains(&rig), before);
    }
    assert_eq!(rig.lines("runs").len(), 10);
    rig.ok(&["restart", "all"]);
    assert_eq!(rig.app_pids().len(), 10);
    assert!(mains(&rig).values().all(|now| before.values().all(|then| then != now)));
}

/// Killed again and again at moments of no choosing, while orders come in: apps untouched, no copy, nothing lost.
#[test]
fn a_storm_of_daemon_deaths_disturbs_no_app() {
    let rig = Rig::new();
    let before = start_ten(&rig);
    for n in 0..8 {
        let order = cli::start(&mut rig.start_command(&format!("new{n}"), &[], &[&format!("tag{n}"), "pause"]));
        rig.kill_daemon();
        order.finish(cli::DEADLINE).ok();
        assert_eq!(rig.copies(&format!("tag{n}")).len(), 1, "one copy of what was ordered meanwhile");
    }
    let mut after = mains(&rig);
    after.retain(|name, _| name.starts_with('a'));
    assert_eq!(after, before);
}

/// The daemon is dead when the app exits; the keeper saw it, so the code is exact and the policy is applied once.
#[test]
fn an_exit_while_the_daemon_is_dead_is_known_exactly() {
    let rig = Rig::new();
    let ops = ["append:runs:x", "exitfile:code"];
    rig.start("job", &["--restart", "on-failure"], &ops);
    rig.start("again", &["--backoff", "1ms..1ms"], &["append:again:x", "waitfile:once", "pause"]);
    rig.await_lines("runs", 1);
    let daemon = crate::rig::observe::Grip::on(rig.daemon_pid(), &rig.cgroup);
    let job = rig.grip("job");
    // Stopped first, so that it cannot see the exit; then killed.
    daemon.signal(rustix::process::Signal::STOP);
    rig.write("code", "0");
    assert!(job.gone_within(cli::DEADLINE), "the keeper reaps what exits");
    daemon.kill();
    let row = rig.await_state("job", "stopped");
    assert_eq!(
        (&row["last_exit"]["code"], &row["detail"], &row["restarts"]),
        (&0.into(), &"finished".into(), &0.into()),
        "{row:#}"
    );
    assert_eq!(rig.lines("runs").len(), 1);
}

/// The same with a code that policy calls a failure: restarted, once, and the code is the one it had.
#[test]
fn a_failure_while_the_daemon_is_dead_is_followed_once() {
    let rig = Rig::new();
    rig.start("web", &["--backoff", "1ms..1ms"], &["append:runs:x", "waitfile:go", "exit:77"]);
    rig.await_lines("runs", 1);
    let web = rig.grip("web");
    let daemon = crate::rig::observe::Grip::on(rig.daemon_pid(), &rig.cgroup);
    daemon.signal(rustix::process::Signal::STOP);
    rig.write("go", "");
    assert!(web.gone_within(cli::DEADLINE));
    std::fs::remove_file(rig.path("go")).unwrap();
    daemon.kill();
    rig.await_lines("runs", 2);
    let row = rig.await_state("web", "online");
    assert_eq!((&row["last_exit"]["code"], &row["restarts"]), (&77.into(), &1.into()), "{row:#}");
    assert_eq!(rig.app_pids().len(), 1);
}

/// A one-shot that has done its work is not run again by a new daemon, nor by a new pair.
#[test]
fn a_finished_one_shot_is_not_run_again_by_a_daemon_restart() {
    let rig = Rig::new();
    cli::run(&mut rig.start_command("migrate", &["--restart", "on-failure"], &["append:runs:x", "exit:0"]));
    rig.await_state("migrate", "stopped");
    rig.start("web", &[], &["pause"]);
    rig.kill_daemon();
    assert_eq!(rig.row("migrate")["detail"], "finished");
    rig.kill_pair();
    let row = rig.row("migrate");
    assert_eq!(
        (&row["state"], &row["detail"], &row["last_exit"]["code"]),
        (&"stopped".into(), &"finished".into(), &0.into()),
        "{row:#}"
    );
    assert_eq!(rig.lines("runs").len(), 1);
}

/// What was stopped stays stopped, what was running stays as it is: also across the death of everything.
#[test]
fn a_stopped_app_stays_stopped_after_a_daemon_death() {
    let rig = Rig::new();
    rig.start("down", &[], &["append:down:x", "pause"]);
    rig.start("up", &[], &["pause"]);
    rig.ok(&["stop", "down"]);
    rig.kill_daemon();
    rig.kill_pair();
    let row = rig.row("down");
    assert_eq!((&row["state"], &row["desired"]), (&"stopped".into(), &"down".into()), "{row:#}");
    assert_eq!(rig.lines("down").len(), 1);
}

/// The stop was under way when the daemon died: the next one goes on with it.
#[test]
fn a_stop_under_way_is_finished_by_the_next_daemon() {
    let rig = Rig::new();
    rig.start("slow", &["--stop-timeout", "1s"], &["trapnote:15:asked", "append:up:x", "pause"]);
    rig.await_lines("up", 1);
    let old = rig.grip("slow");
    let stop = cli::start(rig.command().args(["stop", "slow"]));
    rig.await_lines("asked", 1);
    rig.kill_daemon();
    stop.finish(cli::DEADLINE).ok();
    assert!(old.gone_within(cli::DEADLINE));
    assert_eq!(rig.await_state("slow", "stopped")["desired"], "down");
    assert!(rig.app_pids().is_empty());
}

/// A pair that would work in another cgroup than the one before must not overlook what lives there, and start it a second time.
#[test]
fn what_lives_in_another_cgroup_is_not_started_twice() {
    let mut rig = Rig::new();
    rig.start("web", &[], &["append:runs:x", "pause"]);
    rig.await_lines("runs", 1);
    let web = identity(rig.pid("web"));
    rig.kill_pair();
    let elsewhere = rig.cgroup.with_extension("elsewhere");
    rig.env = vec![("OPM_CGROUP".into(), elsewhere.to_str().unwrap().into())];
    rig.opm(&["ls"]).code(3).says(&["apps of this opm live under", rig.cgroup.to_str().unwrap(), "OPM_CGROUP="]);
    assert!(!elsewhere.exists());
    // Nobody says where: then it is where something lives.
    rig.env = vec![("OPM_CGROUP".into(), String::new())];
    rig.ok(&["ls"]).says(&["web"]);
    assert_eq!(rig.status()["cgroup_root"], rig.cgroup.to_str().unwrap());
    assert_eq!(identity(rig.pid("web")), web);
    assert_eq!(rig.lines("runs").len(), 1);
    rig.env.clear();
}

/// `daemon stop --keep-apps` leaves them; the next daemon takes them over. `opm kill` leaves nothing.
#[test]
fn daemon_stop_can_keep_the_apps_and_kill_ends_everything() {
    let rig = Rig::new();
    let before = start_ten(&rig);
    rig.ok(&["daemon", "stop", "--keep-apps"]);
    assert_eq!(rig.app_pids().len(), 10);
    assert_eq!(rig.everybody().len(), 10, "keeper and daemon are gone");
    assert_eq!(mains(&rig), before);
    rig.ok(&["kill"]);
    assert_eq!(rig.everybody(), Vec::<u32>::new());
    rig.opm(&["ping"]).code(3);
    // Wanted up still, as after a shutdown; a read says so without starting anything.
    let rows = rig.ok(&["ls", "--json"]).json();
    assert!(rows.as_array().unwrap().iter().all(|row| row["state"] == "stopped" && row["desired"] == "up"), "{rows:#}");
    assert_eq!(rig.everybody(), Vec::<u32>::new(), "a read with no daemon and no living run starts none");
    rig.ok(&["start", "a0"]);
    rig.await_state("a9", "online");
}

/// The first command after a boot starts the daemon, and the daemon starts what is wanted up. The command must not restart it
/// once more: one start is one start.
#[test]
fn starting_by_name_when_no_daemon_runs_starts_once() {
    let rig = Rig::new();
    rig.start("web", &[], &["append:up:x", "pause"]);
    rig.await_lines("up", 1);
    rig.ok(&["kill"]);
    let said = rig.ok(&["start", "web"]);
    assert!(said.err().contains("started") || said.err().contains("already online"), "{said}");
    rig.ok(&["restart", "web"]);
    rig.await_lines("up", 3);
    until("the old run's cgroup is removed", || rig.runs().len() == 1);
}

/// After the keeper's death apps are children of the machine's first process, and in many a container that one never reaps.
/// Their ends are noticed all the same, with code and signal, and at once.
#[test]
fn apps_whose_new_parent_never_reaps_are_stopped_and_restarted() {
    // Without the shell of `run_inside` in between, which would reap.
    let said = cli::run(
        std::process::Command::new("unshare")
            .args(["--pid", "--fork", "--mount-proc", "--kill-child"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "daemon_death::inner_with_a_parent_that_never_reaps", "--ignored", "--nocapture"]),
    );
    assert!(said.code == Some(0) && said.out().contains("1 passed"), "{said}");
}

#[test]
#[ignore = "run by the test above, inside its namespace"]
fn inner_with_a_parent_that_never_reaps() {
    assert_eq!(std::process::id(), 1, "whoever is the first process here gets the orphans");
    let rig = Rig::new();
    rig.start("web", &[], &["pause"]);
    rig.start("one", &["--restart", "never"], &["waitfile:go", "exit:7"]);
    rig.kill_pair();
    rig.await_state("one", "online");
    rig.write("go", "");
    assert_eq!(rig.await_row("one", "over", |row| row["state"] != "online")["last_exit"]["code"], 7);
    let web = rig.pid("web");
    rig.grip("web").kill();
    let row = rig.await_row("web", "restarted", |row| row["pid"].as_u64().is_some_and(|pid| pid != u64::from(web)));
    assert_eq!(row["last_exit"]["signal"], "SIGKILL");
    rig.kill_pair();
    rig.ok(&["stop", "all"]);
}

/// Out of descriptors in the midst of adoption, wherever that falls: a run that cannot be looked at is no run that has ended. The daemon does
/// not get ready, says why, ends nothing, and starts nothing a second time.
#[test]
fn a_daemon_that_runs_out_of_descriptors_takes_no_run_for_dead() {
    let rig = Rig::new();
    rig.start("web", &["-i", "12"], &["append:up:x", "pause"]);
    rig.await_lines("up", 12);
    let apps = rig.app_pids();
    rig.kill_pair();
    let mut refused = 0;
    for most in (30..).step_by(3) {
        let mut command = rig.command_of("prlimit");
        command.arg(format!("--nofile={most}:{most}")).arg(&rig.opm).args(["daemon", "start"]);
        let said = cli::run(&mut command);
        assert_eq!((rig.app_pids(), rig.lines("up").len()), (apps.clone(), 12), "with {most} descriptors: {said}");
        if said.code == Some(0) {
            break;
        }
        said.says(&["error"]);
        refused += 1;
    }
    assert!(refused >= 10, "refused {refused} times");
    assert!(rig.rows().iter().all(|row| row["state"] == "online" && row["restarts"] == 0), "{:?}", rig.rows());
}
