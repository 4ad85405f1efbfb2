//! The socket: hostile, slow, silent and many clients; and what honest ones may rely on.

use crate::rig::{Rig, cli, wait};
use serde_json::Value;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

fn connect(rig: &Rig) -> UnixStream {
    let stream = UnixStream::connect(rig.home.join("run/opm.sock"))
        .unwrap_or_else(|e| panic!("failed to connect to the daemon: {e}"));
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// One request, one answer: its status and body.
#[track_caller]
pub fn request(rig: &Rig, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
    let mut stream = connect(rig);
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: opm\r\nconnection: close\r\ncontent-type: application/json\r\n{headers}"
    );
    write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) =
        answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no HTTP answer to {method} {path}: {answer:?}"));
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or_else(|| panic!("no status: {head}"));
    let body = if head.to_lowercase().contains("transfer-encoding: chunked") { unchunk(body) } else { body.to_owned() };
    (status, body)
}

fn unchunk(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        if size == 0 {
            break;
        }
        whole += &rest[..size];
        body = rest[size..].trim_start_matches("\r\n");
    }
    whole
}

/// Garbage, half requests, absurd lengths, wrong JSON: refused or dropped, and the daemon goes on.
#[test]
fn garbage_and_half_requests_harm_nobody() {
    let rig = Rig::new();
    rig.start("web", &[], &["pause"]);
    let daemon = rig.daemon_pid();
    let long = format!("GET /v1/ping HTTP/1.1\r\nx: {}\r\n\r\n", "a".repeat(2_000_000));
    let garbage: [&[u8]; 7] = [
        b"\0\xff\xfe\x01garbage\r\n\r\n",
        b"GET",
        b"POST /v1/stop HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{\"sel",
        b"POST /v1/stop HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999\r\n\r\n",
        b"POST /v1/stop HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\n",
        b"GET /v1/../../etc/passwd HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        long.as_bytes(),
    ];
    let mut open = Vec::new();
    for bytes in garbage {
        let mut stream = connect(&rig);
        let _ = stream.write_all(bytes);
        open.push(stream); // left hanging, half said
        rig.ok(&["ping"]);
    }
    for (path, body) in [
        ("/v1/stop", "{"),
        ("/v1/stop", "[]"),
        ("/v1/stop", "{\"select\": [\"web\"], \"unknown\": 1}"),
        ("/v1/stop", "{\"select\": \"web\"}"),
        ("/v1/apps", "{\"apps\": [{\"name\": \"a/b\"}], \"captured\": {}}"),
        ("/v1/signal", "{\"select\": [\"web\"], \"signal\": \"NONSENSE\"}"),
    ] {
        let (status, answer) = request(&rig, "POST", path, "", body);
        assert!((400..500).contains(&status), "{path} {body}: {status} {answer}");
    }
    assert!((400..500).contains(&request(&rig, "GET", "/v1/no-such-thing", "", "").0));
    let nested = "[".repeat(100_000);
    assert!((400..500).contains(&request(&rig, "POST", "/v1/stop", "", &nested).0));
    drop(open);
    assert_eq!(rig.daemon_pid(), daemon, "the same daemon");
    assert_eq!(rig.row("web")["state"], "online", "and nothing was half-applied");
}

/// Six in a row of what nobody ever finishes saying: still served.
#[test]
fn a_thousand_idle_connections_leave_room_for_the_owner() {
    let rig = Rig::new();
    rig.start("web", &[], &["pause"]);
    let daemon = rig.daemon_pid();
    many_descriptors();
    let mut idle = Vec::new();
    for n in 0..1000 {
        let Ok(mut stream) = UnixStream::connect(rig.home.join("run/opm.sock")) else { break };
        if n % 2 == 0 {
            let _ = stream.write_all(b"GET /v1/ping HTTP/1.1\r\n");
        }
        idle.push(stream);
    }
    assert!(idle.len() > 100, "only {} connections", idle.len());
    rig.ok(&["ls", "--json"]);
    rig.ok(&["restart", "web"]);
    drop(idle);
    rig.ok(&["ping"]);
    assert_eq!(rig.daemon_pid(), daemon);
}

/// As many descriptors as this process may have.
fn many_descriptors() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}

/// More orders begun and never said to their end than there are places: they are dropped after a while. They once kept their
/// places for ever, and no command got through.
#[test]
fn half_said_orders_do_not_lock_the_owner_out() {
    let rig = Rig::new();
    rig.start("web", &[], &["pause"]);
    many_descriptors();
    let half = b"POST /v1/stop HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{\"sel";
    let mut idle = Vec::new();
    for _ in 0..1100 {
        let mut stream = connect(&rig);
        stream.write_all(half).unwrap();
        idle.push(stream);
    }
    assert_eq!(rig.row("web")["state"], "online");
    drop(idle);
}

/// Clients that ask for logs and do not read them: they keep neither a worker thread, which everybody's reads need (16 of them
/// made every `ls` hang), nor all the places for connections.
#[test]
fn deaf_readers_of_logs_do_not_lock_the_owner_out() {
    let rig = Rig::new();
    rig.start("talk", &[], &["lines:20000:a_line_that_is_long_enough_to_fill_buffers", "append:done:x", "pause"]);
    rig.await_lines("done", 1);
    many_descriptors();
    let mut deaf = Vec::new();
    for _ in 0..1100 {
        let mut stream = connect(&rig);
        write!(stream, "GET /v1/logs?select=talk&lines=20000&follow=true HTTP/1.1\r\nhost: opm\r\n\r\n").unwrap();
        deaf.push(stream);
        // Enough to take every worker thread.
        if deaf.len() == 32 {
            assert_eq!(rig.row("talk")["state"], "online");
        }
    }
    assert_eq!(rig.row("talk")["state"], "online");
    let refused = rig.opm(&["logs", "talk", "-n", "1", "--no-follow"]).code(1);
    refused.says(&["too many log streams"]);
    drop(deaf);
    wait::until("logs are to be had again", || rig.opm(&["logs", "talk", "-n", "1", "--no-follow"]).code == Some(0));
}

/// One client follows a flood of log lines and never reads: the app, the other clients and the daemon's memory do not notice.
#[test]
fn a_client_that_stops_reading_slows_nobody() {
    let rig = Rig::new();
    rig.start(
        "flood",
        &[],
        &["waitfile:go", "lines:200000:a_line_that_is_long_enough_to_fill_buffers", "append:done:x", "pause"],
    );
    let mut deaf = connect(&rig);
    write!(deaf, "GET /v1/logs?select=flood&follow=true HTTP/1.1\r\nhost: opm\r\n\r\n").unwrap();
    let mut some = [0_u8; 16];
    deaf.read_exact(&mut some).unwrap(); // it is being served
    rig.write("go", "");
    rig.await_lines("done", 1);
    rig.ok(&["ls", "--json"]);
    let status = std::fs::read_to_string(format!("/proc/{}/status", rig.daemon_pid())).unwrap();
    let rss: u64 = status
        .lines()
        .find_map(|l| l.strip_prefix("VmRSS:"))
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert!(rss < 64 * 1024, "the daemon holds {rss} KiB for a client that does not read");
    rig.ok(&["stop", "flood"]);
}

/// An order sent again with the same key, after a broken connection, changes nothing twice.
#[test]
fn the_same_order_sent_again_changes_nothing_twice() {
    let rig = Rig::new();
    rig.start("web", &[], &["append:runs:x", "pause"]);
    let key = "opm-order-key: 7e57-0001\r\n";
    let (status, first) = request(&rig, "POST", "/v1/restart", key, "{\"select\": [\"web\"]}");
    assert_eq!(status, 200, "{first}");
    let pid = rig.pid("web");
    for _ in 0..3 {
        let (status, again) = request(&rig, "POST", "/v1/restart", key, "{\"select\": [\"web\"]}");
        assert_eq!(status, 200, "{again}");
        assert_eq!(rig.pid("web"), pid, "restarted again by the same order");
    }
    rig.kill_daemon();
    request(&rig, "POST", "/v1/restart", key, "{\"select\": [\"web\"]}");
    assert_eq!(rig.pid("web"), pid, "nor by the next daemon");
    request(&rig, "POST", "/v1/restart", "opm-order-key: 7e57-0002\r\n", "{\"select\": [\"web\"]}");
    assert_ne!(rig.pid("web"), pid, "another order is another order");
}

/// F4: a client dies while its order is carried out; the order stands.
#[test]
fn an_order_outlives_the_client_that_gave_it() {
    let rig = Rig::new();
    rig.start("slow", &["--stop-timeout", "700ms"], &["trapnote:15:asked", "append:up:x", "pause"]);
    rig.await_lines("up", 1);
    let mut client = connect(&rig);
    let body = "{\"select\": [\"slow\"]}";
    write!(
        client,
        "POST /v1/stop HTTP/1.1\r\nhost: opm\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    rig.await_lines("asked", 1);
    drop(client);
    rig.await_state("slow", "stopped");
    assert!(rig.app_pids().is_empty());
}

/// The API says what it is.
#[test]
fn the_description_of_the_api_is_served() {
    let rig = Rig::new();
    rig.start("web", &[], &["pause"]);
    let (status, body) = request(&rig, "GET", "/v1/openapi.json", "", "");
    assert_eq!(status, 200);
    let api: Value = serde_json::from_str(&body).unwrap();
    assert!(api["openapi"].as_str().is_some_and(|v| v.starts_with("3.")), "{api:#}");
    for path in [
        "/v1/ping",
        "/v1/daemon",
        "/v1/instances",
        "/v1/apps",
        "/v1/env",
        "/v1/logs",
        "/v1/start",
        "/v1/stop",
        "/v1/restart",
        "/v1/delete",
        "/v1/signal",
        "/v1/reset",
        "/v1/wait",
        "/v1/save",
        "/v1/restore",
        "/v1/shutdown",
    ] {
        assert!(api["paths"][path].is_object(), "{path} is not described");
    }
    let (status, rows) = request(&rig, "GET", "/v1/instances?select=all", "", "");
    assert_eq!(status, 200);
    assert_eq!(serde_json::from_str::<Value>(&rows).unwrap()[0]["name"], "web");
    let (status, problem) = request(&rig, "POST", "/v1/stop", "", "{\"select\": [\"wbe\"]}");
    assert_eq!((status, &serde_json::from_str::<Value>(&problem).unwrap()["kind"]), (404, &"no_such_app".into()));
}

/// A stale socket file of a dead pair is no obstacle, and a folder that vanished is made anew.
#[test]
fn leftovers_of_a_dead_pair_are_no_obstacle() {
    let rig = Rig::new();
    rig.start("web", &[], &["pause"]);
    rig.kill_pair();
    assert!(rig.home.join("run/opm.sock").exists(), "it left its socket");
    rig.ok(&["restart", "web"]);
    rig.ok(&["kill"]);
    std::fs::remove_dir_all(rig.home.join("run")).unwrap();
    let said = cli::run(&mut rig.start_command("other", &[], &["pause"]));
    assert_eq!(said.code, Some(0), "{said}");
    wait::until("both to be online", || rig.rows().iter().all(|row| row["state"] == "online"));
}
