//! Stories of the earlier opm that fit nowhere else: strangers taken for ours, replies that lied, readers that hung.

use crate::rig::{Rig, cli, observe, wait};
use std::process::{Command, Stdio};

/// Bug 14: a command that exited fast made opm adopt any young process of the machine, and then kill it.
#[test]
fn bug_14_a_stranger_is_never_adopted_and_never_signalled() {
    let rig = Rig::new();
    let mut stranger = Command::new(&rig.prog).args(["tagged", "pause"]).stdout(Stdio::null()).spawn().unwrap();
    cli::run(&mut rig.start_command("brief", &["--restart", "never"], &["tagged", "exit:0"]));
    rig.ok(&["start", "true", "--shell", "--name", "shell", "--restart", "never"]);
    for name in ["brief", "shell"] {
        let row = rig.await_state(name, "stopped");
        assert!(row["pid"].is_null(), "{row:#}");
    }
    rig.ok(&["restart", "all"]);
    rig.ok(&["delete", "all"]);
    rig.ok(&["kill"]);
    assert!(observe::alive(stranger.id()), "a process that was never ours was killed");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

/// Bug 15: "stopped" was said while the tree lived, and the next start made a second copy.
#[test]
fn bug_15_stop_does_not_lie() {
    let rig = Rig::new();
    let ops = ["ignore:15", "daemon", "append:born:helper", "pause", "--", "tagged", "pause"];
    rig.start("stubborn", &["--stop-timeout", "200ms"], &ops);
    rig.await_lines("born", 1);
    rig.ok(&["stop", "stubborn"]);
    assert!(rig.app_pids().is_empty());
    rig.ok(&["start", "stubborn"]);
    rig.await_lines("born", 2);
    wait::until("main and helper", || rig.app_pids().len() == 2);
    assert_eq!(rig.living().len(), 1, "one run");
}

/// The first command that starts the daemon ends, and so does its output: `opm start x | cat` used to hang for ever. Every call
/// of the rig insists on it; this one makes the daemon's own descriptors the subject.
#[test]
fn the_daemon_holds_nothing_of_the_command_that_started_it() {
    let rig = Rig::new();
    rig.start("web", &[], &["pause"]);
    for pid in [rig.daemon_pid(), rig.keeper_pid()] {
        for fd in 0..3 {
            let link = std::fs::read_link(format!("/proc/{pid}/fd/{fd}")).unwrap_or_default();
            assert!(!link.to_string_lossy().contains("pipe:"), "process {pid} has {} as {fd}", link.display());
        }
        assert_eq!(
            std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap(),
            std::path::Path::new("/"),
            "it holds no folder busy"
        );
        // Not under the command's session either: closing a terminal must not end it.
        assert_ne!(session_of(&pid.to_string()), session_of("self"));
    }
}

/// The session of a process (proc(5), field 6 of stat): 0 when its leader lives outside this pid namespace, as under a container's
/// build step, which `rustix::process::getsid` takes for impossible.
fn session_of(process: &str) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(3).unwrap().parse().unwrap()
}

/// `opm wait` answers when it is so, and not before.
#[test]
fn wait_waits_until_it_is_so() {
    let rig = Rig::new();
    rig.start("web", &["--restart-delay", "300ms"], &["pause"]);
    rig.ok(&["wait", "web"]);
    rig.grip("web").kill();
    rig.ok(&["wait", "web"]);
    assert_eq!(rig.row("web")["state"], "online");
    rig.opm(&["wait", "nobody"]).code(4);
}

/// The names that PM2's and opm's users know.
#[test]
fn known_names_of_commands_work() {
    let rig = Rig::new();
    for alias in ["list", "l", "ps", "status", "ls"] {
        rig.ok(&[alias]);
    }
    rig.start("web", &[], &["pause"]);
    for alias in ["info", "details", "show", "describe"] {
        rig.ok(&[alias, "web"]).says(&["web", "online"]);
    }
    for alias in ["remove", "rm", "del", "delete"] {
        cli::run(&mut rig.start_command(alias, &[], &["pause"])).ok();
        rig.ok(&[alias, alias]);
        assert_eq!(rig.rows().len(), 1);
    }
    rig.ok(&["ping"]);
    rig.ok(&["version"]);
    rig.ok(&["--version"]).says(&["opm", env!("CARGO_PKG_VERSION")]);
    rig.ok(&["completions", "bash"]).says(&["opm"]);
    rig.opm(&["no-such-command"]).code(2);
    rig.ok(&["kill"]);
    rig.opm(&["ping"]).code(3);
}
