//! Who is at the other end of a connection, as the kernel says (SO_PEERCRED, unix(7)).
//!
//! What a reader would get wrong: the number is that of the process that connected, and it waits for its answer, so it can still be
//! asked about when its order comes. One that has gone by then is known by number and user only. Only /proc is read here: no
//! user database, which may hang, and no command line, which may hold a secret.

use crate::model::Asker;
use std::fs;
use tokio::net::UnixStream;

/// The peer of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    pub(super) uid: u32,
    gid: u32,
    pid: u32,
}

/// "Nobody logged in", in `/proc/PID/loginuid`.
const NO_LOGIN: u32 = u32::MAX;

impl Peer {
    /// None: the connection is broken already.
    pub(super) fn of(stream: &UnixStream) -> Option<Self> {
        let peer = stream.peer_cred().ok()?;
        // 0: a process of another pid namespace, which has no number here.
        Some(Self {
            uid: peer.uid(),
            gid: peer.gid(),
            pid: peer.pid().and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0),
        })
    }

    /// Whether it is a member of the group. The further groups stand in /proc (proc_pid_status(5)): whoever is gone by now is not
    /// let in by them, and could not hear the answer.
    pub(super) fn is_in(self, group: u32) -> bool {
        let member = |status: String| {
            let groups = status.lines().find_map(|line| line.strip_prefix("Groups:"))?.to_owned();
            Some(groups.split_whitespace().any(|number| number.parse() == Ok(group)))
        };
        self.gid == group || read(self.pid, "status").and_then(member).unwrap_or(false)
    }

    /// The same with what /proc says of it.
    pub(super) fn asker(self) -> Asker {
        let Self { uid, gid: _, pid } = self;
        let login = read(pid, "loginuid").and_then(|text| text.parse().ok());
        Asker {
            uid,
            pid,
            command: read(pid, "comm"),
            parent: parent(pid).and_then(|parent| read(parent, "comm")),
            login: login.filter(|login| *login != NO_LOGIN && *login != uid),
        }
    }
}

fn read(pid: u32, file: &str) -> Option<String> {
    if pid == 0 {
        return None;
    }
    let bytes = fs::read(format!("/proc/{pid}/{file}")).ok()?;
    let text = String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned();
    (!text.is_empty()).then_some(text)
}

/// Field 4 of proc_pid_stat(5); the name in field 2 may hold anything, and the last ')' ends it.
fn parent(pid: u32) -> Option<u32> {
    let stat = read(pid, "stat")?;
    stat.get(stat.rfind(')')? + 1..)?.split_whitespace().nth(1)?.parse().ok().filter(|parent| *parent != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn membership_is_what_the_kernel_says_of_the_process() {
        let groups = rustix::process::getgroups().unwrap_or_default();
        let ours = Peer { uid: 5, gid: 4_000_000_000, pid: std::process::id() };
        assert!(groups.iter().all(|group| ours.is_in(group.as_raw())) && ours.is_in(4_000_000_000));
        assert!(!ours.is_in(4_000_000_001) && !Peer { pid: 0, ..ours }.is_in(0));
    }

    #[test]
    fn a_process_is_known_with_its_program_and_its_parents() {
        let asker = Peer { uid: 5, gid: 5, pid: std::process::id() }.asker();
        assert_eq!((asker.uid, asker.pid), (5, std::process::id()));
        assert!(asker.command.is_some_and(|name| !name.is_empty()));
        let gone = Peer { uid: 5, gid: 5, pid: 0 }.asker();
        assert_eq!((gone.command, gone.parent, gone.login), (None, None, None));
    }
}
