//! Screens of merged, filtered and followed logs.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::cli::log_stream::Text;
use insta::assert_snapshot;
use std::borrow::Cow;

fn line<'a>(name: &'a str, stream: LogStream, text: &'a str, complete: bool) -> Line<'a> {
    Line {
        name: name.into(),
        instance: 0,
        stream,
        time: Some("2026-11-21T08:00:00.123456Z"),
        run: Some(7),
        line: Text(Cow::Borrowed(text.as_bytes())),
        complete,
        missing: None,
        log: name.into(),
        at: "1+1".into(),
    }
}

fn out<'a>(name: &'a str, text: &'a str) -> Line<'a> {
    line(name, LogStream::Out, text, true)
}

fn err<'a>(name: &'a str, text: &'a str) -> Line<'a> {
    line(name, LogStream::Err, text, true)
}

fn plain() -> Drawing {
    Drawing { paint: Paint { on: false }, raw: false, time: None, highlight: None }
}

fn drawn(how: Drawing, lines: &[Line<'_>]) -> String {
    let mut screen = LogScreen::new(how);
    let mut bytes = Vec::new();
    for line in lines {
        screen.line(line, &mut bytes);
    }
    bytes.extend_from_slice(screen.end());
    String::from_utf8_lossy(&bytes).replace('\x1b', "ESC")
}

/// Several apps, one of them with two instances, one that is no friend of terminals, and a gap.
fn merged() -> Vec<Line<'static>> {
    vec![
        out("web", "listening on :3000"),
        Line { instance: 11, time: None, ..out("web", "no time is known of this") },
        err("worker", "\x1b[31mred\x1b[0m and \x1b[1;1Hmoved"),
        out("evil\x1b[2J", "web:0 | an\rerror of somebody else"),
        Line { missing: Some(4096), ..out("web", "the disk was full") },
        Line { missing: Some(0), ..err("worker", "") },
        out("web", "GET /error 500"),
    ]
}

#[test]
fn several_apps() {
    assert_snapshot!(drawn(plain(), &merged()));
}

#[test]
fn several_apps_in_colour_with_matches_and_times() {
    let how = Drawing {
        paint: Paint { on: true },
        highlight: Some(Regex::new("error|red").unwrap()),
        time: Some(TimeFormat::new("%F %T%.3f", TimeZone::fixed(jiff::tz::offset(1))).unwrap()),
        ..plain()
    };
    assert_snapshot!(drawn(how, &merged()));
}

#[test]
fn a_line_that_goes_on_is_not_broken_unless_another_comes_between() {
    let of_another_run = |text, complete| Line { run: Some(8), ..line("web", LogStream::Out, text, complete) };
    let lines = [
        line("web", LogStream::Out, "one ", false),
        out("web", "two"),
        line("web", LogStream::Out, "ends empty", false),
        out("web", ""),
        line("web", LogStream::Out, "open", false),
        err("longer", "came between"),
        out("web", " and goes on"),
        line("web", LogStream::Out, "open", false),
        Line { missing: Some(9), ..err("longer", "") },
        out("web", ""),
        out("web", ""),
        line("web", LogStream::Out, "of a run that", false),
        of_another_run("of the next", true),
        of_another_run("", true),
        line("web", LogStream::Out, "last", false),
    ];
    assert_snapshot!(drawn(plain(), &lines));
}

#[test]
fn raw_is_what_was_written() {
    let raw = |on| Drawing { raw: true, paint: Paint { on }, ..plain() };
    let lines = [
        out("web", "\x1b[2J\x07"),
        Line { missing: Some(9), ..out("web", "") },
        line("web", LogStream::Out, "torn by a crash", false),
        Line { run: Some(8), ..line("web", LogStream::Out, "end", false) },
    ];
    assert_eq!(drawn(raw(true), &lines), "ESC[2J\x07\ntorn by a crashend");
    let other = [line("web", LogStream::Out, "of one", false), out("api", "of another")];
    assert_eq!(drawn(raw(false), &other), "of one\nof another\n");
    let screen = LogScreen::new(raw(true));
    assert_eq!(screen.aside(&lines[1]).unwrap(), "web:0: 9 bytes are missing here");
    assert_eq!(screen.aside(&lines[0]), None);
}

#[test]
fn a_format_that_is_none_is_refused() {
    assert!(TimeFormat::new("%!", TimeZone::UTC).is_err());
    assert!(TimeFormat::new("%H:%M", TimeZone::UTC).is_ok());
}
