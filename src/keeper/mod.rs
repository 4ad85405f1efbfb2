//! The keeper: the tiny process above the daemon. Parent, subreaper and reaper of every run; it starts the daemon, starts it
//! again when it dies, and keeps for it what must outlive it: log pipes, exit records, the API's socket, the lock.
//!
//! Single-threaded, parses nothing that users wrote, decides nothing about apps. What a reader would get wrong: an exit is
//! *recorded before it is reaped*. Reap first, and a death between the two loses the exit code for ever (tried: 23 of 16,000).

mod after_stop;
mod binary;
mod daemon;
mod exits;
pub mod protocol;
mod renew;
mod saying;
mod startup;
mod state;
mod succession;
mod watchdog;

use crate::kernel::{clone, memory};
use daemon::Daemon;
use exits::Exits;
use libsystemd::daemon::NotifyState;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use protocol::{Reload, STATE_FORMAT, ToKeeper};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use saying::Out;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use watchdog::{Due, Watchdog};

pub use after_stop::{AfterStop, after_stop};
pub use startup::{Options, resume, run};

/// The exit code that says "by order, apps left running": the units tell systemd not to start us again after it.
pub const KEPT_APPS: u8 = 76;

/// The exit code that says "by order, and not by that of the service manager": nor then.
pub const ENDED: u8 = 77;

/// The delay before the first daemon that follows one that died before it was ready; doubles up to the other.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(10);

/// What a daemon may need for its last writes, once its apps are gone.
const LAST_WRITES: Duration = Duration::from_secs(10);

/// A daemon that has served for so long is not one that dies of its own start.
const PROVEN_AFTER: Duration = Duration::from_secs(2);

/// The keeper at work.
struct Keeper {
    start: startup::Start,
    signals: SignalFd,
    exits: Exits,
    held: BTreeMap<u64, [OwnedFd; 2]>,
    daemon: Option<Daemon>,
    outbox: VecDeque<Out>,
    /// Somebody may have ended whom we have not looked at. Looking costs a step for each child, so only when we were told (SIGCHLD).
    somebody_ended: bool,
    /// A zombie that is recorded and waits for its record to be said.
    unreaped: Option<u32>,
    /// When the next daemon is started, while none lives.
    next_start: Option<Instant>,
    delay: Duration,
    was_ever_ready: bool,
    terminate: bool,
    bye: Option<bool>,
    /// How the daemon before this one ended.
    before: Option<String>,
    /// The last order to let the installed program take over.
    reload: Option<Reload>,
    /// The daemon that is there is on its way out to that end.
    reloading: bool,
    /// It is not known yet how that order came out.
    reload_is_open: bool,
    /// The daemon is another program than we are.
    outdated: bool,
    /// How many daemons in a row became ready and died soon after.
    short_lives: u32,
    /// Not even the first daemon could be made.
    hopeless: bool,
    watchdog: Option<Watchdog>,
}

impl Keeper {
    fn new(start: startup::Start, signals: SignalFd, watchdog: Option<Watchdog>) -> Self {
        let exits = Exits::new(start.root.clone());
        Self {
            start,
            signals,
            exits,
            held: BTreeMap::new(),
            daemon: None,
            outbox: VecDeque::new(),
            somebody_ended: true,
            unreaped: None,
            next_start: Some(Instant::now()),
            delay: Duration::ZERO,
            was_ever_ready: false,
            terminate: false,
            bye: None,
            before: None,
            reload: None,
            reloading: false,
            reload_is_open: false,
            outdated: false,
            short_lives: 0,
            hopeless: false,
            watchdog,
        }
    }

    /// Until the daemon has ended by order.
    fn work(&mut self) -> ExitCode {
        loop {
            let now = Instant::now();
            if self.daemon.is_none() && self.next_start.is_some_and(|at| at <= now) {
                self.start_daemon();
            }
            if self.hopeless {
                self.start.clean_up();
                return ExitCode::FAILURE;
            }
            self.keep_time(now);
            // With nothing on its way to the daemon and no zombie in hand, all that we know is in the state; but for the last words of
            // a daemon that is on its way out, which nobody says again. The next one asks anew, if there is one.
            let is_new = self.daemon.as_ref().is_none_or(Daemon::is_new);
            if self.outdated
                && !is_new
                && !self.is_on_its_way_out()
                && self.outbox.is_empty()
                && self.unreaped.is_none()
            {
                self.outdated = false;
                if let Some(why) = self.renew() {
                    self.start.complain(&why);
                }
            }
            self.wait();
            self.hear();
            self.notice_signals();
            if let Some(code) = self.reap() {
                return code;
            }
            self.say();
        }
    }

    /// Ends a daemon that does not get ready, or hangs where somebody asked us to look.
    fn keep_time(&mut self, now: Instant) {
        if let Some(daemon) = self.daemon.as_mut().filter(|d| d.deadline.is_some_and(|at| at <= now)) {
            daemon.deadline = None;
            daemon.why = Some(format!("it was not there in {:?}", self.start.ready_timeout));
            daemon.signal(Signal::SIGKILL);
        }
        // One that is on its way out has nobody left to answer, and a disk to wait for.
        let answers = !self.is_on_its_way_out();
        if let Some(daemon) = self.daemon.as_mut().filter(|d| d.proven_at.is_some_and(|at| at <= now)) {
            daemon.proven_at = None;
            self.start.binaries.became_ready(&daemon.binary);
            self.delay = Duration::ZERO;
            self.short_lives = 0;
            self.reload_is_open = false;
        }
        let Some(watchdog) = &mut self.watchdog else { return };
        let serving = self.daemon.as_mut().filter(|d| d.ready && answers);
        match watchdog.due(now, serving.is_some()) {
            Due::Nothing => {}
            Due::Tick { ask } => {
                // Says nothing where there is no NOTIFY_SOCKET.
                let _ = libsystemd::daemon::notify(false, &[NotifyState::Watchdog]);
                if ask {
                    self.outbox.push_back(Out::Ping);
                    self.say();
                }
            }
            Due::Hung => {
                if let Some(daemon) = serving {
                    daemon.why = Some(format!("it did not answer for {:?} and was taken for hung", watchdog.period));
                    // The only signal that ends one that is stopped.
                    daemon.signal(Signal::SIGKILL);
                }
            }
        }
    }

    /// Whether the daemon that is there has said that it ends.
    fn is_on_its_way_out(&self) -> bool {
        self.bye.is_some() || self.reloading
    }

    fn wait(&self) {
        let deadline = self.daemon.as_ref().and_then(|daemon| daemon.deadline);
        let proven = self.daemon.as_ref().and_then(|daemon| daemon.proven_at);
        let next = [self.next_start, deadline, proven, self.watchdog.as_ref().map(Watchdog::next)];
        let timeout = next.into_iter().flatten().min().map(|at| {
            let left = at.saturating_duration_since(Instant::now());
            Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) }
        });
        let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN)];
        if let Some(daemon) = &self.daemon {
            let writes = if self.outbox.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
            fds.push(PollFd::new(&daemon.control, PollFlags::IN | writes));
        }
        // An interruption is as good as an event: everything is looked at anew.
        let _ = poll(&mut fds, timeout.as_ref());
    }

    /// Everything the daemon has said so far. Called before a death is handled, so that what a daemon said with its last
    /// breath (the pipes of a run that it was about to make) is not lost.
    fn hear(&mut self) {
        loop {
            let Some(daemon) = &self.daemon else { return };
            let Ok(received) = crate::kernel::passing::receive(&daemon.control) else { return };
            if received.bytes.is_empty() {
                return;
            }
            let fds = received.fds;
            match ToKeeper::decode(&received.bytes) {
                Some(ToKeeper::Hold(run)) => match <[OwnedFd; 2]>::try_from(fds) {
                    Ok(pair) => drop(self.held.insert(run, pair)),
                    // Out of descriptors: the run goes on, but what it writes while no daemon lives has no other keeper.
                    Err(_) => self.start.complain(&format!("the log pipes of run {run} could not be kept")),
                },
                Some(ToKeeper::Drop(run)) => drop(self.held.remove(&run)),
                Some(ToKeeper::Main(run, pid)) => self.exits.register(run, pid),
                Some(ToKeeper::Ack(run)) => self.exits.acknowledge(run),
                Some(ToKeeper::Ready) => self.became_ready(),
                Some(ToKeeper::Failed(why)) => self.daemon_failed(why),
                Some(ToKeeper::Bye(keep_apps)) => self.bye = Some(keep_apps),
                Some(ToKeeper::Reload(reload)) => self.begin_reload(reload),
                Some(ToKeeper::Renew(format)) => self.outdated = format >= STATE_FORMAT,
                Some(ToKeeper::Stopping(within)) => self.ask_for_time(Duration::from_millis(within)),
                Some(ToKeeper::Alive) => {
                    if let Some(watchdog) = &mut self.watchdog {
                        watchdog.answered();
                    }
                }
                None => self.start.complain("the daemon said something unintelligible"),
            }
        }
    }

    /// Apps that have longer grace periods than the unit's TimeoutStopSec= get them (EXTEND_TIMEOUT_USEC=, sd_notify(3)): systemd
    /// never takes it for less than it had in mind.
    fn ask_for_time(&self, within: Duration) {
        let micros = (within + LAST_WRITES).as_micros();
        let more = NotifyState::Other(format!("EXTEND_TIMEOUT_USEC={micros}"));
        let _ = libsystemd::daemon::notify(false, &[NotifyState::Stopping, more]);
    }

    fn daemon_failed(&mut self, why: String) {
        self.start.complain(&why);
        if let Some(daemon) = &mut self.daemon {
            daemon.why = Some(why);
        }
    }

    fn became_ready(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            daemon.ready = true;
            daemon.deadline = None;
            daemon.proven_at = Some(Instant::now() + PROVEN_AFTER);
            // With none to go back to, this one is as good as any.
            if !daemon.trial {
                self.start.binaries.became_ready(&daemon.binary);
            }
        }
        if !self.was_ever_ready {
            self.was_ever_ready = true;
            self.start.announce();
        }
        if self.terminate {
            self.pass_on();
        }
        // Most of what it took to get here is not needed for waiting.
        memory::give_back();
    }

    fn notice_signals(&mut self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            if info.ssi_signo == Signal::SIGCHLD as u32 {
                self.somebody_ended = true;
            } else {
                self.terminate = true;
                self.pass_on();
            }
        }
    }

    /// "End" goes to the daemon, which stops the apps; one that is not ready yet hears it when it is.
    fn pass_on(&self) {
        if let Some(daemon) = self.daemon.as_ref().filter(|d| d.ready) {
            daemon.signal(Signal::SIGTERM);
        }
    }

    /// Everybody who has ended. Some code: we are done too.
    fn reap(&mut self) -> Option<ExitCode> {
        while self.reap_recorded() && self.somebody_ended {
            let Ok(Some(ended)) = clone::next_ended(true) else {
                self.somebody_ended = false;
                break;
            };
            if self.daemon.as_ref().is_some_and(|d| d.pid == ended.pid) {
                self.hear();
                let _ = clone::reap(ended.pid);
                if let Some(code) = self.daemon_ended(ended.wait) {
                    return Some(code);
                }
                continue;
            }
            if let Some(run) = self.exits.record(ended) {
                self.outbox.push_back(Out::Exit(run));
            }
            self.unreaped = Some(ended.pid);
        }
        None
    }

    /// Reaps the one that is recorded, once its record is said: whoever sees a process gone finds its record on its way already.
    /// False: there is no room. Then it and all after it stay zombies until the daemon has listened or died. Reaped, they would
    /// be gone before their records are heard, and a kernel before 6.15 tells nobody else how they ended.
    fn reap_recorded(&mut self) -> bool {
        let Some(pid) = self.unreaped else { return true };
        self.say();
        if self.daemon.is_some() && !self.outbox.is_empty() {
            return false;
        }
        let _ = clone::reap(pid);
        self.unreaped = None;
        true
    }
}

/// Blocks the signals that the keeper reads, and the descriptor to read them from.
fn signals() -> io::Result<SignalFd> {
    clone::hear_of_children();
    let mut set = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        set.add(signal);
    }
    set.thread_block()?;
    Ok(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}
