//! Starts the daemon when it is absent, the way the machine wants it started.
//!
//! Through systemd where a manager is reachable: the installed unit, else a transient one with a delegated cgroup. As root
//! without systemd: detached. Never forked into a login session's scope: root owns its cgroup, and the daemon would die
//! with the session. One client starts, the others wait at the lock and then find it there.

use super::client::{Client, NoDaemon, lock_is_held};
use super::exit::{Exit, Failure};
use crate::config::{Paths, cause};
use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What a keeper exits with that was ordered to end and to leave its apps running: systemd must not start the next one then. The
/// keeper has the same number; a test holds the two together, since neither room may import the other.
pub const KEPT_APPS: u8 = 76;

/// Starts a daemon unless one appears meanwhile, and connects to it.
pub(super) fn launch(paths: &Paths) -> Result<Client, Failure> {
    let _lock = lock(paths)?;
    match Client::connect(paths) {
        Ok(client) => return Ok(client),
        Err(NoDaemon::Unreachable(failure)) => return Err(failure),
        Err(NoDaemon::Absent) => {}
    }
    if let Some(client) = await_the_last(paths) {
        return Ok(client);
    }
    match manager(paths) {
        Some(manager) => manager.start(paths)?,
        // One that is killed before it has said a word is no reason to give up; one that says why it cannot is.
        None if rustix::process::geteuid().is_root() => match detach(paths)? {
            Detached::Ready => {}
            Detached::Silent => match detach(paths)? {
                Detached::Ready => {}
                Detached::Silent => {
                    let log = paths.daemon_log();
                    return Err(Failure::new(Exit::NoDaemon, "failed to start the daemon: it ended without a word")
                        .hint(format!("{} may say more", log.display())));
                }
            },
        },
        None => {
            return Err(Failure::new(
                Exit::NoDaemon,
                "no daemon runs, and without systemd's user manager only root can start one",
            )
            .hint(
                "log in through systemd, or ask an administrator for 'loginctl enable-linger' with your name; or start it \
                 as root; in a container, see 'opm daemon run --help'",
            ));
        }
    }
    Client::connect(paths).map(Client::of_a_new_daemon).map_err(|nobody| match nobody {
        NoDaemon::Unreachable(failure) => failure,
        NoDaemon::Absent => Failure::new(Exit::NoDaemon, "the daemon was started, but nobody answers at its socket")
            .hint("'systemctl [--user] status opm' or the daemon's log say more"),
    })
}

/// A pair that was killed holds its lock for a moment longer than its socket answers, and a new one would be turned away. Not for
/// ever: whoever holds it then says so itself. Some: another pair serves by now.
fn await_the_last(paths: &Paths) -> Option<Client> {
    let give_up = Instant::now() + LAST_BREATH;
    let mut pause = Duration::from_millis(1);
    // Nothing tells a stranger of a process's end but the lock, which has to be asked.
    while lock_is_held(paths) && Instant::now() < give_up {
        if let Ok(client) = Client::connect(paths) {
            return Some(client);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
    None
}

/// How long a pair may take from its death to its lock.
const LAST_BREATH: Duration = Duration::from_secs(2);

/// Waits until no other client is starting the daemon.
fn lock(paths: &Paths) -> Result<File, Failure> {
    let failed = |what: &str, path: &Path, e: io::Error| {
        let failure = Failure::new(Exit::NoDaemon, format!("failed to {what} {}: {}", path.display(), cause(&e)));
        if paths.system && !rustix::process::geteuid().is_root() {
            failure.hint("no system daemon runs; only root can start it")
        } else {
            failure
        }
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&paths.runtime)
        .map_err(|e| failed("create", &paths.runtime, e))?;
    let path = paths.start_lock();
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(|e| failed("open", &path, e))?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).map_err(|e| failed("lock", &path, e.into()))?;
    Ok(file)
}

/// A systemd manager that can be asked.
pub(super) struct Manager {
    /// The user's own, rather than the system's.
    user: bool,
    /// Where the user's manager is found.
    runtime_dir: Option<PathBuf>,
}

/// The manager that this daemon belongs under, if one is reachable.
pub(super) fn manager(paths: &Paths) -> Option<Manager> {
    if rustix::process::geteuid().is_root() {
        return Path::new("/run/systemd/system").is_dir().then_some(Manager { user: false, runtime_dir: None });
    }
    if paths.system && paths.home.is_none() {
        return None;
    }
    let usual = || PathBuf::from(format!("/run/user/{}", rustix::process::geteuid().as_raw()));
    let dir = std::env::var_os("XDG_RUNTIME_DIR").filter(|d| !d.is_empty()).map_or_else(usual, PathBuf::from);
    dir.join("systemd/private").exists().then_some(Manager { user: true, runtime_dir: Some(dir) })
}

impl Manager {
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.stdin(Stdio::null());
        if self.user {
            command.arg("--user");
        }
        if let Some(dir) = &self.runtime_dir {
            command.env("XDG_RUNTIME_DIR", dir);
        }
        command
    }

    /// Starts the unit and returns when it has said that it is ready, or has failed.
    fn start(&self, paths: &Paths) -> Result<(), Failure> {
        let installed = paths.home.is_none()
            && self
                .command("systemctl")
                .args(["cat", "opm.service"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success());
        if installed {
            let mut command = self.command("systemctl");
            command.args(["start", "opm.service"]);
            return finish(command, "systemctl start opm.service");
        }
        let mut command = self.command("systemd-run");
        command.args(arguments(paths, self.version()));
        command.arg(own_path()?).args(["daemon", "run"]);
        finish(command, "systemd-run")
    }

    /// The version of systemd, as its tools tell it: `systemd 257 (257.9-1)`.
    pub(super) fn version(&self) -> Option<u32> {
        let output = Command::new("systemctl").arg("--version").output().ok()?;
        String::from_utf8_lossy(&output.stdout).split_whitespace().nth(1)?.split(['.', '~', '-']).next()?.parse().ok()
    }

    /// Whether it is stopping that unit just now, for good or to start it again.
    pub(super) fn is_stopping(&self, unit: &str) -> bool {
        let listed = self.command("systemctl").args(["list-jobs", "--no-legend", "--plain", unit]).output();
        // "412 opm.service stop running"
        let is_stop = |line: &str| matches!(line.split_whitespace().nth(2), Some("stop" | "restart"));
        listed.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).lines().any(is_stop))
    }

    /// Has the manager stop a unit, so that it does not start it again.
    pub(super) fn stop(&self, unit: &str) -> Result<(), Failure> {
        let mut command = self.command("systemctl");
        command.args(["stop", unit]);
        finish(command, &format!("systemctl stop {unit}"))
    }
}

/// What `systemd-run` needs to know of a transient unit. The installed unit (packaging) says the same.
fn arguments(paths: &Paths, version: Option<u32>) -> Vec<OsString> {
    let unit = match &paths.home {
        Some(home) => {
            let hash: String =
                Sha256::digest(home.as_os_str().as_bytes()).iter().take(4).map(|b| format!("{b:02x}")).collect();
            format!("opm-{hash}")
        }
        None => "opm".to_owned(),
    };
    let mut arguments: Vec<OsString> = ["--quiet", "--collect", "--service-type=notify"].map(OsString::from).into();
    arguments.push(format!("--unit={unit}").into());
    let mut properties = vec![
        "Delegate=yes".to_owned(),
        "NotifyAccess=main".to_owned(),
        "KillMode=process".to_owned(),
        "Restart=always".to_owned(),
        "StartLimitIntervalSec=0".to_owned(),
        "OOMPolicy=continue".to_owned(),
        "TimeoutStopSec=5min".to_owned(),
        "TasksMax=infinity".to_owned(),
        "LimitNOFILE=1024:524288".to_owned(),
        format!("RestartPreventExitStatus={KEPT_APPS}"),
        format!("SuccessExitStatus={KEPT_APPS}"),
    ];
    // Older ones refuse the whole unit for a property they do not know.
    if version.is_some_and(|version| version >= 254) {
        properties.push("DelegateSubgroup=supervisor".to_owned());
    }
    arguments.extend(properties.into_iter().flat_map(|property| [OsString::from("-p"), property.into()]));
    // The manager's environment is not the caller's, and these say where things live.
    for name in ["OPM_HOME", "OPM_CGROUP", "XDG_STATE_HOME", "XDG_CONFIG_HOME"] {
        let value = match (&paths.home, name) {
            (Some(home), "OPM_HOME") => Some(home.clone().into_os_string()),
            (Some(_) | None, name) => std::env::var_os(name).filter(|v| !v.is_empty()),
        };
        if let Some(value) = value {
            let mut pair = OsString::from(name);
            pair.push("=");
            pair.push(value);
            arguments.extend([OsString::from("-E"), pair]);
        }
    }
    arguments
}

fn finish(mut command: Command, what: &str) -> Result<(), Failure> {
    let failed = |why: String| {
        Failure::new(Exit::NoDaemon, format!("failed to run {what}: {why}"))
            .hint("'systemctl [--user] status opm' and 'journalctl [--user] -u opm' say more")
    };
    let output = command.output().map_err(|e| failed(cause(&e)))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(failed(if said.is_empty() { output.status.to_string() } else { said }))
}

/// What became of a daemon that was started beside us.
enum Detached {
    Ready,
    /// It ended without a word.
    Silent,
}

/// Starts the daemon beside us, as root without systemd. It says one line when it is ready or why it will not be.
fn detach(paths: &Paths) -> Result<Detached, Failure> {
    let failed = |why: String| Failure::new(Exit::NoDaemon, format!("failed to start the daemon: {why}"));
    let mut command = Command::new(own_path()?);
    command.args(["daemon", "run", "--detach"]).current_dir("/");
    if let Some(home) = &paths.home {
        command.env("OPM_HOME", home);
    }
    // Nothing of ours may stay open in it: a pipe to whoever called us would not end as long as the daemon lives.
    command.stdin(Stdio::null()).stderr(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|e| failed(cause(&e)))?;
    let mut line = String::new();
    let mut out = child.stdout.take().map(BufReader::new);
    if let Some(out) = &mut out {
        out.read_line(&mut line).map_err(|e| failed(cause(&e)))?;
    }
    match (line.trim(), line.trim().strip_prefix("error: ")) {
        ("ready", _) => Ok(Detached::Ready),
        (_, Some(why)) => {
            // What to do about it stands below.
            let mut mend = String::new();
            let _ = out.as_mut().map(|out| out.read_to_string(&mut mend));
            let failure = failed(why.to_owned());
            Err(if mend.trim().is_empty() { failure } else { failure.hint(mend.trim()) })
        }
        ("", None) => Ok(Detached::Silent),
        (other, None) => Err(failed(other.to_owned())),
    }
}

fn own_path() -> Result<PathBuf, Failure> {
    std::env::current_exe()
        .map_err(|e| Failure::new(Exit::NoDaemon, format!("failed to find the opm binary: {}", cause(&e))))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn told(paths: &Paths, version: Option<u32>) -> Vec<String> {
        arguments(paths, version).into_iter().map(|word| word.into_string().unwrap()).collect()
    }

    fn paths(home: Option<&str>) -> Paths {
        Paths {
            state: "/s".into(),
            logs: "/l".into(),
            runtime: "/r".into(),
            config: "/c".into(),
            home: home.map(PathBuf::from),
            system: true,
        }
    }

    /// What a unit must say for the laws to hold: a delegated cgroup, only the main process stopped, never given up on, and
    /// not started again after an order to end.
    #[test]
    fn a_transient_unit_says_what_the_installed_one_says() {
        let said = told(&paths(None), Some(249));
        for needed in [
            "--service-type=notify",
            "--unit=opm",
            "Delegate=yes",
            "KillMode=process",
            "Restart=always",
            "StartLimitIntervalSec=0",
            "OOMPolicy=continue",
            "TimeoutStopSec=5min",
            "TasksMax=infinity",
            "RestartPreventExitStatus=76",
        ] {
            assert!(said.iter().any(|word| word == needed), "{needed}");
        }
        assert!(!said.iter().any(|word| word.starts_with("DelegateSubgroup")));
        assert!(told(&paths(None), Some(254)).iter().any(|word| word == "DelegateSubgroup=supervisor"));
        assert!(!told(&paths(None), None).iter().any(|word| word.starts_with("DelegateSubgroup")));
    }

    #[test]
    fn each_home_has_a_unit_of_its_own_and_is_told_its_home() {
        let (one, other) = (told(&paths(Some("/one")), None), told(&paths(Some("/other")), None));
        let unit = |said: &[String]| said.iter().find(|word| word.starts_with("--unit=opm-")).unwrap().clone();
        assert_ne!(unit(&one), unit(&other));
        assert_eq!(unit(&one).len(), "--unit=opm-12345678".len());
        assert!(one.iter().any(|word| word == "OPM_HOME=/one"));
    }
}
