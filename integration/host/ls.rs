//! What reads answer, field by field: `ls --json` and `daemon status --json` are contracts.

use crate::rig::Rig;
use serde_json::Value;

fn is_time(value: &Value) -> bool {
    value.as_str().is_some_and(|t| t.ends_with('Z') && t.contains('T') && t.parse::<jiff::Timestamp>().is_ok())
}

#[test]
fn every_field_of_a_row_is_there_with_its_type() {
    let rig = Rig::new();
    rig.start("web", &["--namespace", "shop", "--restart-delay", "60s"], &["pause"]);
    let row = rig.row("web");
    let known = [
        "id",
        "name",
        "namespace",
        "instance",
        "state",
        "desired",
        "ready",
        "pid",
        "since",
        "restarts",
        "cpu_percent",
        "memory_bytes",
        "run",
        "cgroup",
        "last_exit",
        "next_attempt",
    ];
    for field in known {
        assert!(row.get(field).is_some(), "no '{field}' in {row:#}");
    }
    assert!(row["id"].is_u64() && row["instance"].is_u64() && row["restarts"].is_u64(), "{row:#}");
    assert!(row["pid"].is_u64() && row["run"].is_u64() && is_time(&row["since"]), "{row:#}");
    assert_eq!((&row["namespace"], &row["ready"]), (&"shop".into(), &"none".into()), "{row:#}");
    assert!(row["last_exit"].is_null() && row["next_attempt"].is_null(), "{row:#}");
    assert!(row["cpu_percent"].is_null() || row["cpu_percent"].is_number(), "{row:#}");
    assert!(row["memory_bytes"].is_null() || row["memory_bytes"].as_u64().is_some_and(|m| m > 4096), "{row:#}");
    let cgroup = row["cgroup"].as_str().unwrap();
    let procs = [cgroup.to_owned(), format!("{}{cgroup}", crate::rig::observe::cgroup2_mount().unwrap().display())];
    assert!(
        procs.iter().any(|p| crate::rig::observe::procs(p.as_ref()) == [row["pid"].as_u64().unwrap() as u32]),
        "the cgroup that is named holds the process: {row:#}"
    );

    rig.grip("web").kill();
    let row = rig.await_state("web", "backoff");
    let last = &row["last_exit"];
    assert_eq!(
        (&last["code"], &last["signal"], &last["cause"]),
        (&Value::Null, &"SIGKILL".into(), &"signal".into()),
        "{row:#}"
    );
    assert!(is_time(&last["at"]) && is_time(&row["next_attempt"]) && is_time(&row["since"]), "{row:#}");
    assert!(row["pid"].is_null() && row["run"].is_null() && row["memory_bytes"].is_null(), "{row:#}");
}

#[test]
fn no_apps_are_an_empty_array() {
    let rig = Rig::new();
    assert_eq!(rig.ok(&["ls", "--json"]).json(), serde_json::json!([]), "with no daemon");
    assert!(rig.everybody().is_empty(), "and none was started for it");
    rig.start("web", &[], &["pause"]);
    rig.ok(&["delete", "web"]);
    assert_eq!(rig.ok(&["ls", "--json"]).json(), serde_json::json!([]), "with one");
}

/// Data on stdout, news on stderr; a pipe gets no colours.
#[test]
fn the_table_is_plain_where_nobody_sees_colours() {
    let rig = Rig::new();
    rig.start("web", &["-i", "2"], &["pause"]);
    let table = rig.ok(&["ls"]);
    assert!(!table.stdout.contains(&0x1b), "{table}");
    for word in ["id", "name", "pid", "uptime", "↺", "state", "cpu", "mem"] {
        assert!(table.out().to_lowercase().contains(word), "no column '{word}': {table}");
    }
    assert!(!table.out().contains("namespace"), "a column only where it is used: {table}");
    assert_eq!(table.out().matches("online").count(), 2, "{table}");
    rig.start("shop", &["--namespace", "eu"], &["pause"]);
    assert!(rig.ok(&["ls"]).out().contains("namespace"));
}

#[test]
fn the_daemon_says_what_it_is() {
    let rig = Rig::new();
    rig.start("web", &["-i", "2"], &["pause"]);
    let status = rig.status();
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((&status["apps"], &status["instances"]), (&1.into(), &2.into()), "{status:#}");
    assert!(is_time(&status["since"]) && status["controllers"].is_array(), "{status:#}");
    let root = status["cgroup_root"].as_str().unwrap();
    assert!(root.ends_with(rig.cgroup.file_name().unwrap().to_str().unwrap()), "{status:#}");
    let pair = crate::rig::observe::procs(&rig.cgroup.join("supervisor"));
    for key in ["pid", "keeper_pid"] {
        assert!(pair.contains(&(status[key].as_u64().unwrap() as u32)), "{key} is in supervisor/: {status:#} {pair:?}");
    }
    assert_ne!(status["pid"], status["keeper_pid"]);
}

/// `info` always has the memory of the whole tree, summed where no controller counts it.
#[test]
fn info_knows_the_memory_of_the_tree() {
    let rig = Rig::new();
    rig.start("web", &[], &["child", "append:up:x", "pause", "--", "pause"]);
    rig.await_lines("up", 1);
    let info = rig.ok(&["info", "web", "--json"]).json();
    let info = if info.is_array() { info[0].clone() } else { info };
    assert!(info["instances"][0]["memory_bytes"].as_u64().is_some_and(|m| m > 4096), "{info:#}");
    assert_eq!(info["processes"][0], 2, "{info:#}");
    assert_eq!(info["spec"]["name"], "web", "{info:#}");
}

/// Processor time is that of the whole tree, over the time since the previous read.
#[test]
fn a_busy_child_is_seen_in_cpu_percent() {
    let rig = Rig::new();
    let script = rig.write("busy.sh", "while :; do :; done & wait\n");
    rig.ok(&["start", &script, "--name", "busy"]);
    rig.rows();
    let row = rig.await_row("busy", "seen to be busy", |row| row["cpu_percent"].as_f64().is_some_and(|c| c > 5.0));
    assert!(row["cpu_percent"].as_f64().unwrap() < 400.0, "{row:#}");
}
