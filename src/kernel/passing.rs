//! Small messages with descriptors, over a SOCK_SEQPACKET socket: what keeper and daemon speak through.
//!
//! Owns sending and receiving, not the messages' meaning. A message is one packet: it arrives whole or not at all.

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
use rustix::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;

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
    /// Its descriptors, close-on-exec; fewer than were sent where there was no room for them. The message counts all the same.
    pub fds: Vec<OwnedFd>,
}

/// Receives one message if there is one.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`]: none now.
pub fn receive(socket: impl AsFd) -> io::Result<Received> {
    let mut buffer = [0u8; LONGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
    loop {
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        match recvmsg(&socket, &mut [IoSliceMut::new(&mut buffer)], &mut control, flags) {
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
            Ok(message) => {
                let mut fds = Vec::new();
                for control in control.drain() {
                    if let RecvAncillaryMessage::ScmRights(rights) = control {
                        fds.extend(rights);
                    }
                }
                return Ok(Received { bytes: buffer[..message.bytes].to_vec(), fds });
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    /// As where this process is out of descriptors: the kernel hands over those that fit and says that there were more.
    #[test]
    fn a_message_whose_descriptors_do_not_all_fit_is_heard_and_those_that_came_are_owned() {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK).unwrap();
        let number = write.as_raw_fd();
        send(&theirs, b"eight", &[number; 8], false).unwrap();
        send(&theirs, b"none", &[], false).unwrap();
        let first = receive(&ours).unwrap();
        assert_eq!(first.bytes, b"eight");
        assert!((MOST_FDS..8).contains(&first.fds.len()), "{first:?}");
        assert_eq!(receive(&ours).unwrap().bytes, b"none");
        drop((first, write));
        assert_eq!(rustix::io::read(&read, &mut [0u8; 1]), Ok(0), "none of them was left open");
    }
}
