//! Whom the system daemon's socket is shared with: nobody but root, unless the configuration names a group.
//!
//! Owns modes and owners of the runtime folder and the socket. What a reader would get wrong: the group's number comes from a user
//! database, which may hang, so a thread asks for it. A member who comes meanwhile waits: he may have been let in by the daemon
//! before us, and his connection outlived it. What that one gave is taken back once it is known to be somebody else's.

use super::handle::{Handle, Mail};
use crate::config::{Paths, Settings};
use crate::kernel::user;
use std::fs::{Permissions, set_permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::time::Duration;
use tokio::sync::watch;

/// Who else may speak to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum With {
    Nobody,
    /// It is being asked which number the group has.
    Asked,
    Group(u32),
}

/// The group that may speak to us, once it is known.
#[derive(Debug, Clone)]
pub(super) struct Sharing(watch::Receiver<With>);

/// How long somebody else's connection waits for it to be known.
const PATIENCE: Duration = Duration::from_secs(10);

impl Sharing {
    /// Does what `settings` ask for. What stands in the way is said to the loop; then the socket is nobody else's.
    pub(super) fn begin(paths: &Paths, settings: Settings, to_loop: Handle) -> Self {
        let (known, sharing) = watch::channel(With::Nobody);
        let say = move |message| to_loop.send(Mail::Trouble { about: "sharing", message: Some(message) });
        let name = match settings.socket_group {
            Some(_) if !paths.system => {
                say("socket_group is for the system daemon; a user's own cannot be shared".to_owned());
                None
            }
            other => other,
        };
        let Some(name) = name else {
            keep(paths, &say);
            return Self(sharing);
        };
        let _ = known.send(With::Asked);
        let (here, say_here) = (paths.clone(), say.clone());
        let asked = std::thread::Builder::new().name("opm-group".to_owned()).stack_size(256 << 10).spawn(move || {
            let done = user::group(&name).and_then(|gid| {
                apply(&here, gid, 0o710, 0o660).map(|()| gid).map_err(|e| format!("for the group '{name}': {e}"))
            });
            let with = match done {
                Ok(gid) => With::Group(gid),
                Err(e) => {
                    say_here(format!("failed to share the socket: {e}"));
                    keep(&here, &say_here);
                    With::Nobody
                }
            };
            let _ = known.send(with);
        });
        if let Err(e) = asked {
            say(format!("failed to make a thread that shares the socket: {e}"));
            keep(paths, &say);
        }
        Self(sharing)
    }

    /// The group, if there is one. Waits until that is known, for a while.
    pub(super) async fn group(&mut self) -> Option<u32> {
        // A thread that is gone without a word leaves it at "asked".
        let _ = tokio::time::timeout(PATIENCE, self.0.wait_for(|with| *with != With::Asked)).await;
        match *self.0.borrow() {
            With::Group(gid) => Some(gid),
            With::Nobody | With::Asked => None,
        }
    }
}

/// Keeps, or takes back, the socket for its owner alone.
fn keep(paths: &Paths, say: &impl Fn(String)) {
    if let Err(e) = apply(paths, rustix::process::getegid().as_raw(), 0o700, 0o600) {
        say(format!("failed to keep the socket to ourselves: {e}"));
    }
}

/// Only what is not so already: a user's own daemon never has anything to do here. The socket before the folder, so that
/// nothing is opened up half done; a group may pass through the folder, and not look around in it.
fn apply(paths: &Paths, group: u32, folder: u32, socket: u32) -> io::Result<()> {
    let one = |path: &Path, mode: u32| -> io::Result<()> {
        let about = std::fs::metadata(path)?;
        if about.gid() != group {
            chown(path, None, Some(group))?;
        }
        if about.mode() & 0o777 != mode {
            set_permissions(path, Permissions::from_mode(mode))?;
        }
        Ok(())
    };
    one(&paths.socket(), socket)?;
    one(&paths.runtime, folder)
}
