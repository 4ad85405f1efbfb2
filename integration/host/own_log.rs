//! What keeper and daemon say themselves: where it is, what it looks like, and that it stays small.

use crate::rig::{Rig, wait::until};
use std::io::Write;
use std::path::PathBuf;

fn file(rig: &Rig) -> PathBuf {
    rig.home.join("logs/opm-daemon.log")
}

fn said(rig: &Rig) -> String {
    std::fs::read_to_string(file(rig)).unwrap()
}

/// Each line says when, how bad, and who.
#[test]
fn both_of_the_pair_say_in_one_file_what_happened() {
    let rig = Rig::new();
    rig.start("web", &[], &["pause"]);
    assert_eq!(rig.status()["log"], file(&rig).to_str().unwrap());
    let (keeper, daemon) = (rig.keeper_pid(), rig.daemon_pid());
    rig.kill_daemon();
    let next = rig.daemon_pid();
    let told = said(&rig);
    for line in [
        format!(" info opm-daemon[{daemon}]: opm {} serves; 0 apps\n", env!("CARGO_PKG_VERSION")),
        format!(" error opm-keeper[{keeper}]: the daemon ended"),
        format!(" info opm-daemon[{next}]: opm {} serves; 1 app\n", env!("CARGO_PKG_VERSION")),
    ] {
        assert!(told.contains(&line), "'{line}' is missing: {told}");
    }
    for line in told.lines() {
        let time = line.split(' ').next().unwrap();
        assert!(time.len() == 24 && time.starts_with("20") && time.ends_with('Z'), "{line}");
    }
    assert_eq!(rig.ok(&["daemon", "logs"]).out(), told);
}

/// Set aside by whoever speaks next, keeper or daemon; both go on in the new file, and nobody in the old one.
#[test]
fn a_file_that_has_grown_is_set_aside_while_both_run() {
    let rig = Rig::new();
    rig.start("web", &[], &["pause"]);
    for round in ["first", "second", "third"] {
        let mut grown = std::fs::File::options().append(true).open(file(&rig)).unwrap();
        writeln!(grown, "{round} {}", "x".repeat(1 << 20)).unwrap();
        // The keeper speaks of the death, the next daemon of its beginning.
        rig.kill_daemon();
        until("the next daemon to speak", || said(&rig).contains("opm-daemon["));
        let told = said(&rig);
        assert!(told.contains("opm-keeper[") && told.len() < 4096, "{told:.4096}");
    }
    let begins = |end: &str| {
        let text = std::fs::read_to_string(rig.home.join(format!("logs/opm-daemon.log{end}"))).unwrap();
        text.lines().find_map(|line| line.split_once(" xx").map(|(round, _)| round.to_owned())).unwrap()
    };
    assert_eq!((begins(".1"), begins(".2")), ("third".to_owned(), "second".to_owned()));
    assert!(!rig.home.join("logs/opm-daemon.log.3").exists());
}

/// An external logrotate takes it away: what is said next stands in a new file.
#[test]
fn a_file_that_was_moved_away_is_made_anew() {
    let rig = Rig::new();
    rig.start("web", &[], &["pause"]);
    std::fs::rename(file(&rig), file(&rig).with_extension("log-20261121")).unwrap();
    rig.kill_daemon();
    until("both to speak", || file(&rig).exists() && said(&rig).contains("opm-daemon["));
    assert!(said(&rig).contains("opm-keeper["), "{}", said(&rig));
}
