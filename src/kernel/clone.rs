//! The one file with `unsafe`: making a child with clone3, what the child does until exec, and the few calls that no
//! safe wrapper offers whole (waitid with usage, a pidfd's exit status, signals without a name, a mask around clone3).
//!
//! What a reader would get wrong: after clone3 the child mostly *shares our memory*, as with vfork, while we go on: what it reads
//! must stay as it is until it is known to be done ([`Lent`]), and what it writes must be its own, `errno` included. Or it is a copy
//! of *one thread* of a process that has several, and any lock (the allocator's among them) may be held for ever by a thread that does not
//! exist there. So everything the child needs is prepared before, and [`child`] is straight-line code of bare system calls: no
//! allocation, no formatting, no panic, no return.
#![expect(unsafe_code, reason = "the one file for it, see the file's header")]

use super::memory::ProgramPages;
use super::plan::{ChildPlan, Program, Stage};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::process::{Pid, WaitOptions, waitpid};
use std::ffi::{CString, c_char, c_int, c_void};
use std::io;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::time::Duration;

/// From 5.7 (linux/sched.h); the libc crate has it in a type that it does not fit.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// A bare system call with up to five arguments: what it says, or the negative errno.
macro_rules! call {
    ($name:ident $(, $arg:expr)*) => {
        $crate::kernel::clone::bare::call(libc::$name, $crate::kernel::clone::five([$($arg as usize),*]))
    };
}

/// These, and zeroes.
fn five<const N: usize>(some: [usize; N]) -> [usize; 5] {
    let mut all = [0; 5];
    for (place, one) in all.iter_mut().zip(some) {
        *place = one;
    }
    all
}

/// What a child that shares our memory runs on. It makes some forty system calls, none of which needs much.
const STACK: usize = 16 << 10;

/// A child that was made.
#[derive(Debug)]
pub struct Cloned {
    /// Its number.
    pub pid: u32,
    /// What it is known by.
    pub pidfd: OwnedFd,
    /// What it borrows from our memory until its program runs.
    pub lent: Option<Lent>,
}

/// The plan with its pointers, owned: a child that shares our memory reads it long after [`clone`] has returned.
struct Ready {
    status: RawFd,
    stdio: [RawFd; 3],
    cgroup: RawFd,
    procs: Option<RawFd>,
    share_below: Option<RawFd>,
    program: Program,
    argv: Vec<*const c_char>,
    envp: Vec<*const c_char>,
    keep: [RawFd; 6],
}

/// What a child works with, and on.
struct Memory {
    ready: Ready,
    stack: Box<[MaybeUninit<u8>]>,
}

/// The memory of a child. Dropped it is leaked: whoever cannot say that the child is done with it must not free it.
pub struct Lent(ManuallyDrop<Box<Memory>>);

impl Lent {
    /// The status pipe has ended: the child is dead or runs its program, and either lets go of our memory before its descriptors.
    pub fn take_back(self) {
        drop(ManuallyDrop::into_inner(self.0));
    }
}

// SAFETY: the pointers are into the strings beside them, which nobody changes.
unsafe impl Send for Lent {}

impl std::fmt::Debug for Lent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lent")
    }
}

/// Makes a child that becomes the plan's program.
///
/// # Errors
/// clone3(2): EAGAIN (processes), ENOMEM, EMFILE, EBUSY or EACCES (the cgroup), ENOSYS (before 5.3).
pub fn clone(plan: ChildPlan<'_>) -> io::Result<Cloned> {
    let shares = plan.may_share_memory();
    // Pointers into the plan's strings: made here, because the child must not allocate.
    let pointers = |list: &[CString]| -> Vec<*const c_char> {
        list.iter().map(|s| s.as_ptr()).chain(std::iter::once(std::ptr::null())).collect()
    };
    let mut keep = [
        plan.status.as_raw_fd(),
        plan.stdio[0].as_raw_fd(),
        plan.stdio[1].as_raw_fd(),
        plan.stdio[2].as_raw_fd(),
        plan.cgroup.as_raw_fd(),
        plan.procs.map_or(plan.cgroup.as_raw_fd(), |p| p.as_raw_fd()),
    ];
    keep.sort_unstable();
    let (argv, envp) = (pointers(&plan.program.argv), pointers(&plan.program.envp));
    let ready = Ready {
        status: plan.status.as_raw_fd(),
        stdio: plan.stdio.map(|fd| fd.as_raw_fd()),
        cgroup: plan.cgroup.as_raw_fd(),
        procs: plan.procs.map(|fd| fd.as_raw_fd()),
        share_below: plan.share_below,
        program: plan.program,
        argv,
        envp,
        keep,
    };
    let stack = Box::new_uninit_slice(if shares { STACK } else { 0 });
    let lent = Lent(ManuallyDrop::new(Box::new(Memory { ready, stack })));

    let mut flags = libc::CLONE_PIDFD as u64;
    if plan.parent_is_keeper {
        flags |= libc::CLONE_PARENT as u64;
    }
    if plan.share_below.is_some() {
        flags |= libc::CLONE_FILES as u64;
    }
    let mut pidfd: c_int = -1;
    // SAFETY: clone_args is plain numbers, for which all zeroes is a valid "nothing asked for".
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.pidfd = std::ptr::from_mut(&mut pidfd) as u64;
    if plan.procs.is_none() {
        // From 5.7. The child is a member from its first instruction; no escape, no window.
        flags |= CLONE_INTO_CGROUP;
        args.cgroup = plan.cgroup.as_raw_fd() as u64;
    }
    if shares {
        // Without CLONE_VFORK: we would stand still until the program runs, which on a dead file server is for ever.
        flags |= libc::CLONE_VM as u64;
        let stack = &lent.0.stack;
        args.stack = stack.as_ptr() as u64;
        // Its end is where it begins, and must be a multiple of 16.
        args.stack_size = (args.stack + stack.len() as u64) / 16 * 16 - args.stack;
    }
    args.flags = flags;
    // With CLONE_PARENT the kernel takes the signal from our own: what the keeper gets for us, it gets for the run.
    args.exit_signal = if plan.parent_is_keeper { 0 } else { libc::SIGCHLD as u64 };

    // No handler of ours may run in the child, whose dispositions are not reset yet.
    let masked = MaskedSignals::all();
    // SAFETY: `lent` stays where it is, and as it is, until it is taken back: for a child that shares this memory until it is known
    // to use it no more. One that does not has its own copy of it, and of this stack. It calls only `child`, which never returns.
    let pid = unsafe { bare::clone_onto(&raw const args, &raw const lent.0.ready) };
    drop(masked);
    if pid < 0 {
        lent.take_back();
        return Err(io::Error::from_raw_os_error(-pid as i32));
    }
    // SAFETY: clone3 succeeded with CLONE_PIDFD, so the kernel put a new descriptor there that nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    let lent = if shares {
        Some(lent)
    } else {
        lent.take_back();
        None
    };
    Ok(Cloned { pid: pid as u32, pidfd, lent })
}

/// System calls without the C library around them: it keeps `errno` in the thread's own memory, which a child that shares our memory
/// shares with the thread that made it.
#[cfg(target_arch = "x86_64")]
mod bare {
    use super::{Ready, child};
    use std::arch::asm;

    /// A system call. What it says, or the negative errno.
    pub(super) unsafe fn call(number: libc::c_long, args: [usize; 5]) -> isize {
        let result: isize;
        // SAFETY: the kernel's calling convention (syscall(2)); what the call does to memory is the caller's to answer for.
        unsafe {
            asm!("syscall", inlateout("rax") number as isize => result, in("rdi") args[0], in("rsi") args[1], in("rdx") args[2],
                in("r10") args[3], in("r8") args[4], lateout("rcx") _, lateout("r11") _, options(nostack));
        }
        result
    }

    /// clone3(2), and [`child`] in the child, on the stack that `args` name (or its copy of ours).
    pub(super) unsafe fn clone_onto(args: *const libc::clone_args, ready: *const Ready) -> isize {
        let result: isize;
        // SAFETY: the parent passes through as by any system call. The child, which may begin on an empty stack, never leaves this block:
        // it calls a function that does not return. The stack is aligned as the calling convention wants it right before a call.
        unsafe {
            asm!("syscall", "test rax, rax", "jnz 2f", "xor ebp, ebp", "and rsp, -16", "mov rdi, r12", "call {child}", "ud2", "2:",
                child = sym child, inlateout("rax") libc::SYS_clone3 as isize => result, in("rdi") args,
                in("rsi") size_of::<libc::clone_args>(), in("r12") ready, lateout("rcx") _, lateout("r11") _);
        }
        result
    }
}

/// Elsewhere no child shares our memory, so it has an `errno` of its own.
#[cfg(not(target_arch = "x86_64"))]
mod bare {
    use super::{Ready, child};

    pub(super) unsafe fn call(number: libc::c_long, args: [usize; 5]) -> isize {
        // SAFETY: the caller's to answer for.
        unsafe {
            let result = libc::syscall(number, args[0], args[1], args[2], args[3], args[4]);
            if result < 0 { -(*libc::__errno_location() as isize) } else { result as isize }
        }
    }

    pub(super) unsafe fn clone_onto(args: *const libc::clone_args, ready: *const Ready) -> isize {
        // SAFETY: no stack is named, so the child goes on with its own copy of ours.
        unsafe {
            match call(libc::SYS_clone3, [args as usize, size_of::<libc::clone_args>(), 0, 0, 0]) {
                0 => child(ready),
                other => other,
            }
        }
    }
}

/// What the child does. Nothing here allocates, locks, formats, unwinds, returns, or touches what a thread has for itself (`errno`): it may
/// share the memory of the thread that made it, which goes on meanwhile.
///
/// # Safety
/// Only in a fresh child of clone3.
unsafe extern "C" fn child(ready: *const Ready) -> ! {
    // SAFETY: every call in here is a bare system call on descriptors and pointers that `clone` prepared and that stay valid
    // until exec or exit.
    unsafe {
        let ready = &*ready;
        let program = &ready.program;
        // First a table of our own, if we share the daemon's, without what lies above the slots. Before this not one descriptor
        // may be touched. If it fails we end without the word, as if killed at birth.
        if let Some(below) = ready.share_below
            && call!(SYS_close_range, below, c_int::MAX, libc::CLOSE_RANGE_UNSHARE) < 0
        {
            end();
        }
        // Then let go of what is not ours: copies of the daemon's lock, sockets and other apps' pipes.
        let mut from: RawFd = 0;
        for fd in ready.keep {
            if fd > from {
                call!(SYS_close_range, from, fd - 1, 0);
            }
            from = fd + 1;
        }
        call!(SYS_close_range, from, c_int::MAX, 0);
        let by_number = Told { cgroup: ready.cgroup, status: ready.status };
        // "I was born": with no byte and end-of-file the daemon knows that we were killed before (the kill_seq trap).
        call!(SYS_write, by_number.status, c"+".as_ptr(), 1);

        if let Some(procs) = ready.procs {
            by_number.must(Stage::EnterCgroup, call!(SYS_write, procs, c"0".as_ptr(), 1));
        }
        // Dispositions as a fresh process has them. SIGPIPE stays ignored until exec, so that a write to a status pipe whose
        // reader died is an error and not our death. The mask is opened at the very end.
        // By system call: the C library refuses to touch 32 and 33, which it uses itself and a parent may have left ignored.
        // The kernel's sigaction is 32 bytes here, and all zeroes mean SIG_DFL.
        let default = [0u64; 4];
        let reset = |signal: c_int| {
            call!(SYS_rt_sigaction, signal, &raw const default, 0, size_of::<u64>());
        };
        for signal in 1..=64 {
            if signal != libc::SIGPIPE {
                reset(signal);
            }
        }
        by_number.must(Stage::Session, call!(SYS_setsid));
        by_number.must(Stage::Mark, mark_main(ready.cgroup));
        // The three may themselves be numbers 0 to 2; moved up first, none is overwritten before it is used. The status pipe and the
        // cgroup directory too may sit there. Until then errors are said by the old numbers.
        let up = |fd: RawFd| by_number.must(Stage::Stdio, call!(SYS_fcntl, fd, libc::F_DUPFD_CLOEXEC, 16)) as RawFd;
        let stdio = [up(ready.stdio[0]), up(ready.stdio[1]), up(ready.stdio[2])];
        let told = Told { status: up(ready.status), cgroup: up(ready.cgroup) };
        for (number, fd) in stdio.iter().enumerate() {
            told.must(Stage::Stdio, call!(SYS_dup3, *fd, number, 0));
        }
        // All above 2 that is still open goes at exec; not now, since the status pipe must speak until then.
        call!(SYS_close_range, 3, c_int::MAX, libc::CLOSE_RANGE_CLOEXEC);

        for (resource, soft, hard) in &program.rlimits {
            let limit = libc::rlimit64 { rlim_cur: *soft, rlim_max: *hard };
            told.must(Stage::Limits, call!(SYS_prlimit64, 0, *resource, &raw const limit, 0));
        }
        if let Some(nice) = program.nice {
            told.must(Stage::Nice, call!(SYS_setpriority, libc::PRIO_PROCESS, 0, nice));
        }
        if program.reset_oom_score {
            let path = c"/proc/self/oom_score_adj".as_ptr();
            let fd = call!(SYS_openat, libc::AT_FDCWD, path, libc::O_WRONLY | libc::O_CLOEXEC);
            told.must(Stage::OomScore, fd);
            let written = call!(SYS_write, fd, c"0".as_ptr(), 1);
            // Up to 0 is anybody's right. Down to it is not: a user's services all begin at a higher one, by systemd's will,
            // and then the app keeps that.
            if written != -(libc::EACCES as isize) {
                told.must(Stage::OomScore, written);
            }
        }
        call!(SYS_umask, program.umask);
        if let Some(id) = &program.identity {
            // Raw system calls: the C library's versions talk to the process's other threads, and there are none.
            told.must(Stage::Groups, call!(SYS_setgroups, id.groups.len(), id.groups.as_ptr()));
            told.must(Stage::Group, call!(SYS_setresgid, id.gid, id.gid, id.gid));
            told.must(Stage::User, call!(SYS_setresuid, id.uid, id.uid, id.uid));
        }
        // After the ids: whether the app may be there is the app's user's question.
        told.must(Stage::Directory, call!(SYS_chdir, program.cwd.as_ptr()));
        // In this order: a blocked signal is never ignored but kept pending, and the SIGPIPE of a status pipe whose reader died
        // would meet the default action. Let in while it is ignored, it is dropped.
        let none: u64 = 0;
        call!(SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const none, 0, size_of::<u64>());
        reset(libc::SIGPIPE);
        // As execvp(3): a later directory may have it; "permission denied" is the better news if none has.
        let mut worst = libc::ENOENT;
        for candidate in &program.candidates {
            let refused = call!(SYS_execve, candidate.as_ptr(), ready.argv.as_ptr(), ready.envp.as_ptr());
            match -refused as c_int {
                libc::ENOENT | libc::ENOTDIR => {}
                libc::EACCES => worst = libc::EACCES,
                other => {
                    worst = other;
                    break;
                }
            }
        }
        told.give_up(Stage::Exec, worst)
    }
}

/// Ends the child.
///
/// # Safety
/// As [`child`].
unsafe fn end() -> ! {
    loop {
        // SAFETY: it does not return.
        unsafe { call!(SYS_exit_group, 127) };
    }
}

/// Where it is told how a child failed.
struct Told {
    cgroup: RawFd,
    status: RawFd,
}

impl Told {
    /// What a system call of that stage said, if it is no failure.
    ///
    /// # Safety
    /// As [`child`].
    unsafe fn must(&self, stage: Stage, said: isize) -> isize {
        if said < 0 {
            // SAFETY: as the caller's.
            unsafe { self.give_up(stage, -said as c_int) }
        }
        said
    }

    /// Says which stage failed and why, on the pipe and as a mark for a daemon that comes later, and ends.
    ///
    /// # Safety
    /// As [`child`].
    unsafe fn give_up(&self, stage: Stage, errno: c_int) -> ! {
        let e = errno.to_le_bytes();
        let message = [stage as u8, e[0], e[1], e[2], e[3]];
        // SAFETY: plain system calls on a live buffer.
        unsafe {
            call!(SYS_fsetxattr, self.cgroup, c"user.opm.failed".as_ptr(), message.as_ptr(), message.len(), 0);
            call!(SYS_write, self.status, message.as_ptr(), message.len());
            end()
        }
    }
}

/// Writes `user.opm.main` = "pid starttime pidfd-inode" on the run's cgroup: the child's own identity, from its own mouth,
/// before any code of the app runs. The first two come as text from /proc/self/stat, fields 1 and 22 (proc_pid_stat(5));
/// the inode is unique per process from 6.9 on (pidfs). A negative errno if it could not.
///
/// # Safety
/// As [`child`].
unsafe fn mark_main(cgroup: RawFd) -> isize {
    // SAFETY: plain system calls on buffers of this frame, with their own lengths.
    unsafe {
        let mut stat = [0u8; 1024];
        let path = c"/proc/self/stat".as_ptr();
        let fd = call!(SYS_openat, libc::AT_FDCWD, path, libc::O_RDONLY | libc::O_CLOEXEC);
        if fd < 0 {
            return fd;
        }
        let read = call!(SYS_read, fd, stat.as_mut_ptr(), stat.len());
        call!(SYS_close, fd);
        if read < 0 {
            return read;
        }
        let Some(stat) = stat.get(..read as usize) else { return -(libc::EIO as isize) };
        let mut mark = [0u8; 96];
        let mut used = 0;
        let mut push = |byte: u8| {
            if used < mark.len() {
                mark[used] = byte;
                used += 1;
            }
        };
        for byte in stat.iter().take_while(|b| **b != b' ') {
            push(*byte);
        }
        push(b' ');
        // The name in field 2 may hold spaces and parentheses; the last ')' ends it. Then field 3 begins two bytes on.
        let Some(close) = stat.iter().rposition(|b| *b == b')') else { return -(libc::EIO as isize) };
        let mut field = 2;
        for byte in &stat[close + 1..] {
            if *byte == b' ' {
                field += 1;
            } else if field == 22 {
                push(*byte);
            }
            if field > 22 {
                break;
            }
        }
        push(b' ');
        let pidfd = call!(SYS_pidfd_open, call!(SYS_getpid), 0);
        if pidfd < 0 {
            return pidfd;
        }
        let mut info: libc::stat = std::mem::zeroed();
        let known = call!(SYS_fstat, pidfd, &raw mut info) == 0;
        call!(SYS_close, pidfd);
        let mut digits = [0u8; 20];
        let mut rest = if known { info.st_ino } else { 0 };
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 || at == 0 {
                break;
            }
        }
        for byte in &digits[at..] {
            push(*byte);
        }
        call!(SYS_fsetxattr, cgroup, c"user.opm.main".as_ptr(), mark.as_ptr(), used, 0)
    }
}

/// All signals blocked in this thread, until dropped.
struct MaskedSignals(u64);

impl MaskedSignals {
    fn all() -> Self {
        let all = u64::MAX;
        let mut old = 0u64;
        // SAFETY: the kernel's signal set is 64 bits here (rt_sigprocmask(2)); both pointers are to such.
        unsafe {
            libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const all, &raw mut old, size_of::<u64>());
        }
        Self(old)
    }
}

impl Drop for MaskedSignals {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigprocmask,
                libc::SIG_SETMASK,
                &raw const self.0,
                std::ptr::null_mut::<u64>(),
                size_of::<u64>(),
            );
        }
    }
}

/// Has SIGCHLD as a fresh process has it. A parent may have left it ignored, which exec keeps; then nobody is told of a child's end,
/// and there is nothing to wait for.
pub fn hear_of_children() {
    // SAFETY: no handler is installed, so nothing of ours is called.
    unsafe {
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
    }
}

/// Gives back what the allocator holds and nobody uses (malloc_trim(3)).
pub(super) fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it touches what is free, under the allocator's own locks.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Lets go of these pages of our program: whoever touches one has it mapped again.
pub(super) fn unmap(pages: &ProgramPages) {
    // SAFETY: by how they were found they are a private mapping of a file that nobody wrote to, so what is mapped again is the same;
    // nobody may write to them either, since they are the program.
    unsafe {
        libc::madvise(pages.start() as *mut c_void, pages.len(), libc::MADV_DONTNEED);
    }
}

/// A child that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Its number.
    pub pid: u32,
    /// How, as wait(2) has it in `si_code` and `si_status`.
    pub wait: Wait,
    /// User CPU time of it and of the children it waited for.
    pub user: Duration,
    /// System CPU time of the same.
    pub system: Duration,
    /// The largest resident set of any of them, bytes.
    pub max_rss: u64,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// With this exit code.
    Code(i32),
    /// By this signal, with a core dump or not.
    Signal(i32, bool),
}

impl Wait {
    /// From a status as wait(2) packs it: signal in the low 7 bits, core-dump flag, exit code above.
    pub(super) fn from_status(status: i32) -> Self {
        match status & 0x7f {
            0 => Self::Code((status >> 8) & 0xff),
            signal => Self::Signal(signal, status & 0x80 != 0),
        }
    }
}

/// A child of ours that has ended, if there is one: `leave` leaves it a zombie, so that who it was can still be read.
///
/// # Errors
/// waitid(2); `ECHILD` when there are no children at all.
pub fn next_ended(leave: bool) -> io::Result<Option<Ended>> {
    ended(libc::P_ALL, 0, if leave { libc::WNOWAIT } else { 0 })
}

/// Reaps that child, which has ended.
///
/// # Errors
/// waitid(2).
pub fn reap(pid: u32) -> io::Result<Option<Ended>> {
    ended(libc::P_PID, pid, 0)
}

fn ended(kind: u32, id: u32, extra: c_int) -> io::Result<Option<Ended>> {
    // SAFETY: both are plain data for which zeroes are valid; a pid of 0 afterwards means that nobody has ended.
    let (mut info, mut usage): (libc::siginfo_t, libc::rusage) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    // SAFETY: the pointers are to those; the raw call fills in the usage too, which the C library's waitid does not offer.
    let result = unsafe {
        libc::syscall(libc::SYS_waitid, kind, id, &raw mut info, libc::WEXITED | libc::WNOHANG | extra, &raw mut usage)
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: waitid succeeded, so these are the fields that it filled in (or zeroes).
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    if pid == 0 {
        return Ok(None);
    }
    let wait = match info.si_code {
        libc::CLD_EXITED => Wait::Code(status),
        code => Wait::Signal(status, code == libc::CLD_DUMPED),
    };
    let time = |t: libc::timeval| Duration::from_micros(t.tv_sec as u64 * 1_000_000 + t.tv_usec as u64);
    Ok(Some(Ended {
        pid: pid as u32,
        wait,
        user: time(usage.ru_utime),
        system: time(usage.ru_stime),
        max_rss: usage.ru_maxrss as u64 * 1024,
    }))
}

/// What a kernel says about how the process behind a pidfd ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PidfdExit {
    /// This way.
    Known(Wait),
    /// It has not been reaped yet; ask again at hang-up.
    NotYet,
    /// This kernel does not say (before 6.15).
    Unsupported,
}

/// How the process behind a pidfd ended, also if it was never our child: PIDFD_GET_INFO with PIDFD_INFO_EXIT, from 6.15,
/// once it has been reaped by whoever is its parent.
#[must_use]
pub fn pidfd_exit(pidfd: BorrowedFd<'_>) -> PidfdExit {
    /// `struct pidfd_info` of linux/pidfd.h, its first 64 bytes.
    #[repr(C)]
    #[derive(Default)]
    struct Info {
        mask: u64,
        cgroup: u64,
        ids: [u32; 11],
        exit_code: i32,
    }
    const _: () = assert!(size_of::<Info>() == 64);
    /// `PIDFD_INFO_EXIT`.
    const EXIT: u64 = 1 << 3;
    /// `_IOWR(0xFF, 11, struct pidfd_info)` with a size of 64.
    const GET_INFO: u32 = (3 << 30) | (64 << 16) | (0xFF << 8) | 11;
    let mut info = Info { mask: EXIT, ..Info::default() };
    // SAFETY: the request carries the struct's size, and the kernel writes at most that much.
    let result = unsafe {
        libc::ioctl(pidfd.as_raw_fd(), GET_INFO as libc::Ioctl, std::ptr::from_mut(&mut info).cast::<c_void>())
    };
    if result < 0 {
        // Reaped before anybody held a pidfd (ESRCH) is as unknowable as an old kernel (ENOTTY, EINVAL).
        return PidfdExit::Unsupported;
    }
    if info.mask & EXIT == 0 {
        return PidfdExit::NotYet;
    }
    PidfdExit::Known(Wait::from_status(info.exit_code))
}

/// Clones a child that ends at once, into that cgroup if one is given, and reaps it: how it ended, and what its pidfd says of that.
/// Does CLONE_INTO_CGROUP work here? See [`super::cgroup`] on the kill_seq trap.
///
/// # Errors
/// As [`clone`].
pub fn clone_nothing(cgroup: Option<BorrowedFd<'_>>) -> io::Result<(Wait, PidfdExit)> {
    let Some((pid, pidfd)) = fork_into(cgroup)? else {
        // SAFETY: _exit(2) runs no handlers and does not return.
        unsafe { libc::_exit(0) }
    };
    let (_, status) = waitpid(Pid::from_raw(pid), WaitOptions::empty())?.ok_or(io::ErrorKind::NotFound)?;
    Ok((Wait::from_status(status.as_raw()), pidfd_exit(pidfd.as_fd())))
}

/// Goes on as a copy of this process that is born in that cgroup: true there, and false here.
///
/// # Errors
/// As [`clone`]; that there are several threads, whose locks would be held in the copy for ever.
pub(super) fn go_on_in(cgroup: BorrowedFd<'_>) -> io::Result<bool> {
    match std::fs::read_dir("/proc/self/task")?.count() {
        1 => Ok(fork_into(Some(cgroup))?.is_none()),
        _ => Err(io::Error::other("a process with several threads cannot be copied")),
    }
}

fn fork_into(cgroup: Option<BorrowedFd<'_>>) -> io::Result<Option<(c_int, OwnedFd)>> {
    let mut pidfd: c_int = -1;
    // SAFETY: as in `clone`.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = libc::CLONE_PIDFD as u64 | cgroup.map_or(0, |_| CLONE_INTO_CGROUP);
    args.cgroup = cgroup.map_or(0, |fd| fd.as_raw_fd() as u64);
    args.pidfd = std::ptr::from_mut(&mut pidfd) as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    // SAFETY: as above; the child has a copy of everything, and its callers do with it only what a copy of one thread may.
    match unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>()) } {
        0 => Ok(None),
        // SAFETY: as in `clone`: a new descriptor that nobody else owns.
        pid if pid > 0 => Ok(Some((pid as c_int, unsafe { OwnedFd::from_raw_fd(pidfd) }))),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sends a signal by its number: those from 32 on have no name that a safe wrapper would take.
///
/// # Errors
/// pidfd_send_signal(2): ESRCH if it has been reaped, EPERM if it is another user's now.
pub(super) fn send_signal(pidfd: BorrowedFd<'_>, number: i32) -> io::Result<()> {
    // SAFETY: numbers and a null pointer, which asks for the usual siginfo; no memory of ours is touched.
    let result = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), number, std::ptr::null::<libc::siginfo_t>(), 0)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Takes over a descriptor that the keeper left open for us under that number.
///
/// # Errors
/// No such descriptor.
pub fn inherit(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: fcntl on a number is harmless whatever it is.
    if number < 3 || unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return Err(io::Error::other(format!("descriptor {number} was not passed on")));
    }
    // SAFETY: it is open, and by the contract with the keeper it was left for this process alone; called once per number.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
