//! One file for each command: what it takes, and what it does. Here is what they share.

pub(super) mod completions;
pub(super) mod daemon;
pub(super) mod delete;
pub(super) mod doctor;
pub(super) mod env;
pub(super) mod events;
pub(super) mod flush;
pub(super) mod info;
pub(super) mod kill;
pub(super) mod limit;
mod limit_flags;
pub(super) mod logs;
pub(super) mod ls;
pub(super) mod pause;
pub(super) mod pid;
pub(super) mod ping;
pub(super) mod reset;
pub(super) mod restart;
pub(super) mod restore;
pub(super) mod resume;
pub(super) mod save;
pub(super) mod signal;
pub(super) mod start;
pub(super) mod startup;
pub(super) mod stop;
pub(super) mod unstartup;
pub(super) mod wait;
pub(super) mod why;

use super::args::Command;
use super::client::Client;
use super::context::Context;
use super::exit::{Exit, Failure};
use super::render::outcome;
use crate::api::{OrderAnswer, Row, TargetRequest};
use crate::config::suggest;
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Runs a command.
pub(super) fn run(command: Command, context: &Context<'_>) -> Result<ExitCode, Failure> {
    match command {
        Command::Start(args) => start::run(*args, context),
        Command::Stop(args) => stop::run(args, context),
        Command::Restart(args) => restart::run(args, context),
        Command::Delete(args) => delete::run(args, context),
        Command::Ls(args) => ls::run(&args, context),
        Command::Info(args) => info::run(&args, context),
        Command::Logs(args) => logs::run(&args, context),
        Command::Flush(args) => flush::run(&args, context),
        Command::ReloadLogs(args) => logs::reopen::run(&args, context),
        Command::Why(args) => why::run(&args, context),
        Command::Events(args) => events::run(&args, context),
        Command::Env(args) => env::run(&args, context),
        Command::Signal(args) => signal::run(args, context),
        Command::Pause(args) => pause::run(args, context),
        Command::Resume(args) => resume::run(args, context),
        Command::Limit(args) => limit::run(args, context),
        Command::Reset(args) => reset::run(args, context),
        Command::Save(args) => save::run(&args, context),
        Command::Restore(args) => restore::run(&args, context),
        Command::Wait(args) => wait::run(args, context),
        Command::Ping(args) => ping::run(&args, context),
        Command::Daemon(args) => return daemon::run(&args, context),
        Command::Kill(args) => kill::run(&args, context),
        Command::Doctor(args) => doctor::run(&args, context),
        Command::Startup(args) => startup::run(&args, context),
        Command::Unstartup(args) => unstartup::run(&args, context),
        Command::Pid(args) => pid::run(&args, context),
        Command::Jlist(args) => ls::run(&args.into(), context),
        Command::Completions(args) => completions::run(&args, context),
        Command::Version => context.ui.data(format!("opm {}\n", env!("CARGO_PKG_VERSION"))),
    }
    .map(|()| ExitCode::SUCCESS)
}

/// Which apps, and how to answer: what most orders take.
#[derive(Debug, clap::Args)]
pub(super) struct Targets {
    /// Names, namespaces, ids, instances (web:0), /regex/, comma lists, or 'all'
    #[arg(required = true, value_name = "APP")]
    select: Vec<String>,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
}

/// An order about apps that exist: sent, awaited, told.
fn order(
    context: &Context<'_>,
    verb: &str,
    request: &TargetRequest,
    json: bool,
    patience: Option<Duration>,
) -> Result<(), Failure> {
    let mut client = context.daemon()?;
    let begun = Instant::now();
    let answer = client
        .order(&format!("/v1/{verb}"), request, patience)
        .map_err(|failure| suggesting(failure, &mut client, &request.select))?;
    tell(context, verb, &answer, begun.elapsed(), json)
}

/// Tells what an order came to, and makes its exit code.
fn tell(context: &Context<'_>, verb: &str, answer: &OrderAnswer, took: Duration, json: bool) -> Result<(), Failure> {
    if json {
        context.ui.json(answer)?;
    } else if answer.outcomes.is_empty() {
        context.ui.news(&format!("no apps to {verb}"));
    } else {
        for line in outcome::lines(verb, &answer.outcomes, took, context.ui.news_paint()) {
            context.ui.news(&line);
        }
    }
    match outcome::exit(answer) {
        Some(exit) => Err(Failure::Told(exit)),
        None => Ok(()),
    }
}

/// The failure, with the nearest name as its hint if nothing matched what was typed.
fn suggesting(failure: Failure, client: &mut Client, select: &[String]) -> Failure {
    if !failure.is_no_such_app() || failure.has_hint() {
        return failure;
    }
    let Ok(rows) = client.get::<Vec<Row>>("/v1/instances?select=all") else { return failure };
    let names: BTreeSet<&str> = rows.iter().flat_map(|row| [row.name.as_str(), row.namespace.as_str()]).collect();
    let words = select.iter().flat_map(|list| list.split(',')).map(|word| word.split(':').next().unwrap_or(word));
    let unknown = words.filter(|word| !names.contains(word) && *word != "all");
    match unknown.filter_map(|word| suggest::nearest(word, names.iter().copied())).next() {
        Some(near) => failure.hint(format!("did you mean '{near}'?")),
        None => failure.hint("'opm ls' shows all apps"),
    }
}

/// Comma lists and several words, as one for a query.
fn joined(select: &[String]) -> String {
    if select.is_empty() { "all".to_owned() } else { select.join(",") }
}

/// The failure of flags that do not go together.
fn usage(message: impl Into<String>) -> Failure {
    Failure::new(Exit::Usage, message)
}
