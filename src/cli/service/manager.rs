//! The systemd manager that is responsible for whoever asks: the system's for root, their own for others.
//!
//! Owns finding it and running its tools. It must not decide what to run. What a reader would get wrong: `XDG_RUNTIME_DIR` may be
//! missing (`su`, `sudo -u`, cron) or somebody else's (`su` from root's shell), while the manager is there all the same.

use super::state::State;
use crate::cli::exit::{Exit, Failure};
use crate::config::{Paths, cause, runtime_dir};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

/// What there is to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) enum Reach {
    /// One that answers.
    Here(Manager),
    /// systemd runs the machine, and none runs for this user.
    NotRunning,
    /// Another user's affair: the system's daemon, asked about by somebody who is not root.
    OnlyRoot,
    /// systemd does not run this machine.
    NoSystemd,
}

/// A systemd manager that can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Manager {
    /// Where the user's own is found; none: the system's.
    pub(super) runtime_dir: Option<PathBuf>,
}

/// The manager that a daemon with these places belongs under.
pub(in crate::cli) fn reach(system: bool) -> Reach {
    let systemd = Path::new("/run/systemd/system").is_dir();
    if rustix::process::geteuid().is_root() {
        return if systemd { Reach::Here(Manager { runtime_dir: None }) } else { Reach::NoSystemd };
    }
    if system {
        return Reach::OnlyRoot;
    }
    match runtime_dir().filter(|dir| dir.join("systemd/private").exists()) {
        Some(dir) => Reach::Here(Manager { runtime_dir: Some(dir) }),
        None if systemd => Reach::NotRunning,
        None => Reach::NoSystemd,
    }
}

/// The manager of the daemon with these places, if it can be asked.
pub(in crate::cli) fn of(paths: &Paths) -> Option<Manager> {
    match reach(paths.system && paths.home.is_none()) {
        Reach::Here(manager) => Some(manager),
        Reach::NotRunning | Reach::OnlyRoot | Reach::NoSystemd => None,
    }
}

impl Manager {
    /// The user's own, rather than the system's.
    pub(in crate::cli) fn is_users(&self) -> bool {
        self.runtime_dir.is_some()
    }

    /// `systemctl` or `systemctl --user`, as people would type it.
    pub(in crate::cli) fn systemctl(&self) -> &'static str {
        if self.is_users() { "systemctl --user" } else { "systemctl" }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("systemctl");
        // For tools that are read by us rather than by people.
        command.stdin(Stdio::null()).env("LC_ALL", "C").env("SYSTEMD_COLORS", "0");
        if let Some(dir) = &self.runtime_dir {
            command.arg("--user").env("XDG_RUNTIME_DIR", dir);
        }
        command.args(arguments);
        command
    }

    /// Runs `systemctl`, and says what it said.
    ///
    /// # Errors
    /// In its own words.
    pub(in crate::cli) fn run(&self, arguments: &[&str]) -> Result<String, String> {
        said(self.command(arguments))
    }

    /// How the unit stands.
    ///
    /// # Errors
    /// The manager does not answer.
    pub(in crate::cli) fn show(&self, unit: &str) -> Result<State, String> {
        let properties = State::PROPERTIES.join(",");
        self.run(&["show", unit, "-p", &properties]).map(|text| State::parse(&text))
    }

    /// Reads unit files anew.
    ///
    /// # Errors
    /// In systemctl's words.
    pub(super) fn reload(&self) -> Result<(), String> {
        self.run(&["daemon-reload"]).map(drop)
    }

    /// Starts the unit and returns when it has said that it is ready, or has failed.
    pub(in crate::cli) fn start(&self, unit: &str) -> Result<(), Failure> {
        self.order("start", unit)
    }

    /// Whether it is stopping that unit just now, for good or to start it again.
    pub(in crate::cli) fn is_stopping(&self, unit: &str) -> bool {
        // "412 opm.service stop running"
        let is_stop = |line: &str| matches!(line.split_whitespace().nth(2), Some("stop" | "restart"));
        self.run(&["list-jobs", "--no-legend", "--plain", unit]).is_ok_and(|jobs| jobs.lines().any(is_stop))
    }

    /// Has the manager stop a unit, so that it does not start it again.
    pub(in crate::cli) fn stop(&self, unit: &str) -> Result<(), Failure> {
        self.order("stop", unit)
    }

    fn order(&self, verb: &str, unit: &str) -> Result<(), Failure> {
        let (systemctl, journalctl) =
            (self.systemctl(), if self.is_users() { "journalctl --user" } else { "journalctl" });
        let begun = SystemTime::now();
        self.run(&[verb, unit]).map(drop).map_err(|why| {
            // systemctl says that it failed; what failed, it does not know.
            let why = self.last_words(unit, begun).unwrap_or(why);
            Failure::new(Exit::NoDaemon, format!("failed to run {systemctl} {verb} {unit}: {why}"))
                .hint(format!("'{systemctl} status {unit}' and '{journalctl} -u {unit}' say more"))
        })
    }

    /// What the unit's own process had to complain of since then, if the journal lets us read it.
    fn last_words(&self, unit: &str, since: SystemTime) -> Option<String> {
        let since = since.duration_since(UNIX_EPOCH).ok()?.as_secs();
        let mut command = Command::new("journalctl");
        if let Some(dir) = &self.runtime_dir {
            command.arg("--user").env("XDG_RUNTIME_DIR", dir);
        }
        command.args(["-q", "--no-pager", "-o", "cat", "-p", "err", "-u", unit, "--since", &format!("@{since}")]);
        complaint(&said(command).ok()?, unit)
    }
}

/// The first line of a journal that is not systemd's own about the unit: what comes after it follows from it.
fn complaint(journal: &str, unit: &str) -> Option<String> {
    let systemd = |line: &str| line.starts_with(unit) || line.starts_with("Failed to start ");
    journal.lines().map(str::trim).find(|line| !line.is_empty() && !systemd(line)).map(str::to_owned)
}

/// The version of the systemd that manages: after an upgrade a user's manager is still the one before, until their last logout,
/// whatever the tools on the disk are by then. Theirs only where it does not tell.
pub(in crate::cli) fn version(manager: Option<&Manager>) -> Option<u32> {
    let told = |manager: &Manager| number(&manager.run(&["show", "-p", "Version", "--value"]).ok()?);
    manager.and_then(told).or_else(|| {
        let mut command = Command::new("systemctl");
        command.arg("--version");
        // "systemd 257 (257.9-1)"
        number(said(command).ok()?.split_whitespace().nth(1)?)
    })
}

/// Of `257.9-1~deb13u1`, `v257`, `252.39-1` or `258~rc1`.
fn number(version: &str) -> Option<u32> {
    let version = version.trim();
    let version = version.strip_prefix('v').unwrap_or(version);
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Runs a tool to its end: what it printed, or why it failed, in one line.
pub(in crate::cli) fn said(mut command: Command) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|e| format!("{program}: {}", cause(&e)))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    Err(if said.is_empty() { output.status.to_string() } else { said.join("; ") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_as_distributions_write_it() {
        for (text, is) in
            [("257.9-1~deb13u1\n", Some(257)), ("v254", Some(254)), ("252.39-1", Some(252)), ("258~rc1", Some(258))]
        {
            assert_eq!(number(text), is, "{text}");
        }
        assert_eq!((number(""), number("unknown")), (None, None));
    }

    #[test]
    fn what_opm_complained_of_is_told_and_not_that_systemd_noticed() {
        let journal = "failed to make /x: permission denied\nthe daemon ended before it was ready\nopm.service: Failed with result 'exit-code'.\n\
            Failed to start opm.service - opm process supervisor.\n";
        assert_eq!(complaint(journal, "opm.service").as_deref(), Some("failed to make /x: permission denied"));
        assert_eq!(complaint("opm.service: Failed with result 'timeout'.\n", "opm.service"), None);
    }
}
