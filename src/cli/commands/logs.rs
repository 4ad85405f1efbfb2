//! `opm logs`: the last lines of apps, then what they write from now on (on a terminal, or when asked to follow).

use super::super::client::select_query;
use super::super::context::{Context, Reader};
use super::super::exit::{Exit, Failure};
use super::super::render::logline::LogScreen;
use crate::api::{LogLine, LogQuery, LogStream};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Of which apps; all when none is named
    #[arg(value_name = "APP")]
    select: Vec<String>,
    /// How many of the last lines to begin with
    #[arg(short = 'n', long, value_name = "N", default_value_t = 15)]
    lines: u64,
    /// Go on with what is written from now on (the default on a terminal)
    #[arg(short, long, overrides_with = "no_follow")]
    follow: bool,
    /// Print what is there and end
    #[arg(long, alias = "nostream", overrides_with = "follow")]
    no_follow: bool,
    /// Only what went to standard error
    #[arg(long, conflicts_with = "out", alias = "errors-only")]
    err: bool,
    /// Only what went to standard output
    #[arg(long)]
    out: bool,
    /// The bytes as they were written, without prefixes
    #[arg(long)]
    raw: bool,
    /// One JSON object for each line
    #[arg(long, conflicts_with = "raw")]
    json: bool,
}

pub(in crate::cli) fn run(args: &Args, context: &Context<'_>) -> Result<(), Failure> {
    let stream = match (args.err, args.out) {
        (true, _) => Some(LogStream::Err),
        (false, true) => Some(LogStream::Out),
        (false, false) => None,
    };
    let follow = args.follow || (context.ui.is_terminal() && !args.no_follow);
    let mut query = LogQuery {
        select: super::joined(&args.select),
        lines: Some(args.lines),
        follow,
        stream,
        ..LogQuery::default()
    };
    let mut screen = LogScreen::new(context.ui.screen().paint, args.raw);
    let mut show = |line: &LogLine| -> Result<(), Failure> {
        if args.json {
            let mut text = serde_json::to_vec(line).map_err(std::io::Error::other)?;
            text.push(b'\n');
            return context.ui.data(text);
        }
        context.ui.data(screen.line(line))
    };
    match context.reader_with_note()? {
        Reader::Saved(saved) => {
            query.follow = false;
            let mut failed = None;
            saved.logs(&query, &mut |line| match show(&line) {
                Ok(()) => true,
                Err(failure) => {
                    failed = Some(failure);
                    false
                }
            })?;
            if let Some(failure) = failed {
                return Err(failure);
            }
        }
        Reader::Daemon(mut client) => loop {
            let mut shown = false;
            let whole = client
                .events(&path(&query, &args.select), |event| {
                    let line: LogLine = serde_json::from_str(event).map_err(|e| {
                        Failure::new(Exit::Failed, format!("failed to understand a line from the daemon: {e}"))
                    })?;
                    shown = true;
                    show(&line).map(|()| true)
                })
                .map_err(|failure| super::suggesting(failure, &mut client, &args.select))?;
            if !follow {
                if whole {
                    break;
                }
                if !shown {
                    // As with any read: asked again. Once something is on the screen, it would stand there twice.
                    continue;
                }
                return Err(Failure::new(Exit::NoDaemon, "the daemon went away before the end of the logs"));
            }
            // The daemon ended or was replaced; the apps and their logs went on. What was written in between is in the files.
            context.ui.note("the daemon went away; waiting for the next one");
            query.lines = Some(0);
        },
    }
    if args.json { Ok(()) } else { context.ui.data(screen.end()) }
}

fn path(query: &LogQuery, select: &[String]) -> String {
    let stream = match query.stream {
        Some(LogStream::Out) => "&stream=out",
        Some(LogStream::Err) => "&stream=err",
        None => "",
    };
    format!("/v1/logs?{}&lines={}&follow={}{stream}", select_query(select), query.lines.unwrap_or(15), query.follow)
}
