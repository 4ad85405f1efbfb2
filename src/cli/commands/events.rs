//! `opm events`: what happened, from the journal, then what happens from now on.
//!
//! What a reader would get wrong: following outlives the daemon. The client comes back with the cursor of the last event that it
//! was given, so nothing is missed and nothing comes twice, whichever daemon answers.

use super::super::client::{Ask, Told, encoded, select_query};
use super::super::context::{Context, Reader};
use super::super::exit::{Exit, Failure};
use super::super::render::events;
use super::super::when::when;
use crate::api::{EventLine, EventQuery};
use jiff::Zoned;
use std::time::Duration;

/// So many of the last ones, where it is not said from when on.
const LAST: u64 = 30;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Of which apps; all, and those of the daemon itself, when none is named
    #[arg(value_name = "APP")]
    select: Vec<String>,
    /// Begin with so many of the last ones [default: 30, with --since: all]
    #[arg(short = 'n', long, value_name = "N")]
    lines: Option<u64>,
    /// Go on with what happens from now on
    #[arg(short, long)]
    follow: bool,
    /// From then on: a time, how long ago (10m, 2h), or the cursor of an event, after which to go on
    #[arg(long, value_name = "TIME|DURATION|CURSOR")]
    since: Option<String>,
    /// One JSON object for each event
    #[arg(long)]
    json: bool,
}

pub(in crate::cli) fn run(args: &Args, context: &Context<'_>) -> Result<(), Failure> {
    let since = args.since.as_deref().map(|text| since(text, &Zoned::now())).transpose()?;
    let lines = args.lines.or(since.is_none().then_some(LAST));
    let select = (!args.select.is_empty()).then(|| super::joined(&args.select));
    let mut query = EventQuery { select, since, lines, follow: args.follow };
    let paint = context.ui.screen().paint;
    let show = |line: &EventLine| context.ui.data(events::line(line, paint));
    match context.reader_with_note()? {
        Reader::Saved(saved) => {
            let mut failed = Ok(());
            saved.events(&query, &mut |line| {
                failed = if args.json { as_json(&line).and_then(|text| context.ui.data(text)) } else { show(&line) };
                failed.is_ok()
            })?;
            failed
        }
        Reader::Daemon(mut client) => loop {
            let whole = client
                .events(&Ask::Get(path(&query, &args.select)), |told| {
                    let Told::Event { data: event, .. } = told else { return Ok(true) };
                    // As it came, so that what a newer daemon says gets through to whoever understands it.
                    if args.json {
                        return context.ui.data(format!("{event}\n")).map(|()| true);
                    }
                    let line: EventLine = serde_json::from_str(event).map_err(|e| {
                        Failure::new(Exit::Failed, format!("failed to understand an event from the daemon: {e}"))
                    })?;
                    show(&line).map(|()| true)
                })
                .map_err(|failure| super::suggesting(failure, &mut client, &args.select))?;
            if whole && !args.follow {
                return Ok(());
            }
            if let Some(cursor) = client.last_event() {
                query.since = Some(cursor.to_owned());
                query.lines = None;
            }
            if args.follow {
                context.ui.note("the daemon went away; waiting for the next one");
                // One that ends every stream at once, since it cannot read its journal, is not to be asked without a breath.
                std::thread::sleep(PAUSE);
            }
        },
    }
}

/// Between the end of one stream and the next.
const PAUSE: Duration = Duration::from_millis(200);

fn as_json(line: &EventLine) -> Result<Vec<u8>, Failure> {
    let mut text = serde_json::to_vec(line).map_err(std::io::Error::other)?;
    text.push(b'\n');
    Ok(text)
}

/// A cursor as it is; anything else as a time in UTC. Times without a zone are of this machine's.
fn since(text: &str, now: &Zoned) -> Result<String, Failure> {
    let is_cursor = text.split_once('-').is_some_and(|(number, token)| {
        let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        digits && token.len() == 4 && token.bytes().all(|b| b.is_ascii_hexdigit())
    });
    if is_cursor {
        return Ok(text.to_owned());
    }
    let time = when(text, now);
    time.map(|time| time.to_string()).ok_or_else(|| {
        super::usage(format!("'{}' is no time, duration or cursor", text.escape_debug()))
            .hint("write 10m, '2026-11-21 08:00', today, or a cursor from 'opm events --json'")
    })
}

fn path(query: &EventQuery, select: &[String]) -> String {
    let mut path = format!("/v1/events?follow={}", query.follow);
    if query.select.is_some() {
        path.push_str(&format!("&{}", select_query(select)));
    }
    if let Some(since) = &query.since {
        path.push_str(&format!("&since={}", encoded(since)));
    }
    if let Some(lines) = query.lines {
        path.push_str(&format!("&lines={lines}"));
    }
    path
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_cursor_a_time_or_how_long_ago() {
        let now: Zoned = "2026-11-21T12:00:00+00:00[+00:00]".parse().unwrap();
        for (text, meant) in [
            ("17-0a3f", "17-0a3f"),
            ("10m", "2026-11-21T11:50:00Z"),
            ("2026-11-21T02:13:00+01:00", "2026-11-21T01:13:00Z"),
        ] {
            assert_eq!(since(text, &now).ok().as_deref(), Some(meant));
        }
        for text in ["", "tomorrow", "17-", "-0a3f"] {
            assert!(since(text, &now).is_err(), "{text}");
        }
    }
}
