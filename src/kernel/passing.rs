//! Small messages with descriptors, over a SOCK_SEQPACKET socket: what keeper and daemon speak through.
//!
//! Owns sending and receiving, not the messages' meaning. A message is one packet: it arrives whole or not at all.

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg};
use rustix::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::io::{self, IoSlice, IoSliceMut};

/// The longest message, in bytes.
pub const LONGEST: usize = 512;
/// The most descriptors in one message.
pub const MOST_FDS: usize = 2;

/// Sends one message. `wait`: until there is room; else [`io::ErrorKind::WouldBlock`] says that there is none.
///
/// # Errors
/// The other side is gone, or there is no room.
pub fn send(socket: impl AsFd, bytes: &[u8], fds: &[RawFd], wait: bool) -> io::Result<()> {
    let rights = [ControlMessage::ScmRights(fds)];
    let control = if fds.is_empty() { &[][..] } else { &rights[..] };
    let flags = MsgFlags::MSG_NOSIGNAL | if wait { MsgFlags::empty() } else { MsgFlags::MSG_DONTWAIT };
    loop {
        match sendmsg::<UnixAddr>(socket.as_fd().as_raw_fd(), &[IoSlice::new(bytes)], control, flags, None) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// One received message.
#[derive(Debug)]
pub struct Received {
    /// Its bytes; empty means that the other side is gone.
    pub bytes: Vec<u8>,
    /// Its descriptors, close-on-exec.
    pub fds: Vec<OwnedFd>,
}

/// Receives one message if there is one.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`]: none now.
pub fn receive(socket: impl AsFd) -> io::Result<Received> {
    let mut buffer = [0u8; LONGEST];
    let mut space = cmsg_space!([RawFd; MOST_FDS]);
    loop {
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        match recvmsg::<UnixAddr>(socket.as_fd().as_raw_fd(), &mut slices, Some(&mut space), flags) {
            Err(Errno::EINTR) => {}
            Err(e) => return Err(e.into()),
            Ok(message) => {
                let length = message.bytes;
                let mut fds = Vec::new();
                for control in message.cmsgs()? {
                    if let ControlMessageOwned::ScmRights(numbers) = control {
                        fds.extend(numbers);
                    }
                }
                let fds = super::clone::received(&fds);
                return Ok(Received { bytes: buffer[..length].to_vec(), fds });
            }
        }
    }
}
