//! What a child is to become, prepared in full before it is made, and the steps it goes through until then.
//!
//! Owns the data only; `clone.rs` performs it. What a reader would get wrong: the child runs on this data without ever
//! allocating, so a field that would need formatting or growing there must be made here, in the parent.

use crate::model::Limits;
use rustix::fd::BorrowedFd;
use std::ffi::CString;
use std::sync::LazyLock;

/// The steps of a child between clone3 and its program. The number travels on the exec-status pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// Entering the cgroup by hand, where CLONE_INTO_CGROUP is not to be had.
    EnterCgroup = 1,
    /// A session of its own (setsid).
    Session,
    /// Marking itself as the main process on the run's cgroup.
    Mark,
    /// Standard input, output and error.
    Stdio,
    /// Resource limits.
    Limits,
    /// Scheduling priority.
    Nice,
    /// The score by which the kernel picks whom to kill for memory.
    OomScore,
    /// Supplementary groups.
    Groups,
    /// Group id.
    Group,
    /// User id.
    User,
    /// Working directory.
    Directory,
    /// The program itself.
    Exec,
}

impl Stage {
    /// What was being done, for "failed to ...".
    #[must_use]
    pub fn doing(self) -> &'static str {
        match self {
            Self::EnterCgroup => "enter its cgroup",
            Self::Session => "begin a session",
            Self::Mark => "mark its cgroup",
            Self::Stdio => "set up its standard streams",
            Self::Limits => "set its resource limits",
            Self::Nice => "set its priority",
            Self::OomScore => "set its out-of-memory score",
            Self::Groups => "set its supplementary groups",
            Self::Group => "set its group",
            Self::User => "set its user",
            Self::Directory => "enter its working directory",
            Self::Exec => "execute its program",
        }
    }

    /// The stage of that number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        [
            Self::EnterCgroup,
            Self::Session,
            Self::Mark,
            Self::Stdio,
            Self::Limits,
            Self::Nice,
            Self::OomScore,
            Self::Groups,
            Self::Group,
            Self::User,
            Self::Directory,
            Self::Exec,
        ]
        .into_iter()
        .find(|s| *s as u8 == number)
    }
}

/// Who the child becomes.
#[derive(Debug, Clone)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// What to run, ready for the child.
#[derive(Debug)]
pub struct Program {
    /// Files to try in order, as execvp(3) would: absolute, or each directory of PATH with the name.
    pub candidates: Vec<CString>,
    /// Arguments, the program's name first.
    pub argv: Vec<CString>,
    /// The environment, `NAME=value`.
    pub envp: Vec<CString>,
    /// Working directory.
    pub cwd: CString,
    /// File mode creation mask.
    pub umask: u32,
    /// Scheduling priority.
    pub nice: Option<i32>,
    /// Resource limits: resource, soft, hard (`RLIM_INFINITY` is `u64::MAX`).
    pub rlimits: Vec<(u32, u64, u64)>,
    /// Put the out-of-memory score back to 0, because the daemon's own is another.
    pub reset_oom_score: bool,
    /// Who it becomes; itself if none.
    pub identity: Option<Identity>,
    /// What it may use.
    pub limits: Limits,
}

/// Everything a child needs, prepared, so that it need not allocate.
#[derive(Debug)]
pub struct ChildPlan<'a> {
    /// Where it says how far it got. Close-on-exec, so that exec itself says "done".
    pub status: BorrowedFd<'a>,
    /// Standard input, output and error to be.
    pub stdio: [BorrowedFd<'a>; 3],
    /// The run's cgroup directory, opened for reading (fsetxattr refuses O_PATH).
    pub cgroup: BorrowedFd<'a>,
    /// Enter that cgroup by hand (`cgroup.procs` opened for writing) instead of being cloned into it.
    pub procs: Option<BorrowedFd<'a>>,
    /// All of these descriptors lie below this number ([`super::slots`]): share the table, and unshare it first of all. None: the
    /// child gets a copy of the whole table.
    pub share_below: Option<i32>,
    /// Make the keeper the parent (CLONE_PARENT).
    pub parent_is_keeper: bool,
    /// What it becomes.
    pub program: Program,
}

impl ChildPlan<'_> {
    /// Whether a child on its way to this program may share our memory. Copying it is what a start costs most (page tables, and then a fault
    /// for every page that either side writes), but some things must not be done in memory that is the daemon's:
    /// - become somebody else: whose process it is could be looked into by them;
    /// - set the out-of-memory score, which is that of everybody who shares the memory (so under a unit with OOMScoreAdjust= all is copied);
    /// - be killed for its cgroup's memory.max, since that kills everybody who shares the memory;
    /// - stand still for its cgroup's cpu.max while it holds a lock of that memory;
    /// - before 5.16, die with a core dump: that ends everybody who shares the memory, too.
    pub(super) fn may_share_memory(&self) -> bool {
        let program = &self.program;
        cfg!(target_arch = "x86_64")
            && *DUMPS_ALONE
            && self.procs.is_none()
            && program.identity.is_none()
            && !program.reset_oom_score
            && program.limits.memory_max.is_none()
            && program.limits.cpus.is_none()
    }
}

/// Whether a process that dumps core leaves alone who shares its memory (from 5.16).
static DUMPS_ALONE: LazyLock<bool> = LazyLock::new(|| {
    let uname = rustix::system::uname();
    let mut numbers = uname.release().to_str().unwrap_or_default().split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next()?.parse::<u32>().ok();
    (next(), next()) >= (Some(5), Some(16))
});

/// A C string of something that might hold a NUL byte, which no argument, variable or path can.
///
/// # Errors
/// It holds one; `what` names it.
pub fn c_string(bytes: &[u8], what: &str) -> Result<CString, String> {
    CString::new(bytes).map_err(|_| format!("{what} holds a NUL byte"))
}
