//! The keeper's protocol in both directions, and what it passes to a daemon.

use crate::config;
use crate::mutate::{apply, edits};
use opm::keeper::protocol::passed::Passed;
use opm::keeper::protocol::{Reload, ToDaemon, ToKeeper};
use opm::kernel::clone::{Ended, Wait};
use opm::kernel::passing::LONGEST;
use proptest::prelude::*;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

fn messages() -> Vec<Vec<u8>> {
    let (user, system) = (Duration::from_micros(5), Duration::from_micros(6));
    let ended = |wait| Ended { pid: 4242, wait, user, system, max_rss: 4096 };
    let reload = Reload { key: "k".into(), from: "0.1.0".into(), failure: "it\ndid not".into() };
    let to_keeper = [
        ToKeeper::Hold(7),
        ToKeeper::Drop(u64::MAX),
        ToKeeper::Main(7, 4242),
        ToKeeper::Ack(7),
        ToKeeper::Ready,
        ToKeeper::Failed("no room".into()),
        ToKeeper::Bye(true),
        ToKeeper::Reload(reload.clone()),
        ToKeeper::Renew(1),
        ToKeeper::Alive,
    ];
    let to_daemon = [
        ToDaemon::Held(7),
        ToDaemon::Exit(7, ended(Wait::Code(3))),
        ToDaemon::Exit(8, ended(Wait::Signal(11, true))),
        ToDaemon::End,
        ToDaemon::Ping,
        ToDaemon::Reloaded(reload),
        ToDaemon::Before("killed".into()),
    ];
    to_keeper.iter().map(ToKeeper::encode).chain(to_daemon.iter().map(ToDaemon::encode)).collect()
}

#[test]
fn packets_that_nobody_sent_are_refused_or_mean_one_thing() {
    let messages = messages();
    proptest!(config(2000, 1), |(which in 0..messages.len(), edits in edits())| {
        let mut bytes = apply(&messages[which], &edits);
        bytes.truncate(LONGEST); // No packet is longer.
        let (keeper, daemon) = (ToKeeper::decode(&bytes), ToDaemon::decode(&bytes));
        // Whatever is understood is understood the same when it is said again. What is no UTF-8 grows on the way.
        if std::str::from_utf8(&bytes).is_ok() {
            prop_assert_eq!(keeper.as_ref().and_then(|m| ToKeeper::decode(&m.encode())), keeper);
            prop_assert_eq!(daemon.as_ref().and_then(|m| ToDaemon::decode(&m.encode())), daemon);
        }
    });
}

#[test]
fn what_is_passed_is_refused_or_means_one_thing() {
    let good = b"3 3 3 4 5 4242 987654321 1024 /usr/bin/opm";
    proptest!(config(2000, 1), |(edits in edits())| {
        let bytes = apply(good, &edits);
        if let Some(passed) = Passed::decode(std::ffi::OsStr::from_bytes(&bytes)) {
            prop_assert_eq!(Passed::decode(&passed.encode()), Some(passed.clone()));
            let _ = passed.understood();
        }
    });
}
