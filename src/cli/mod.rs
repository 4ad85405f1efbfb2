//! What people type and see: arguments, the client, rendering. The only room that prints.
//!
//! Owns no state and decides nothing about apps: it turns arguments into specs and orders, sends them to the daemon, and
//! shows what comes back. It must not spawn, signal or write on the apps' behalf; the one process that it starts is the
//! daemon (`launch`). What only other rooms can do (be the daemon, read state without one) comes in through [`Hooks`].
//!
//! What a reader would get wrong: `main` never exits the process; it returns the code, so that it can be tested.

mod args;
mod client;
mod commands;
mod context;
mod exit;
mod launch;
mod log_stream;
mod render;
mod service;
mod shortcut;
mod sse;
mod ui;
mod when;

pub use launch::KEPT_APPS;

use crate::api::{
    AppEnv, AppInfo, CheckReport, EventLine, EventQuery, Examination, LogLine, LogQuery, Problem, Row, Why,
};
use crate::config::Paths;
use clap::{CommandFactory, Parser};
use context::Context;
use exit::Failure;
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

/// What the rooms that this one may not know do for it. The composition root provides them.
pub trait Hooks {
    /// `opm daemon run`: become keeper and daemon in the foreground.
    fn run_daemon(&self, paths: &Paths, how: &RunDaemon) -> ExitCode;

    /// The hidden `opm daemon serve`: be the daemon. Started by the keeper.
    fn serve(&self, paths: &Paths) -> ExitCode;

    /// The hidden `opm daemon check`: whether this program could take over what is there.
    fn check(&self, paths: &Paths) -> CheckReport;

    /// The hidden `opm daemon after-stop`: what is left to do when a unit's keeper is gone. Answers what was done.
    ///
    /// # Errors
    /// It could not be done; in words.
    fn after_stop(&self, paths: &Paths, what: AfterStop) -> Result<Vec<String>, String>;

    /// What `GET /v1/doctor` answers, as far as it can be known without a daemon.
    fn examine(&self, paths: &Paths) -> Examination;

    /// Reads without a daemon.
    ///
    /// # Errors
    /// The saved state cannot be read; in words.
    fn offline(&self, paths: &Paths) -> Result<Box<dyn Offline>, String>;
}

/// What is left to do when a unit's keeper is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AfterStop {
    /// The apps were ordered to end with it: end what still lives.
    pub end_what_is_left: bool,
    /// This systemd cannot start the next keeper while the unit's cgroup hands controllers down: take them off.
    pub take_controllers_off: bool,
}

/// How the daemon is to run.
#[derive(Debug, Clone)]
pub struct RunDaemon {
    /// Leave the caller's session, and say one line on stdout, `ready` or `error: <why>`, then close it.
    pub detach: bool,
    /// End a daemon that does not answer for so long.
    pub watchdog: Option<Duration>,
    /// How long a newly installed program may take until it serves.
    pub ready_timeout: Duration,
    /// Go on as the keeper whose state is in that descriptor.
    pub resume: Option<i32>,
}

/// What can be read while no daemon runs: the saved apps, as stopped, and their logs.
pub trait Offline {
    /// Whether any run lives without a daemon. Then one is started to look after it.
    ///
    /// # Errors
    /// The kernel could not be asked.
    fn any_run_lives(&self) -> Result<bool, String>;

    /// As `GET /v1/instances`.
    ///
    /// # Errors
    /// As there.
    fn rows(&self, select: &str) -> Result<Vec<Row>, Problem>;

    /// As `GET /v1/apps`.
    ///
    /// # Errors
    /// As there.
    fn apps(&self, select: &str) -> Result<Vec<AppInfo>, Problem>;

    /// As `GET /v1/env`.
    ///
    /// # Errors
    /// As there.
    fn env(&self, select: &str) -> Result<Vec<AppEnv>, Problem>;

    /// As `GET /v1/why`.
    ///
    /// # Errors
    /// As there.
    fn why(&self, select: &str) -> Result<Vec<Why>, Problem>;

    /// As `GET /v1/events`, without following. `out` says whether it wants more.
    ///
    /// # Errors
    /// As there.
    fn events(&self, query: &EventQuery, out: &mut dyn FnMut(EventLine) -> bool) -> Result<(), Problem>;

    /// As `GET /v1/logs`, without following. `out` says whether it wants more. Answers with the note of its `start`.
    ///
    /// # Errors
    /// As there.
    fn logs(&self, query: &LogQuery, out: &mut dyn FnMut(LogLine) -> bool) -> Result<Option<String>, Problem>;
}

/// The command line as clap knows it, for what is made of it when packages are built: man pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    args::Cli::command()
}

/// Runs a command line and returns its exit code.
pub fn main(args: impl Iterator<Item = OsString>, hooks: &dyn Hooks) -> ExitCode {
    let args: Vec<OsString> = args.collect();
    if shortcut::asks_for_version(&args) {
        let _ = std::io::stdout().write_all(shortcut::VERSION.as_bytes());
        return ExitCode::SUCCESS;
    }
    let cli = match shortcut::read(&args).map_or_else(|| args::Cli::try_parse_from(&args), Ok) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version were asked for and go to stdout; a broken pipe there is nobody's loss.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(exit::Exit::Usage as u8) } else { ExitCode::SUCCESS };
        }
    };
    let context = Context::new(hooks, cli.system, cli.color);
    match commands::run(cli.command, &context) {
        Ok(code) => code,
        Err(Failure::PipeClosed) => ExitCode::SUCCESS,
        Err(Failure::Told(exit)) => ExitCode::from(exit as u8),
        Err(Failure::Say(saying)) => {
            context.ui.failure(&saying);
            ExitCode::from(saying.exit as u8)
        }
    }
}
