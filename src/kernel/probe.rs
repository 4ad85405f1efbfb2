//! Looks whether the kernel can do what opm needs, one thing after the other, by trying it.
//!
//! Owns the trials and what they found; it must not judge. What a reader would get wrong: nothing here may be noticed. A trial works
//! on pipes and children of its own, on this process itself with signal 0, or on a file that has no name; it writes nowhere else.

mod place;
mod tree;

pub use place::{Place, Seen, look};
pub use tree::{Offer, TreeFacts};

use super::clone::{self, PidfdExit, Wait};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags};
use rustix::process::{Resource, WaitId, WaitIdOptions, getpid, getrlimit, waitid};
use std::fs;
use std::io;
use std::path::Path;

/// What came of a trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trial {
    /// It works.
    Works,
    /// The kernel says why not.
    Fails(String),
    /// The kernel can do it, and not here, or not for us.
    Refused(String),
}

impl Trial {
    fn of<T>(result: Result<T, impl Into<io::Error>>) -> Self {
        match result.map_err(Into::into) {
            Ok(_) => Self::Works,
            Err(e) => Self::from(&e),
        }
    }
}

impl From<&io::Error> for Trial {
    fn from(error: &io::Error) -> Self {
        let text = error.to_string().to_lowercase();
        let text = text.split(" (os error ").next().unwrap_or_default().to_owned();
        match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ResourceBusy => Self::Refused(text),
            _ => Self::Fails(text),
        }
    }
}

/// What the kernel can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelFacts {
    /// Its release, as `6.18.2-arch1`.
    pub release: String,
    /// clone3 with CLONE_INTO_CGROUP.
    pub clone_into_cgroup: Trial,
    /// pidfd_open(2).
    pub pidfd: Trial,
    /// waitid(2) on a pidfd.
    pub pidfd_wait: Trial,
    /// pidfd_send_signal(2).
    pub pidfd_signal: Trial,
    /// A pidfd has an inode number of its own.
    pub pidfd_inode: bool,
    /// A pidfd says how its process ended, whoever reaped it.
    pub pidfd_exit: bool,
    /// splice(2) between pipes.
    pub splice: Trial,
    /// tee(2).
    pub tee: Trial,
    /// Pressure stall information.
    pub pressure: bool,
}

/// Where a clone is tried.
#[derive(Debug, Clone, Copy)]
pub enum CloneAt<'a> {
    /// Into this cgroup.
    Cgroup(&'a Path),
    /// It was tried already; whether it worked.
    Known(bool),
}

/// Tries it all.
#[must_use]
pub fn kernel(at: CloneAt<'_>) -> KernelFacts {
    let me = rustix::process::pidfd_open(getpid(), rustix::process::PidfdFlags::empty());
    let on_pidfd = |trial: &dyn Fn(&OwnedFd) -> Trial| match &me {
        Ok(pidfd) => trial(pidfd),
        Err(e) => Trial::from(&io::Error::from(*e)),
    };
    // A child of ours that is reaped: only then is there an exit to tell.
    let child = clone::clone_nothing(None);
    KernelFacts {
        release: rustix::system::uname().release().to_string_lossy().into_owned(),
        clone_into_cgroup: match at {
            CloneAt::Known(true) => Trial::Works,
            CloneAt::Known(false) => Trial::Fails("the daemon tried it when it began".to_owned()),
            CloneAt::Cgroup(path) => into_cgroup(path),
        },
        pidfd: on_pidfd(&|_| Trial::Works),
        pidfd_wait: on_pidfd(&|pidfd| {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            match waitid(WaitId::PidFd(pidfd.as_fd()), options) {
                // We are no child of ours; a kernel that knows the question says so.
                Ok(_) | Err(Errno::CHILD) => Trial::Works,
                Err(e) => Trial::from(&io::Error::from(e)),
            }
        }),
        pidfd_signal: on_pidfd(&|pidfd| Trial::of(clone::send_signal(pidfd.as_fd(), 0))),
        pidfd_inode: me.as_ref().is_ok_and(super::process::is_pidfs),
        pidfd_exit: matches!(child, Ok((_, PidfdExit::Known(_)))),
        splice: between_pipes(|from, to| {
            rustix::pipe::splice(from, None, to, None, 1, SpliceFlags::NONBLOCK).map(drop)
        }),
        tee: between_pipes(|from, to| rustix::pipe::tee(from, to, 1, SpliceFlags::NONBLOCK).map(drop)),
        pressure: fs::read("/proc/pressure/memory").is_ok(),
    }
}

fn into_cgroup(path: &Path) -> Trial {
    let dir = match fs::File::open(path) {
        Ok(dir) => dir,
        Err(e) => return Trial::from(&e),
    };
    match clone::clone_nothing(Some(dir.as_fd())) {
        Ok((Wait::Code(0), _)) => Trial::Works,
        Ok((how, _)) => Trial::Fails(format!("the child was killed at birth ({how:?})")),
        Err(e) => Trial::from(&e),
    }
}

fn between_pipes(trial: impl Fn(BorrowedFd<'_>, BorrowedFd<'_>) -> rustix::io::Result<()>) -> Trial {
    let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK);
    let tried = || {
        let ((read, write), (_keep, to)) = (pipe()?, pipe()?);
        rustix::io::write(&write, b"x")?;
        trial(read.as_fd(), to.as_fd())
    };
    Trial::of(tried())
}

/// What this process, and its user, may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitFacts {
    /// Descriptors, the hard limit.
    pub descriptors: Option<u64>,
    /// Processes of this user, the soft limit.
    pub processes: Option<u64>,
    /// Whom it is about: root is not bound by some of these.
    pub root: bool,
    /// fs.inotify.max_user_watches.
    pub inotify_watches: Option<u64>,
    /// fs.inotify.max_user_instances.
    pub inotify_instances: Option<u64>,
    /// fs.pipe-user-pages-soft, in pages; 0: no limit.
    pub pipe_pages: Option<u64>,
    /// Seconds since 1970 by the machine's clock.
    pub clock: u64,
}

/// Reads them.
#[must_use]
pub fn limits() -> LimitFacts {
    let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse().ok();
    LimitFacts {
        descriptors: getrlimit(Resource::Nofile).maximum,
        processes: getrlimit(Resource::Nproc).current,
        root: rustix::process::geteuid().is_root(),
        inotify_watches: number("/proc/sys/fs/inotify/max_user_watches"),
        inotify_instances: number("/proc/sys/fs/inotify/max_user_instances"),
        pipe_pages: number("/proc/sys/fs/pipe-user-pages-soft"),
        clock: std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On whatever runs the tests: opm's oldest kernel has all of this.
    #[test]
    fn this_kernel_has_what_opm_cannot_do_without() {
        let facts = kernel(CloneAt::Known(true));
        assert_eq!((&facts.pidfd, &facts.pidfd_wait), (&Trial::Works, &Trial::Works), "{facts:?}");
        assert_eq!((&facts.pidfd_signal, &facts.splice, &facts.tee), (&Trial::Works, &Trial::Works, &Trial::Works));
        assert!(!facts.release.is_empty());
    }

    #[test]
    fn what_is_not_there_fails_and_what_is_not_ours_is_refused() {
        assert!(matches!(into_cgroup(Path::new("/nowhere")), Trial::Fails(_)));
        assert_eq!(Trial::from(&io::Error::from(Errno::ACCESS)), Trial::Refused("permission denied".to_owned()));
        assert_eq!(Trial::from(&io::Error::from(Errno::NOSYS)), Trial::Fails("function not implemented".to_owned()));
    }
}
