//! The daemon killed between any two effects, on real Linux: afterwards one copy, and what lives is what is wanted.
//!
//! Needs `--features failpoints`. The contract with the daemon: `OPM_FAILPOINT=<effect>:<count>` in its environment makes it abort
//! right before it performs that effect for the count-th time (`after_clone`: right after clone3, before anything is recorded).
//! Once only: it leaves `$OPM_HOME/run/failpoint-fired`, and a daemon that finds this file ignores the variable.

/// Names of effects, and how often to let each be reached.
#[cfg(feature = "failpoints")]
const POINTS: [(&str, u32); 12] = [
    ("persist", 4),
    ("spawn", 3),
    ("after_clone", 3),
    ("record", 4),
    ("reply", 4),
    ("mark_stop", 2),
    ("signal", 2),
    ("freeze", 1),
    ("thaw", 3),
    ("kill", 2),
    ("retire", 3),
    ("remove", 3),
];

/// The suite of a default build says that it did not look, and does so as a pass that names its own condition.
#[cfg(not(feature = "failpoints"))]
#[test]
fn failpoints_are_absent_from_this_build() {
    // A release must not have them: the variable changes nothing.
    let mut rig = crate::rig::Rig::new();
    rig.env = vec![("OPM_FAILPOINT".into(), "spawn:1".into())];
    rig.start("web", &[], &["pause"]);
    assert!(!rig.home.join("run/failpoint-fired").exists());
    assert_eq!(rig.app_pids().len(), 1);
}

#[cfg(feature = "failpoints")]
mod armed {
    use super::POINTS;
    use crate::rig::{Rig, cli, wait};

    /// Start, crash, restart, stop and start again an app while the daemon dies before the `count`-th effect of one kind.
    fn story(effect: &str, count: u32) -> bool {
        let mut rig = Rig::new();
        rig.env = vec![("OPM_FAILPOINT".into(), format!("{effect}:{count}"))];
        let ask = |args: &[&str]| cli::run(rig.command().args(args));
        // A stop that needs the whole ladder: asked, not obeyed, killed.
        let flags = ["--stop-timeout", "150ms", "--min-uptime", "1ms"];
        cli::run(&mut rig.start_command("web", &flags, &["ignore:15", "tagged", "pause"])).ok();
        agrees(&rig, 1, &format!("{effect}:{count} after start"));
        rig.grip("web").kill();
        rig.await_row("web", "restarted", |row| row["state"] == "online" && row["restarts"].as_u64() >= Some(1));
        agrees(&rig, 1, &format!("{effect}:{count} after crash"));
        for (verb, copies) in
            [("pause", 1), ("resume", 1), ("restart", 1), ("pause", 1), ("stop", 0), ("start", 1), ("stop", 0)]
        {
            ask(&[verb, "web"]).ok();
            assert_eq!(rig.row("web")["state"] == "paused", verb == "pause", "{effect}:{count} after {verb}");
            agrees(&rig, copies, &format!("{effect}:{count} after {verb}"));
        }
        let row = rig.row("web");
        assert_eq!((&row["state"], &row["desired"]), (&"stopped".into(), &"down".into()), "{effect}:{count} {row:#}");
        // A child whose daemon died under it writes to a pipe that nobody reads: that must not be what ends it.
        let journal = std::fs::read_to_string(rig.home.join("state/events/current.jsonl")).unwrap();
        assert!(!journal.contains("SIGPIPE"), "{effect}:{count} {journal}");
        ask(&["delete", "web"]).ok();
        assert!(rig.rows().is_empty(), "{effect}:{count}");
        every_end_has_a_beginning(&rig, &format!("{effect}:{count}"));
        rig.home.join("run/failpoint-fired").exists()
    }

    /// Nobody reads of the exit of a run that never began.
    #[track_caller]
    fn every_end_has_a_beginning(rig: &Rig, when: &str) {
        let text = std::fs::read_to_string(rig.home.join("state/events/current.jsonl")).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let of =
            |event: &str| lines.iter().filter(|l| l["event"] == event).map(|l| l["run"].as_u64().unwrap()).collect();
        let (began, ended): (Vec<u64>, Vec<u64>) = (of("started"), of("exited"));
        for run in &ended {
            assert_eq!(began.iter().filter(|began| *began == run).count(), 1, "{when}: run {run}: {text}");
        }
        assert!(ended.len() > 2, "{when}: {text}");
    }

    #[track_caller]
    fn agrees(rig: &Rig, copies: usize, when: &str) {
        wait::until_or(
            &format!("{copies} copies {when}"),
            wait::PATIENCE,
            || rig.copies("tagged").len() == copies,
            || (rig.app_pids(), rig.rows()),
        );
        let runs = rig.living();
        assert_eq!(runs.len(), copies, "{when}: {runs:?}");
    }

    fn every_count(effect: &str) {
        let &(_, counts) = POINTS.iter().find(|(name, _)| *name == effect).unwrap();
        for count in 1..=counts {
            let fired = story(effect, count);
            assert!(fired || count > 1, "the daemon was never killed before {effect}: the name is unknown to it");
        }
    }

    /// The order to delete is cut in two anywhere and sent again by its client: it is answered as if nothing had been, nothing
    /// lives, and the name was nobody else's for as long as something did.
    #[test]
    fn a_deletion_is_answered_as_if_nothing_had_been() {
        let points = [
            ("persist", 2),
            ("mark_stop", 1),
            ("signal", 1),
            ("kill", 1),
            ("retire", 1),
            ("remove", 1),
            ("forget", 1),
            ("reply", 2),
        ];
        for (effect, count) in points {
            let mut rig = Rig::new();
            rig.env = vec![("OPM_FAILPOINT".into(), format!("{effect}:{count}"))];
            cli::run(&mut rig.start_command("web", &["--stop-timeout", "300ms"], &["ignore:15", "tagged", "pause"]))
                .ok();
            agrees(&rig, 1, "after start");
            let delete = cli::start(rig.command().args(["delete", "web"]));
            // Refused while it lives, started once it is gone: never beside it.
            let successor = || cli::run(&mut rig.start_command("web", &[], &["successor", "pause"])).code == Some(0);
            wait::until(&format!("the name to be free ({effect})"), || {
                assert!(rig.living().len() <= 1, "{effect}: {:?}", rig.living());
                successor() && rig.copies("successor").len() == 1
            });
            assert!(rig.copies("tagged").is_empty(), "{effect}");
            delete.finish(cli::DEADLINE).ok().says(&["deleted web"]);
            assert_eq!(rig.copies("successor").len(), 1, "{effect}: sent again, it is about what it was about");
            let text = std::fs::read_to_string(rig.home.join("state/events/current.jsonl")).unwrap();
            assert_eq!(text.matches(r#""event":"exited""#).count(), 1, "{effect}: the end is recorded once: {text}");
            assert!(rig.home.join("run/failpoint-fired").exists(), "the daemon was never killed before {effect}");
        }
    }

    macro_rules! points {
        ($($name:ident)+) => {$(
            #[test]
            fn $name() {
                every_count(stringify!($name));
            }
        )+};
    }
    points! { persist spawn after_clone record reply mark_stop signal freeze thaw kill retire remove }
}
