//! `opm logs`: the last lines of apps, then what they write from now on (on a terminal, or when asked to follow).
//!
//! What a reader would get wrong: a stream that breaks is gone on with by the next daemon, from the place where the last whole
//! line ended in each log. So each line is shown once, follower or not, whatever happened to the daemon meanwhile.

pub(in crate::cli) mod reopen;

use super::super::client::Told;
use super::super::context::{Context, Reader};
use super::super::exit::{Exit, Failure};
use super::super::log_stream::{Line, Position};
use super::super::render::logline::{Drawing, LogScreen, TimeFormat};
use super::super::render::printable;
use super::super::when::{EXAMPLES, when};
use crate::api::{LogQuery, LogStart, LogStream};
use jiff::{Timestamp, Zoned, tz::TimeZone};
use regex_lite::Regex;
use std::time::Duration;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub(in crate::cli) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Of which apps; all when none is named. Those just deleted can be named, too
    #[arg(value_name = "APP")]
    select: Vec<String>,
    /// How many of the last lines to begin with [default: 15, with --since, --run or --previous: all]
    #[arg(short = 'n', long, value_name = "N")]
    lines: Option<u64>,
    /// Go on with what is written from now on (the default on a terminal, unless an end is known)
    #[arg(short, long, overrides_with = "no_follow")]
    follow: bool,
    /// Print what is there and end
    #[arg(long, alias = "nostream", overrides_with = "follow")]
    no_follow: bool,
    /// From then on: 10m (ago), 2026-11-21, '2026-11-21 08:00', 08:00, today, yesterday, boot
    #[arg(short = 'S', long, value_name = "TIME")]
    since: Option<String>,
    /// What was written before then
    #[arg(short = 'U', long, value_name = "TIME")]
    until: Option<String>,
    /// Only lines in which this regular expression finds something; (?i) before it for any case
    #[arg(short, long, value_name = "REGEX")]
    grep: Option<String>,
    /// Only those in which it does not
    #[arg(short = 'v', long, requires = "grep")]
    invert: bool,
    /// Only what went to standard error
    #[arg(long, conflicts_with = "out", alias = "errors-only")]
    err: bool,
    /// Only what went to standard output
    #[arg(long)]
    out: bool,
    /// Only what that run wrote ('opm why' and 'opm events' name runs)
    #[arg(long, value_name = "N", conflicts_with = "previous")]
    run: Option<u64>,
    /// Only what the run before the last one wrote
    #[arg(short, long)]
    previous: bool,
    /// When each line was written; as strftime(3) has it [default: %F %T%.3f]
    #[arg(
        short,
        long,
        alias = "timestamp",
        value_name = "FORMAT",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "%F %T%.3f"
    )]
    timestamps: Option<String>,
    /// The bytes as they were written, without prefixes
    #[arg(long, conflicts_with = "timestamps")]
    raw: bool,
    /// One JSON object for each line
    #[arg(long, conflicts_with_all = ["raw", "timestamps"])]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Have the daemon open log files anew, after another program moved them away
    Reopen(reopen::Args),
}

/// Between the end of one stream and the next: one that ends at once is not to be asked without a breath.
const PAUSE: Duration = Duration::from_millis(200);

pub(in crate::cli) fn run(args: &Args, context: &Context<'_>) -> Result<(), Failure> {
    if let Some(Command::Reopen(args)) = &args.command {
        return reopen::run(args, context);
    }
    let mut query = query(args, context)?;
    let mut screen = Screen::new(args, context)?;
    let picks = query.grep.is_some() || query.run.is_some() || query.previous || query.since.is_some();
    match context.reader_with_note()? {
        Reader::Saved(saved) => {
            query.follow = false;
            let mut failed = Ok(());
            let note = saved.logs(&query, &mut |line| {
                failed = screen.owned(&line);
                failed.is_ok()
            })?;
            failed?;
            if let Some(note) = note {
                screen.note(&note)?;
            }
        }
        Reader::Daemon(mut client) => {
            let (follow, until) = (query.follow, query.until.clone());
            // Whether nothing more can come, and the end of a stream is that of the logs.
            let over = || !follow || until.as_ref().is_some_and(|until| passed(until));
            let mut position = Position::new(query);
            let mut noted = None;
            loop {
                let whole = client
                    .events(&position.ask()?, |told| {
                        match told {
                            Told::Event { name: "start", data } => {
                                let start: LogStart = serde_json::from_str(data).map_err(|e| not_understood(&e))?;
                                if start.note.is_some() && start.note != noted {
                                    noted.clone_from(&start.note);
                                    screen.note(noted.as_deref().unwrap_or_default())?;
                                }
                                position.begin(start);
                            }
                            Told::Event { name: "", data } => {
                                let line: Line<'_> = serde_json::from_str(data).map_err(|e| not_understood(&e))?;
                                screen.line(&line, data)?;
                                position.advance(&line);
                            }
                            // Of a newer daemon.
                            Told::Event { .. } => {}
                            Told::Pause => screen.print()?,
                        }
                        Ok(true)
                    })
                    .map_err(|failure| super::suggesting(failure, &mut client, &args.select))?;
                if whole && over() {
                    break;
                }
                // The daemon ended or was replaced; the apps and their logs went on. What was written in between is in the files.
                screen.note("the daemon went away; waiting for the next one")?;
                std::thread::sleep(PAUSE);
            }
        }
    }
    if !screen.told && picks {
        screen.note("no line is like that")?;
    }
    screen.end()
}

fn query(args: &Args, context: &Context<'_>) -> Result<LogQuery, Failure> {
    let now = Zoned::now();
    let moment = |flag: &str, text: &Option<String>| -> Result<Option<Timestamp>, Failure> {
        let Some(text) = text else { return Ok(None) };
        let unknown = || super::usage(format!("--{flag} '{}' is no time", text.escape_debug())).hint(EXAMPLES);
        when(text, &now).map(Some).ok_or_else(unknown)
    };
    let (since, until) = (moment("since", &args.since)?, moment("until", &args.until)?);
    if let (Some(since), Some(until)) = (since, until)
        && since >= until
    {
        return Err(super::usage(format!("--since {since} is not before --until {until}")));
    }
    let has_end = until.is_some() || args.run.is_some() || args.previous;
    let stream = match (args.err, args.out) {
        (true, _) => Some(LogStream::Err),
        (false, true) => Some(LogStream::Out),
        (false, false) => None,
    };
    Ok(LogQuery {
        select: super::joined(&args.select),
        lines: args.lines,
        follow: args.follow || (context.ui.is_terminal() && !args.no_follow && !has_end),
        stream,
        since: since.map(|time| time.to_string()),
        until: until.map(|time| time.to_string()),
        grep: args.grep.clone(),
        invert: args.invert,
        run: args.run,
        previous: args.previous,
    })
}

fn passed(time: &str) -> bool {
    time.parse::<Timestamp>().is_ok_and(|time| time <= Timestamp::now())
}

fn not_understood(error: &serde_json::Error) -> Failure {
    Failure::new(Exit::Failed, format!("failed to understand a line from the daemon: {error}"))
        .hint("the daemon may be of another version; compare 'opm version' with 'opm daemon status'")
}

/// Where lines are printed, so many at once as come at once.
struct Screen<'a> {
    context: &'a Context<'a>,
    drawn: LogScreen,
    json: bool,
    /// Something was told.
    told: bool,
    waiting: Vec<u8>,
}

/// More is not kept back.
const FULL: usize = 64 << 10;

impl<'a> Screen<'a> {
    fn new(args: &Args, context: &'a Context<'a>) -> Result<Self, Failure> {
        let regex = args
            .grep
            .as_deref()
            .map(|text| Regex::new(text).map_err(|e| super::usage(format!("--grep '{}': {e}", text.escape_debug()))));
        let time = args.timestamps.as_deref().map(|format| {
            TimeFormat::new(format, TimeZone::system())
                .map_err(|e| super::usage(format!("--timestamps '{}': {e}", format.escape_debug())))
        });
        let how = Drawing {
            paint: context.ui.screen().paint,
            raw: args.raw,
            time: time.transpose()?,
            highlight: regex.transpose()?.filter(|_| !args.invert),
        };
        Ok(Self { context, drawn: LogScreen::new(how), json: args.json, told: false, waiting: Vec::new() })
    }

    /// `data`: the same as it came, so that what a newer daemon says gets through to whoever understands it.
    fn line(&mut self, line: &Line<'_>, data: &str) -> Result<(), Failure> {
        self.told = true;
        if self.json {
            self.waiting.extend_from_slice(data.as_bytes());
            self.waiting.push(b'\n');
        } else {
            if let Some(note) = self.drawn.aside(line) {
                self.note(&note)?;
            }
            self.drawn.line(line, &mut self.waiting);
        }
        if self.waiting.len() >= FULL { self.print() } else { Ok(()) }
    }

    fn owned(&mut self, line: &crate::api::LogLine) -> Result<(), Failure> {
        let data = if self.json { serde_json::to_string(line).map_err(std::io::Error::other)? } else { String::new() };
        self.line(&Line::from(line), &data)
    }

    /// On stderr, behind what was told before it.
    fn note(&mut self, note: &str) -> Result<(), Failure> {
        self.print()?;
        self.context.ui.note(&printable(note));
        Ok(())
    }

    fn print(&mut self) -> Result<(), Failure> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.context.ui.data(&self.waiting)?;
        self.waiting.clear();
        Ok(())
    }

    fn end(mut self) -> Result<(), Failure> {
        if !self.json {
            self.waiting.extend_from_slice(self.drawn.end());
        }
        self.print()
    }
}
