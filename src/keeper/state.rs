//! What a keeper knows, as text: written by the one that was, read by the one that it becomes.
//!
//! Owns the format. A newer keeper reads what an older one wrote, so lines may be added and none may change; one that is not known
//! is passed over (somebody went back to an older version).

use super::protocol::{Reload, STATE_FORMAT, exit_numbers, exit_of};
use crate::kernel::clone::Ended;
use rustix::fd::RawFd;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

/// A keeper, as lines of text; descriptors by number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct State {
    pub(super) root: PathBuf,
    pub(super) came_from: PathBuf,
    pub(super) program: PathBuf,
    pub(super) socket: PathBuf,
    pub(super) listener: RawFd,
    pub(super) lock: RawFd,
    pub(super) soft_descriptors: u64,
    pub(super) detach: bool,
    pub(super) ready_timeout: Duration,
    pub(super) watchdog: Option<Duration>,
    /// Pid, control socket, program.
    pub(super) daemon: (u32, RawFd, RawFd),
    pub(super) terminate: bool,
    pub(super) reload: Option<Reload>,
    pub(super) before: Option<String>,
    pub(super) held: Vec<(u64, RawFd, RawFd)>,
    pub(super) mains: Vec<(u32, u64)>,
    pub(super) exits: Vec<(u64, Ended)>,
}

/// A line feed and a backslash would break a line.
fn escaped(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            byte => out.push(*byte),
        }
    }
    out
}

fn unescaped(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut bytes = bytes.iter();
    while let Some(byte) = bytes.next() {
        out.push(match (byte, byte == &b'\\') {
            (_, true) if bytes.as_slice().first() == Some(&b'n') => {
                bytes.next();
                b'\n'
            }
            (_, true) => bytes.next().copied().unwrap_or(b'\\'),
            (byte, false) => *byte,
        });
    }
    out
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl State {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = format!("opm-keeper {STATE_FORMAT}\n").into_bytes();
        let mut text = |name: &str, value: &[u8]| {
            out.extend_from_slice(name.as_bytes());
            out.push(b' ');
            out.extend_from_slice(&escaped(value));
            out.push(b'\n');
        };
        text("root", self.root.as_os_str().as_bytes());
        text("came-from", self.came_from.as_os_str().as_bytes());
        text("program", self.program.as_os_str().as_bytes());
        text("socket", self.socket.as_os_str().as_bytes());
        if let Some(reload) = &self.reload {
            text("reload-key", reload.key.as_bytes());
            text("reload-from", reload.from.as_bytes());
            text("reload-failure", reload.failure.as_bytes());
        }
        if let Some(before) = &self.before {
            text("before", before.as_bytes());
        }
        let mut numbers = |name: &str, values: &[u64]| {
            let values: Vec<String> = values.iter().map(u64::to_string).collect();
            out.extend_from_slice(format!("{name} {}\n", values.join(" ")).as_bytes());
        };
        let fd = |number: RawFd| u64::from(number.cast_unsigned());
        numbers("listener", &[fd(self.listener)]);
        numbers("lock", &[fd(self.lock)]);
        numbers("soft-descriptors", &[self.soft_descriptors]);
        numbers("detach", &[u64::from(self.detach)]);
        numbers("ready-timeout-us", &[micros(self.ready_timeout)]);
        if let Some(period) = self.watchdog {
            numbers("watchdog-us", &[micros(period)]);
        }
        let (pid, control, program) = self.daemon;
        numbers("daemon", &[u64::from(pid), fd(control), fd(program)]);
        numbers("terminate", &[u64::from(self.terminate)]);
        for (run, out, err) in &self.held {
            numbers("hold", &[*run, fd(*out), fd(*err)]);
        }
        for (pid, run) in &self.mains {
            numbers("main", &[u64::from(*pid), *run]);
        }
        for (run, ended) in &self.exits {
            let all: Vec<u64> = [*run].into_iter().chain(exit_numbers(ended)).collect();
            numbers("exit", &all);
        }
        out
    }

    /// None: not such a state, or something in it makes no sense.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut lines = bytes.split(|byte| *byte == b'\n');
        let format: u64 = std::str::from_utf8(lines.next()?).ok()?.strip_prefix("opm-keeper ")?.parse().ok()?;
        if format > STATE_FORMAT {
            return None;
        }
        let mut state = Self::default();
        for line in lines.filter(|line| !line.is_empty()) {
            state.take(line)?;
        }
        let whole = !state.root.as_os_str().is_empty() && !state.program.as_os_str().is_empty();
        (whole && state.listener > 2 && state.lock > 2 && state.daemon.0 > 0).then_some(state)
    }

    fn take(&mut self, line: &[u8]) -> Option<()> {
        let space = line.iter().position(|byte| *byte == b' ')?;
        let (name, value) = (std::str::from_utf8(&line[..space]).ok()?, &line[space + 1..]);
        let path = || PathBuf::from(OsString::from_vec(unescaped(value)));
        let text = || String::from_utf8_lossy(&unescaped(value)).into_owned();
        let all = || {
            let fields = std::str::from_utf8(value).ok()?.split(' ');
            fields.map(|field| field.parse::<u64>().ok()).collect::<Option<Vec<_>>>()
        };
        let one = || all().filter(|all| all.len() == 1).map(|all| all[0]);
        let fd = |number: u64| RawFd::try_from(number).ok();
        match name {
            "root" => self.root = path(),
            "came-from" => self.came_from = path(),
            "program" => self.program = path(),
            "socket" => self.socket = path(),
            "reload-key" => self.reload.get_or_insert_default().key = text(),
            "reload-from" => self.reload.get_or_insert_default().from = text(),
            "reload-failure" => self.reload.get_or_insert_default().failure = text(),
            "before" => self.before = Some(text()),
            "listener" => self.listener = fd(one()?)?,
            "lock" => self.lock = fd(one()?)?,
            "soft-descriptors" => self.soft_descriptors = one()?,
            "detach" => self.detach = one()? != 0,
            "ready-timeout-us" => self.ready_timeout = Duration::from_micros(one()?),
            "watchdog-us" => self.watchdog = Some(Duration::from_micros(one()?)),
            "terminate" => self.terminate = one()? != 0,
            "daemon" => {
                let &[pid, control, program] = &all()?[..] else { return None };
                self.daemon = (pid.try_into().ok()?, fd(control)?, fd(program)?);
            }
            "hold" => {
                let &[run, out, err] = &all()?[..] else { return None };
                self.held.push((run, fd(out)?, fd(err)?));
            }
            "main" => {
                let &[pid, run] = &all()?[..] else { return None };
                self.mains.push((pid.try_into().ok()?, run));
            }
            "exit" => {
                let all = all()?;
                let (run, ended) = all.split_first()?;
                self.exits.push((*run, exit_of(ended)?));
            }
            _ => {}
        }
        Some(())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::kernel::clone::Wait;
    use proptest::prelude::*;

    /// Written by 0.1. A newer keeper must read it for ever: it is executed by an older one in the middle of its work.
    const V0_1: &str = "opm-keeper 1
root /sys/fs/cgroup/opm
came-from /sys/fs/cgroup/user.slice
program /usr/bin/opm
socket /run/opm/o\\\\p\\nm.sock
reload-key k1
reload-from 0.0.9
reload-failure 
before it died (signal 9)
listener 4
lock 5
soft-descriptors 1024
detach 1
ready-timeout-us 30000000
watchdog-us 15000000
daemon 42 6 7
terminate 0
hold 3 8 9
main 50 3
exit 2 49 1 11 5 6 7000
";

    fn v0_1() -> State {
        State {
            root: "/sys/fs/cgroup/opm".into(),
            came_from: "/sys/fs/cgroup/user.slice".into(),
            program: "/usr/bin/opm".into(),
            socket: "/run/opm/o\\p\nm.sock".into(),
            listener: 4,
            lock: 5,
            soft_descriptors: 1024,
            detach: true,
            ready_timeout: Duration::from_secs(30),
            watchdog: Some(Duration::from_secs(15)),
            daemon: (42, 6, 7),
            terminate: false,
            reload: Some(Reload { key: "k1".into(), from: "0.0.9".into(), failure: String::new() }),
            before: Some("it died (signal 9)".into()),
            held: vec![(3, 8, 9)],
            mains: vec![(50, 3)],
            exits: vec![(
                2,
                Ended {
                    pid: 49,
                    wait: Wait::Signal(11, false),
                    user: Duration::from_micros(5),
                    system: Duration::from_micros(6),
                    max_rss: 7000,
                },
            )],
        }
    }

    #[test]
    fn the_state_of_0_1_is_read_for_ever() {
        assert_eq!(State::decode(V0_1.as_bytes()), Some(v0_1()));
        let more = format!("{V0_1}something-new 1 2 3\n");
        assert_eq!(State::decode(more.as_bytes()), Some(v0_1()), "lines of a newer one are passed over");
        assert_eq!(String::from_utf8(v0_1().encode()).unwrap(), V0_1, "and what we write is that");
    }

    proptest! {
        #[test]
        fn damage_is_refused_without_panic(
            cut in 0usize..V0_1.len(), at in 0usize..V0_1.len(), byte: u8, all in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let mut bytes = V0_1.as_bytes().to_vec();
            bytes[at] = byte;
            let _ = State::decode(&bytes);
            let _ = State::decode(&bytes[..cut]);
            let _ = State::decode(&all);
            prop_assert_eq!(unescaped(&escaped(&all)), all);
        }
    }
}
