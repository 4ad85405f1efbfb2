//! The keeper replaced in place: what it knows goes into a memfd, and it executes the program that the daemon has become. Same pid,
//! same children, same open descriptors; the daemon does not notice.
//!
//! What a reader would get wrong: signals stay blocked over execve(2) and wait, so none is lost in between; the standard library's
//! `exec` would unblock them first, hence nix.

use super::binary::{Binaries, Binary};
use super::daemon::Daemon;
use super::exits::Exits;
use super::startup::Start;
use super::state::State;
use super::watchdog::Watchdog;
use super::{Keeper, signals};
use crate::kernel::clone;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::{FdFlags, fcntl_setfd};
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::ffi::OsStringExt;
use std::rc::Rc;
use std::time::Instant;

impl Keeper {
    /// Becomes the program that the daemon is. Comes back only if it could not; then nothing has changed.
    pub(super) fn renew(&self) -> Option<String> {
        let daemon = self.daemon.as_ref()?;
        let program = CString::new(daemon.binary.path().into_os_string().into_vec()).ok()?;
        let state = self.state(daemon);
        let memory = match memory(&state.encode()) {
            Ok(memory) => memory,
            Err(e) => return Some(format!("failed to write the keeper's state: {e}")),
        };
        let arguments = [
            self.start.binaries.path.clone().into_os_string().into_vec(),
            b"daemon".to_vec(),
            b"run".to_vec(),
            b"--resume".to_vec(),
            memory.as_raw_fd().to_string().into_bytes(),
        ];
        let arguments: Vec<CString> = arguments.into_iter().map(CString::new).collect::<Result<_, _>>().ok()?;
        let mut passed: Vec<BorrowedFd<'_>> =
            vec![memory.as_fd(), self.start.listener.as_fd(), self.start.lock.as_fd(), daemon.control.as_fd()];
        passed.push(daemon.binary.file.as_fd());
        passed.extend(self.held.values().flatten().map(AsFd::as_fd));
        // We have one thread: nobody else can execute anything between here and there.
        let mut result = passed.iter().try_for_each(|fd| fcntl_setfd(fd, FdFlags::empty())).map_err(io::Error::from);
        if result.is_ok() {
            result = match nix::unistd::execv(&program, &arguments) {
                Ok(never) => match never {},
                Err(e) => Err(e.into()),
            };
        }
        for fd in passed {
            let _ = fcntl_setfd(fd, FdFlags::CLOEXEC);
        }
        result.err().map(|e| format!("failed to renew the keeper: {e}"))
    }

    fn state(&self, daemon: &Daemon) -> State {
        State {
            root: self.start.root.clone(),
            came_from: self.start.came_from.clone(),
            program: self.start.binaries.path.clone(),
            socket: self.start.socket.clone(),
            listener: self.start.listener.as_raw_fd(),
            lock: self.start.lock.as_raw_fd(),
            soft_descriptors: self.start.soft_descriptors,
            detach: self.start.detach,
            ready_timeout: self.start.ready_timeout,
            watchdog: self.watchdog.as_ref().map(|dog| dog.period),
            daemon: (daemon.pid, daemon.control.as_raw_fd(), daemon.binary.file.as_raw_fd()),
            terminate: self.terminate,
            reload: self.reload.clone(),
            before: self.before.clone(),
            held: self.held.iter().map(|(run, [out, err])| (*run, out.as_raw_fd(), err.as_raw_fd())).collect(),
            mains: self.exits.mains().collect(),
            exits: self.exits.all().collect(),
        }
    }

    /// The keeper that was, from the descriptor of its state.
    ///
    /// # Errors
    /// What was passed on makes no sense. There is no way back; the next pair adopts.
    pub(super) fn resume(number: RawFd) -> Result<Self, String> {
        let open = |number| clone::inherit(number).map_err(|e| format!("failed to go on as the keeper: {e}"));
        let mut bytes = Vec::new();
        File::from(open(number)?)
            .read_to_end(&mut bytes)
            .map_err(|e| format!("failed to read the keeper's state: {e}"))?;
        let state = State::decode(&bytes).ok_or("the keeper's state makes no sense")?;
        let signals = signals().map_err(|e| format!("failed to set up signals: {e}"))?;
        let (pid, control, program) = state.daemon;
        let binary = Rc::new(Binary { file: open(program)? });
        let mut held = std::collections::BTreeMap::new();
        for (run, out, err) in state.held {
            held.insert(run, [open(out)?, open(err)?]);
        }
        let start = Start {
            root: state.root,
            came_from: state.came_from,
            binaries: Binaries::new(state.program, Some(binary.clone())),
            socket: state.socket,
            listener: open(state.listener)?.into(),
            lock: open(state.lock)?,
            soft_descriptors: state.soft_descriptors,
            detach: state.detach,
            ready_timeout: state.ready_timeout,
            announced: true,
        };
        let watchdog = state.watchdog.map(|period| Watchdog::new(period, Instant::now()));
        let mut keeper = Self::new(start, signals, watchdog);
        keeper.exits = Exits::resume(keeper.start.root.clone(), state.mains, state.exits);
        keeper.held = held;
        keeper.daemon = Some(Daemon::new(pid, open(control)?, binary, false).made_ready());
        keeper.next_start = None;
        keeper.was_ever_ready = true;
        keeper.terminate = state.terminate;
        keeper.reload = state.reload;
        keeper.before = state.before;
        Ok(keeper)
    }
}

fn memory(bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create("opm-keeper", MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file.into())
}
