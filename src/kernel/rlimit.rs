//! Resource limits of setrlimit(2) by the names that limits.conf and systemd use, in lower case; and our own of descriptors.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Open descriptors.
pub const NOFILE: u32 = libc::RLIMIT_NOFILE;

/// The resource of that name.
#[must_use]
pub fn by_name(name: &str) -> Option<u32> {
    Some(match name {
        "cpu" => libc::RLIMIT_CPU,
        "fsize" => libc::RLIMIT_FSIZE,
        "data" => libc::RLIMIT_DATA,
        "stack" => libc::RLIMIT_STACK,
        "core" => libc::RLIMIT_CORE,
        "rss" => libc::RLIMIT_RSS,
        "nproc" => libc::RLIMIT_NPROC,
        "nofile" => libc::RLIMIT_NOFILE,
        "memlock" => libc::RLIMIT_MEMLOCK,
        "as" => libc::RLIMIT_AS,
        "locks" => libc::RLIMIT_LOCKS,
        "sigpending" => libc::RLIMIT_SIGPENDING,
        "msgqueue" => libc::RLIMIT_MSGQUEUE,
        "nice" => libc::RLIMIT_NICE,
        "rtprio" => libc::RLIMIT_RTPRIO,
        "rttime" => libc::RLIMIT_RTTIME,
        _ => return None,
    })
}

/// Takes as many descriptors as we may have. What the soft and the hard limit were before: the soft one is what programs get
/// that we start, since one that uses select(2) breaks on numbers above 1023.
#[must_use]
pub fn raise_descriptors() -> (u64, u64) {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    (limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX))
}
