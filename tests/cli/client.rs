//! How the client gets along with a daemon that comes, goes and answers much.

use crate::fake::{Fake, Reply, opm, stderr, stdout};

fn stopped() -> String {
    r#"{"outcomes": [{"id": 0, "name": "web", "instance": 0, "result": "stopped", "pid": null}]}"#.to_owned()
}

/// The daemon dies with the order in its hands. It must neither be lost nor be taken for another order.
#[test]
fn an_order_whose_connection_breaks_is_sent_again_with_the_same_key() {
    let fake = Fake::new(vec![Reply::Break, Reply::Break, Reply::Json(200, stopped())]);
    let output = fake.opm(&["stop", "web"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let requests = fake.requests();
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().all(|r| *r == requests[0]), "{requests:?}");
    assert_eq!(requests[0].line, "POST /v1/stop");
    assert_eq!(requests[0].key.as_ref().map(String::len), Some(32));
}

#[test]
fn two_orders_have_two_keys() {
    let fake = Fake::new(vec![Reply::Json(200, stopped()), Reply::Json(200, stopped())]);
    fake.opm(&["stop", "web"]);
    fake.opm(&["stop", "web"]);
    let requests = fake.requests();
    assert_ne!(requests[0].key, requests[1].key);
}

#[test]
fn a_socket_path_too_long_for_the_kernel_is_reached() {
    let long = ["a-folder-with-a-long-name"; 8].join("/");
    let fake = Fake::at(&long, vec![Reply::Json(200, r#"{"version": "9", "pid": 7}"#.to_owned())]);
    let output = fake.opm(&["ping"]);
    assert_eq!(stdout(&output), "pong (opm 9, pid 7)\n", "{}", stderr(&output));
}

#[test]
fn an_answer_of_many_megabytes_is_taken() {
    let mut row: serde_json::Value = serde_json::json!({
        "id": 0, "name": "web", "namespace": "default", "instance": 0, "state": "online", "detail": null, "desired": "up",
        "ready": "none", "pid": 1, "since": null, "restarts": 0, "cpu_percent": null, "memory_bytes": null, "run": null,
        "cgroup": null, "last_exit": null, "next_attempt": null, "a_field_of_a_newer_daemon": true
    });
    row["cgroup"] = "x".repeat(12 << 20).into();
    let fake = Fake::new(vec![Reply::Json(200, serde_json::json!([row]).to_string())]);
    let output = fake.opm(&["ls", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(output.stdout.len() > 12 << 20);
}

#[test]
fn what_is_no_answer_of_ours_is_told_and_no_panic() {
    for reply in [Reply::Json(200, "garbage".to_owned()), Reply::Json(500, "<html>".to_owned())] {
        let fake = Fake::new(vec![reply]);
        let output = fake.opm(&["ping"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).starts_with("error: failed to understand the daemon's answer"), "{}", stderr(&output));
    }
}

/// Nobody listens at a socket that a dead daemon left behind; reads then say that none runs.
#[test]
fn a_socket_without_a_daemon_is_no_daemon() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("run")).unwrap();
    drop(std::os::unix::net::UnixListener::bind(dir.path().join("run/opm.sock")).unwrap());
    let output = opm(dir.path(), &["ping"]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(stderr(&output).starts_with("error: no daemon runs"), "{}", stderr(&output));
}
