//! Lines to systemd-journald, by its native protocol: one datagram for each.
//!
//! Owns the socket and the fields. It must not keep lines: what journald has no room for stays with the caller. What a reader would get
//! wrong: a line is journald's once it was sent, and nothing says so on disk; a daemon that is killed right then sends it again, with
//! the same `OPM_SEQ`. The protocol: <https://systemd.io/JOURNAL_NATIVE_PROTOCOL>.

use super::frame::{End, Frame};
use super::stamp::About;
use crate::config::cause;
use crate::kernel::passing;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

/// Where journald listens.
pub const SOCKET: &str = "/run/systemd/journal/socket";

/// The way to journald.
#[derive(Debug)]
pub struct Journald {
    path: PathBuf,
    /// None: not connected, or no longer.
    socket: Option<UnixDatagram>,
    /// By run and stream: the priority of the line that goes on in its next piece.
    goes_on: BTreeMap<(u64, bool), u8>,
    entry: Vec<u8>,
}

/// What became of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// journald has it.
    Taken,
    /// journald is behind. Send it again when [`Journald::socket`] is writable.
    Full,
}

impl Journald {
    /// To the journald that listens at `path`, usually [`SOCKET`]. Connects with the first line.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), socket: None, goes_on: BTreeMap::new(), entry: Vec::new() }
    }

    /// What to watch for being writable after [`Sent::Full`]. It is another one after a failure.
    #[must_use]
    pub fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(AsFd::as_fd)
    }

    /// Sends a line, or a piece of one. `<3>` at a line's start is its priority (sd-daemon(3)) and is taken off; without it a
    /// line is informational (6), and an error (3) if it went to standard error.
    ///
    /// # Errors
    /// journald is not there. The line was not sent; try again later.
    pub fn send(&mut self, about: &About<'_>, frame: &Frame<'_>) -> Result<Sent, String> {
        let key = (about.run, about.err);
        let usual = if about.err { 3 } else { 6 };
        let (priority, text) = match self.goes_on.get(&key) {
            Some(priority) => (*priority, frame.text),
            None => split_priority(frame.text).unwrap_or((usual, frame.text)),
        };
        encode(&mut self.entry, about, frame.end, priority, text);
        let sent = self.deliver().map_err(|e| format!("failed to write to {}: {}", self.path.display(), cause(&e)))?;
        match (sent, frame.end) {
            (Sent::Full, _) => {}
            (Sent::Taken, End::TooLong) => drop(self.goes_on.insert(key, priority)),
            (Sent::Taken, End::LineFeed | End::RunOver) => drop(self.goes_on.remove(&key)),
        }
        Ok(sent)
    }

    /// No more of this run will come, not even the rest of a line.
    pub fn run_over(&mut self, run: u64) {
        self.goes_on.retain(|(going_on, _), _| *going_on != run);
    }

    fn deliver(&mut self) -> io::Result<Sent> {
        // A socket that was bound anew in the same place is another one: connect once more, then believe it.
        if let Some(Ok((socket, sent))) = self.socket.take().map(|socket| through(socket, &self.entry)) {
            self.socket = Some(socket);
            return Ok(sent);
        }
        let socket = UnixDatagram::unbound()?;
        socket.connect(&self.path)?;
        let (socket, sent) = through(socket, &self.entry)?;
        self.socket = Some(socket);
        Ok(sent)
    }
}

/// By a datagram, or where that is too large, by a memory file that nobody can change any more.
fn through(socket: UnixDatagram, entry: &[u8]) -> io::Result<(UnixDatagram, Sent)> {
    let too_large = |e: &io::Error| matches!(Errno::from_io_error(e), Some(Errno::MSGSIZE | Errno::NOBUFS));
    let sent = match passing::send(&socket, entry, &[], false) {
        Err(e) if too_large(&e) => passing::send(&socket, &[], &[sealed(entry)?.as_raw_fd()], false),
        sent => sent,
    };
    match sent {
        Ok(()) => Ok((socket, Sent::Taken)),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok((socket, Sent::Full)),
        Err(e) => Err(e),
    }
}

fn sealed(entry: &[u8]) -> io::Result<OwnedFd> {
    let file = rustix::fs::memfd_create("opm-journal", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    crate::kernel::files::write_all(&file, entry)?;
    rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL)?;
    Ok(file)
}

/// `<3>text`: one digit from 0 to 7.
fn split_priority(text: &[u8]) -> Option<(u8, &[u8])> {
    match text {
        [b'<', digit @ b'0'..=b'7', b'>', rest @ ..] => Some((digit - b'0', rest)),
        _ => None,
    }
}

fn encode(out: &mut Vec<u8>, about: &About<'_>, end: End, priority: u8, text: &[u8]) {
    out.clear();
    field(out, "MESSAGE", text);
    field(out, "PRIORITY", priority.to_string().as_bytes());
    field(out, "SYSLOG_IDENTIFIER", about.app.as_bytes());
    field(out, "OPM_APP", about.app.as_bytes());
    field(out, "OPM_INSTANCE", about.instance.to_string().as_bytes());
    field(out, "OPM_RUN", about.run.to_string().as_bytes());
    field(out, "OPM_STREAM", if about.err { b"err" } else { b"out" });
    field(out, "OPM_SEQ", about.seq.to_string().as_bytes());
    match end {
        End::LineFeed => {}
        End::TooLong | End::RunOver => field(out, "OPM_PARTIAL", b"true"),
    }
}

/// `NAME=text`, or where that could not be told from the next field, the length first.
fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') || std::str::from_utf8(value).is_err() {
        out.push(b'\n');
        out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend_from_slice(value);
    out.push(b'\n');
}
