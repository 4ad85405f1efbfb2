//! `opm logs` and its kin: what they ask for, print and return, and how a reader goes on where a stream broke.

use crate::fake::{Fake, Reply, stderr, stdout};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

fn event(what: Value) -> String {
    format!("data: {what}\n\n")
}

fn start(from: Value) -> String {
    format!("event: start\n{}", event(json!({"from": from})))
}

fn line(text: &str, at: u64) -> Value {
    json!({"name": "web", "instance": 0, "stream": "out", "time": "2026-11-21T08:00:00.123456Z", "run": 7, "line": text,
        "log": "web-0-out.log", "at": format!("3+{at}")})
}

fn with(mut line: Value, more: Value) -> Value {
    line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    line
}

#[test]
fn lines_are_drawn_and_raw_is_what_was_written() {
    let events = [
        start(json!({"web-0-out.log": "3+0"})),
        event(line("a\u{1b}[2Jb", 7)),
        ": still there\n\nevent: of_a_newer_daemon\ndata: {}\n\n".to_owned(),
        event(with(line("the disk was full", 7), json!({"missing": 4096}))),
        event(with(line("", 8), json!({"line": {"hex": "ff"}, "complete": false}))),
    ]
    .concat();
    let fake = Fake::new((0..4).map(|_| Reply::Events(events.clone())).collect());
    let output = fake.opm(&["logs", "web", "-n", "2", "--no-follow"]);
    assert_eq!(
        stdout(&output),
        "web:0 | ab\nweb:0 ! 4096 bytes are missing here: the disk was full\nweb:0 | \u{fffd}\n"
    );
    let output = fake.opm(&["logs", "web", "--raw", "--err"]);
    assert_eq!(output.stdout, b"a\x1b[2Jb\n\xff");
    assert_eq!(stderr(&output), "note: web:0: 4096 bytes are missing here: the disk was full\n");
    let output = fake.opm(&["logs", "web", "--json"]);
    let lines: Vec<Value> = stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0], line("a\u{1b}[2Jb", 7));
    assert_eq!(lines.len(), 3);
    let output = fake.opm(&["logs", "web", "--timestamps=%Y"]);
    assert!(stdout(&output).starts_with("2026 web:0 | ab\n"), "{}", stdout(&output));
    let lines: Vec<_> = fake.requests().into_iter().map(|r| r.line).take(2).collect();
    assert_eq!(
        lines,
        ["GET /v1/logs?select=web&follow=false&lines=2", "GET /v1/logs?select=web&follow=false&stream=err"]
    );
}

#[test]
fn everything_that_can_be_asked_is_asked() {
    let fake = Fake::new(vec![Reply::Events(start(json!({}))), Reply::Events(start(json!({})))]);
    let ask = [
        "logs",
        "web",
        "api:1",
        "--since",
        "2020-01-01T08:00:00+01:00",
        "--until",
        "2020-01-01T08:00:00Z",
        "--grep",
        "a b&c",
        "-v",
        "--run",
        "7",
        "-f",
    ];
    let output = fake.opm(&ask);
    assert_eq!(output.status.code(), Some(0), "an end is known, so this is it: {}", stderr(&output));
    fake.opm(&["logs", "--previous"]);
    let lines: Vec<_> = fake.requests().into_iter().map(|r| r.line).collect();
    assert_eq!(
        lines,
        [
            "GET /v1/logs?select=web%2Capi%3A1&follow=true&since=2020-01-01T07%3A00%3A00Z&until=2020-01-01T08%3A00%3A00Z\
             &grep=a%20b%26c&invert=true&run=7",
            "GET /v1/logs?select=all&follow=false&previous=true"
        ]
    );
}

#[test]
fn what_cannot_be_meant_is_told_before_anybody_is_asked() {
    let fake = Fake::new(vec![]);
    for (wrong, told) in [
        (&["--since", "5"][..], "error: --since '5' is no time\nhint: write 10m for ten minutes ago"),
        (&["--since", "2026-11-21T09:00Z", "--until", "2026-11-21T08:00Z"], "is not before --until"),
        (&["--grep", "("], "error: --grep '(': "),
        (&["--timestamps=%!"], "error: --timestamps '%!': "),
        (&["-v"], "--grep"),
        (&["--raw", "--json"], "cannot be used with"),
    ] {
        let output = fake.opm(&[&["logs"], wrong].concat());
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(stderr(&output).contains(told), "{}", stderr(&output));
    }
    assert_eq!(fake.requests(), []);
}

/// The daemon dies amid an event, dies again before it answers, ends the next stream properly; logs join meanwhile.
#[test]
fn a_reader_goes_on_where_the_last_whole_line_ended() {
    let torn = event(line("3", 30));
    let other = |text: &str, at: u64| with(line(text, at), json!({"log": "web-0-err.log", "stream": "err"}));
    let fake = Fake::new(vec![
        Reply::Torn(
            start(json!({"web-0-out.log": "3+5", "old.log": "9+9"}))
                + &event(line("1", 10))
                + &event(line("2", 20))
                + &torn[..60],
        ),
        Reply::Break,
        Reply::Events(start(json!({"web-0-out.log": "3+20"})) + &torn),
        Reply::Torn(start(json!({"web-0-err.log": "1+0"})) + &event(other("4", 1))),
        Reply::Events(event(line("5", 40)) + &event(other("6", 2)).repeat(1000)),
    ]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_opm"))
        .args(["logs", "web", "-f", "--grep", "[0-9]"])
        .env("OPM_HOME", fake.home())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let told: Vec<String> = lines.take(6).map(|line| line.unwrap().rsplit(' ').next().unwrap().to_owned()).collect();
    assert_eq!(told, ["1", "2", "3", "4", "5", "6"]);
    // Nobody reads any more: that is no failure.
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let requests = fake.requests();
    assert_eq!(requests[0].line, "GET /v1/logs?select=web&follow=true&grep=%5B0-9%5D");
    let from: Vec<Value> = requests[1..5]
        .iter()
        .map(|request| {
            assert_eq!(request.line, "POST /v1/logs");
            let body: Value = serde_json::from_str(&request.body).unwrap();
            assert_eq!(
                body["query"],
                json!({"select": "web", "follow": true, "grep": "[0-9]", "invert": false, "previous": false})
            );
            body["from"].clone()
        })
        .collect();
    let first = json!({"web-0-out.log": "3+20", "old.log": "9+9"});
    assert_eq!(from[..2], [first.clone(), first], "what came torn did not come");
    assert_eq!(from[2]["web-0-out.log"], "3+30");
    assert_eq!(from[3], json!({"web-0-out.log": "3+30", "web-0-err.log": "3+1", "old.log": "9+9"}));
}

/// Also who does not follow is told every line once; and whoever got nothing at all asks as at first.
#[test]
fn a_stream_that_breaks_is_gone_on_with_to_its_end() {
    let fake = Fake::new(vec![
        Reply::Torn(": nothing yet\n\n".to_owned()),
        Reply::Torn(start(json!({"web-0-out.log": "3+0"})) + &event(line("1", 10))),
        Reply::Events(start(json!({})) + &event(line("2", 20))),
    ]);
    let output = fake.opm(&["logs", "web"]);
    assert_eq!(stdout(&output), "web:0 | 1\nweb:0 | 2\n");
    let lines: Vec<_> = fake.requests().into_iter().map(|r| r.line).collect();
    let first = "GET /v1/logs?select=web&follow=false";
    assert_eq!(lines, [first, first, "POST /v1/logs"]);
}

#[test]
fn what_a_deleted_app_left_is_said_to_be_that() {
    let note = format!("event: start\n{}", event(json!({"from": {}, "note": "no app 'web' any more\u{1b}"})));
    let missing = json!({"kind": "no_such_app", "message": "no app matches 'wbe'", "hint": "did you mean 'web'?"});
    let fake = Fake::new(vec![
        Reply::Torn(note.clone() + &event(line("bye", 3))),
        Reply::Events(note),
        Reply::Json(404, missing.to_string()),
    ]);
    let output = fake.opm(&["logs", "web"]);
    assert_eq!(stdout(&output), "web:0 | bye\n");
    assert_eq!(stderr(&output).matches("note: no app 'web' any more\\u{1b}\n").count(), 1, "{}", stderr(&output));
    assert_eq!(fake.opm(&["logs", "wbe"]).status.code(), Some(4));
}

#[test]
fn flush_and_reopen_say_what_was_done() {
    let emptied = |files: u32, bytes: u64| Reply::Json(200, json!({"files": files, "bytes": bytes}).to_string());
    let missing = json!({"kind": "no_such_app", "message": "no app matches 'wbe'", "hint": "did you mean 'web'?"});
    let fake = Fake::new(vec![
        emptied(3, 5 << 20),
        emptied(0, 0),
        Reply::Json(200, "{}".to_owned()),
        Reply::Json(200, "{}".to_owned()),
        Reply::Json(404, missing.to_string()),
    ]);
    assert_eq!(stderr(&fake.opm(&["flush"])), "emptied 3 log files; 5.0M freed\n");
    assert_eq!(stderr(&fake.opm(&["flush", "web", "api:0"])), "no log file holds anything\n");
    assert_eq!(stderr(&fake.opm(&["logs", "reopen"])), "log files are opened anew\n");
    assert_eq!(stdout(&fake.opm(&["reloadLogs", "--json"])), "{}\n");
    let requests: Vec<_> = fake.requests().into_iter().map(|r| (r.line, r.body)).collect();
    let flush = |body: &str| ("POST /v1/logs/flush".to_owned(), body.to_owned());
    let reopen = ("POST /v1/logs/reopen".to_owned(), "{}".to_owned());
    let all = [flush(r#"{"select":[]}"#), flush(r#"{"select":["web","api:0"]}"#), reopen.clone(), reopen];
    assert_eq!(requests, all);
    assert_eq!(fake.opm(&["flush", "wbe"]).status.code(), Some(4));
}

/// Nobody is asked: whoever looks there may be looking for why nobody answers.
#[test]
fn what_the_daemon_said_itself_is_read_from_its_files() {
    let fake = Fake::new(vec![]);
    let output = fake.opm(&["daemon", "logs"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("speaks to the journal"), "{}", stderr(&output));
    let logs = fake.home().join("logs");
    std::fs::create_dir(&logs).unwrap();
    std::fs::write(logs.join("opm-daemon.log"), "third\nfourth\n").unwrap();
    std::fs::write(logs.join("opm-daemon.log.1"), "first\nse\x1b[2Jcond\n").unwrap();
    assert_eq!(stdout(&fake.opm(&["daemon", "logs"])), "first\nsecond\nthird\nfourth\n");
    assert_eq!(stdout(&fake.opm(&["daemon", "logs", "-n", "1"])), "fourth\n");
    assert_eq!(fake.requests(), []);
}

/// Who serves in the foreground says to the journal how bad a thing is, and to everybody else when it was as well.
#[test]
fn the_journal_is_told_how_bad_it_is() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stderr");
    let said = |is_journal: bool| {
        let file = std::fs::File::create(&path).unwrap();
        let meta = file.metadata().unwrap();
        let inode = if is_journal { meta.ino() } else { meta.ino() + 1 };
        let status = Command::new(env!("CARGO_BIN_EXE_opm"))
            .args(["daemon", "run"])
            .env("OPM_HOME", "/dev/null/home")
            .env("JOURNAL_STREAM", format!("{}:{inode}", meta.dev()))
            .stderr(file)
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(1));
        std::fs::read_to_string(&path).unwrap()
    };
    let what = "failed to make the runtime directory /dev/null/home/run: ";
    assert!(said(true).starts_with(&format!("<3>{what}")), "{}", said(true));
    let (time, line) = said(false).split_once(' ').map(|(time, line)| (time.to_owned(), line.to_owned())).unwrap();
    assert!(time.ends_with('Z') && line.starts_with("error opm-keeper[") && line.contains(what), "{time} {line}");
}
