//! What an order came to: one line for each instance.

use super::{Paint, limited, printable, time};
use crate::api::{OrderAnswer, OutcomeBody, Word};
use crate::cli::exit::Exit;
use std::time::Duration;

/// More outcomes than this are told by kind, for those that went as ordered.
const TOLD_SINGLY: usize = 20;

/// What an order came to, in lines: one for each outcome; with very many, one for each kind of those that went as ordered,
/// so that the one that did not is not lost among a thousand.
pub(in crate::cli) fn lines(verb: &str, outcomes: &[OutcomeBody], took: Duration, paint: Paint) -> Vec<String> {
    // With several, each took a part of the whole that only the daemon knows.
    let single = (outcomes.len() == 1).then_some(took);
    let limited = limited::lines(outcomes, paint);
    let outcomes: Vec<&OutcomeBody> = outcomes.iter().filter(|o| !limited::is_told(o)).collect();
    let plain =
        |o: &&&OutcomeBody| o.message.is_none() && o.saved && groups().iter().any(|(word, ..)| *word == o.result);
    if outcomes.len() <= TOLD_SINGLY {
        return limited.into_iter().chain(outcomes.iter().map(|o| line(verb, o, single, paint))).collect();
    }
    let mut told = limited;
    for (word, before, after) in groups() {
        let all: Vec<_> = outcomes.iter().filter(plain).filter(|o| o.result == word).collect();
        let (Some(first), Some(last)) = (all.first(), all.last()) else { continue };
        let (first, last) = (printable(&first.name), printable(&last.name));
        let names = if first == last { first.to_string() } else { format!("{first} to {last}") };
        let in_time = if before.is_empty() { String::new() } else { format!(" in {}", time::took(took)) };
        let before = if before.is_empty() { String::new() } else { format!("{} ", paint.green(before)) };
        told.push(format!("{before}{} {}{after}{in_time}", all.len(), paint.bold(&format!("({names})"))));
    }
    told.extend(outcomes.iter().filter(|o| !plain(o)).map(|o| line(verb, o, None, paint)));
    told
}

/// The kinds that are told together: what stands before and after their number.
fn groups() -> [(Word, &'static str, &'static str); 11] {
    [
        (Word::Started, "started", ""),
        (Word::Restarted, "restarted", ""),
        (Word::Stopped, "stopped", ""),
        (Word::Deleted, "deleted", ""),
        (Word::Reset, "reset", ""),
        (Word::Signalled, "signalled", ""),
        (Word::Paused, "paused", ""),
        (Word::Resumed, "resumed", ""),
        (Word::AlreadyPaused, "", " are already paused"),
        (Word::AlreadyOnline, "", " are already online"),
        (Word::AlreadyStopped, "", " are already stopped"),
    ]
}

/// The line for one outcome. `verb` is what was ordered (`start`), for what failed at it.
pub(in crate::cli) fn line(verb: &str, outcome: &OutcomeBody, took: Option<Duration>, paint: Paint) -> String {
    let name = printable(&outcome.name);
    let app = paint.bold(&name);
    let mut about = format!("id {}", outcome.id);
    if let Some(instance) = outcome.instance {
        about.push_str(&format!(", {name}:{instance}"));
    }
    if let Some(pid) = outcome.pid {
        about.push_str(&format!(", pid {pid}"));
    }
    let about = format!("({about})");
    let message = outcome.message.as_deref().map(printable);
    let after = message.as_deref().map(|m| format!(": {m}")).unwrap_or_default();
    let in_time = took.map(|took| format!(" in {}", time::took(took))).unwrap_or_default();
    let done = |word: &str| format!("{} {app} {about}{in_time}{after}", paint.green(word));
    let line = match outcome.result {
        Word::Started => done("started"),
        Word::Restarted => done("restarted"),
        Word::Stopped => done("stopped"),
        Word::Deleted => done("deleted"),
        Word::Limited => format!("limits of {app} {} {about}{after}", paint.green("changed")),
        Word::Reset => done("reset"),
        Word::Signalled => format!("{} {app} {about}{after}", paint.green("signalled")),
        Word::Paused => done("paused"),
        Word::Resumed => done("resumed"),
        Word::AlreadyPaused => format!("{app} is already paused {about}{after}"),
        Word::AlreadyOnline => format!("{app} is already online {about}{after}"),
        Word::AlreadyStopped => format!("{app} is already stopped {about}{after}"),
        Word::Added => format!("{} {app} {about}, not started{after}", paint.green("added")),
        Word::Finished => format!("{app} ran to its end {about}{in_time}{after}"),
        Word::Kept => format!("kept {app} {about} as it is: it exists with another spec{after}"),
        Word::Failed => format!("{} to {verb} {app} {about}{after}", paint.red("failed")),
        Word::Pending => format!("{} {app} {about}{after}", paint.yellow("still waiting for")),
        Word::Superseded => format!("{} {app} {about}: a later order took its place", paint.yellow("gave up on")),
    };
    if outcome.saved {
        line
    } else {
        format!("{line}; {}", paint.yellow("not saved: it would not hold after a reboot (the save is tried again)"))
    }
}

/// The exit code of an order: the first of these that any outcome asks for. What happened but is not saved yet has happened.
pub(in crate::cli) fn exit(answer: &OrderAnswer) -> Option<Exit> {
    let of = |outcome: &OutcomeBody| match outcome.result {
        Word::Failed => Some(Exit::Failed),
        Word::Pending | Word::Superseded => Some(Exit::NotReached),
        Word::Started
        | Word::Restarted
        | Word::AlreadyOnline
        | Word::Added
        | Word::Finished
        | Word::Stopped
        | Word::AlreadyStopped
        | Word::Deleted
        | Word::Signalled
        | Word::Paused
        | Word::AlreadyPaused
        | Word::Resumed
        | Word::Limited
        | Word::Reset
        | Word::Kept => None,
    };
    answer.outcomes.iter().filter_map(of).min()
}
