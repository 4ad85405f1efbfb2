//! Becoming the keeper: cgroup, lock, socket; and starting a daemon with all of it passed on.
//!
//! Owns what is done once, and the words said to whoever started us. What a reader would get wrong: the API's socket listens
//! before there is a daemon, so a client that connects early waits in the backlog and is answered, not refused.

use super::binary::{Binaries, Binary};
use super::protocol::passed::{PASSED, Passed};
use super::protocol::{OLDEST, VERSION};
use super::watchdog::Watchdog;
use super::{Keeper, signals};
use crate::kernel::own_log::{self, Level};
use crate::kernel::{mount, process, rlimit, root, subtree};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// How the daemon's allocator is set (mallopt(3)); other C libraries pass by.
const TUNABLES: &str = "glibc.malloc.arena_max=1:glibc.malloc.trim_threshold=524288:glibc.malloc.top_pad=131072";

/// What the keeper needs to know.
#[derive(Debug, Clone)]
pub struct Options {
    /// `OPM_HOME`, if set.
    pub home: Option<PathBuf>,
    /// Directory of socket and lock.
    pub runtime: PathBuf,
    /// The API's socket.
    pub socket: PathBuf,
    /// The lock.
    pub lock: PathBuf,
    /// Directory of logs; a detached pair's own words go there.
    pub logs: PathBuf,
    /// Leave the terminal and session of whoever started us.
    pub detach: bool,
    /// A daemon that does not answer for so long is hung, and ended. None: what systemd asks for, if it does.
    pub watchdog: Option<Duration>,
    /// How long an installed program may take until it serves, before the last that served is started again.
    pub ready_timeout: Duration,
}

/// What stays open for as long as the keeper lives.
pub(super) struct Start {
    pub(super) root: PathBuf,
    /// The cgroup that we were started in.
    pub(super) came_from: PathBuf,
    pub(super) binaries: Binaries,
    pub(super) socket: PathBuf,
    pub(super) listener: UnixListener,
    pub(super) lock: OwnedFd,
    /// The limit on descriptors that apps get; our own is higher.
    pub(super) soft_descriptors: u64,
    pub(super) detach: bool,
    pub(super) ready_timeout: Duration,
    pub(super) announced: bool,
}

/// Becomes the keeper and works until ordered to end.
#[must_use]
pub fn run(options: &Options) -> ExitCode {
    match become_keeper(options) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some((start, signals))) => {
            let watchdog = options.watchdog.or_else(Watchdog::asked_by_systemd);
            Keeper::new(start, signals, watchdog.map(|period| Watchdog::new(period, Instant::now()))).work()
        }
        Err(e) => {
            say_error(options.detach, &e);
            ExitCode::FAILURE
        }
    }
}

/// Goes on as the keeper that this process was under another program. `state`: the descriptor of what it knew.
#[must_use]
pub fn resume(state: i32) -> ExitCode {
    process::set_own_name(c"opm");
    match Keeper::resume(state) {
        Ok(mut keeper) => keeper.work(),
        Err(e) => {
            say_error(false, &e);
            ExitCode::FAILURE
        }
    }
}

/// None: a copy of this process goes on.
fn become_keeper(options: &Options) -> Result<Option<(Start, nix::sys::signalfd::SignalFd)>, String> {
    if options.detach {
        // Fails only for a group leader, and then nothing is attached to leave.
        let _ = rustix::process::setsid();
    }
    for (what, path) in [("runtime", &options.runtime), ("log", &options.logs)] {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|e| format!("failed to make the {what} directory {}: {e}", path.display()))?;
    }
    // The lock first: whoever does not have it must touch nothing.
    let lock = take_lock(&options.lock)?;
    if options.detach {
        own_log::redirect(&options.logs).map_err(|e| format!("failed to open the daemon's log: {e}"))?;
        let _ = std::env::set_current_dir("/");
        leave_the_callers_oom_score();
    }
    // Two for each instance are kept here. Without room the pipes would be dropped, and no daemon could be started any more.
    let (soft_descriptors, _) = rlimit::raise_descriptors();
    let program = own_program().map_err(|e| format!("failed to find the own program: {e}"))?;
    // Where a client that finds no daemon looks for runs, and the next keeper too. A place to look, not a fact about any run.
    let hint = options.runtime.join("cgroup-root");
    let last = fs::read(&hint).ok().map(|path| PathBuf::from(std::ffi::OsString::from_vec(path)));
    let root = root::find(options.home.as_deref(), last.as_deref())?;
    let came_from = mount::cgroup2_mount()
        .and_then(|mount| mount::own_cgroup().map(|own| mount::below(&mount, &own)))
        .map_err(|e| format!("failed to find the own cgroup: {e}"))?;
    // Nobody knows a detached keeper by its pid yet; but the end of a container's first process is the container's.
    let may_be_another = options.detach && std::process::id() != 1;
    if subtree::enter(&root, may_be_another)? == subtree::Keeper::Elsewhere {
        return Ok(None);
    }
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|e| format!("failed to become a subreaper: {e}"))?;
    write_private(&hint, root.as_os_str().as_encoded_bytes())
        .map_err(|e| format!("failed to write {}: {e}", hint.display()))?;
    let listener =
        bind(&options.socket).map_err(|e| format!("failed to listen on {}: {e}", options.socket.display()))?;
    let signals = signals().map_err(|e| format!("failed to set up signals: {e}"))?;
    let socket = options.socket.clone();
    let detach = options.detach;
    let start = Start {
        root,
        came_from,
        binaries: Binaries::new(program, None),
        socket,
        listener,
        lock,
        soft_descriptors,
        detach,
        ready_timeout: options.ready_timeout,
        announced: false,
    };
    Ok(Some((start, signals)))
}

/// Whoever types may be marked as the first to go for want of memory (a container, a desktop's terminal); what they start here
/// outlives them. Without the right to lower it, it stays: then it is the container's. Under a unit it is the unit's to say.
fn leave_the_callers_oom_score() {
    const FILE: &str = "/proc/self/oom_score_adj";
    if fs::read_to_string(FILE).is_ok_and(|score| score.trim().parse::<i32>().is_ok_and(|score| score > 0)) {
        let _ = fs::write(FILE, "0");
    }
}

/// The installed program, by the path that an upgrade replaces: not `/proc/self/exe`, which goes on naming the old file.
fn own_program() -> io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    let text = path.to_string_lossy();
    Ok(text.strip_suffix(" (deleted)").map_or_else(|| path.clone(), PathBuf::from))
}

fn take_lock(path: &Path) -> Result<OwnedFd, String> {
    let lock =
        open(path, OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::from_raw_mode(0o600))
            .map_err(|e| format!("failed to open the lock {}: {e}", path.display()))?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| format!("another opm daemon holds {}; there is one for each home", path.display()))?;
    Ok(lock)
}

/// Binds and listens. A socket file that is there belongs to a dead pair: we hold the lock.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let _ = fs::remove_file(path);
    // A path in sockaddr_un holds 107 bytes; a longer one is reached through its directory's descriptor.
    let directory = fs::File::open(path.parent().unwrap_or(Path::new("/")))?;
    let short =
        PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(path.file_name().unwrap_or_default());
    let listener = UnixListener::bind(short)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    // The standard library asks for a backlog of 128; a thousand clients may come at once.
    rustix::net::listen(&listener, 4096)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    fs::File::from(open(path, flags, Mode::from_raw_mode(0o600))?).write_all(bytes)
}

/// To whoever started us: on the pipe that they gave us, or on standard error.
fn say_error(detached: bool, message: &str) {
    if detached {
        let _ = writeln!(io::stdout(), "error: {message}");
    }
    own_log::say("keeper", Level::Error, message);
}

impl Start {
    /// Starts a daemon, and says its pid and our end of its control socket; the other end, listener and lock are left open for it.
    pub(super) fn daemon(&self, binary: &Binary) -> io::Result<(u32, OwnedFd)> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let passed = [theirs.as_fd(), self.listener.as_fd(), self.lock.as_fd()];
        // We have one thread, so nobody else can exec between these two.
        for fd in passed {
            fcntl_setfd(fd, FdFlags::empty())?;
        }
        let keeper_pid = std::process::id();
        let child = Command::new(binary.path())
            .arg0(&self.binaries.path)
            .args(["daemon", "serve"])
            .env(
                PASSED,
                Passed {
                    version: VERSION,
                    oldest: OLDEST,
                    control: passed[0].as_raw_fd(),
                    listener: passed[1].as_raw_fd(),
                    lock: passed[2].as_raw_fd(),
                    keeper_pid,
                    keeper_start: process::start_time(keeper_pid).unwrap_or(0),
                    soft_descriptors: self.soft_descriptors,
                    program: self.binaries.path.clone(),
                }
                .encode(),
            )
            // One arena, trimmed late: an arena for each of its few threads cost the daemon a fifth of its memory with 1,000 apps,
            // and giving the top of the heap back between any two spawns cost five system calls each. Apps do not see this.
            .env("GLIBC_TUNABLES", TUNABLES)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        for fd in passed {
            fcntl_setfd(fd, FdFlags::CLOEXEC)?;
        }
        Ok((child?.id(), ours))
    }

    /// The first daemon is ready: tell whoever waits for it.
    pub(super) fn announce(&mut self) {
        self.announced = true;
        if self.detach {
            let _ = writeln!(io::stdout(), "ready");
            // They wait for the end of the pipe as well.
            if let Ok(null) = open("/dev/null", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()) {
                let _ = rustix::stdio::dup2_stdout(&null);
            }
        }
        // Says nothing where there is no NOTIFY_SOCKET.
        let _ = libsystemd::daemon::notify(false, &[libsystemd::daemon::NotifyState::Ready]);
    }

    /// Something is wrong: to whoever started us while they still listen, and to the log.
    pub(super) fn complain(&self, message: &str) {
        say_error(self.detach && !self.announced, message);
    }

    /// Takes away what would mislead clients.
    pub(super) fn clean_up(&self) {
        subtree::leave(&self.root, &self.came_from);
        let _ = fs::remove_file(&self.socket);
    }
}
