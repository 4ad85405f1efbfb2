//! Resource limits of setrlimit(2) by the names that limits.conf and systemd use, in lower case; and our own of descriptors.

use rustix::fd::AsFd;
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Open descriptors.
pub const NOFILE: u32 = Resource::Nofile as u32;

/// The resource of that name.
#[must_use]
pub fn by_name(name: &str) -> Option<u32> {
    // Not by the C library's names: their type differs between glibc and musl.
    let resource = match name {
        "cpu" => Resource::Cpu,
        "fsize" => Resource::Fsize,
        "data" => Resource::Data,
        "stack" => Resource::Stack,
        "core" => Resource::Core,
        "rss" => Resource::Rss,
        "nproc" => Resource::Nproc,
        "nofile" => Resource::Nofile,
        "memlock" => Resource::Memlock,
        "as" => Resource::As,
        "locks" => Resource::Locks,
        "sigpending" => Resource::Sigpending,
        "msgqueue" => Resource::Msgqueue,
        "nice" => Resource::Nice,
        "rtprio" => Resource::Rtprio,
        "rttime" => Resource::Rttime,
        _ => return None,
    };
    Some(resource as u32)
}

/// Takes as many descriptors as we may have. What the soft and the hard limit were before: the soft one is what programs get
/// that we start, since one that uses select(2) breaks on numbers above 1023.
#[must_use]
pub fn raise_descriptors() -> (u64, u64) {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    (limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX))
}

/// Makes the table of descriptors large enough for so many (8 bytes each) now, while nobody shares it: the kernel doubles it as
/// needed, and waits out an RCU grace period (8 to 18 ms) each time if another thread, or a child on its way, has it as well.
pub fn make_room(any: impl AsFd, descriptors: u64) {
    let most = getrlimit(Resource::Nofile).current.unwrap_or(descriptors);
    // The table never shrinks. Without room for it now, it grows when it must.
    if let Ok(highest) = i32::try_from(descriptors.min(most).saturating_sub(1)) {
        drop(fcntl_dupfd_cloexec(any, highest));
    }
}
