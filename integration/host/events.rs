//! `opm events`: every event once, whoever dies, and from a cursor on exactly what came after it.

use crate::rig::{Rig, cli, wait};
use serde_json::Value;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};

/// All events there are, as they are printed.
fn all(rig: &Rig) -> Vec<String> {
    rig.ok(&["events", "--json", "-n", "100000"]).out().lines().map(str::to_owned).collect()
}

fn cursor(line: &str) -> String {
    serde_json::from_str::<Value>(line).unwrap()["cursor"].as_str().unwrap().to_owned()
}

/// A follower, whose output is a file; ended with the test.
struct Follower(Child);

impl Follower {
    fn start(rig: &Rig, args: &[&str], file: &str) -> Self {
        let out = File::create(rig.path(file)).unwrap();
        let child = rig
            .command()
            .args(["events", "-f", "--json"])
            .args(args)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A follower over the deaths of three daemons gets what is in the journal: each event once, none missing, in order.
#[test]
fn a_follower_misses_nothing_and_gets_nothing_twice_while_daemons_die() {
    let rig = Rig::new();
    rig.start("web", &["--backoff", "1ms..1ms"], &["append:runs:x", "pause"]);
    let _follower = Follower::start(&rig, &["-n", "100000"], "followed");
    for n in 0..3 {
        rig.start(&format!("a{n}"), &[], &["pause"]);
        rig.grip("web").kill();
        rig.await_lines("runs", n + 2);
        rig.kill_daemon();
        rig.ok(&["restart", &format!("a{n}")]);
    }
    rig.ok(&["stop", "all"]);
    let written = all(&rig);
    assert!(written.iter().filter(|line| line.contains("daemon_started")).count() == 4, "{written:#?}");
    wait::until_or(
        "all events",
        wait::PATIENCE,
        || rig.lines("followed").len() >= written.len(),
        || rig.lines("followed"),
    );
    assert_eq!(rig.lines("followed"), written);
    assert!(!written.iter().any(|line| line.contains(r#""event":"gap""#)));
}

#[test]
fn from_a_cursor_comes_exactly_what_came_after_it() {
    let rig = Rig::new();
    rig.start("web", &[], &["pause"]);
    rig.ok(&["restart", "web"]);
    rig.kill_daemon();
    rig.ok(&["stop", "web"]);
    let before = all(&rig);
    for (at, line) in before.iter().enumerate() {
        let since = cursor(line);
        let after = rig.ok(&["events", "--json", "--since", &since]).out();
        assert_eq!(after.lines().collect::<Vec<_>>(), before[at + 1..], "since {since}");
    }
    // As a browser comes back.
    let mut socket = UnixStream::connect(rig.home.join("run/opm.sock")).unwrap();
    let last = cursor(&before[2]);
    write!(socket, "GET /v1/events HTTP/1.1\r\nhost: opm\r\nlast-event-id: {last}\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let told: Vec<_> = answer.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    assert_eq!(told, before[3..], "{answer}");
    assert!(answer.contains(&format!("id: {}\ndata: ", cursor(&before[3]))), "{answer}");
    // Without a daemon, too.
    rig.ok(&["kill"]);
    let after = rig.ok(&["events", "--json", "--since", &cursor(&before[2])]).out();
    assert_eq!(after.lines().take(before.len() - 3).collect::<Vec<_>>(), before[3..]);
    assert!(after.contains(r#""verb":"shutdown""#) && after.contains("daemon_ended"), "{after}");
}

/// A cursor that the journal does not know is answered with a gap and with all there is; silence would be a lie.
#[test]
fn a_cursor_that_is_gone_says_so() {
    let rig = Rig::new();
    rig.start("web", &[], &["pause"]);
    let written = all(&rig);
    let said = rig.ok(&["events", "--json", "--since", "999999-0000"]).out();
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].contains(r#""event":"gap""#), "{said}");
    assert_eq!(lines[1..], written);
    assert!(rig.ok(&["events", "--since", "999999-0000"]).out().contains("events are missing here"));
    rig.opm(&["events", "--since", "last tuesday"]).code(2);
}

#[test]
fn events_of_an_app_are_told_without_secrets_and_those_to_come_as_well() {
    let rig = Rig::new();
    rig.start("web", &[], &["pause"]);
    rig.start("api", &[], &["pause"]);
    let _follower = Follower::start(&rig, &["web"], "web");
    rig.await_lines("web", 3);
    rig.start("web", &["--replace", "--env", "TOKEN=s3cret", "--max-restarts", "3"], &["pause"]);
    rig.ok(&["delete", "web"]);
    let said = rig.ok(&["events", "web"]).out();
    assert!(said.contains("its spec was changed: env, max_restarts"), "{said}");
    assert!(said.contains("deleted") && !said.contains("api") && !said.contains("daemon"), "{said}");
    let all = all(&rig).join("\n");
    assert!(!all.contains("s3cret") && all.contains("daemon_started") && all.contains(r#""before":"none""#), "{all}");
    let of_web = || rig.lines("web");
    wait::until_or("the end", wait::PATIENCE, || of_web().last().is_some_and(|l| l.contains("deleted")), of_web);
    assert_eq!(of_web(), rig.ok(&["events", "web", "--json", "-n", "1000"]).out().lines().collect::<Vec<_>>());
    rig.opm(&["events", "nobody"]).code(4);
}

/// One that does not read holds up nobody, and is given the rest when it reads on.
#[test]
fn a_follower_that_does_not_read_slows_nobody_and_misses_nothing() {
    let rig = Rig::new();
    rig.start("web", &[], &["pause"]);
    let mut child =
        rig.command().args(["events", "-f", "--json", "-n", "100000"]).stdout(Stdio::piped()).spawn().unwrap();
    for n in 0..40 {
        // Each accepted order is about 300 bytes; a pipe holds 64 KiB, so names make the lines long.
        let name = format!("{}{n}", "n".repeat(50));
        cli::run(&mut rig.start_command(&name, &["-i", "20", "--no-autostart"], &["pause"]));
        rig.ok(&["reset", "all"]);
    }
    let written = all(&rig);
    assert!(written.iter().map(String::len).sum::<usize>() > 1 << 20, "more than pipe and buffers hold");
    let out = std::io::BufReader::new(child.stdout.take().unwrap());
    let read: Vec<String> = std::io::BufRead::lines(out).take(written.len()).map(Result::unwrap).collect();
    let _ = child.kill();
    let _ = child.wait();
    assert_eq!(read, written);
}
