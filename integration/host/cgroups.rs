//! The cgroup tree: where opm puts itself, what it promises there, and what it refuses to promise.

use crate::rig::{Rig, cli, observe, run_inside, wait::until};
use std::fs;

fn controllers() -> Vec<String> {
    let text = fs::read_to_string(observe::cgroup2_mount().unwrap().join("cgroup.controllers")).unwrap();
    text.split_whitespace().map(str::to_owned).collect()
}

/// Limits: enforced by the kernel where the controller is there, refused with the reason where it is not. Never ignored.
#[test]
fn a_limit_is_enforced_or_refused_and_never_ignored() {
    let rig = Rig::new();
    for (flag, value, controller, file, set) in [
        ("--pids", "20", "pids", "pids.max", "20"),
        ("--memory-max", "64M", "memory", "memory.max", "67108864"),
        ("--memory-high", "32M", "memory", "memory.high", "33554432"),
        ("--max-memory-restart", "16M", "memory", "memory.high", "16777216"),
        ("--cpus", "0.5", "cpu", "cpu.max", "50000 100000"),
        ("--cpu-weight", "50", "cpu", "cpu.weight", "50"),
        ("--io-max", "8:0:rbps=1M", "io", "io.max", "8:0 rbps=1048576 wbps=max riops=max wiops=max"),
    ] {
        let mut start = rig.start_command(controller, &[flag, value], &["storm:100", "pause"]);
        let said = cli::run(&mut start);
        if controllers().iter().any(|c| c == controller) {
            assert_eq!(said.code, Some(0), "{said}");
            let run = rig.living().into_iter().next().unwrap();
            assert_eq!(fs::read_to_string(run.path.join(file)).unwrap().trim(), set);
            rig.ok(&["delete", controller]);
        } else {
            assert_eq!(said.code, Some(1), "{said}");
            said.says(&[controller, "controller"]);
            assert!(rig.rows().is_empty(), "refused, and so not there");
        }
    }
}

/// A keeper is born in its cgroup; from one that was killed once nobody can be (the kill_seq trap), and then it moves there.
#[test]
fn a_keeper_gets_its_place_also_from_a_cgroup_that_was_killed_once() {
    for killed in [false, true] {
        let rig = Rig::new();
        let place = rig.cgroup.join("somewhere");
        fs::create_dir_all(&place).unwrap();
        if killed {
            fs::write(place.join("cgroup.kill"), "1").unwrap();
        }
        let mut shell = std::process::Command::new("sh");
        rig.prepare(&mut shell);
        shell.args(["-c", "echo 0 > \"$0\" && exec \"$@\""]).arg(place.join("cgroup.procs"));
        cli::run(shell.arg(crate::rig::OPM).arg("start").arg(&rig.prog).args(["--name", "web", "--", "pause"])).ok();
        let keeper = rig.keeper_pid();
        assert_eq!(observe::procs(&rig.cgroup.join("supervisor")), [keeper, rig.daemon_pid()], "killed: {killed}");
        assert_eq!(observe::procs(&place), Vec::<u32>::new(), "killed: {killed}");
        rig.kill_daemon();
        assert_eq!((rig.keeper_pid(), rig.row("web")["state"].as_str()), (keeper, Some("online")));
    }
}

/// A change that cannot be had is refused whole: neither the spec nor what runs is touched.
#[test]
fn a_limit_that_cannot_be_enforced_changes_nothing() {
    let rig = Rig::new();
    rig.start("web", &[], &["pause"]);
    let before = rig.rows();
    let said = rig.opm(&["limit", "web", "--memory-max", "64M", "--pids", "50"]);
    if controllers().iter().any(|c| c == "memory") {
        said.ok();
    } else {
        said.code(1).says(&["app 'web'", "memory", "controller"]);
        assert!(!rig.ok(&["info", "web"]).out().contains("memory_max"));
    }
    // To take off what is not there is a wish that cannot fail.
    rig.ok(&["limit", "web", "--memory-max", "none", "--pids", "none"]).says(&["limits of web", "1 instance"]);
    assert_eq!(rig.rows()[0]["pid"], before[0]["pid"], "nothing was restarted");
    rig.opm(&["limit", "web"]).code(2).says(&["which limit"]);
    rig.opm(&["limit", "web:0", "--pids", "none"]).code(1).says(&["one instance of 'web'"]);
}

/// A fork storm under `--pids` is held at the limit, and stopped whole. Where there is no pids controller, a storm that is
/// bounded by itself is stopped whole all the same.
#[test]
fn a_fork_storm_is_stopped_whole() {
    let rig = Rig::new();
    if controllers().iter().any(|c| c == "pids") {
        rig.start("storm", &["--pids", "50"], &["storm:1000", "pause"]);
        crate::rig::wait::until("the storm to be held", || rig.log("storm", 0, "out").starts_with(b"storm 49 "));
    } else {
        rig.start("storm", &[], &["ignore:15", "storm:300", "pause"]);
        crate::rig::wait::until("the storm", || rig.app_pids().len() == 301);
        rig.opm(&["ls", "--json"]).ok();
    }
    rig.ok(&["signal", "KILL", "storm"]);
    rig.ok(&["stop", "storm"]);
    assert!(rig.app_pids().is_empty());
}

/// Without `OPM_CGROUP`, as root without systemd: a subtree of its own under the mount, one for each `OPM_HOME`.
#[test]
fn each_home_has_a_subtree_of_its_own() {
    let (mut one, mut two) = (Rig::without_named_cgroup(), Rig::without_named_cgroup());
    let mount = observe::cgroup2_mount().unwrap();
    let mut roots = Vec::new();
    for rig in [&mut one, &mut two] {
        let said = cli::run(&mut rig.start_command("web", &[], &["pause"]));
        let status = rig.status();
        let root = status["cgroup_root"].as_str().unwrap().to_owned();
        let full = [std::path::PathBuf::from(&root), mount.join(root.trim_start_matches('/'))]
            .into_iter()
            .find(|p| p.starts_with(&mount) && p.is_dir());
        rig.cgroup = full.unwrap_or_else(|| panic!("{root} is not under {}: {said}", mount.display()));
        assert_ne!(rig.cgroup, mount, "never the mount itself");
        assert_eq!(rig.app_pids().len(), 1);
        roots.push(root);
    }
    assert_ne!(roots[0], roots[1]);
    one.ok(&["kill"]);
    assert_eq!(two.app_pids().len(), 1, "the other is not concerned");
}

/// Each run has a fresh cgroup, and old ones are removed: nothing piles up.
#[test]
fn every_run_has_a_fresh_cgroup_and_old_ones_are_removed() {
    let rig = Rig::new();
    rig.start("web", &["--min-uptime", "1ms"], &["pause"]);
    let mut last = 0;
    for _ in 0..5 {
        rig.ok(&["restart", "web"]);
        // The old one is empty when the answer comes; it goes once what was written is in the log.
        until("the old run's cgroup is removed", || rig.runs().len() == 1);
        let runs = rig.runs();
        assert!(runs[0].number > last, "{runs:?}");
        last = runs[0].number;
    }
    rig.kill_pair();
    rig.ok(&["restart", "web"]);
    until("the old run's cgroup is removed", || rig.runs().len() == 1);
    assert!(rig.runs()[0].number > last, "nor does a new daemon use a number again");
}

/// A12: the marks of a living run are gone, or hold junk. It is shown as unknown, nothing is started beside it, and it is
/// followed by a successor once it has ended.
#[test]
fn a_run_without_its_marks_is_unknown_and_blocks_a_successor() {
    for junk in [None, Some(vec![0_u8; 0]), Some(b"not a number".to_vec()), Some(vec![0xff; 4000])] {
        let rig = Rig::new();
        rig.start("web", &[], &["pause"]);
        let (pid, web) = (rig.pid("web"), rig.grip("web"));
        rig.kill_pair();
        spoil_marks(&rig.runs()[0].path, junk.as_deref());
        let row = rig.await_state("web", "unknown");
        assert_eq!(row["desired"], "up", "{row:#}");
        rig.kill_daemon();
        rig.await_state("web", "unknown");
        assert_eq!(rig.app_pids(), [pid], "nothing is started beside it, and nobody signalled it");
        web.kill();
        rig.await_row("web", "followed", |row| row["state"] == "online" && row["pid"] != pid);
        assert_eq!(rig.app_pids().len(), 1);
    }
}

/// Removes opm's extended attributes from a cgroup, or puts junk into each.
fn spoil_marks(run: &std::path::Path, junk: Option<&[u8]>) {
    let mut names = vec![0_u8; 4096];
    let length = rustix::fs::listxattr(run, names.as_mut_slice()).unwrap();
    let names = names[..length]
        .split(|b| *b == 0)
        .filter_map(|n| std::str::from_utf8(n).ok())
        .filter(|n| n.starts_with("user.opm"));
    let mut spoilt = 0;
    for name in names {
        match junk {
            None => rustix::fs::removexattr(run, name).unwrap(),
            Some(junk) => rustix::fs::setxattr(run, name, junk, rustix::fs::XattrFlags::empty()).unwrap(),
        }
        spoilt += 1;
    }
    assert!(spoilt > 0, "{} has no marks of opm's", run.display());
}

/// The same life on a machine with a unified mount: a private view of one, in a mount namespace.
#[test]
fn it_works_where_cgroup2_is_mounted_at_sys_fs_cgroup() {
    let unified = "umount -R /sys/fs/cgroup 2>/dev/null || umount -l /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup || exit 99";
    let said = run_inside(&["--mount", "--propagation", "private"], unified, "cgroups::inner_life_on_a_unified_mount");
    assert!(said.code == Some(0) && said.out().contains("1 passed"), "{said}");
}

#[test]
#[ignore = "run by the test above, inside its namespace"]
fn inner_life_on_a_unified_mount() {
    let rig = Rig::new();
    assert!(rig.cgroup.starts_with("/sys/fs/cgroup/"), "{}", rig.cgroup.display());
    rig.start("web", &[], &["daemon", "append:up:x", "pause", "--", "pause"]);
    rig.await_lines("up", 1);
    rig.kill_daemon();
    rig.grip("web").kill();
    rig.await_lines("up", 2);
    rig.ok(&["delete", "all"]);
    assert!(rig.app_pids().is_empty());
}

/// Where no cgroup can be made the error says what to do, and nothing hangs.
#[test]
fn a_read_only_cgroup_mount_is_an_error_with_the_mend() {
    let script =
        "for m in $(awk '$0 ~ / - cgroup2 / {print $5}' /proc/self/mountinfo); do mount -o remount,bind,ro $m; done";
    let rig = Rig::new();
    let mut inside = std::process::Command::new("unshare");
    rig.prepare(&mut inside);
    inside.args([
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        &format!("{script}; exec \"$@\""),
        "sh",
        crate::rig::OPM,
        "start",
    ]);
    inside.arg(&rig.prog).args(["--name", "web", "--", "pause"]);
    let said = cli::run(&mut inside);
    assert!(matches!(said.code, Some(1 | 3)), "{said}");
    said.says(&["cgroup"]);
}

/// A daemon may die between clone3 and exec, and the child then speaks on a pipe that nobody reads. SIGPIPE, blocked and ignored
/// at that moment, stays pending, and once killed the app at the gates of its program.
#[test]
fn a_child_outlives_the_reader_of_its_status_pipe() {
    use opm::kernel::clone::{Cloned, clone};
    use opm::kernel::plan::{ChildPlan, Program};
    use rustix::fs::{Mode, OFlags, open};
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    use std::os::fd::AsFd;
    let rig = Rig::new();
    fs::create_dir(&rig.cgroup).unwrap();
    let cgroup = open(&rig.cgroup, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let null = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let (reader, status) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    drop(reader);
    let program = Program {
        candidates: vec![c"/bin/true".to_owned()],
        argv: vec![c"true".to_owned()],
        envp: vec![],
        cwd: c"/".to_owned(),
        umask: 0o022,
        nice: None,
        rlimits: vec![],
        reset_oom_score: false,
        identity: None,
        limits: opm::model::Limits::default(),
    };
    let plan = ChildPlan {
        status: status.as_fd(),
        stdio: [null.as_fd(), null.as_fd(), null.as_fd()],
        cgroup: cgroup.as_fd(),
        procs: None,
        share_below: None,
        parent_is_keeper: false,
        program,
    };
    let Cloned { pidfd, .. } = clone(plan).unwrap();
    let ended = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED).unwrap().unwrap();
    assert_eq!((ended.exit_status(), ended.terminating_signal()), (Some(0), None), "it never got to its program");
}
