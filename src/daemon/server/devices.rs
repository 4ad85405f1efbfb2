//! Devices that are to be limited are looked up before anything is saved: with one that is not there no run could be made any more.
//!
//! Not on the loop, and not on one of the few threads that reads share, since a path may be on a file server that is dead. What a
//! reader would get wrong: each run looks its devices up again. This is for the person who mistyped one.

use super::answers::{internal, problem};
use super::{Problem, Shared};
use crate::api::ProblemKind;
use crate::kernel::limits;
use crate::model::Limits;
use crate::model::limits::IoMax;
use tokio::sync::oneshot;

/// Refuses devices that cannot be limited.
pub(super) async fn check(shared: &Shared, asked: impl Iterator<Item = &IoMax>) -> Result<(), Problem> {
    let limits = Limits { io_max: asked.cloned().collect(), ..Limits::default() };
    if limits.io_max.is_empty() {
        return Ok(());
    }
    // Where no disk can be limited at all the loop says why, which matters more.
    if !shared.handle.ask(|view| view.hands.runs.tree().controllers().check("io").is_ok()).await? {
        return Ok(());
    }
    let (told, found) = oneshot::channel();
    let look = move || drop(told.send(looked_up(limits)));
    std::thread::Builder::new()
        .name("opm-devices".to_owned())
        .stack_size(256 << 10)
        .spawn(look)
        .map_err(|e| internal(&format!("failed to make a thread: {e}")))?;
    found.await.map_err(|_| internal("a worker thread failed"))?
}

fn looked_up(limits: Limits) -> Result<(), Problem> {
    let hint = "io_max takes a disk, as in /dev/sda ('lsblk' lists them), its numbers, or the path of something on it";
    limits::resolved(limits).map(drop).map_err(|e| problem(ProblemKind::Refused, format!("io_max: {e}"), Some(hint)))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_not_there_is_refused_by_its_path_and_with_the_mend() {
        let limits = Limits { io_max: vec!["/dev/no-such-disk:rbps=1M".parse().unwrap()], ..Limits::default() };
        let problem = looked_up(limits).unwrap_err();
        assert_eq!(problem.kind, ProblemKind::Refused);
        assert!(problem.message.contains("/dev/no-such-disk"), "{}", problem.message);
        assert!(problem.hint.unwrap().contains("lsblk"));
        assert!(looked_up(Limits::default()).is_ok());
    }
}
