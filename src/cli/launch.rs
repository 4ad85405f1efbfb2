//! Starts the daemon when it is absent, the way the machine wants it started.
//!
//! Through systemd where a manager is reachable: the installed unit, else one that is gone after a reboot (`service`). As root
//! without systemd: detached. Never forked into a login session's scope: root owns its cgroup, and the daemon would die
//! with the session. One client starts, the others wait at the lock and then find it there.

use super::client::{Client, NoDaemon, lock_is_held};
use super::exit::{Exit, Failure};
use super::service::manager::{Manager, Reach, reach};
use super::service::{linger, runtime, runtime::own_program};
use super::ui;
use crate::config::{Paths, cause, usual_runtime_dir};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What a keeper exits with that was ordered to end and to leave its apps running: systemd must not start the next one then. The
/// keeper has the same number; a test holds the two together, since neither room may import the other.
pub const KEPT_APPS: u8 = 76;

/// Starts a daemon unless one appears meanwhile, and connects to it.
pub(super) fn launch(paths: &Paths) -> Result<Client, Failure> {
    let reach = reach(paths.system && paths.home.is_none());
    if reach == Reach::NotRunning {
        return Err(no_manager());
    }
    if is_of_a_units_own_job() {
        return Err(Failure::new(
            Exit::NoDaemon,
            "no daemon runs, and a job of its unit cannot wait for another job of it",
        )
        .hint("systemd starts the daemon again by itself; 'systemctl [--user] status opm' says more"));
    }
    let _lock = lock(paths)?;
    match Client::connect(paths) {
        Ok(client) => return Ok(client),
        Err(NoDaemon::Unreachable(failure)) => return Err(failure),
        Err(NoDaemon::Absent) => {}
    }
    if let Some(client) = await_the_last(paths) {
        return Ok(client);
    }
    let first = !paths.state.join("index.json").exists();
    match reach {
        Reach::Here(manager) => {
            runtime::start(paths, &manager)?;
            if first {
                say_what_ends_with_the_session(&manager);
            }
        }
        Reach::NoSystemd if rustix::process::geteuid().is_root() => {
            if let Err(failure) = detach_or_again(paths) {
                // A client that was killed while it started one has let go of its place among those that start: then what it started was
                // quicker than ours.
                return await_the_last(paths).ok_or(failure);
            }
        }
        Reach::NoSystemd | Reach::OnlyRoot | Reach::NotRunning => {
            return Err(Failure::new(
                Exit::NoDaemon,
                "no daemon runs, and without systemd's user manager only root can start one",
            )
            .hint("start it as root; in a container, see 'opm daemon run --help'"));
        }
    }
    Client::connect(paths).map(Client::of_a_new_daemon).map_err(|nobody| match nobody {
        NoDaemon::Unreachable(failure) => failure,
        NoDaemon::Absent => nobody_there(paths),
    })
}

/// A shell of `su`, `sudo -u` or cron, on a machine that systemd runs: there is a place to start a daemon only in a session.
fn no_manager() -> Failure {
    let name = linger::own_name().unwrap_or_else(|_| "this user".to_owned());
    Failure::new(
        Exit::NoDaemon,
        format!(
            "no daemon runs, and systemd runs no user manager for {name}, which has no session and does not linger"
        ),
    )
    .hint(format!(
        "'opm startup' asks for one; if it is refused, an administrator runs: {}",
        linger::command_for(&name)
    ))
}

/// It serves, and not where we look for it.
fn nobody_there(paths: &Paths) -> Failure {
    let failure = Failure::new(Exit::NoDaemon, "the daemon was started, but nobody answers at its socket");
    let usual = usual_runtime_dir().join("opm");
    if !paths.system && paths.home.is_none() && paths.runtime != usual {
        return failure.hint(format!(
            "XDG_RUNTIME_DIR leads to {}, and systemd's daemon is at {}: unset it",
            paths.runtime.display(),
            usual.display()
        ));
    }
    failure.hint("'systemctl [--user] status opm' or the daemon's log say more")
}

/// Told once: with the first daemon that somebody ever starts.
fn say_what_ends_with_the_session(manager: &Manager) {
    if manager.is_users() && linger::own_name().is_ok_and(|name| !linger::is_on(&name)) {
        ui::aside("your apps end when you log out; 'opm startup' keeps them, and brings them back after a reboot");
    }
}

/// Whether this is ExecReload= or ExecStopPost= of a unit with Delegate=: systemd runs them in `.control`. To start the unit from
/// there would wait for the very job that waits for us.
fn is_of_a_units_own_job() -> bool {
    std::fs::read_to_string("/proc/self/cgroup")
        .is_ok_and(|text| text.lines().any(|line| line.starts_with("0::") && line.ends_with("/.control")))
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

/// One that is killed before it has said a word is no reason to give up; one that says why it cannot is.
fn detach_or_again(paths: &Paths) -> Result<(), Failure> {
    for _ in 0..2 {
        if let Detached::Ready = detach(paths)? {
            return Ok(());
        }
    }
    Err(Failure::new(Exit::NoDaemon, "failed to start the daemon: it ended without a word")
        .hint(format!("{} may say more", paths.daemon_log().display())))
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
    let mut command = Command::new(own_program()?);
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
    // It has mostly gone on as another process, and where nobody reaps orphans it would be a zombie for ever.
    let _ = child.try_wait();
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
