//! What an app writes is what the files hold and what `opm logs --raw` prints, byte for byte.

use crate::rig::{Rig, cli, wait};
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[track_caller]
fn await_log(rig: &Rig, name: &str, stream: &str, wanted: &[u8]) {
    wait::until_or(
        &format!("{} bytes in the {stream} log of {name}", wanted.len()),
        wait::PATIENCE,
        || rig.log(name, 0, stream).len() >= wanted.len(),
        || String::from_utf8_lossy(&rig.log(name, 0, stream)).into_owned(),
    );
    assert_eq!(String::from_utf8_lossy(&rig.log(name, 0, stream)), String::from_utf8_lossy(wanted));
}

#[test]
fn both_streams_are_kept_apart_and_whole() {
    let rig = Rig::new();
    rig.start("web", &[], &["lines:5000:line", "out:only out", "err:only err", "pause"]);
    let lines: String = (0..5000).map(|n| format!("line {n}\n")).collect();
    await_log(&rig, "web", "out", format!("{lines}only out\n").as_bytes());
    await_log(&rig, "web", "err", format!("{lines}only err\n").as_bytes());
}

/// `-n N --no-follow --raw` prints the last N lines as written, also bytes that are no text and a last line without its end.
#[test]
fn raw_prints_what_was_written() {
    let rig = Rig::new();
    let script = rig.write("odd.sh", "for i in 1 2 3 4 5; do echo line $i; done\nprintf '\\377\\376\\033[31mred\\n'\nprintf 'no end'\nexec sleep 1000\n");
    rig.ok(&["start", &script, "--name", "odd"]);
    let all = b"line 1\nline 2\nline 3\nline 4\nline 5\n\xff\xfe\x1b[31mred\nno end";
    await_log(&rig, "odd", "out", all);
    let said = rig.ok(&["logs", "odd", "-n", "4", "--no-follow", "--raw"]);
    assert_eq!(said.stdout.trim_ascii_end(), b"line 4\nline 5\n\xff\xfe\x1b[31mred\nno end", "{said}");
    let said = rig.ok(&["logs", "odd", "-n", "100", "--no-follow", "--raw"]);
    assert_eq!(said.stdout.trim_ascii_end(), all, "{said}");
    // Not raw: a terminal must not obey what an app wrote.
    assert!(!rig.ok(&["logs", "odd", "--no-follow"]).stdout.contains(&0x1b), "escape sequences reach a terminal");
}

#[test]
fn what_went_to_stderr_is_printed_too() {
    let rig = Rig::new();
    rig.start("web", &[], &["err:oh no", "pause"]);
    await_log(&rig, "web", "err", b"oh no\n");
    let said = rig.ok(&["logs", "web", "-n", "5", "--no-follow", "--raw"]);
    assert!(format!("{}{}", said.out(), said.err()).contains("oh no\n"), "{said}");
}

/// E7: one line written in three pieces was three lines with PM2's time stamps, and three JSON objects.
#[test]
fn e7_one_line_written_in_three_pieces_is_one_line() {
    let rig = Rig::new();
    rig.start("web", &[], &["part:one ", "sleep:30", "part:line, ", "sleep:30", "out:three pieces", "pause"]);
    await_log(&rig, "web", "out", b"one line, three pieces\n");
    let said = rig.ok(&["logs", "web", "--no-follow"]);
    assert_eq!(said.out().matches("one line, three pieces").count(), 1, "{said}");
}

/// The last words of a program that dies at once, and of one that crashes, are not lost.
#[test]
fn last_words_are_kept() {
    let rig = Rig::new();
    cli::run(&mut rig.start_command("brief", &["--restart", "never"], &["lines:200:last", "exit:1"]));
    rig.await_state("brief", "errored");
    let lines: String = (0..200).map(|n| format!("last {n}\n")).collect();
    await_log(&rig, "brief", "out", lines.as_bytes());
}

/// What is written while the daemon is dead is in the file afterwards, once.
#[test]
fn nothing_is_lost_or_doubled_when_the_daemon_dies() {
    let rig = Rig::new();
    let script =
        rig.write("writer.sh", "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; exec sleep 1000\n");
    rig.ok(&["start", &script, "--name", "writer"]);
    for _ in 0..3 {
        rig.kill_daemon();
    }
    let lines: String = (0..3000).map(|n| format!("line {n}\n")).collect();
    await_log(&rig, "writer", "out", lines.as_bytes());
}

/// A follower gets what comes, from every instance, until it goes.
#[test]
fn following_shows_what_is_written_from_now_on() {
    let rig = Rig::new();
    rig.start("web", &[], &["out:before", "waitfile:go", "out:after", "pause"]);
    await_log(&rig, "web", "out", b"before\n");
    let mut follow = rig.command();
    let mut follow = follow
        .args(["logs", "web", "-f"])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = follow.stdout.take().unwrap();
    let (tell, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut some = [0_u8; 4096];
        while let Ok(n) = out.read(&mut some) {
            if n == 0 || tell.send(String::from_utf8_lossy(&some[..n]).into_owned()).is_err() {
                return;
            }
        }
    });
    let mut said = String::new();
    let mut hear = |wanted: &str| {
        while !said.contains(wanted) {
            said += &heard
                .recv_timeout(wait::PATIENCE)
                .unwrap_or_else(|_| panic!("'{wanted}' is not followed; so far: {said}"));
        }
    };
    hear("before");
    rig.write("go", "");
    hear("after");
    follow.kill().unwrap();
    follow.wait().unwrap();
    rig.ok(&["ping"]);
}

/// The daemon dies again and again, the log is set aside dozens of times meanwhile: each line is told once, in order.
#[test]
fn a_follower_is_told_each_line_once_whatever_the_daemon_does() {
    const LINES: usize = 20_000;
    let rig = Rig::new();
    // In four parts, so that each death falls between lines that were told and lines that come.
    let text = "i=0; for part in 0 1 2 3; do while [ ! -e go$part ]; do sleep 0.05; done; \
                n=0; while [ $n -lt 5000 ]; do echo line $i; i=$((i+1)); n=$((n+1)); done; done; exec sleep 1000\n";
    let script = rig.write("writer.sh", text);
    rig.ok(&["start", &script, "--name", "writer", "--log-max-size", "16K", "--log-keep", "none"]);
    let mut follow = rig.command();
    let mut follow = follow
        .args(["logs", "writer", "-f"])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let out = std::io::BufReader::new(follow.stdout.take().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let reader = std::thread::spawn(move || {
        let lines = std::io::BufRead::lines(out).map(|line| {
            counted.fetch_add(1, Ordering::Relaxed);
            line.unwrap()
        });
        lines.take(LINES).collect::<Vec<_>>()
    });
    for part in 0..4 {
        rig.write(&format!("go{part}"), "");
        wait::until("the follower to be told of this part", || count.load(Ordering::Relaxed) > part * 5000);
        rig.kill_daemon();
    }
    wait::until("the follower to be told everything", || reader.is_finished());
    let told = reader.join().unwrap();
    follow.kill().unwrap();
    follow.wait().unwrap();
    for (n, line) in told.iter().enumerate() {
        assert_eq!(line, &format!("writer:0 | line {n}"), "at {n}");
    }
    assert_eq!(told.len(), LINES);
    assert!(std::fs::read_dir(rig.home.join("logs")).unwrap().count() > 5, "it was set aside");
}

/// `opm logs | head -1` ends quietly.
#[test]
fn a_reader_that_goes_away_is_no_error() {
    let rig = Rig::new();
    rig.start("web", &[], &["lines:3000:line", "out:end", "pause"]);
    wait::until("the log to be written", || rig.log("web", 0, "out").ends_with(b"end\n"));
    let mut shell = std::process::Command::new("sh");
    rig.prepare(&mut shell);
    let said =
        cli::run(shell.args(["-c", "\"$0\" logs web -n 3000 --no-follow --raw | head -1", crate::rig::OPM])).ok();
    assert!(said.err().is_empty(), "{said}");
    assert!(said.out().starts_with("line "), "{said}");
}
