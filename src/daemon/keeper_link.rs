//! The daemon's end of the control socket to the keeper.
//!
//! Owns taking over at start, and the words said since. Sending waits for room, which cannot deadlock: the keeper never waits
//! for the daemon.

use crate::keeper::protocol::passed::{PASSED, Passed};
use crate::keeper::protocol::{Reload, STATE_FORMAT, ToDaemon, ToKeeper};
use crate::kernel::clone::{self, Ended};
use crate::kernel::{passing, process};
use crate::model::RunId;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::collections::HashMap;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Duration;

/// The link.
pub(super) struct KeeperLink {
    control: OwnedFd,
    /// Held only to be held: the lock is free when nobody has this open file description any more.
    _lock: OwnedFd,
    /// The keeper by pid and start time, for the marks.
    pub(super) keeper: (u32, u64),
    /// The soft limit on descriptors that apps get.
    pub(super) soft_descriptors: u64,
    /// The path of the installed program.
    pub(super) program: PathBuf,
}

/// What the keeper kept.
#[derive(Default)]
pub(super) struct Kept {
    /// Reading ends of log pipes, output and error.
    pub(super) pipes: HashMap<RunId, [OwnedFd; 2]>,
    /// Exit records that no daemon has acknowledged.
    pub(super) exits: HashMap<RunId, Ended>,
    /// How the daemon before us ended, if there was one.
    pub(super) before: Option<String>,
    /// The last order to let the installed program take over, and how it came out.
    pub(super) reload: Option<Reload>,
}

/// Takes over from the keeper that started us: the link and the API's socket.
///
/// # Errors
/// Not started by a keeper, or by one that speaks otherwise, or it died just now.
pub(super) fn take_over() -> Result<(KeeperLink, UnixListener), String> {
    process::set_own_name(c"opm");
    let passed = std::env::var_os(PASSED)
        .and_then(|text| Passed::decode(&text))
        .ok_or("'opm daemon serve' is started by the keeper; start the daemon with: opm daemon run")?;
    passed.understood()?;
    // If the keeper dies we go too, at once, so that the next pair finds the lock free. It may have died before this was set:
    // then our parent is another.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(|e| format!("failed to tie our life to the keeper's: {e}"))?;
    if rustix::process::getppid().map(|p| p.as_raw_nonzero().get().cast_unsigned()) != Some(passed.keeper_pid) {
        return Err("the keeper died while the daemon started".to_owned());
    }
    let take = |number| clone::inherit(number).map_err(|e| format!("failed to take over from the keeper: {e}"));
    let link = KeeperLink {
        control: take(passed.control)?,
        _lock: take(passed.lock)?,
        keeper: (passed.keeper_pid, passed.keeper_start),
        soft_descriptors: passed.soft_descriptors,
        program: passed.program.clone(),
    };
    Ok((link, UnixListener::from(take(passed.listener)?)))
}

impl KeeperLink {
    /// Hears everything that was kept. Waits until the keeper has said that it was all.
    ///
    /// # Errors
    /// The keeper is gone.
    pub(super) fn hear_kept(&self) -> Result<Kept, String> {
        let mut kept = Kept::default();
        loop {
            match self.hear() {
                Some((ToDaemon::Held(run), fds)) => {
                    if let Ok(pair) = fds.try_into() {
                        kept.pipes.insert(RunId(run), pair);
                    }
                }
                Some((ToDaemon::Exit(run, ended), _)) => drop(kept.exits.insert(RunId(run), ended)),
                Some((ToDaemon::Before(how), _)) => kept.before = Some(how),
                Some((ToDaemon::Reloaded(reload), _)) => kept.reload = Some(reload),
                Some((ToDaemon::Ping, _)) => self.alive(),
                Some((ToDaemon::End, _)) => return Ok(kept),
                None => {
                    let mut fds = [PollFd::new(&self.control, PollFlags::IN)];
                    let _ = poll(&mut fds, None);
                    if fds[0].revents().contains(PollFlags::HUP) {
                        return Err("the keeper died while the daemon started".to_owned());
                    }
                }
            }
        }
    }

    /// The next thing it said, if any.
    pub(super) fn hear(&self) -> Option<(ToDaemon, Vec<OwnedFd>)> {
        loop {
            let received = passing::receive(&self.control).ok()?;
            if received.bytes.is_empty() {
                return None;
            }
            if let Some(message) = ToDaemon::decode(&received.bytes) {
                return Some((message, received.fds));
            }
        }
    }

    fn say(&self, message: &ToKeeper, fds: &[BorrowedFd<'_>]) {
        let numbers: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        // If it is gone, so are we in a moment.
        let _ = passing::send(&self.control, &message.encode(), &numbers, true);
    }

    /// Keep these pipes. Said before the process exists, so that nothing it writes can be lost with us.
    pub(super) fn hold(&self, run: RunId, pipes: &[OwnedFd; 2]) {
        self.say(&ToKeeper::Hold(run.0), &[pipes[0].as_fd(), pipes[1].as_fd()]);
    }

    pub(super) fn drop_pipes(&self, run: RunId) {
        self.say(&ToKeeper::Drop(run.0), &[]);
    }

    pub(super) fn main(&self, run: RunId, pid: u32) {
        self.say(&ToKeeper::Main(run.0, pid), &[]);
    }

    pub(super) fn acknowledge(&self, run: RunId) {
        self.say(&ToKeeper::Ack(run.0), &[]);
    }

    /// We serve. If we are another program than the keeper is, it is to become what we are.
    pub(super) fn ready(&self) {
        self.say(&ToKeeper::Ready, &[]);
        let id = |process: &str| rustix::fs::stat(format!("/proc/{process}/exe")).ok().map(|s| (s.st_dev, s.st_ino));
        if let (Some(ours), Some(its)) = (id("self"), id(&self.keeper.0.to_string()))
            && ours != its
        {
            self.say(&ToKeeper::Renew(STATE_FORMAT), &[]);
        }
    }

    /// The answer to the watchdog.
    pub(super) fn alive(&self) {
        self.say(&ToKeeper::Alive, &[]);
    }

    /// The installed program is to take our place.
    pub(super) fn reload(&self, key: &str) {
        let from = env!("CARGO_PKG_VERSION").to_owned();
        self.say(&ToKeeper::Reload(Reload { key: key.to_owned(), from, failure: String::new() }), &[]);
    }

    /// We end, and our apps with us, within that time.
    pub(super) fn stopping(&self, within: Duration) {
        self.say(&ToKeeper::Stopping(within.as_millis().try_into().unwrap_or(u64::MAX)), &[]);
    }

    pub(super) fn failed(&self, why: &str) {
        self.say(&ToKeeper::Failed(why.to_owned()), &[]);
    }

    pub(super) fn bye(&self, keep_apps: bool) {
        self.say(&ToKeeper::Bye(keep_apps), &[]);
    }
}

impl AsFd for KeeperLink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.control.as_fd()
    }
}
