//! The daemon killed at any moment: what was answered is there, and nothing is in trouble.

use crate::support::{Running, app, env, load, put};
use opm::daemon::store::StoreEvent;
use opm::model::{AppId, WriteId};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

#[test]
fn what_was_answered_outlives_a_kill_and_nothing_needs_repair() {
    let dir = tempfile::tempdir().unwrap();
    let mut answered: u32 = 0;
    // Short lives, which end while the index is written whole, and long ones, which end within its log or while that is shortened.
    for life in 0..40_usize {
        let mut daemon = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "killed::as_a_daemon", "--ignored", "--nocapture"])
            .env("OPM_TEST_STATE", dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(daemon.stdout.take().unwrap()).lines().map_while(Result::ok);
        // It goes on writing while it is killed: wherever that falls.
        for answer in
            lines.by_ref().filter_map(|l| l.strip_prefix("answered ")?.parse().ok()).take(1 + life % 5 * (life % 7 * 5))
        {
            answered = answer;
        }
        daemon.kill().unwrap();
        // What it still had said before it died counts too.
        answered = lines.filter_map(|l| l.strip_prefix("answered ")?.parse().ok()).last().unwrap_or(answered);
        daemon.wait().unwrap();
        let loaded = load(dir.path());
        assert_eq!(loaded.troubles, Vec::<String>::new(), "life {life}");
        assert!(loaded.next_id >= AppId(answered), "life {life}: {answered} was answered");
        let last = loaded.apps.iter().find(|(id, _)| id.0 == (answered - 1) % 20).unwrap();
        assert_eq!(last.1.spec.nice, nice(answered - 1), "life {life}");
    }
}

#[test]
#[ignore = "run and killed by the test above"]
fn as_a_daemon() {
    let dir = std::env::var_os("OPM_TEST_STATE").unwrap();
    let store = Running::start(Path::new(&dir));
    for n in load(Path::new(&dir)).next_id.0.. {
        let mut new = app(&format!("a{}", n % 20), &env(&(n % 7).to_string()));
        Arc::make_mut(&mut new.spec).nice = nice(n);
        assert_eq!(store.write(put(&[(n % 20, &new)], n + 1)), StoreEvent::Persisted(WriteId(0)));
        let mut out = std::io::stdout().lock();
        writeln!(out, "answered {}", n + 1).unwrap();
        out.flush().unwrap();
    }
}

/// Something in the spec by which one write is told from another.
fn nice(n: u32) -> Option<i32> {
    i32::try_from(n % 11).ok()
}
