//! Whole screens of `opm why`, from fixed facts.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::block;
use crate::api::Why;
use crate::cli::render::{Paint, Screen};
use insta::assert_snapshot;
use serde_json::{Value, json};

fn screen() -> Screen {
    Screen { width: None, paint: Paint { on: false }, now: "2026-11-21T03:00:00Z".parse().unwrap() }
}

fn row(state: &str, more: Value) -> Value {
    let mut row = json!({
        "id": 3, "name": "web", "namespace": "default", "instance": 0, "state": state, "detail": null, "desired": "up",
        "ready": "none", "pid": null, "since": "2026-11-21T02:56:00Z", "restarts": 0, "cpu_percent": null,
        "memory_bytes": null, "run": null, "cgroup": null, "last_exit": null, "next_attempt": null
    });
    merge(&mut row, more);
    row
}

fn merge(into: &mut Value, more: Value) {
    let Value::Object(more) = more else { return };
    into.as_object_mut().unwrap().extend(more);
}

fn exit(code: Option<i32>, signal: Option<&str>, cause: &str, next: &str) -> Value {
    json!({"code": code, "signal": signal, "core": signal == Some("SIGSEGV"), "cause": cause, "ran_ms": 4200, "restarts": 1,
        "failures": 1, "next": next, "next_at": (next == "restart").then_some("2026-11-21T02:56:01.500Z")})
}

fn event(at: &str, event: &str, more: Value) -> Value {
    let mut line = json!({"v": 1, "cursor": "7-0000", "at": format!("2026-11-21T{at}Z"), "event": event, "id": 3,
        "name": "web", "instance": 0});
    merge(&mut line, more);
    line
}

fn order(verb: &str) -> Value {
    json!({"verb": verb, "apps": [{"id": 3, "name": "web"}], "by": {"uid": 0, "user": "root", "pid": 812, "command": "opm",
        "parent": "deploy.sh", "login": "alice"}})
}

fn ordered(at: &str, verb: &str) -> Value {
    event(at, "ordered", order(verb))
}

fn order_at(at: &str, verb: &str) -> Value {
    let mut all = order(verb);
    merge(&mut all, json!({ "at": format!("2026-11-21T{at}Z") }));
    all
}

fn exit_at(at: &str, exit: Value) -> Value {
    let mut all = exit;
    merge(&mut all, json!({ "at": format!("2026-11-21T{at}Z"), "run": 17 }));
    all
}

fn why(state: &str, row_more: Value, more: Value) -> String {
    let mut why = json!({
        "id": 3, "name": "web", "instance": 0, "state": state, "row": row(state, row_more), "started": null, "order": null,
        "exit": null, "failures": {"count": 0, "window_seconds": 60, "alike": true},
        "policy": {"restart": "always", "max_restarts": 10, "stop_signal": "SIGTERM", "stop_timeout_ms": 10000},
        "kill_at": null, "now": null, "story": [], "cut": false
    });
    merge(&mut why, more);
    block(&serde_json::from_value::<Why>(why).unwrap(), &screen())
}

fn crash(n: u64) -> [Value; 3] {
    let words = if n == 17 {
        json!({"run": n, "lines": ["Error: listen EADDRINUSE \u{1b}[2J:::3000", {"hex": "ff"}], "cut": true})
    } else {
        json!({"run": n, "same_as": 17})
    };
    [
        event("02:55:55.800", "started", json!({"run": n, "generation": 1, "pid": 4242})),
        event("02:56:00.000", "exited", json!({"run": n, "exit": exit(Some(1), None, "own_exit", "restart")})),
        event("02:56:00.010", "last_words", words),
    ]
}

#[test]
fn an_errored_one() {
    let mut story = vec![ordered("02:55:50", "create"), event("02:55:50", "added", json!({}))];
    story.extend((17..26).flat_map(crash));
    // The words of the second came when the third was on its way.
    story.swap(7, 8);
    let exit = exit_at("02:56:00", exit(Some(1), None, "own_exit", "errored"));
    let failures = json!({"count": 10, "window_seconds": 60, "alike": true});
    let more = json!({"exit": exit, "failures": failures, "story": story});
    assert_snapshot!(why("errored", json!({"next_attempt": "2026-11-21T03:00:41Z"}), more));
}

/// What happened to a run between its start and its end is told in between.
#[test]
fn a_story_is_told_in_the_order_in_which_it_happened() {
    let story = vec![
        event("02:56:00", "started", json!({"run": 17, "generation": 1, "pid": 4243})),
        ordered("02:57:00", "pause"),
        event("02:58:00", "exited", json!({"run": 17, "exit": exit(Some(1), None, "own_exit", "restart")})),
        event("02:58:01", "started", json!({"run": 18, "generation": 1, "pid": 4244})),
        event("02:58:02", "last_words", json!({"run": 17, "lines": ["oh"], "cut": false})),
    ];
    let text = why("online", json!({}), json!({"story": story}));
    let at = |word: &str| text.find(word).unwrap();
    assert!(
        at("started (run 17") < at("'pause' ordered") && at("'pause' ordered") < at("exited with code 1"),
        "{text}"
    );
    assert!(at("exited with code 1") < at("| oh") && at("| oh") < at("started (run 18"), "{text}");
}

#[test]
fn one_killed_from_outside_that_runs_again() {
    let killed = exit(None, Some("SIGKILL"), "signal", "restart");
    let story = vec![
        event("01:00:00", "daemon_started", json!({"version": "0.1.0", "before": "died"})),
        event("02:56:00", "exited", json!({"run": 17, "exit": killed})),
        event("02:56:01.5", "started", json!({"run": 18, "generation": 1, "pid": 4243})),
    ];
    let after = exit_at("02:56:00", exit(None, Some("SIGKILL"), "signal", "restart"));
    let started = json!({"at": "2026-11-21T02:56:01.5Z", "run": 18, "pid": 4243, "because": "restart", "after": after});
    let now = json!({"processes": [{"pid": 4243, "command": "node"}, {"pid": 4250, "command": "sh"}], "count": 25,
        "memory_bytes": 47_500_000, "memory_max_bytes": 314_572_800, "pids": 30, "pids_max": 40, "oom_kills": 1, "pids_refused": 1});
    let more = json!({"started": started, "exit": after, "now": now, "story": story, "cut": true});
    assert_snapshot!(why("online", json!({"pid": 4243, "restarts": 3}), more));
}

#[test]
fn the_answer_in_each_state() {
    let one = |state: &str, row: Value, more: Value| why(state, row, more).lines().next().unwrap().to_owned();
    let crashed = exit_at("02:56:00", exit(None, Some("SIGSEGV"), "signal", "restart"));
    let done = exit_at("02:56:00", exit(Some(0), None, "own_exit", "finished"));
    let oom = exit_at("02:56:00", exit(None, Some("SIGKILL"), "out_of_memory", "errored"));
    let mut limited = exit_at("02:56:00", exit(None, Some("SIGKILL"), "out_of_memory", "restart"));
    merge(
        &mut limited,
        json!({"used": {"memory_peak_bytes": 67_108_864, "memory_max_bytes": 67_108_864, "oom_kills": 3}}),
    );
    let mut bombed = exit_at("02:56:00", exit(Some(1), None, "own_exit", "restart"));
    merge(&mut bombed, json!({"used": {"pids_max": 40, "oom_kills": 1, "pids_refused": 17}}));
    let mut heavy = exit_at("02:56:00", exit(Some(0), None, "memory_mark", "restart"));
    merge(&mut heavy, json!({"memory_mark": {"mark_bytes": 314_572_800, "seen_bytes": 327_155_712}}));
    let heavy = json!({"at": "2026-11-21T02:56:00Z", "run": 1, "pid": 4, "because": "restart", "after": heavy});
    let late = exit_at("02:56:00", exit(None, Some("SIGKILL"), "deadline", "down"));
    let unseen = exit_at("02:56:00", exit(None, None, "not_observed", "restart"));
    let mut failed = exit_at("02:56:00", exit(None, None, "spawn_failed", "errored"));
    merge(&mut failed, json!({"failure": "failed to execute /srv/\u{1b}web: no such file or directory"}));
    let soon = || json!({"next_attempt": "2026-11-21T03:00:04Z"});
    let down = || json!({"desired": "down"});
    let daemon = json!({"at": "2026-11-21T02:56:00Z", "run": 1, "pid": 4, "because": "daemon", "daemon_at": "2026-11-21T02:55:00Z"});
    let ordered = json!({"at": "2026-11-21T02:56:00Z", "run": 1, "pid": 4, "because": "order", "order": order_at("02:56:00", "create")});
    let newer = json!({"at": "2026-11-21T02:56:00Z", "run": 1, "pid": 4, "because": "something_newer"});
    let answers = [
        one("online", json!({}), json!({"started": ordered})),
        one("online", json!({}), json!({"started": daemon})),
        one("online", json!({}), json!({"started": newer})),
        one("online", json!({}), json!({"started": heavy})),
        one("backoff", soon(), json!({"exit": limited})),
        one("backoff", soon(), json!({"exit": bombed})),
        one("online", json!({}), json!({})),
        one("starting", json!({}), json!({"started": ordered})),
        one("stopping", down(), json!({"order": order_at("02:59:57", "stop"), "kill_at": "2026-11-21T03:00:07Z"})),
        one("stopping", json!({"detail": "main exited, 2 left"}), json!({})),
        one("stopped", down(), json!({"order": order_at("02:57:00", "stop"), "exit": late})),
        one("stopped", json!({"detail": "finished"}), json!({"exit": done})),
        one("stopped", json!({}), json!({"exit": late})),
        one("stopped", down(), json!({})),
        one("backoff", soon(), json!({"exit": crashed})),
        one("backoff", soon(), json!({"exit": unseen})),
        one("errored", soon(), json!({"exit": oom, "failures": {"count": 10, "window_seconds": 60, "alike": false}})),
        one("errored", json!({}), json!({"exit": failed})),
        one("paused", json!({}), json!({"order": order_at("02:57:00", "pause")})),
        one("unknown", json!({}), json!({})),
        one("deleted", json!({}), json!({"instance": null, "order": order_at("02:57:00", "delete")})),
        one("of a newer daemon", json!({}), json!({})),
    ];
    assert_snapshot!(answers.join("\n"));
}

#[test]
fn a_signal_sent_with_opm_is_not_one_from_outside() {
    let mut sent = order("signal");
    merge(&mut sent, json!({"signal": "SIGKILL"}));
    let killed = || {
        let mut killed = exit(None, Some("SIGKILL"), "signal", "restart");
        merge(&mut killed, json!({"sent": true}));
        killed
    };
    let story =
        vec![event("02:55:59", "ordered", sent), event("02:56:00", "exited", json!({"run": 17, "exit": killed()}))];
    let text = why("backoff", json!({}), json!({"exit": exit_at("02:56:00", killed()), "story": story}));
    assert!(
        text.contains("was ended by SIGKILL, sent with 'opm signal' by root (uid 0, logged in as alice)"),
        "{text}"
    );
}
