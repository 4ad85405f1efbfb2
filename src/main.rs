//! The composition root: picks cli, keeper or daemon, and lets them know each other. Nothing is decided here.

use opm::api::{
    AppEnv, AppInfo, CheckReport, EventLine, EventQuery, Examination, LogLine, LogQuery, Problem, Row, Why,
};
use opm::cli::{AfterStop, Hooks, Offline, RunDaemon};
use opm::config::Paths;
use opm::daemon::offline::{Saved, any_run_lives};
use opm::{daemon, keeper};
use std::process::ExitCode;

/// What the command line needs of the rest of the house.
struct House;

impl Hooks for House {
    fn run_daemon(&self, paths: &Paths, how: &RunDaemon) -> ExitCode {
        if let Some(state) = how.resume {
            return keeper::resume(state);
        }
        keeper::run(&keeper::Options {
            home: paths.home.clone(),
            runtime: paths.runtime.clone(),
            socket: paths.socket(),
            lock: paths.lock(),
            logs: paths.logs.clone(),
            detach: how.detach,
            watchdog: how.watchdog,
            ready_timeout: how.ready_timeout,
        })
    }

    fn serve(&self, paths: &Paths) -> ExitCode {
        // The keeper says what went wrong; it was told.
        if daemon::serve(paths).is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn check(&self, paths: &Paths) -> CheckReport {
        daemon::check(paths)
    }

    fn after_stop(&self, paths: &Paths, what: AfterStop) -> Result<Vec<String>, String> {
        let AfterStop { end_what_is_left, take_controllers_off } = what;
        keeper::after_stop(&paths.runtime, keeper::AfterStop { end_what_is_left, take_controllers_off })
    }

    fn examine(&self, paths: &Paths) -> Examination {
        daemon::examine(paths)
    }

    fn offline(&self, paths: &Paths) -> Result<Box<dyn Offline>, String> {
        Ok(Box::new(Unattended { saved: Saved::load(paths)?, paths: paths.clone() }))
    }
}

/// Reads while no daemon runs.
struct Unattended {
    saved: Saved,
    paths: Paths,
}

impl Offline for Unattended {
    fn any_run_lives(&self) -> Result<bool, String> {
        any_run_lives(&self.paths)
    }
    fn rows(&self, select: &str) -> Result<Vec<Row>, Problem> {
        self.saved.rows(select)
    }
    fn apps(&self, select: &str) -> Result<Vec<AppInfo>, Problem> {
        self.saved.apps(select)
    }
    fn env(&self, select: &str) -> Result<Vec<AppEnv>, Problem> {
        self.saved.env(select)
    }
    fn why(&self, select: &str) -> Result<Vec<Why>, Problem> {
        self.saved.why(select)
    }
    fn events(&self, query: &EventQuery, out: &mut dyn FnMut(EventLine) -> bool) -> Result<(), Problem> {
        self.saved.events(query, out)
    }
    fn logs(&self, query: &LogQuery, out: &mut dyn FnMut(LogLine) -> bool) -> Result<Option<String>, Problem> {
        self.saved.logs(query, out)
    }
}

fn main() -> ExitCode {
    opm::cli::main(std::env::args_os(), &House)
}
