//! Save and restore: converging on what was wanted, any number of times.

use crate::rig::{Rig, cli, observe};
use std::path::PathBuf;

/// The dump, wherever it is called so.
fn dump(rig: &Rig) -> PathBuf {
    let said = rig.ok(&["save"]);
    let text = format!("{}{}", said.out(), said.err());
    let named =
        text.split_whitespace().map(|w| PathBuf::from(w.trim_matches(|c| "'\"(),".contains(c)))).find(|p| p.is_file());
    named.unwrap_or_else(|| {
        let state = rig.home.join("state");
        let found = std::fs::read_dir(&state).unwrap().map(|e| e.unwrap().path());
        let mut found = found.filter(|p| p.file_name().unwrap().to_str().unwrap().contains("dump"));
        found.next().unwrap_or_else(|| panic!("no dump named in '{text}' or found in {}", state.display()))
    })
}

/// Bug 2, E3: restore after the death of the daemon doubled everything. Ten at once with a daemon restart in the middle: one
/// copy of each.
#[test]
fn bug_2_ten_restores_in_parallel_with_a_daemon_death_leave_one_copy() {
    let rig = Rig::new();
    for name in ["one", "two", "three"] {
        rig.start(name, &[], &[name, "pause"]);
    }
    rig.ok(&["save"]);
    let before = rig.app_pids();
    let restores: Vec<_> = (0..10).map(|_| cli::start(rig.command().arg("restore"))).collect();
    rig.kill_daemon();
    for restore in restores {
        restore.finish(cli::DEADLINE).ok();
    }
    assert_eq!(rig.app_pids(), before, "they were up: a restore of them does nothing");
    rig.ok(&["delete", "two"]);
    rig.ok(&["stop", "three"]);
    let restores: Vec<_> = (0..10).map(|_| cli::start(rig.command().arg("restore"))).collect();
    for restore in restores {
        restore.finish(cli::DEADLINE).ok();
    }
    for name in ["one", "two", "three"] {
        rig.await_state(name, "online");
        assert_eq!(rig.copies(name).len(), 1, "{name}");
    }
    assert_eq!(rig.rows().len(), 3);
}

/// Bug 12: restore overwrote what it restored from, and the backup too.
#[test]
fn bug_12_restore_leaves_the_dump_as_it_is_and_deletes_nothing() {
    let rig = Rig::new();
    rig.start("saved", &[], &["pause"]);
    let dump = dump(&rig);
    let saved = std::fs::read(&dump).unwrap();
    rig.start("later", &[], &["pause"]);
    rig.ok(&["delete", "saved"]);
    rig.ok(&["restore"]);
    rig.await_state("saved", "online");
    assert_eq!(rig.row("later")["state"], "online", "what the dump does not hold stays");
    assert_eq!(std::fs::read(&dump).unwrap(), saved);
}

/// Bug 3: after a reboot nothing was started. Here the machine's memory of everything is gone (no process, no cgroup): the
/// next daemon starts what is wanted up, and leaves down what is wanted down.
#[test]
fn bug_3_with_every_process_and_cgroup_gone_what_is_wanted_up_is_started() {
    let rig = Rig::new();
    rig.start("up", &[], &["append:up:x", "pause"]);
    rig.start("down", &[], &["append:down:x", "pause"]);
    rig.ok(&["stop", "down"]);
    rig.kill_pair();
    observe::destroy(&rig.cgroup);
    let said = rig.ok(&["ls", "--json"]).json();
    assert!(said.as_array().unwrap().iter().all(|row| row["state"] == "stopped" && row["pid"].is_null()), "{said:#}");
    assert!(rig.everybody().is_empty(), "nothing lives, so a read starts no daemon");
    rig.opm(&["ls"]).ok().says(&["no daemon"]);
    rig.ok(&["save"]); // any order brings a daemon, and a daemon converges
    rig.await_lines("up", 2);
    assert_eq!(rig.await_state("up", "online")["id"], 0);
    assert_eq!(rig.row("down")["state"], "stopped");
    assert_eq!(rig.lines("down").len(), 1);
}

/// Bug 13: what nobody had saved was lost with the daemon. Nobody has to save.
#[test]
fn bug_13_nothing_has_to_be_saved_to_be_kept() {
    let rig = Rig::new();
    rig.start("web", &["--namespace", "shop", "--env", "A=1"], &["pause"]);
    let before = rig.ok(&["info", "web", "--json"]).json();
    rig.ok(&["kill"]);
    rig.ok(&["start", "web"]);
    let after = rig.ok(&["info", "web", "--json"]).json();
    let spec = |v: &serde_json::Value| v.as_array().map_or(v["spec"].clone(), |a| a[0]["spec"].clone());
    assert!(spec(&before).is_object(), "{before:#}");
    assert_eq!(spec(&before), spec(&after));
}

/// E16: PM2 executed what stood in the dump. Here it is data: refused, and nothing of it happens.
#[test]
fn e16_a_program_in_the_dump_is_not_executed() {
    let rig = Rig::new();
    rig.start("web", &[], &["pause"]);
    let dump = dump(&rig);
    let witness = rig.path("executed");
    std::fs::write(&dump, format!("(() => {{ require('fs').writeFileSync('{witness}', 'x'); return [] }})()")).unwrap();
    let said = rig.opm(&["restore"]);
    assert!(!PathBuf::from(&witness).exists(), "{said}");
    // Either the previous good copy is used, loudly, or it is refused; never silence.
    assert!(!format!("{}{}", said.out(), said.err()).is_empty(), "{said}");
    assert_eq!(rig.row("web")["state"], "online");
}

/// A hostile dump: truncated, of a newer version, of the wrong shape. Said, and nothing is half-applied.
#[test]
fn a_broken_dump_is_refused_whole() {
    let rig = Rig::new();
    rig.start("web", &[], &["pause"]);
    let dump = dump(&rig);
    let good = std::fs::read_to_string(&dump).unwrap();
    for bad in [&good[..good.len() / 2], "", "\0\0\0\0", "[]", "{\"version\": 999999, \"apps\": []}", "{\"apps\": 7}"] {
        std::fs::write(&dump, bad).unwrap();
        let said = rig.opm(&["restore"]);
        assert!(said.code == Some(1) || !said.err().is_empty(), "a broken dump was taken in silence: {said}");
        assert_eq!(rig.rows().len(), 1, "{said}");
        assert_eq!(rig.row("web")["state"], "online");
    }
}

/// An unreadable state file, whichever: the daemon goes by the others, says so, and serves; nothing that runs is ended, nothing runs twice. A
/// lost index costs nothing, since there is the previous one and the logs; of a log that is cut off, what stood behind the cut is not known.
#[test]
fn an_unreadable_state_file_ends_no_app() {
    let mut broken = std::collections::BTreeSet::new();
    for nth in 0.. {
        let rig = Rig::new();
        rig.start("one", &[], &["pause"]);
        rig.start("two", &[], &["pause"]);
        rig.ok(&["restart", "one"]);
        let pids = rig.app_pids();
        rig.kill_pair();
        // Every current file at the top.
        let files = std::fs::read_dir(rig.home.join("state")).unwrap().map(|e| e.unwrap().path());
        let current = |path: &std::path::PathBuf| {
            let name = path.file_name().unwrap().to_str().unwrap();
            path.is_file() && !name.contains("dump") && !name.contains("prev")
        };
        let mut files: Vec<_> = files.filter(current).collect();
        files.sort();
        let Some(file) = files.get(nth) else { break };
        let text = std::fs::read(file).unwrap();
        std::fs::write(file, &text[..text.len() / 3]).unwrap();
        rig.opm(&["ls", "--json"]);
        let status = rig.status();
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(
            status["troubles"].as_array().is_some_and(|t| !t.is_empty()),
            "broke {name}, and nobody says so: {status:#}"
        );
        assert_eq!(rig.rows().len(), if name.ends_with(".log") { 1 } else { 2 }, "broke {name}");
        assert_eq!(rig.app_pids(), pids, "broke {name}: everything lives, and no second copy of anything");
        std::fs::write(file, &text).unwrap();
        rig.kill_daemon();
        assert_eq!((rig.rows().len(), rig.app_pids()), (2, pids), "mended {name}: known again, and never disturbed");
        broken.insert(name);
    }
    assert!(broken.len() == 2 && broken.contains("index.json"), "broke {broken:?}");
}

/// `--transient`: kept while the machine runs, a daemon's death included.
#[test]
fn a_transient_app_survives_the_daemon() {
    let rig = Rig::new();
    rig.start("tmp", &["--transient"], &["pause"]);
    let pid = rig.pid("tmp");
    rig.kill_daemon();
    assert_eq!(rig.pid("tmp"), pid);
}

/// An app whose file is damaged, or edited by hand, is not known to the next daemon. That is no reason to end what runs of it:
/// nobody ordered that. Such a run was once taken for one of a deleted app.
#[test]
fn a_damaged_file_ends_no_app() {
    let rig = Rig::new();
    rig.start("web", &[], &["pause"]);
    rig.start("other", &[], &["pause"]);
    let (web, other) = (rig.pid("web"), rig.pid("other"));
    let apps = rig.home.join("state/apps");
    let files = std::fs::read_dir(&apps).unwrap().map(|entry| entry.unwrap().path());
    let file = files.into_iter().find(|path| path.file_name().unwrap().to_string_lossy().starts_with("0-")).unwrap();
    let good = std::fs::read(&file).unwrap();
    std::fs::write(&file, [&good[..], b" "].concat()).unwrap();
    rig.kill_daemon();
    assert!(rig.row("web").is_null());
    assert!(rig.app_pids().contains(&web), "it was ended though nobody ordered it");
    rig.ok(&["daemon", "status"]).says(&["web", "left alone", "apps/0.0/run-"]);
    std::fs::write(&file, good).unwrap();
    rig.kill_daemon();
    assert_eq!((rig.pid("web"), rig.pid("other")), (web, other), "known again, and never disturbed");
}

/// The same when the index itself is lost, and with it every app. No other app gets the id of one that lives.
#[test]
fn a_lost_index_ends_no_app() {
    let rig = Rig::new();
    rig.start("web", &[], &["pause"]);
    let web = rig.pid("web");
    let state = rig.home.join("state");
    let good = std::fs::read(state.join("index.json")).unwrap();
    for file in ["index.json", "index.json.previous"] {
        std::fs::write(state.join(file), &good[..good.len() / 2]).unwrap();
    }
    let kept = rig.dir.join("kept");
    std::fs::rename(state.join("apps"), &kept).unwrap();
    rig.kill_daemon();
    assert_eq!(rig.rows().len(), 0);
    rig.start("new", &[], &["pause"]);
    rig.kill_daemon();
    assert!(rig.app_pids().contains(&web), "it was ended though nobody ordered it");
    assert_ne!(rig.row("new")["id"], 0);
    rig.ok(&["delete", "new"]);
    for entry in std::fs::read_dir(&kept).unwrap() {
        let entry = entry.unwrap();
        std::fs::rename(entry.path(), state.join("apps").join(entry.file_name())).unwrap();
    }
    std::fs::write(state.join("index.json"), &good).unwrap();
    rig.kill_daemon();
    assert_eq!(rig.pid("web"), web, "known again, and never disturbed");
}
