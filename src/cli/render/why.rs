//! `opm why`, for somebody who was woken at three: first the answer in one sentence, then how it came about, then what to do.

use super::text::Style;
use super::{Screen, events, ls, printable, time};
use crate::api::{Because, ExitAt, Happening, OrderAt, Why};

mod story;

/// Everything about one instance.
pub(in crate::cli) fn block(why: &Why, screen: &Screen) -> String {
    let paint = screen.paint;
    let name = who(why);
    let style = ls::state_style(&why.state);
    let state = paint.styled(if why.state == "deleted" { Style::Dim } else { style }, &printable(&why.state));
    let is = if why.state == "backoff" { "is in" } else { "is" };
    let mut out = format!("{} {is} {state}{}\n", paint.bold(&name), answer(why, screen));
    section(&mut out, screen, "what happened", story::lines(why, screen));
    section(&mut out, screen, "now", now(why));
    section(&mut out, screen, "what next", next(why, screen));
    section(&mut out, screen, "to look further", hints(why));
    out
}

fn who(why: &Why) -> String {
    let name = printable(&why.name);
    why.instance.map_or_else(|| name.to_string(), |instance| format!("{name}:{instance}"))
}

fn section(out: &mut String, screen: &Screen, title: &str, lines: Vec<String>) {
    if lines.is_empty() {
        return;
    }
    out.push_str(&format!("\n  {}\n", screen.paint.dim(title)));
    lines.iter().for_each(|line| out.push_str(&format!("    {line}\n")));
}

/// Why it is in its state, after `web:0 is errored`.
fn answer(why: &Why, screen: &Screen) -> String {
    let detail = why.row.as_ref().and_then(|row| row.detail.as_deref()).map(printable);
    let since = why.row.as_ref().and_then(|row| row.since.as_deref());
    let ago = |at: &str| time::ago(at, screen.now);
    let by_order = || why.order.as_ref().map(|order| order_words(order, screen));
    let exited = || why.exit.as_ref().map(|exit| exit_words(why, exit));
    match why.state.as_str() {
        "online" => {
            let since = since.map(|at| format!(" for {}", time::since(at, screen.now))).unwrap_or_default();
            let restarts = why.row.as_ref().map_or(0, |row| row.restarts);
            let often = if restarts > 1 { format!(", restart {restarts} since it was ordered") } else { String::new() };
            format!("{since}: {}{often}", started(why, screen))
        }
        "starting" => format!(": its program is not executed yet; {}", started(why, screen)),
        "stopping" => {
            let cause = match (by_order(), detail) {
                (Some(order), Some(detail)) => format!("{order} ({detail})"),
                (Some(order), None) => order,
                (None, Some(detail)) => detail.into_owned(),
                (None, None) => "its run is on its way down".to_owned(),
            };
            let killed = why.kill_at.as_deref().map(|at| format!("; killed in {}", time::until(at, screen.now)));
            format!(": {cause}{}", killed.unwrap_or_default())
        }
        "stopped" => match (detail.as_deref(), by_order(), &why.exit) {
            (Some("finished"), _, Some(exit)) => {
                format!(": it finished ({}, {})", exit_words(why, exit), ago(&exit.at))
            }
            (_, Some(order), _) => format!(": {order}"),
            (_, None, None) if why.started.is_none() => ": it was never started".to_owned(),
            (_, None, Some(exit)) => format!(": it {}, {}", exit_words(why, exit), ago(&exit.at)),
            (_, None, None) => ": how its last run ended is not known".to_owned(),
        },
        "backoff" => {
            let failures = why.exit.as_ref().map_or(0, |exit| exit.exit.failures);
            let often = if failures > 1 { format!(", failure {failures} in a row") } else { String::new() };
            format!(": it {}{often}{}", exited().unwrap_or_else(|| "failed".to_owned()), attempt(why, screen))
        }
        "errored" => {
            let (often, last) = (why.failures.count, exited().unwrap_or_else(|| "failed".to_owned()));
            let window = why.failures.window_seconds;
            let cause = match (often, why.failures.alike) {
                (0 | 1, _) => format!("it {last}"),
                (_, true) => format!("it {last}, {often} times in {window} s"),
                (_, false) => format!("it failed {often} times in {window} s, and {last} the last time"),
            };
            format!(": {cause}{}", attempt(why, screen))
        }
        "paused" => format!(": {}", by_order().unwrap_or_else(|| "frozen by order".to_owned())),
        "unknown" => ": processes live in its cgroup, and nothing says which is the main one".to_owned(),
        "deleted" => format!(": {}", by_order().unwrap_or_else(|| "the journal knows only its name".to_owned())),
        // A newer daemon may have a word more.
        _ => String::new(),
    }
}

/// `root (uid 0) ordered 'stop' 3m ago`.
fn order_words(order: &OrderAt, screen: &Screen) -> String {
    let ago = time::ago(&order.at, screen.now);
    let verb = events::verb(&order.order);
    match &order.order.by {
        Some(by) => format!("{} ordered '{verb}' {ago}", events::user(by)),
        None if verb == "shutdown" => format!("the daemon was ended by a signal {ago}"),
        None => format!("'{verb}' was ordered {ago}"),
    }
}

/// How a run ended, and who sent the signal, where it was sent with `opm signal`.
fn exit_words(why: &Why, exit: &ExitAt) -> String {
    let words = format!("{}{}", events::ended(&exit.exit), events::besides(&exit.exit));
    let order = exit.exit.sent.then(|| sent_by(why, exit)).flatten();
    match order.and_then(|order| order.by.as_ref()) {
        Some(by) => format!("{words} by {}", events::user(by)),
        None => words,
    }
}

/// The order that sent the signal a run ended by, if it stands in its story.
fn sent_by<'a>(why: &'a Why, exit: &ExitAt) -> Option<&'a crate::api::OrderBody> {
    let end = why.story.iter().position(|e| matches!(&e.what, Happening::Exited { run, .. } if *run == exit.run))?;
    let before = why.story.get(..end)?.iter().rev();
    let of_this_run = before.take_while(|e| !matches!(&e.what, Happening::Exited { .. }));
    of_this_run.into_iter().find_map(|e| match &e.what {
        Happening::Ordered(order) if order.verb == "signal" && order.signal == exit.exit.signal => Some(order),
        _ => None,
    })
}

/// What the live run was started by.
fn started(why: &Why, screen: &Screen) -> String {
    let Some(started) = &why.started else { return "the journal no longer says what started it".to_owned() };
    match &started.because {
        Because::Order { order } => order_words(order, screen),
        Because::Restart { after } if after.exit.cause == "memory_mark" => {
            let ago = time::ago(&after.at, screen.now);
            let passed = after.exit.memory_mark.map_or_else(String::new, |passed| {
                format!(" of {} ({})", ls::memory(passed.mark_bytes), ls::memory(passed.seen_bytes))
            });
            format!("restarted {ago}, since its memory passed the mark{passed}")
        }
        Because::Restart { after } => {
            format!(
                "started again by its policy after it {} {}",
                exit_words(why, after),
                time::ago(&after.at, screen.now)
            )
        }
        Because::Retry { after } => format!("tried again after it {}", exit_words(why, after)),
        Because::Daemon { daemon_at } => {
            format!("started by the daemon after its own start {}", time::ago(daemon_at, screen.now))
        }
        Because::Unknown => "the journal no longer says what started it".to_owned(),
    }
}

fn attempt(why: &Why, screen: &Screen) -> String {
    match why.row.as_ref().and_then(|row| row.next_attempt.as_deref()) {
        Some(at) => format!("; next attempt in {}", time::until(at, screen.now)),
        None => "; it is not tried again by itself".to_owned(),
    }
}

/// What the kernel says.
fn now(why: &Why) -> Vec<String> {
    let Some(now) = &why.now else { return vec![] };
    let main = why.row.as_ref().and_then(|row| row.pid);
    let mut lines = Vec::new();
    for process in &now.processes {
        let name = process.command.as_deref().map_or("?".into(), printable);
        let role = if Some(process.pid) == main { ", the main process" } else { "" };
        lines.push(format!("pid {} {name}{role}", process.pid));
    }
    let more = (now.count as usize).saturating_sub(now.processes.len());
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    let of = |most: Option<String>| most.map(|most| format!(" of {most}")).unwrap_or_default();
    lines.extend(
        now.memory_bytes.map(|m| format!("memory {}{}", ls::memory(m), of(now.memory_max_bytes.map(ls::memory)))),
    );
    lines.extend(now.pids.map(|n| format!("processes and threads {n}{}", of(now.pids_max.map(|n| n.to_string())))));
    lines.extend(
        // It counts more than it kills, so the number would be wrong.
        now.oom_kills.filter(|n| *n > 0).map(|_| "the kernel has killed something in it for want of memory".to_owned()),
    );
    lines.extend(now.pids_refused.filter(|n| *n > 0).map(|n| {
        format!(
            "it was refused another process {}, at its limit{}",
            events::times(n),
            of(now.pids_max.map(|n| n.to_string()))
        )
    }));
    lines
}

fn next(why: &Why, screen: &Screen) -> Vec<String> {
    let Some(policy) = &why.policy else { return vec![] };
    let due = why.row.as_ref().and_then(|row| row.next_attempt.as_deref());
    let due = due.map(|at| time::until(at, screen.now));
    let name = printable(&why.name);
    let line = match (why.state.as_str(), due) {
        ("backoff", Some(due)) => {
            format!(
                "started again in {due}; {} failures in {} s make it errored",
                policy.max_restarts, why.failures.window_seconds
            )
        }
        ("errored", Some(due)) => format!("one attempt in {due}; 'opm restart {name}' makes one now"),
        ("errored", None) => {
            format!("nothing by itself (restart = {}); 'opm restart {name}' starts it", printable(&policy.restart))
        }
        ("stopping", _) if why.kill_at.is_some() => {
            "what is left by then is killed, with everything it started".to_owned()
        }
        ("stopped", _) if why.row.as_ref().is_some_and(|row| row.desired == "down") => {
            format!("nothing by itself; 'opm start {name}' starts it")
        }
        ("stopped", _) if why.row.as_ref().is_some_and(|row| row.detail.as_deref() == Some("finished")) => {
            format!("nothing by itself (restart = {}); 'opm start {name}' runs it again", printable(&policy.restart))
        }
        ("stopped", _) => "it is wanted up: the next daemon starts it ('opm daemon start')".to_owned(),
        ("paused", _) => format!("nothing by itself; 'opm resume {name}' lets it go on"),
        ("unknown", _) => format!("nothing is started beside them; 'opm stop {name}' ends them"),
        _ => return vec![],
    };
    vec![line]
}

fn hints(why: &Why) -> Vec<String> {
    let name = printable(&why.name);
    if why.state == "deleted" {
        return vec![];
    }
    let mut hints = vec![format!("opm logs {name} --err")];
    if why.cut {
        hints.push(format!("opm events {name} -n 1000"));
    }
    if why.exit.as_ref().is_some_and(|exit| exit.exit.core) {
        hints.push("coredumpctl list".to_owned());
    }
    hints
}

#[cfg(test)]
mod tests;
