//! The keeper: the tiny process above the daemon. Parent, subreaper and reaper of every run; it starts the daemon, starts it
//! again when it dies, and keeps for it what must outlive it: log pipes, exit records, the API's socket, the lock.
//!
//! Single-threaded, parses nothing that users wrote, decides nothing about apps. What a reader would get wrong: an exit is
//! *recorded before it is reaped*. Reap first, and a death between the two loses the exit code for ever (tried: 23 of 16,000).

mod exits;
pub mod protocol;
mod startup;

use crate::kernel::clone;
use exits::Exits;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use protocol::{ToDaemon, ToKeeper};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::process::{Child, ExitCode};
use std::time::{Duration, Instant};

pub use startup::{Options, run};

/// The exit code that says "by order, apps left running": the units tell systemd not to start us again after it.
pub const KEPT_APPS: u8 = 76;

/// The delay before the first daemon that follows one that died before it was ready; doubles up to the other.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(10);

/// Something to be said to the daemon, as soon as there is room.
enum Out {
    Held(u64),
    Exit(u64),
    End,
}

/// The daemon that lives now.
struct Daemon {
    child: Child,
    control: OwnedFd,
    ready: bool,
}

/// The keeper at work.
struct Keeper {
    start: startup::Start,
    signals: SignalFd,
    exits: Exits,
    held: BTreeMap<u64, [OwnedFd; 2]>,
    daemon: Option<Daemon>,
    outbox: VecDeque<Out>,
    /// A zombie that is recorded and waits for its record to be said.
    unreaped: Option<u32>,
    /// When the next daemon is started, while none lives.
    next_start: Option<Instant>,
    delay: Duration,
    was_ever_ready: bool,
    terminate: bool,
    bye: Option<bool>,
}

impl Keeper {
    fn new(start: startup::Start, signals: SignalFd) -> Self {
        let exits = Exits::new(start.root.clone());
        Self {
            start,
            signals,
            exits,
            held: BTreeMap::new(),
            daemon: None,
            outbox: VecDeque::new(),
            unreaped: None,
            next_start: Some(Instant::now()),
            delay: Duration::ZERO,
            was_ever_ready: false,
            terminate: false,
            bye: None,
        }
    }

    /// Until the daemon has ended by order.
    fn work(&mut self) -> ExitCode {
        loop {
            if self.daemon.is_none() && self.next_start.is_some_and(|at| at <= Instant::now()) {
                self.start_daemon();
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

    fn start_daemon(&mut self) {
        self.next_start = None;
        match self.start.daemon() {
            Ok((child, control)) => {
                self.daemon = Some(Daemon { child, control, ready: false });
                // Everything kept, then everything that happened, then "that was all".
                self.outbox = self.held.keys().map(|run| Out::Held(*run)).collect();
                self.outbox.extend(self.exits.unacknowledged().map(Out::Exit));
                self.outbox.push_back(Out::End);
                self.say();
            }
            Err(e) => {
                self.start.complain(&format!("failed to start the daemon: {e}"));
                self.schedule();
            }
        }
    }

    /// Back off for a daemon that never got ready; at once for one that did.
    fn schedule(&mut self) {
        self.next_start = Some(Instant::now() + self.delay);
        self.delay = (self.delay * 2).clamp(FIRST_DELAY, LONGEST_DELAY);
    }

    fn wait(&self) {
        let timeout = self.next_start.map(|at| {
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
                Some(ToKeeper::Failed(why)) => self.start.complain(&why),
                Some(ToKeeper::Bye(keep_apps)) => self.bye = Some(keep_apps),
                None => self.start.complain("the daemon said something unintelligible"),
            }
        }
    }

    fn became_ready(&mut self) {
        self.delay = Duration::ZERO;
        if let Some(daemon) = &mut self.daemon {
            daemon.ready = true;
        }
        if !self.was_ever_ready {
            self.was_ever_ready = true;
            self.start.announce();
        }
        if self.terminate {
            self.pass_on();
        }
    }

    fn notice_signals(&mut self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            if info.ssi_signo != Signal::SIGCHLD as u32 {
                self.terminate = true;
                self.pass_on();
            }
        }
    }

    /// "End" goes to the daemon, which stops the apps; one that is not ready yet hears it when it is.
    fn pass_on(&self) {
        if let Some(daemon) = self.daemon.as_ref().filter(|d| d.ready) {
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(daemon.child.id().cast_signed()), Signal::SIGTERM);
        }
    }

    /// Everybody who has ended. Some code: we are done too.
    fn reap(&mut self) -> Option<ExitCode> {
        while self.reap_recorded()
            && let Ok(Some(ended)) = clone::next_ended(true)
        {
            if self.daemon.as_ref().is_some_and(|d| d.child.id() == ended.pid) {
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

    fn daemon_ended(&mut self, how: clone::Wait) -> Option<ExitCode> {
        let daemon = self.daemon.take();
        self.outbox.clear();
        if let Some(keep_apps) = self.bye {
            self.start.clean_up();
            return Some(if keep_apps { ExitCode::from(KEPT_APPS) } else { ExitCode::SUCCESS });
        }
        if !self.was_ever_ready {
            // Nothing was promised to anybody yet, and whoever started us is listening: say so and leave it to them.
            self.start.complain("the daemon ended before it was ready");
            self.start.clean_up();
            return Some(ExitCode::FAILURE);
        }
        self.start.complain(&format!(
            "the daemon died ({how:?}){}",
            if daemon.is_some_and(|d| d.ready) { "" } else { " before it was ready" }
        ));
        self.schedule();
        None
    }

    /// Says what there is to say, as far as there is room. Never waits: a daemon that does not listen must not keep us from
    /// hearing signals, and from noticing its death.
    fn say(&mut self) {
        let Some(daemon) = &self.daemon else { return };
        while let Some(next) = self.outbox.front() {
            let sent = match next {
                Out::End => send(&daemon.control, &ToDaemon::End, &[]),
                Out::Held(run) => match self.held.get(run) {
                    Some(pair) => send(&daemon.control, &ToDaemon::Held(*run), pair),
                    None => Ok(()),
                },
                Out::Exit(run) => match self.exits.get(*run) {
                    Some(ended) => send(&daemon.control, &ToDaemon::Exit(*run, ended), &[]),
                    None => Ok(()),
                },
            };
            match sent {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                // Anything else means that it is dying; the next one is told everything anew.
                Ok(()) | Err(_) => self.outbox.pop_front(),
            };
        }
    }
}

fn send(control: &OwnedFd, message: &ToDaemon, fds: &[OwnedFd]) -> io::Result<()> {
    use rustix::fd::AsRawFd;
    let numbers: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    crate::kernel::passing::send(control.as_fd(), &message.encode(), &numbers, false)
}

/// Blocks the signals that the keeper reads, and the descriptor to read them from.
fn signals() -> io::Result<SignalFd> {
    let mut set = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        set.add(signal);
    }
    set.thread_block()?;
    Ok(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}
