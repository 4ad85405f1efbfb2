//! What the keeper passes to a daemon that it starts, in its environment: descriptor numbers, and who the keeper is.
//!
//! What a reader would get wrong: keeper and daemon may be of different versions, on the way up or down. They get along if each
//! speaks a version that the other still knows.

use super::{OLDEST, VERSION};
use std::path::PathBuf;

/// The environment variable in which the daemon finds it.
pub const PASSED: &str = "OPM_KEEPER";

/// What is passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// Of the protocol that the keeper speaks.
    pub version: u32,
    /// The oldest that it still speaks.
    pub oldest: u32,
    /// The control socket.
    pub control: i32,
    /// The API's listening socket.
    pub listener: i32,
    /// The lock's open file description, shared so that it is free only when both are gone.
    pub lock: i32,
    /// The keeper's pid, for the check after the parent-death signal is set.
    pub keeper_pid: u32,
    /// The keeper's start time, for the marks.
    pub keeper_start: u64,
    /// The soft limit on descriptors before the keeper raised it: what apps get.
    pub soft_descriptors: u64,
    /// The path at which the installed program is found.
    pub program: PathBuf,
}

impl Passed {
    /// As the variable's value.
    #[must_use]
    pub fn encode(&self) -> std::ffi::OsString {
        let Self { version, oldest, control, listener, lock, keeper_pid, keeper_start, soft_descriptors, program } =
            self;
        let mut text = std::ffi::OsString::from(format!(
            "{version} {oldest} {control} {listener} {lock} {keeper_pid} {keeper_start} {soft_descriptors} "
        ));
        text.push(program);
        text
    }

    /// From the variable's value.
    #[must_use]
    pub fn decode(text: &std::ffi::OsStr) -> Option<Self> {
        use std::os::unix::ffi::OsStrExt;
        let mut fields = text.as_bytes().splitn(9, |byte| *byte == b' ');
        let mut next = || std::str::from_utf8(fields.next()?).ok()?.parse::<u64>().ok();
        Some(Self {
            version: next()?.try_into().ok()?,
            oldest: next()?.try_into().ok()?,
            control: next()?.try_into().ok()?,
            listener: next()?.try_into().ok()?,
            lock: next()?.try_into().ok()?,
            keeper_pid: next()?.try_into().ok()?,
            keeper_start: next()?,
            soft_descriptors: next()?,
            program: std::ffi::OsStr::from_bytes(fields.next()?).into(),
        })
    }

    /// Whether this program and that keeper understand each other.
    ///
    /// # Errors
    /// They do not; in words.
    pub fn understood(&self) -> Result<(), String> {
        if self.version >= OLDEST && self.oldest <= VERSION {
            return Ok(());
        }
        Err(format!(
            "the keeper speaks versions {} to {} of its protocol, this opm {OLDEST} to {VERSION}",
            self.oldest, self.version
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn passed(oldest: u32, version: u32) -> Passed {
        Passed {
            version,
            oldest,
            control: 3,
            listener: 4,
            lock: 5,
            keeper_pid: 6,
            keeper_start: 7,
            soft_descriptors: 8,
            program: "/opt/my tools/opm".into(),
        }
    }

    #[test]
    fn it_survives_the_environment() {
        let passed = passed(1, 3);
        assert_eq!(Passed::decode(&passed.encode()), Some(passed));
    }

    #[test]
    fn versions_that_overlap_get_along() {
        assert!(passed(OLDEST, VERSION).understood().is_ok());
        assert!(passed(VERSION, VERSION + 4).understood().is_ok(), "a newer keeper that still knows us");
        assert!(passed(VERSION + 1, VERSION + 4).understood().is_err(), "one that does not");
        assert!(passed(0, OLDEST - 1).understood().is_err(), "one that we no longer know");
    }

    proptest! {
        #[test]
        fn garbage_is_refused_without_panic(text in ".*") {
            let _ = Passed::decode(text.as_ref());
        }
    }
}
