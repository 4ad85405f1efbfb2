//! `opm why` and `opm events`: what they ask for, print and return, and how a follower comes back.

use crate::fake::{Fake, Reply, stderr, stdout};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

fn frame(cursor: &str, what: Value) -> String {
    let mut line = json!({"v": 1, "cursor": cursor, "at": "2026-11-21T02:13:00.123Z"});
    line.as_object_mut().unwrap().extend(what.as_object().unwrap().clone());
    format!("id: {cursor}\ndata: {line}\n\n")
}

fn by() -> Value {
    json!({"uid": 1000, "user": "alice", "pid": 812, "command": "opm", "parent": "bash"})
}

#[test]
fn events_are_one_line_each_and_drive_no_terminal() {
    let web = json!({"id": 3, "name": "web\u{1b}[2J", "instance": 0});
    let of = |event: &str, more: Value| {
        let mut all = web.clone();
        all["event"] = event.into();
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let exit = json!({"code": 3, "signal": null, "core": false, "cause": "own_exit", "ran_ms": 65000, "restarts": 1,
        "failures": 1, "next": "restart", "next_at": "2026-11-21T02:13:01.623Z"});
    let apps = json!([{"id": 3, "name": "web"}, {"id": 4, "name": null, "instance": 1}, {"id": 5, "name": "a"}, {"id": 6, "name": "b"}]);
    let frames = [
        frame("1-a", json!({"event": "daemon_started", "version": "0.1.0", "before": "died"})),
        frame("2-a", json!({"event": "ordered", "verb": "create", "apps": apps, "by": by()})),
        frame("2-b", json!({"event": "ordered", "verb": "shutdown", "apps": [], "by": null})),
        frame("3-a", of("started", json!({"run": 17, "generation": 1, "pid": 4242}))),
        frame("4-a", of("exited", json!({"run": 17, "exit": exit}))),
        frame(
            "5-a",
            of("last_words", json!({"run": 17, "lines": ["oh\u{1b}]0;x\u{7} no", {"hex": "ff"}], "cut": true})),
        ),
        frame("6-a", of("changed", json!({"fields": ["env", "args"]}))),
        frame("7-a", json!({"event": "gap"})),
        frame("8-a", json!({"event": "of_a_newer_daemon", "with": {"what": "ever"}})),
        "id: 9-a\n\n".to_owned(),
    ];
    let fake = Fake::new(vec![Reply::Events(frames.concat()), Reply::Events(frames.concat())]);
    let output = fake.opm(&["events"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    insta::assert_snapshot!(stdout(&output));
    // As it came: what this version does not know gets through.
    let output = fake.opm(&["events", "web", "--json", "--since", "1-0abc", "-n", "5"]);
    assert!(stdout(&output).lines().last().unwrap().contains(r#""with":{"what":"ever"}"#), "{}", stdout(&output));
    let lines: Vec<_> = fake.requests().into_iter().map(|r| r.line).collect();
    assert_eq!(
        lines,
        ["GET /v1/events?follow=false&lines=30", "GET /v1/events?follow=false&select=web&since=1-0abc&lines=5"]
    );
}

/// The daemon dies while it is followed; the next one is asked from the last event that came whole, also if that was
/// nothing but a place to go on from.
#[test]
fn a_follower_comes_back_with_the_cursor_of_the_last_whole_event() {
    let trouble = |cursor: &str, n: u32| frame(cursor, json!({"event": "trouble", "message": format!("number {n}")}));
    let torn = trouble("3-c", 3);
    let fake = Fake::new(vec![
        Reply::Events(format!("{}{}", trouble("1-a", 1), &torn[..40])),
        Reply::Break,
        Reply::Events(trouble("2-b", 2) + "id: 2-c\n\n"),
        Reply::Events(torn.clone() + &trouble("4-d", 4)),
        Reply::Events(trouble("5-e", 5).repeat(100)),
    ]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_opm"))
        .args(["events", "-f", "-n", "7"])
        .env("OPM_HOME", fake.home())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let told: Vec<String> = lines.take(4).map(|line| line.unwrap().rsplit(' ').next().unwrap().to_owned()).collect();
    assert_eq!(told, ["1", "2", "3", "4"]);
    // Nobody reads any more: that is no failure.
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let asked: Vec<_> = fake.requests().into_iter().map(|r| r.line).collect();
    let since = |cursor: &str| format!("GET /v1/events?follow=true&since={cursor}");
    let first = "GET /v1/events?follow=true&lines=7".to_owned();
    assert_eq!(asked, [first, since("1-a"), since("1-a"), since("2-c"), since("4-d")]);
}

#[test]
fn why_of_nothing_is_no_such_app_and_json_is_the_facts() {
    let why = json!([{
        "id": 3, "name": "web", "instance": 0, "state": "stopped", "row": null, "started": null, "exit": null,
        "order": {"at": "2026-11-21T02:13:00.123Z", "verb": "stop", "apps": [], "by": by()},
        "failures": {"count": 0, "window_seconds": 60, "alike": true}, "policy": null, "kill_at": null, "now": null,
        "story": [], "cut": false, "a_field_of_a_newer_daemon": true
    }]);
    let missing = json!({"kind": "no_such_app", "message": "no app matches 'wbe'", "hint": "did you mean 'web'?"});
    let fake = Fake::new(vec![
        Reply::Json(200, why.to_string()),
        Reply::Json(200, why.to_string()),
        Reply::Json(404, missing.to_string()),
    ]);
    let output = fake.opm(&["why", "web"]);
    assert!(stdout(&output).starts_with("web:0 is stopped: alice (uid 1000) ordered 'stop' "), "{}", stdout(&output));
    let output = fake.opm(&["why", "web", "--json"]);
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap()[0]["order"]["by"]["user"], "alice");
    let output = fake.opm(&["why", "wbe"]);
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(stderr(&output), "error: no app matches 'wbe'\nhint: did you mean 'web'?\n");
    assert_eq!(fake.requests()[0].line, "GET /v1/why?select=web");
    assert_eq!(fake.opm(&["why"]).status.code(), Some(2));
}
