//! What every command has at hand: the screen, the places, and the way to a daemon or around it.
//!
//! Orders start a daemon if there is none. Reads start one only if some run lives; else they read what is saved and say so.

use super::Hooks;
use super::Offline;
use super::client::{Client, NoDaemon};
use super::exit::{Exit, Failure};
use super::launch::launch;
use super::ui::{Color, Ui};
use crate::config::{Paths, Place, command};

pub(super) struct Context<'a> {
    pub(super) ui: Ui,
    pub(super) hooks: &'a dyn Hooks,
    system: bool,
}

/// Who answers a read.
pub(super) enum Reader {
    Daemon(Box<Client>),
    /// Nobody, and nothing lives.
    Saved(Box<dyn Offline>),
}

impl<'a> Context<'a> {
    pub(super) fn new(hooks: &'a dyn Hooks, system: bool, color: Color) -> Self {
        Self { ui: Ui::new(color), hooks, system }
    }

    pub(super) fn paths(&self) -> Result<Paths, Failure> {
        Paths::find(self.system).map_err(|why| Failure::new(Exit::NoDaemon, why))
    }

    /// Where the caller stands.
    pub(super) fn place(&self) -> Result<Place, Failure> {
        Ok(Place { cwd: command::logical_cwd(std::env::var_os("PWD"))?, path: std::env::var_os("PATH") })
    }

    /// The daemon, started if need be.
    pub(super) fn daemon(&self) -> Result<Client, Failure> {
        let paths = self.paths()?;
        match Client::connect(&paths) {
            Ok(client) => Ok(client),
            Err(NoDaemon::Unreachable(failure)) => Err(failure),
            Err(NoDaemon::Absent) => launch(&paths),
        }
        .map(|client| client.starting_with(launch))
    }

    /// The daemon, if one runs or some run lives that needs one; else what is saved.
    pub(super) fn reader(&self) -> Result<Reader, Failure> {
        let paths = self.paths()?;
        match Client::connect(&paths) {
            Ok(client) => return Ok(Reader::Daemon(Box::new(client))),
            Err(NoDaemon::Unreachable(failure)) => return Err(failure),
            Err(NoDaemon::Absent) => {}
        }
        let saved = self.hooks.offline(&paths).map_err(|why| Failure::new(Exit::NoDaemon, why))?;
        if saved.any_run_lives().map_err(|why| Failure::new(Exit::NoDaemon, why))? {
            return launch(&paths).map(|client| Reader::Daemon(Box::new(client)));
        }
        Ok(Reader::Saved(saved))
    }

    /// A reader, with a note for people where the answer will come from what is saved.
    pub(super) fn reader_with_note(&self) -> Result<Reader, Failure> {
        let reader = self.reader()?;
        if let Reader::Saved(_) = reader {
            self.ui.note("no daemon runs; this is what is saved ('opm daemon start' starts one)");
        }
        Ok(reader)
    }

    /// The daemon, if one runs or some run lives; else the failure that says that none does.
    pub(super) fn living_daemon(&self) -> Result<Box<Client>, Failure> {
        match self.reader()? {
            Reader::Daemon(client) => Ok(client),
            Reader::Saved(_) => {
                Err(Failure::new(Exit::NoDaemon, "no daemon runs")
                    .hint("'opm daemon start' starts one, as does any order"))
            }
        }
    }
}
