//! `opm doctor`: the daemon's lines and the command line's own in one answer, and what the exit code makes of them. And what
//! `opm startup` refuses before it looks at anything.

use crate::fake::{Fake, Reply, opm, stderr, stdout};
use serde_json::{Value, json};

fn pong(version: &str) -> Reply {
    Reply::Json(200, json!({"version": version, "pid": 42}).to_string())
}

fn examination(checks: Value) -> Reply {
    Reply::Json(200, json!({"version": "0.1.0", "pid": 42, "checks": checks}).to_string())
}

fn verdict<'a>(found: &'a Value, id: &str) -> &'a str {
    let check = found["checks"].as_array().unwrap().iter().find(|check| check["id"] == id);
    check.map_or("not there", |check| check["verdict"].as_str().unwrap())
}

#[test]
fn what_the_daemon_finds_bad_is_the_verdict_and_the_exit_code() {
    let bad =
        json!([{"id": "places.state.room", "verdict": "bad", "found": "none\u{1b}[2J", "lost": "all", "mend": "room"}]);
    let fake = Fake::new(vec![pong("0.1.0"), examination(bad.clone()), pong("0.1.0"), examination(bad)]);
    let output = fake.opm(&["doctor", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&found["version"], &found["daemon"], &found["verdict"]), (&json!(1), &json!("0.1.0"), &json!("bad")));
    assert_eq!(verdict(&found, "daemon.answers"), "ok");
    assert_eq!(verdict(&found, "places.state.room"), "bad");

    let output = fake.opm(&["doctor"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("none\\u{1b}[2J\n        lost: all\n        mend: room\n"), "{}", stdout(&output));
    let lines: Vec<_> = fake.requests().into_iter().map(|r| r.line).collect();
    assert_eq!(lines[..2], ["GET /v1/ping", "GET /v1/doctor"]);
}

#[test]
fn an_older_daemon_that_does_not_know_the_question_is_a_note() {
    let unknown = json!({"kind": "bad_request", "message": "no such route"}).to_string();
    let fake = Fake::new(vec![pong("0.0.9"), Reply::Json(400, unknown)]);
    let found: Value = serde_json::from_slice(&fake.opm(&["doctor", "--json"]).stdout).unwrap();
    assert_eq!(verdict(&found, "daemon.answers"), "note");
    assert!(found["checks"].as_array().unwrap().iter().any(|check| check["id"] == "kernel.pidfd"), "looked from here");
}

#[test]
fn no_daemon_is_a_line_and_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let output = opm(dir.path(), &["doctor", "--json"]);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((verdict(&found, "daemon.answers"), &found["daemon"]), ("note", &Value::Null));
    assert_eq!(output.status.code(), Some(i32::from(found["verdict"] == "bad")), "never 3");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "looking makes nothing");
}

#[test]
fn what_pm2_takes_and_opm_does_not_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    for (args, words) in [
        (&["startup", "upstart"][..], "through systemd only, not through 'upstart'"),
        (&["startup", "--service-name", "mine"], "always called opm.service"),
        (&["startup", "systemd", "--wait-ip"], "network-online.target"),
        (&["unstartup", "launchd"], "through systemd only"),
    ] {
        let output = opm(dir.path(), args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(words), "{args:?}: {}", stderr(&output));
    }
}
