//! What is on disk, who may read it, and what must never be there.

use crate::rig::{Rig, is_private, observe};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

fn walk(dir: &Path, out: &mut Vec<PathBuf>) {
    out.push(dir.to_owned());
    for entry in std::fs::read_dir(dir).unwrap().map(|e| e.unwrap()) {
        if entry.file_type().unwrap().is_dir() {
            walk(&entry.path(), out);
        } else {
            out.push(entry.path());
        }
    }
}

/// E6: PM2 wrote a secret into files that everybody could read. Here only the owner can, and a captured value is kept, since the
/// app must come back with it.
#[test]
fn e6_everything_on_disk_is_for_its_owner_alone() {
    let mut rig = Rig::new();
    rig.env = vec![("SECRET_TOKEN".into(), "h1dden".into())];
    rig.start("web", &[], &["facts:one", "out:hello", "pause"]);
    rig.ok(&["save"]);
    rig.kill_daemon();
    let mut all = Vec::new();
    walk(&rig.home, &mut all);
    for path in &all {
        let meta = std::fs::symlink_metadata(path).unwrap();
        let mode = meta.permissions().mode() & 0o7777;
        let wanted = if meta.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, wanted, "{} has {mode:o}", path.display());
        assert!(is_private(path));
    }
    assert!(all.iter().any(|p| std::fs::symlink_metadata(p).unwrap().file_type().is_socket()), "{all:?}");
    std::fs::remove_file(rig.path("one")).unwrap();
    rig.ok(&["restart", "web"]);
    assert_eq!(rig.facts("one").env("SECRET_TOKEN").as_deref(), Some("h1dden"));
    // Any local user can read the marks on a cgroup: no secrets there, nor in anybody's arguments.
    for pid in [rig.daemon_pid(), rig.keeper_pid()] {
        assert!(!observe::command_line(pid).concat().contains("h1dden"));
    }
}

/// Law 2: desired state holds nothing about a run. While apps run, crash and wait, its files are searched for their pids, start
/// times, words of state and counters.
#[test]
fn the_desired_state_holds_nothing_about_a_run() {
    let rig = Rig::new();
    rig.start("web", &["-i", "2"], &["pause"]);
    rig.start("crashed", &["--restart-delay", "60s"], &["pause"]);
    rig.grip("crashed").kill();
    rig.await_state("crashed", "backoff");
    rig.ok(&["restart", "web"]);
    let mut all = Vec::new();
    walk(&rig.home.join("state"), &mut all);
    let journal = rig.home.join("state/events");
    let files: Vec<_> = all.iter().filter(|p| p.is_file() && !p.starts_with(&journal)).collect();
    assert!(!files.is_empty(), "no state files in {all:?}");
    let mut numbers: Vec<String> =
        rig.app_pids().iter().filter_map(|pid| observe::identity(*pid)).map(|i| i.starttime.to_string()).collect();
    numbers.extend(rig.app_pids().iter().map(u32::to_string));
    numbers.extend([rig.daemon_pid(), rig.keeper_pid()].map(|p| p.to_string()));
    for file in files {
        let text = std::fs::read_to_string(file)
            .unwrap_or_else(|e| panic!("{} is not for people to read: {e}", file.display()));
        let words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        for never in [
            "pid",
            "pids_now",
            "status",
            "state",
            "online",
            "uptime",
            "started",
            "since",
            "restarts",
            "last_exit",
            "run",
            "backoff_at",
        ] {
            let quoted = [format!("\"{never}\":"), format!("\n{never} =")];
            assert!(!quoted.iter().any(|q| text.contains(q.as_str())), "{} holds '{never}':\n{text}", file.display());
        }
        for number in &numbers {
            assert!(
                !words.contains(&number.as_str()),
                "{} holds {number}, a pid or start time:\n{text}",
                file.display()
            );
        }
    }
}

/// The log files have the names that people rely on.
#[test]
fn log_files_are_named_by_app_instance_and_stream() {
    let rig = Rig::new();
    rig.start("web", &["-i", "2"], &["out:o", "err:e", "pause"]);
    for instance in 0..2 {
        for (stream, text) in [("out", b"o\n"), ("err", b"e\n")] {
            crate::rig::wait::until(&format!("{stream} of web:{instance}"), || {
                rig.log("web", instance, stream) == text
            });
        }
    }
}
