//! I7: every app starts clean, and with exactly what it was promised.

use crate::rig::{Rig, cli};
use std::os::unix::process::CommandExt;

/// Descriptors 0 to 2 only, default signals, an empty mask, a session of its own, nobody's death signal, no OOM bias; whatever
/// the command that started the daemon had ignored, opened or set.
#[test]
fn an_app_inherits_nothing() {
    let rig = Rig::new();
    // The first command comes from a shell with ignored signals, odd descriptors, a umask and a raised OOM score.
    let script = "trap '' HUP INT TERM PIPE USR1; umask 077; echo 500 > /proc/self/oom_score_adj; exec 7</etc/passwd 9>/dev/null; \"$@\"";
    let mut shell = std::process::Command::new("sh");
    rig.prepare(&mut shell);
    shell.args(["-c", script, "sh", crate::rig::OPM, "start"]).arg(&rig.prog).args([
        "--name",
        "web",
        "--",
        "facts:one",
        "pause",
    ]);
    cli::run(&mut shell).ok();
    for round in 0..2 {
        let facts = rig.facts("one");
        assert_eq!(facts.get("fds"), "0 1 2", "round {round}");
        assert_eq!(facts.get("fd0"), "/dev/null");
        for set in ["SigBlk", "SigIgn", "SigPnd"] {
            assert_eq!(u64::from_str_radix(facts.status(set), 16).unwrap(), 0, "{set} in round {round}");
        }
        assert_eq!((facts.get("sid"), facts.get("pgid")), (facts.get("pid"), facts.get("pid")), "a session of its own");
        assert_eq!((facts.get("oom_score_adj"), facts.get("umask"), facts.get("nice")), ("0", "0022", "0"));
        assert!(facts.get("cgroup").contains("/apps/0.0/run-"), "{}", facts.get("cgroup"));
        // The keeper is the parent of every run, whoever spawned it.
        assert_eq!(facts.get("ppid"), rig.keeper_pid().to_string());
        // The same from a daemon that the keeper started, not the shell.
        std::fs::remove_file(rig.path("one")).unwrap();
        rig.kill_daemon();
        rig.ok(&["restart", "web"]);
    }
}

/// The daemon raises its own descriptor limit; the app gets the one that was there before.
#[test]
fn an_app_gets_the_limits_of_whoever_started_the_daemon() {
    let rig = Rig::new();
    let mut shell = std::process::Command::new("sh");
    rig.prepare(&mut shell);
    shell.args(["-c", "ulimit -Sn 777; \"$@\"", "sh", crate::rig::OPM, "start"]).arg(&rig.prog).args([
        "--name",
        "web",
        "--",
        "facts:one",
        "pause",
    ]);
    cli::run(&mut shell).ok();
    let facts = rig.facts("one");
    assert!(facts.get("nofile").starts_with("777:"), "{}", facts.get("nofile"));
}

#[test]
fn umask_nice_limits_and_cwd_are_applied() {
    let rig = Rig::new();
    let flags = ["--umask", "027", "--nice", "5", "--rlimit", "nofile=300:400", "--rlimit", "core=0", "--cwd", "/usr"];
    rig.start("web", &flags, &[&format!("facts:{}", rig.path("one")), "pause"]);
    let facts = rig.facts("one");
    assert_eq!(
        (facts.get("umask"), facts.get("nice"), facts.get("nofile"), facts.get("core")),
        ("0027", "5", "300:400", "0:0")
    );
    assert_eq!(facts.bytes("cwd"), [b"/usr".to_vec()]);
}

/// `--user nobody`: all three user ids, the groups of that user, and logs that it may open anew through /dev/stdout.
#[test]
fn another_user_means_that_user_altogether() {
    let rig = Rig::new();
    let shared = rig.work.join("shared");
    std::fs::create_dir(&shared).unwrap();
    std::os::unix::fs::chown(&shared, Some(65534), Some(65534)).unwrap();
    let facts = format!("facts:{}", shared.join("one").display());
    rig.start("web", &["--user", "nobody"], &[&facts, "out:plain", "reopen:through /dev/stdout", "pause"]);
    let facts = rig.facts("shared/one");
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let (uid, gid) = (nobody.uid.to_string(), nobody.gid.to_string());
    assert_eq!((facts.get("uid"), facts.get("euid")), (uid.as_str(), uid.as_str()));
    assert_eq!((facts.get("gid"), facts.get("egid")), (gid.as_str(), gid.as_str()));
    assert!(
        facts.get("groups").split(' ').all(|g| g == gid || g.is_empty()),
        "root's groups are gone: {}",
        facts.get("groups")
    );
    crate::rig::wait::until_or(
        "both lines in the log",
        crate::rig::wait::PATIENCE,
        || rig.log("web", 0, "out") == b"plain\nthrough /dev/stdout\n",
        || (String::from_utf8(rig.log("web", 0, "out")), String::from_utf8(rig.log("web", 0, "err"))),
    );
    rig.ok(&["stop", "web"]);
}

#[test]
fn a_group_of_its_own_choice() {
    let rig = Rig::new();
    std::fs::set_permissions(&rig.work, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    rig.start("web", &["--user", "nobody", "--group", "daemon"], &["facts:one", "pause"]);
    let daemon = nix::unistd::Group::from_name("daemon").unwrap().unwrap().gid.to_string();
    assert_eq!(rig.facts("one").get("gid"), daemon);
}

/// A user of no privilege cannot ask for another one, nor reach a daemon that is not its own.
#[test]
fn a_stranger_is_not_served() {
    let rig = Rig::new();
    rig.start("web", &[], &["pause"]);
    // Where the binary lies may be closed to others; a copy of it is not.
    let copy = rig.path("opm");
    cli::run(std::process::Command::new("cp").args([crate::rig::OPM, &copy])).ok();
    let mut stranger = std::process::Command::new(&copy);
    rig.prepare(&mut stranger);
    let said = cli::run(stranger.args(["stop", "web"]).uid(65534).gid(65534));
    assert_ne!(said.code, Some(0), "{said}");
    assert_eq!(rig.row("web")["state"], "online");
}
