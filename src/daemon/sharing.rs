//! Whom the system daemon's socket is shared with: nobody but root, unless the configuration names a group.
//!
//! Owns modes and owners of the runtime folder and the socket. What a reader would get wrong: the group's number comes from a user
//! database, which may hang, so a thread asks for it, and until it is known nobody else is let in. What an earlier
//! configuration gave is taken back first, by the same steps.

use super::handle::{Handle, Mail};
use crate::config::{Paths, Settings};
use crate::kernel::user;
use std::fs::{Permissions, set_permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// The group that may speak to us, once it is known.
#[derive(Debug, Clone, Default)]
pub(super) struct Sharing(Arc<OnceLock<u32>>);

impl Sharing {
    /// Does what `settings` ask for. What stands in the way is said to the loop.
    pub(super) fn begin(paths: &Paths, settings: Settings, to_loop: Handle) -> Self {
        let sharing = Self::default();
        let say = move |message| to_loop.send(Mail::Trouble { about: "config", message: Some(message) });
        let own = rustix::process::getegid().as_raw();
        if let Err(e) = apply(paths, own, 0o700, 0o600) {
            say(format!("failed to take the socket back from a group: {e}"));
        }
        let Some(name) = settings.socket_group else { return sharing };
        if !paths.system {
            say("socket_group is for the system daemon; a user's own cannot be shared".to_owned());
            return sharing;
        }
        let (shared, paths) = (sharing.clone(), paths.clone());
        let asked = std::thread::Builder::new().name("opm-group".to_owned()).stack_size(256 << 10).spawn(move || {
            let done = user::group(&name).and_then(|gid| {
                apply(&paths, gid, 0o710, 0o660).map(|()| gid).map_err(|e| format!("for the group '{name}': {e}"))
            });
            match done {
                Ok(gid) => drop(shared.0.set(gid)),
                Err(e) => say(format!("failed to share the socket: {e}")),
            }
        });
        // Then it stays root's own, which is the safe side.
        drop(asked);
        sharing
    }

    /// The group, if there is one and its number is known by now.
    pub(super) fn group(&self) -> Option<u32> {
        self.0.get().copied()
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
