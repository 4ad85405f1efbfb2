//! Which daemon follows which: started, backed off for, gone back from, made room for.
//!
//! Owns what a daemon's end means. What a reader would get wrong: a daemon's crash, its restart and an upgrade are one path. The file
//! at the installed path is looked at each time, and only whether it has served before makes a difference.

use super::binary::{Binary, Choice};
use super::daemon::{Daemon, in_words};
use super::protocol::Reload;
use super::{ENDED, FIRST_DELAY, KEPT_APPS, Keeper, LONGEST_DELAY};
use crate::kernel::clone;
use nix::errno::Errno;
use std::io;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// So many daemons that die soon after they were ready are followed at once.
const SHORT_LIVES: u32 = 5;

impl Keeper {
    pub(super) fn start_daemon(&mut self) {
        self.next_start = None;
        let started = self.start.binaries.choose().and_then(|choice| match self.start.daemon(&choice.binary) {
            Ok(started) => Ok(Ok((started, choice))),
            // Not even that: half a copy, or another machine's.
            Err(e) if choice.trial && !is_for_want_of_room(&e) => Ok(Err((e, choice))),
            Err(e) => Err(e),
        });
        match started {
            Ok(Ok(((pid, control), Choice { binary, trial, missing }))) => {
                if let Some(missing) = missing {
                    self.start.complain(&format!("{missing}; the program that served last is started again"));
                    self.reload_failed(missing);
                }
                let mut daemon = Daemon::new(pid, control, binary, trial);
                if daemon.trial || self.watchdog.is_some() {
                    daemon.deadline = Some(Instant::now() + self.start.ready_timeout);
                }
                self.daemon = Some(daemon);
                self.introduce();
            }
            Ok(Err((e, choice))) => self.go_back_from(&choice.binary, format!("it cannot be executed: {e}")),
            Err(e) => {
                let when = self.schedule();
                self.start.complain(&format!("failed to start the daemon: {e}; {when}"));
                // Whoever started us has been told, and takes us for gone.
                self.hopeless = !self.was_ever_ready;
            }
        }
    }

    /// The installed program has had its trial.
    fn go_back_from(&mut self, binary: &Rc<Binary>, why: String) {
        let before = format!("the installed program did not last: {why}");
        self.start.complain(&format!("{before}; the one that served last is started again"));
        self.before = Some(before);
        self.start.binaries.failed(binary);
        self.reload_failed(why);
        self.delay = Duration::ZERO;
        self.schedule();
    }

    /// Back off for a daemon that never got ready; at once for one that did. Says when.
    fn schedule(&mut self) -> String {
        let delay = self.delay;
        self.next_start = Some(Instant::now() + delay);
        self.delay = (delay * 2).clamp(FIRST_DELAY, LONGEST_DELAY);
        if delay.is_zero() { "starting another".to_owned() } else { format!("the next attempt is in {delay:?}") }
    }

    /// The daemon is about to end; what is installed comes next, whatever we thought of it before.
    pub(super) fn begin_reload(&mut self, reload: Reload) {
        self.reload = Some(reload);
        self.reloading = true;
        self.reload_is_open = true;
        self.start.binaries.forgive();
        if let Some(daemon) = &mut self.daemon {
            daemon.deadline = Some(Instant::now() + self.start.ready_timeout);
        }
    }

    fn reload_failed(&mut self, why: String) {
        if let Some(reload) = self.reload.as_mut().filter(|_| std::mem::take(&mut self.reload_is_open)) {
            reload.failure = why;
        }
    }

    pub(super) fn daemon_ended(&mut self, how: clone::Wait) -> Option<ExitCode> {
        let daemon = self.daemon.take()?;
        self.outbox.clear();
        self.outdated = false;
        if let Some(watchdog) = &mut self.watchdog {
            watchdog.answered();
        }
        if let Some(keep_apps) = self.bye {
            self.start.clean_up();
            // Ordered through the API, by somebody who may not ask systemd: it is not to undo that at once.
            let unasked = !self.terminate && std::env::var_os("NOTIFY_SOCKET").is_some();
            return Some(match keep_apps {
                true => ExitCode::from(KEPT_APPS),
                false if unasked => ExitCode::from(ENDED),
                false => ExitCode::SUCCESS,
            });
        }
        if !self.was_ever_ready {
            // Nothing was promised to anybody yet, and whoever started us is listening: say so and leave it to them.
            self.start.complain("the daemon ended before it was ready");
            self.start.clean_up();
            return Some(ExitCode::FAILURE);
        }
        if std::mem::take(&mut self.reloading) {
            self.before = Some("made room for the installed program".to_owned());
            self.delay = Duration::ZERO;
            self.schedule();
            return None;
        }
        let (is_new, ready) = (daemon.is_new(), daemon.ready);
        let why = daemon.why.unwrap_or_else(|| in_words(how));
        let early = match (ready, is_new) {
            (false, _) => " before it was ready",
            (true, true) => " soon after it was ready",
            (true, false) => "",
        };
        if daemon.trial && is_new {
            self.go_back_from(&daemon.binary, format!("{why}{early}"));
            return None;
        }
        if ready {
            // At once; but one after the other that dies as soon as it serves would keep a machine busy with nothing else.
            self.short_lives += u32::from(is_new);
            let over = self.short_lives.saturating_sub(SHORT_LIVES).min(4);
            self.delay = if over == 0 { Duration::ZERO } else { FIRST_DELAY * 2u32.pow(over - 1) };
        }
        let when = self.schedule();
        self.start.complain(&format!("the daemon ended{early}: {why}; {when}"));
        self.before = Some(why);
        None
    }
}

/// Whether a process could not be made for reasons that are not its program's, and that pass.
fn is_for_want_of_room(e: &io::Error) -> bool {
    let errno = e.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EAGAIN | Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE))
}
