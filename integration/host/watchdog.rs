//! A daemon that hangs is ended where somebody asked for it, and the keeper as the first process of a container.

use crate::rig::observe::{Grip, everybody, identity};
use crate::rig::{Rig, cli, wait::until};
use rustix::process::Signal;

/// Stopped, it cannot answer, and nothing but SIGKILL ends it: the next one serves, and the app never notices.
#[test]
fn a_hung_daemon_is_ended_and_replaced() {
    let rig = Rig::new();
    let keeper = cli::start(rig.command().args(["daemon", "run", "--watchdog", "1s"]));
    until("the daemon to serve", || rig.opm(&["ping"]).code == Some(0));
    rig.start("web", &[], &["append:runs:x", "pause"]);
    let web = identity(rig.pid("web"));
    for _ in 0..2 {
        let daemon = Grip::on(rig.daemon_pid(), &rig.cgroup);
        daemon.signal(Signal::STOP);
        assert!(daemon.gone_within(cli::DEADLINE), "it hangs and is left alone");
        rig.ok(&["ping"]);
    }
    assert_eq!(identity(rig.pid("web")), web);
    assert_eq!(rig.lines("runs").len(), 1);
    rig.ok(&["kill"]);
    keeper.finish(cli::DEADLINE).says(&["did not answer for 1s", "hung"]);
}

/// In a container there is nobody above the keeper: it reaps what others orphan, and SIGTERM, which pid 1 would not even
/// feel without a handler, ends all in good order.
#[test]
fn the_keeper_may_be_process_1() {
    let rig = Rig::new();
    let mut container = std::process::Command::new("unshare");
    rig.prepare(&mut container);
    container.args(["--pid", "--fork", "--kill-child", "--mount-proc"]).arg(&rig.opm).args(["daemon", "run"]);
    let container = cli::start(&mut container);
    until("the daemon to serve", || rig.opm(&["ping"]).code == Some(0));
    assert_eq!(rig.status()["keeper_pid"], 1);
    let flags = ["--restart-delay", "0ms", "--stop-timeout", "2s"];
    rig.start("web", &flags, &["append:runs:x", "trapnote:15:ended", "daemon:", "--", "pause"]);
    let supervisor = everybody(&rig.cgroup.join("supervisor"));
    let keeper = *supervisor.iter().find(|pid| parent_of(**pid).is_some_and(|p| !supervisor.contains(&p))).unwrap();

    // The double-forked one had nothing to do and is gone; nobody is left as a zombie of the keeper's.
    until("the orphan to be reaped", || children_of(keeper).iter().all(|(_, state)| *state != 'Z'));
    // Started is said when its program was executed; its first line may come later.
    rig.await_lines("runs", 1);
    let main = *rig.app_pids().first().expect("the app lives");
    Grip::on(main, &rig.cgroup).kill();
    rig.await_lines("runs", 2);
    let row = rig.await_state("web", "online");
    assert_eq!((&row["last_exit"]["signal"], &row["restarts"]), (&"SIGKILL".into(), &1.into()), "{row:#}");
    Grip::on(keeper, &rig.cgroup).signal(Signal::TERM);
    container.finish(cli::DEADLINE);
    assert!(rig.everybody().is_empty());
}

fn stat(pid: u32) -> Option<(u32, char)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((fields.next()?.parse().ok()?, state))
}

fn parent_of(pid: u32) -> Option<u32> {
    stat(pid).map(|(parent, _)| parent)
}

fn children_of(parent: u32) -> Vec<(u32, char)> {
    let all = std::fs::read_dir("/proc").unwrap().filter_map(|e| e.unwrap().file_name().to_str()?.parse().ok());
    all.filter_map(|pid: u32| stat(pid).filter(|(of, _)| *of == parent).map(|(_, state)| (pid, state))).collect()
}

/// Nobody answers and nobody says why: whoever waits is told so, and is served all the same once somebody is there.
#[test]
fn whoever_waits_for_a_daemon_that_does_not_answer_is_told() {
    let rig = Rig::new();
    rig.start("web", &[], &["pause"]);
    let daemon = Grip::on(rig.daemon_pid(), &rig.cgroup);
    daemon.signal(Signal::STOP);
    let waits = cli::start(rig.command().args(["ls"]));
    let told = || rig.opm(&["wait", "web", "--timeout", "8s"]).err().contains("no daemon answers yet");
    assert!(told(), "an order with a limit of its own is told as well");
    daemon.signal(Signal::CONT);
    waits.finish(cli::DEADLINE).ok().says(&["web", "no daemon answers yet"]);
}
