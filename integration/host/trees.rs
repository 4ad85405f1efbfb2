//! Whole process trees: what an app forks is part of it, and goes with it.

use crate::rig::{Rig, free_port, observe, wait};

/// The plain story: started means that the program runs, in a cgroup of its own run; stopped means that nothing lives.
#[test]
fn started_means_running_and_stopped_means_gone() {
    let rig = Rig::new();
    rig.start("web", &[], &["append:started:hello", "pause"]).says(&["web"]);
    // "started" was said: the program has been executed, so it is there without waiting.
    let row = rig.row("web");
    assert_eq!(
        (&row["state"], &row["desired"], &row["ready"]),
        (&"online".into(), &"up".into(), &"none".into()),
        "{row:#}"
    );
    let pid = rig.pid("web");
    let runs = rig.living();
    assert_eq!(runs.len(), 1, "{runs:?}");
    assert_eq!((runs[0].instance.as_str(), &runs[0].pids), ("0.0", &vec![pid]), "app id and instance name the cgroup");
    assert_eq!(row["run"].as_u64(), Some(runs[0].number));
    let tail = runs[0].path.strip_prefix(&rig.cgroup).unwrap().to_str().unwrap();
    assert!(row["cgroup"].as_str().is_some_and(|c| c.ends_with(tail)), "{row:#}");
    assert_eq!(observe::command_line(pid)[1..], ["append:started:hello", "pause"]);
    assert_eq!(rig.await_lines("started", 1), [format!("hello {pid}")]);

    rig.ok(&["stop", "web"]);
    assert_eq!(rig.app_pids(), Vec::<u32>::new());
    let row = rig.row("web");
    assert_eq!(
        (&row["state"], &row["desired"], &row["pid"]),
        (&"stopped".into(), &"down".into(), &().into()),
        "{row:#}"
    );
    rig.ok(&["start", "web"]);
    assert_ne!(rig.pid("web"), pid);
    rig.ok(&["delete", "web"]);
    assert_eq!(rig.app_pids(), Vec::<u32>::new());
    assert!(rig.rows().is_empty());
    assert!(rig.runs().is_empty(), "cgroups of a deleted app are removed: {:?}", rig.runs());
}

/// E2, bug 15: a grandchild that double-forked and has a session of its own outlived `pm2 delete all` and `opm stop`.
#[test]
fn e2_a_grandchild_that_double_forked_and_called_setsid_goes_too() {
    for order in [["stop", "all"], ["delete", "all"]] {
        let rig = Rig::new();
        rig.start(
            "tree",
            &[],
            &["daemon", "ignore:15", "append:born:escaped", "pause", "--", "child", "pause", "--", "pause"],
        );
        rig.await_lines("born", 1);
        wait::until("the tree of three", || rig.app_pids().len() == 3);
        let tree = rig.app_pids();
        rig.ok(&order);
        assert!(
            tree.iter().all(|pid| !observe::alive(*pid)),
            "{order:?} left some of {tree:?} alive: {:?}",
            rig.app_pids()
        );
    }
}

/// E1: the old grandchild kept the port, the successor died of EADDRINUSE, and the list said online.
#[test]
fn e1_a_crash_frees_the_port_that_a_grandchild_holds_before_the_successor_starts() {
    let rig = Rig::new();
    let bind = format!("bind:{}", free_port());
    rig.start("web", &[], &["daemon", "append:born:holder", &bind, "append:born:bound", "pause", "--", "pause"]);
    for crash in 1..=3 {
        let lines = rig.await_lines("born", crash * 2);
        assert_eq!(lines.iter().filter(|l| l.starts_with("bound")).count(), crash, "{lines:?}");
        rig.await_state("web", "online");
        rig.grip("web").kill();
    }
    let lines = rig.await_lines("born", 8);
    assert_eq!(
        lines.iter().filter(|l| l.starts_with("bound")).count(),
        4,
        "every successor found the port free: {lines:?}"
    );
    assert_eq!(rig.await_state("web", "online")["restarts"], 3);
}

/// A main process that exits and leaves a helper alive is not a success and not online.
#[test]
fn a_leftover_child_is_shown_as_stopping_and_never_as_online() {
    let rig = Rig::new();
    let flags = ["--kill-mode", "process", "--restart", "never"];
    rig.start("launcher", &flags, &["daemon", "append:born:helper", "pause", "--", "waitfile:go", "exit:0"]);
    rig.await_lines("born", 1);
    rig.write("go", "");
    let row = rig.await_state("launcher", "stopping");
    assert!(row["detail"].as_str().is_some_and(|d| d.contains("1 left")), "{row:#}");
    assert!(row["pid"].is_null(), "{row:#}");
    let helper = rig.app_pids();
    assert_eq!(helper.len(), 1);
    observe::Grip::on(helper[0], &rig.cgroup).kill();
    let row = rig.await_state("launcher", "stopped");
    assert_eq!((&row["detail"], &row["last_exit"]["code"]), (&"finished".into(), &0.into()), "{row:#}");
}

/// A program that is gone within a millisecond is seen, with its code, each time.
#[test]
fn a_program_that_dies_at_once_is_recorded_with_its_code() {
    let rig = Rig::new();
    for code in [0, 1, 7, 255] {
        let name = format!("brief{code}");
        crate::rig::cli::run(&mut rig.start_command(&name, &["--restart", "never"], &[&format!("exit:{code}")]));
        let row = rig.await_state(&name, if code == 0 { "stopped" } else { "errored" });
        assert_eq!(row["last_exit"]["code"], code, "{row:#}");
        assert_eq!(row["last_exit"]["cause"], "own_exit", "{row:#}");
        assert_eq!(row["last_exit"]["signal"], serde_json::Value::Null, "{row:#}");
    }
}

/// E4: PM2 recorded a SIGSEGV as exit code 0, and with `--stop-exit-codes 0` did not restart the app.
#[test]
fn e4_a_segmentation_fault_is_a_signal_and_is_restarted() {
    let rig = Rig::new();
    let ops = ["append:starts:s", "waitfile:go", "sleep:50", "raise:11"];
    rig.start("crasher", &["--stop-exit-codes", "0", "--backoff", "1ms..2ms", "--max-restarts", "2"], &ops);
    rig.write("go", "");
    rig.await_lines("starts", 2);
    let row = rig.await_row("crasher", "seen crashing", |row| !row["last_exit"].is_null());
    assert_eq!(row["last_exit"]["signal"], "SIGSEGV", "{row:#}");
    assert_eq!(row["last_exit"]["code"], serde_json::Value::Null, "{row:#}");
    assert_eq!(row["last_exit"]["cause"], "signal", "{row:#}");
}

/// A process that was killed is never again said to be online, from the very moment it is gone.
#[test]
fn a_killed_app_is_never_shown_as_online_afterwards() {
    let rig = Rig::new();
    rig.start("victim", &["--restart-delay", "60s"], &["pause"]);
    for _ in 0..5 {
        let pid = rig.pid("victim");
        rig.grip("victim").kill();
        for _ in 0..5 {
            let row = rig.row("victim");
            assert!(row["pid"] != pid && row["state"] != "online", "process {pid} is dead: {row:#}");
        }
        let row = rig.await_state("victim", "backoff");
        assert_eq!(row["last_exit"]["signal"], "SIGKILL", "{row:#}");
        rig.ok(&["start", "victim"]);
    }
}

/// 200 apps from one file, in one order: each has its own process, and all go together.
#[test]
fn two_hundred_apps_at_once() {
    let rig = Rig::new();
    let apps: Vec<_> = (0..200)
        .map(|n| serde_json::json!({"name": format!("app{n}"), "script": rig.prog, "args": ["pause"]}))
        .collect();
    let file = rig.write("apps.json", &serde_json::json!({ "apps": apps }).to_string());
    rig.ok(&["start", &file]);
    let rows = rig.rows();
    assert_eq!(rows.len(), 200);
    assert!(rows.iter().all(|row| row["state"] == "online"), "{rows:?}");
    let mut said: Vec<_> = rows.iter().map(|row| row["pid"].as_u64().unwrap() as u32).collect();
    let mut seen = rig.app_pids();
    said.sort_unstable();
    seen.sort_unstable();
    assert_eq!(said, seen, "what opm says and what the kernel says");
    rig.ok(&["stop", "all"]);
    assert!(rig.app_pids().is_empty());
    rig.ok(&["delete", "all"]);
    assert!(rig.rows().is_empty() && rig.runs().is_empty());
}

/// N instances are N processes with one name, each stopped and started on its own.
#[test]
fn instances_are_processes_of_their_own() {
    let rig = Rig::new();
    rig.start("pool", &["-i", "3"], &["pause"]);
    assert_eq!(rig.rows().iter().map(|r| r["instance"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(rig.rows().iter().all(|r| r["name"] == "pool" && r["id"] == 0));
    assert_eq!(rig.living().iter().map(|r| r.instance.clone()).collect::<Vec<_>>(), ["0.0", "0.1", "0.2"]);
    rig.ok(&["stop", "pool:1"]);
    assert_eq!(rig.living().len(), 2);
    assert_eq!(rig.row_of("pool", 1)["desired"], "down");
    assert_eq!(rig.row_of("pool", 0)["state"], "online");
    rig.ok(&["start", "pool:1"]);
    assert_eq!(rig.living().len(), 3);
}
