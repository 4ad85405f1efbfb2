//! Reads without a daemon: the saved apps, shown as stopped, by the same code that answers when one runs.
//!
//! Starts nothing and writes nothing. What a reader would get wrong: this is only right while no run lives, so whoever asks
//! must look first ([`any_run_lives`]).

use super::clock_text;
use super::events;
use super::journal::Journal;
use super::logs::reading::{Begin, Reading, Wanted};
use super::reads::{self, Memory, Meter};
use super::resolve;
use super::store;
use super::why;
use crate::api::{AppEnv, AppInfo, EventLine, EventQuery, LogLine, LogQuery, Problem, ProblemKind, Row, Why};
use crate::config::Paths;
use crate::kernel::{cgroup, clock};
use crate::model::RunId;
use crate::supervise::{Beginning, Supervisor};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Whether anything lives in the cgroups of the daemon with these places. The last keeper left word where to look; the
/// kernel says what is there.
///
/// # Errors
/// The cgroup tree cannot be read: nobody knows.
pub fn any_run_lives(paths: &Paths) -> Result<bool, String> {
    let hint = paths.runtime.join("cgroup-root");
    let Ok(root) = std::fs::read(&hint) else { return Ok(false) };
    let root = PathBuf::from(std::ffi::OsString::from_vec(root));
    let runs = cgroup::runs_in(&root).map_err(|e| format!("failed to list {}: {e}", root.display()))?;
    Ok(runs.into_iter().any(|run| cgroup::run_is_populated(&root, run)))
}

/// The saved apps, as a daemon that starts now would see them.
pub struct Saved {
    core: Supervisor,
    paths: Paths,
}

impl Saved {
    /// Reads what is saved. Where nothing ever was, nothing is made.
    ///
    /// # Errors
    /// In words.
    pub fn load(paths: &Paths) -> Result<Self, String> {
        let boot = clock::boot_id().map_err(|e| format!("failed to read the boot id: {e}"))?;
        let (apps, next_id, past) = if paths.state.join("index.json").exists() {
            let store = store::load(&paths.state, &boot)?;
            let (_, journal) = Journal::load(&paths.state.join("events"), &boot);
            (store.apps, store.next_id, journal.past)
        } else {
            (vec![], crate::model::AppId(0), vec![])
        };
        let core = Supervisor::new(Beginning { boot, seed: 0, apps, next_id, past, next_run: RunId(1) });
        Ok(Self { core, paths: paths.clone() })
    }

    /// Rows, as `GET /v1/instances`.
    ///
    /// # Errors
    /// A selector that matches nothing.
    pub fn rows(&self, select: &str) -> Result<Vec<Row>, Problem> {
        let clocks = clock_text::now();
        let sketches = reads::sketch(&self.core, Path::new("/"), select, clocks)?;
        Ok(Meter::default().finish(sketches, Memory::Controller, clocks.moment).0)
    }

    /// Details, as `GET /v1/apps`.
    ///
    /// # Errors
    /// A selector that matches nothing.
    pub fn apps(&self, select: &str) -> Result<Vec<AppInfo>, Problem> {
        let clocks = clock_text::now();
        let infos = reads::info_sketches(&self.core, Path::new("/"), select, clocks)?;
        Ok(reads::finish_info(infos, &Meter::default(), &self.paths, clocks.moment))
    }

    /// Environments, as `GET /v1/env`.
    ///
    /// # Errors
    /// A selector that matches nothing.
    pub fn env(&self, select: &str) -> Result<Vec<AppEnv>, Problem> {
        Ok(reads::environments(reads::chosen(&self.core, select)?))
    }

    /// How things came to be as they are, as `GET /v1/why`.
    ///
    /// # Errors
    /// A selector that matches nothing, or a journal that cannot be read.
    pub fn why(&self, select: &str) -> Result<Vec<Why>, Problem> {
        let look = why::look(&self.core, Path::new("/"), select)?;
        why::answer(look, &self.paths.state.join("events"), &Meter::default())
    }

    /// Events that are in the journal, as `GET /v1/events` without following. `out` says whether to go on.
    ///
    /// # Errors
    /// A selector that matches nothing, or a journal that cannot be read.
    pub fn events(&self, query: &EventQuery, out: &mut dyn FnMut(EventLine) -> bool) -> Result<(), Problem> {
        let failed = |message| Problem { kind: ProblemKind::Internal, message, hint: None, differences: vec![] };
        let journal = self.paths.state.join("events");
        let mut reading = events::begin(&self.core.apps().collect::<Vec<_>>(), &journal, query)?;
        loop {
            let end = reading.read().map_err(failed)?;
            if !reading.tell(end).into_iter().all(&mut *out) || end {
                return Ok(());
            }
        }
    }

    /// Log lines that are there, as `GET /v1/logs` without following. `out` says whether to go on. Answers with what there is to
    /// know about them.
    ///
    /// # Errors
    /// A selector that matches nothing, or a query that is wrong.
    pub fn logs(&self, query: &LogQuery, out: &mut dyn FnMut(LogLine) -> bool) -> Result<Option<String>, Problem> {
        let wanted = Wanted::new(query).map_err(|e| resolve::bad_request(e, None))?;
        let choice = reads::logs_of(&self.core, &query.select)?.find(&self.paths, Wanted::stream(query))?;
        let (mut reading, start) = Reading::begin(choice, wanted, Begin::Asked(query), false, Box::new(|| true));
        while reading.next().is_some_and(&mut *out) {}
        Ok(start.note)
    }
}
