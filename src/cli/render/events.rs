//! Events in words: one line each, and under it what an app said last.
//!
//! What a reader would get wrong: an app writes its last words, so they pass the same filter as its log lines, and so does
//! every name.

use super::harmless::harmless;
use super::ls;
use super::text::Style;
use super::{Paint, printable, time};
use crate::api::{AppRef, By, EventLine, Exit, Happening, OrderBody, Whose};
use crate::model::{Before, RawText};
use std::borrow::Cow;
use std::time::Duration;

/// One event, with its line feed.
pub(in crate::cli) fn line(event: &EventLine, paint: Paint) -> String {
    let (about, style, text) = words(event);
    let mut out = format!("{}  {}  {}\n", paint.dim(&clock(&event.at)), paint.bold(&about), paint.styled(style, &text));
    if let Happening::LastWords { lines, .. } = &event.what {
        out.push_str(&quoted(lines, "    ", paint));
    }
    out
}

/// `2026-11-21 02:13:00Z`.
fn clock(at: &str) -> String {
    let at = printable(at);
    let (date, time) = at.split_once('T').unwrap_or(("", &at));
    format!("{date} {}Z", time.get(..8).unwrap_or(time))
}

/// What an app said, as it said it.
pub(super) fn quoted(lines: &[RawText], indent: &str, paint: Paint) -> String {
    let mut out = Vec::new();
    for line in lines {
        out.extend_from_slice(format!("{indent}{} ", paint.red("|")).as_bytes());
        harmless(line.as_bytes(), false, None, &mut out);
        out.push(b'\n');
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// What it is about, how it is coloured, and what happened.
pub(super) fn words(event: &EventLine) -> (String, Style, String) {
    let EventLine { at, what, .. } = event;
    let app = |app: &AppRef| name(app.name.as_deref(), app.id);
    match what {
        Happening::Started { of, pid, run, .. } => (whose(of), Style::Green, format!("started (run {run}, pid {pid})")),
        Happening::Exited { of, exit, .. } => {
            let style = if exit.next == "errored" || exit.next == "restart" { Style::Red } else { Style::Plain };
            (whose(of), style, format!("{}{}{}{}", ended(exit), ran(exit), besides(exit), next(exit, at)))
        }
        Happening::LastWords { of, same_as: Some(run), .. } => {
            (whose(of), Style::Plain, format!("its last words were those of run {run} again"))
        }
        Happening::LastWords { of, cut, .. } => {
            let more = if *cut { " (there is more in its log)" } else { "" };
            (whose(of), Style::Plain, format!("its last words on stderr{more}:"))
        }
        Happening::Cleared { of } => (whose(of), Style::Plain, "its counters were set to zero".to_owned()),
        Happening::Ordered(order) => (apps(&order.apps), Style::Cyan, ordered(order)),
        Happening::Added(of) => (app(of), Style::Plain, "added".to_owned()),
        Happening::Changed { app: of, fields } => {
            (app(of), Style::Plain, format!("its spec was changed: {}", printable(&fields.join(", "))))
        }
        Happening::Deleted(of) => (app(of), Style::Plain, "deleted".to_owned()),
        Happening::DaemonStarted { version, before, reason } => {
            let before = match before {
                Some(Before::None) | None => "",
                Some(Before::Ended) => "; the one before had ended by order",
                Some(Before::Died) => "; the one before had died",
                Some(Before::Rebooted) => "; the machine was booted since the one before",
            };
            let reason = reason.as_ref().map(|reason| format!(": {}", printable(reason))).unwrap_or_default();
            ("opm".to_owned(), Style::Plain, format!("daemon {} started{before}{reason}", printable(version)))
        }
        Happening::DaemonEnded { keep_apps } => {
            let kept = if *keep_apps { ", its apps live on" } else { "" };
            ("opm".to_owned(), Style::Plain, format!("daemon ended{kept}"))
        }
        Happening::Trouble { message } => ("opm".to_owned(), Style::Yellow, printable(message).into_owned()),
        Happening::Gap => {
            ("opm".to_owned(), Style::Yellow, "gap: events are missing here, the journal no longer has them".to_owned())
        }
        Happening::Other => {
            ("opm".to_owned(), Style::Dim, "something that this version of opm does not know".to_owned())
        }
    }
}

fn name(name: Option<&str>, id: u32) -> String {
    name.map_or_else(|| format!("app {id}"), |name| printable(name).into_owned())
}

fn whose(of: &Whose) -> String {
    format!("{}:{}", name(of.name.as_deref(), of.id), of.instance)
}

/// `web, api:1 and 7 more`.
fn apps(all: &[AppRef]) -> String {
    let one = |app: &AppRef| {
        let name = name(app.name.as_deref(), app.id);
        app.instance.map_or(name.clone(), |instance| format!("{name}:{instance}"))
    };
    let named: Vec<String> = all.iter().take(3).map(one).collect();
    match all.len() {
        0 => "opm".to_owned(),
        n if n > 3 => format!("{} and {} more", named.join(", "), n - 3),
        _ => named.join(", "),
    }
}

/// `'stop' ordered by alice (uid 1000) with opm, pid 77, from bash`.
pub(super) fn ordered(order: &OrderBody) -> String {
    let verb = verb(order);
    let signal = order.signal.as_ref().map(|signal| format!(" {}", printable(signal))).unwrap_or_default();
    match &order.by {
        Some(who) => format!("'{verb}{signal}' ordered by {}{}", user(who), client(who)),
        None if verb == "shutdown" => "'shutdown' ordered by a signal to the daemon".to_owned(),
        None => format!("'{verb}{signal}' ordered"),
    }
}

/// What people typed for it.
pub(super) fn verb(order: &OrderBody) -> Cow<'_, str> {
    if order.verb == "create" { "start".into() } else { printable(&order.verb) }
}

/// `alice (uid 1000)`; `root (uid 0, logged in as alice)`.
pub(super) fn user(by: &By) -> String {
    let login = by.login.as_ref().map(|login| format!(", logged in as {}", printable(login))).unwrap_or_default();
    match &by.user {
        Some(user) => format!("{} (uid {}{login})", printable(user), by.uid),
        None => format!("uid {}{login}", by.uid),
    }
}

fn client(by: &By) -> String {
    let command = by.command.as_ref().map(|command| format!(" with {}", printable(command))).unwrap_or_default();
    let pid = if by.pid == 0 { String::new() } else { format!(", pid {}", by.pid) };
    let parent = by.parent.as_ref().map(|parent| format!(", from {}", printable(parent))).unwrap_or_default();
    format!("{command}{pid}{parent}")
}

/// How a run ended: `exited with code 3`. What opm did and what others did is told apart.
pub(super) fn ended(exit: &Exit) -> String {
    let signal = exit.signal.as_deref().map(printable);
    let core = if exit.core { " (core dumped)" } else { "" };
    let how = match (&signal, exit.code) {
        (Some(signal), _) => format!(" by {signal}{core}"),
        (None, Some(code)) => format!(" with code {code}"),
        (None, None) => String::new(),
    };
    match exit.cause.as_str() {
        "own_exit" => format!("exited{how}"),
        // Those that a process brings upon itself.
        "signal" if !exit.sent && signal.as_deref().is_some_and(|s| FAULTS.contains(&s)) => {
            format!("crashed with {}{core}", signal.unwrap_or_default())
        }
        "signal" if exit.sent => format!("was ended{how}, sent with 'opm signal'"),
        "signal" => format!("was ended from outside{how}"),
        "stop_order" => format!("ended on order{how}"),
        "deadline" => format!("was killed on order (it did not end within its grace period){core}"),
        "out_of_memory" => format!("was killed by the kernel, out of memory{}", peak(exit)),
        "memory_mark" => {
            let passed = exit
                .memory_mark
                .map(|passed| format!(" of {} with {}", ls::memory(passed.mark_bytes), ls::memory(passed.seen_bytes)));
            format!("passed its memory mark{} and was asked to end", passed.unwrap_or_default())
        }
        "spawn_failed" => format!("could not be started: {}", printable(exit.failure.as_deref().unwrap_or("?"))),
        "not_observed" => "ended while nobody was looking (how is not known)".to_owned(),
        // A newer daemon may know one more cause.
        other => format!("ended{how}: {}", printable(other)),
    }
}

/// ` (64.0M of 64.0M)`.
fn peak(exit: &Exit) -> String {
    let Some(used) = exit.used else { return String::new() };
    match (used.memory_peak_bytes, used.memory_max_bytes) {
        (Some(peak), Some(most)) => format!(" ({} of {})", ls::memory(peak), ls::memory(most)),
        (Some(peak), None) => format!(" (it had no limit of its own, and used {})", ls::memory(peak)),
        (None, Some(most)) => format!(" (of {})", ls::memory(most)),
        (None, None) => String::new(),
    }
}

/// What the kernel did to it at its limits, where that is not how it ended.
pub(super) fn besides(exit: &Exit) -> String {
    let Some(used) = exit.used else { return String::new() };
    let mut told = String::new();
    if used.oom_kills > 0 && exit.cause != "out_of_memory" {
        told.push_str("; the kernel had killed something in it for want of memory");
    }
    if used.pids_refused > 0 {
        let most = used.pids_max.map(|most| format!(" of {most}")).unwrap_or_default();
        told.push_str(&format!(
            "; it was at its limit{most} processes, and refused another {}",
            times(used.pids_refused)
        ));
    }
    told
}

/// `once`, `17 times`.
pub(super) fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

const FAULTS: [&str; 7] = ["SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE", "SIGTRAP", "SIGSYS"];

/// ` after 3m 12s`.
pub(super) fn ran(exit: &Exit) -> String {
    match exit.cause.as_str() {
        "spawn_failed" => String::new(),
        _ if exit.ran_ms < 10_000 => format!(" after {}", time::took(Duration::from_millis(exit.ran_ms))),
        _ => format!(" after {}", time::length(Duration::from_millis(exit.ran_ms))),
    }
}

/// What follows, told from when it ended: `; restarted 1.5 s later`.
fn next(exit: &Exit, ended: &str) -> String {
    let later = exit.next_at.as_deref().and_then(|at| time::between(ended, at));
    match (exit.next.as_str(), later) {
        ("finished", _) => "; it has finished".to_owned(),
        ("errored", Some(later)) => format!("; errored, to be tried again {} later", time::length(later)),
        ("errored", None) => "; errored, and not tried again".to_owned(),
        ("restart", Some(later)) if later > AT_ONCE => format!("; to be restarted {} later", time::took(later)),
        ("restart", _) => "; to be restarted at once".to_owned(),
        ("replaced", _) => "; another takes its place".to_owned(),
        _ => String::new(),
    }
}

/// Nobody waits for this long.
const AT_ONCE: Duration = Duration::from_millis(20);
