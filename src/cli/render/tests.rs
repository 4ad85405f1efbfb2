//! Whole screens, from fixed answers.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::api::{AppInfo, Check, Doctor, InForce, LastExit, OrderAnswer, OutcomeBody, Row, Verdict, Word};
use crate::cli::exit::Exit;
use crate::model::policy::Rlimit;
use crate::model::{AppSpec, ByteSize, Cap, LogMode};
use insta::assert_snapshot;
use std::sync::Arc;
use std::time::Duration;

fn screen(width: Option<usize>, colour: bool) -> Screen {
    Screen { width, paint: Paint { on: colour }, now: "2026-11-21T12:00:00Z".parse().unwrap() }
}

fn row(id: u32, name: &str, instance: u32, state: &str) -> Row {
    Row {
        id,
        name: name.into(),
        namespace: "default".into(),
        instance,
        state: state.into(),
        detail: None,
        desired: "up".into(),
        ready: "none".into(),
        pid: None,
        since: Some("2026-11-21T09:57:30Z".into()),
        restarts: 0,
        cpu_percent: None,
        limits: None,
        memory_bytes: None,
        run: None,
        cgroup: None,
        last_exit: None,
        next_attempt: None,
    }
}

fn exit(code: Option<i32>, signal: Option<&str>, core: bool, cause: &str) -> Option<LastExit> {
    let signal = signal.map(str::to_owned);
    let (memory_peak_bytes, memory_max_bytes) = (None, None);
    let at = "2026-11-21T11:56:00Z".into();
    Some(LastExit { code, signal, core, cause: cause.into(), memory_peak_bytes, memory_max_bytes, at })
}

/// One of everything that `ls` has to show.
fn rows() -> Vec<Row> {
    vec![
        Row {
            pid: Some(4242),
            cpu_percent: Some(0.4),
            memory_bytes: Some(47_500_000),
            ready: "yes".into(),
            ..row(0, "web", 0, "online")
        },
        Row {
            pid: Some(4243),
            cpu_percent: Some(212.3),
            memory_bytes: Some(2_300_000_000),
            restarts: 3,
            last_exit: exit(None, Some("SIGSEGV"), true, "signal"),
            ..row(0, "web", 1, "online")
        },
        Row {
            restarts: 7,
            next_attempt: Some("2026-11-21T12:00:11.5Z".into()),
            last_exit: exit(Some(1), None, false, "own_exit"),
            ..row(1, "api", 0, "backoff")
        },
        Row {
            detail: Some("failed to execute /srv/worker: no such file or directory".into()),
            next_attempt: Some("2026-11-21T12:00:48Z".into()),
            last_exit: exit(None, None, false, "spawn_failed"),
            ..row(2, "worker", 0, "errored")
        },
        Row {
            detail: Some("finished".into()),
            last_exit: exit(Some(0), None, false, "own_exit"),
            namespace: "jobs".into(),
            ..row(3, "nightly-report-of-everything", 0, "stopped")
        },
        Row {
            detail: Some("main exited, 2 left".into()),
            last_exit: exit(None, Some("SIGKILL"), false, "out_of_memory"),
            ..row(4, "evil\u{1b}[2J日本", 0, "stopping")
        },
    ]
}

#[test]
fn ls_where_there_is_room() {
    assert_snapshot!(ls::table(&rows(), &screen(None, false)));
}

#[test]
fn ls_at_120_columns() {
    assert_snapshot!(ls::table(&rows(), &screen(Some(120), false)));
}

#[test]
fn ls_at_80_columns() {
    assert_snapshot!(ls::table(&rows(), &screen(Some(80), false)));
}

#[test]
fn ls_at_40_columns() {
    assert_snapshot!(ls::table(&rows(), &screen(Some(40), false)));
}

#[test]
fn ls_in_colour() {
    assert_snapshot!(ls::table(&rows(), &screen(Some(80), true)).replace('\u{1b}', "ESC"));
}

#[test]
fn ls_of_simple_apps() {
    let rows = [rows().remove(0), row(1, "api", 0, "stopped")];
    assert_snapshot!(ls::table(&rows, &screen(Some(80), false)));
}

#[test]
fn ls_never_overflows_a_screen_that_can_hold_anything_at_all() {
    for width in 24..200 {
        for line in ls::table(&rows(), &screen(Some(width), false)).lines() {
            assert!(columns(line) <= width, "{width}: {line}");
        }
    }
}

#[test]
fn info_of_an_app() {
    let mut spec = AppSpec::new("web".parse().unwrap(), "/srv/web/current/app.js".into(), "/srv/web/current".into());
    spec.interpreter = Some("node".into());
    spec.args = vec!["--port".into(), "3000".into(), "two words".into()];
    spec.env.insert("API_TOKEN".into(), "s3cret".into());
    spec.memory_max = Some(ByteSize(300 << 20));
    spec.max_memory_restart = Some(ByteSize(250 << 20));
    spec.io_max = vec!["/dev/sda rbps=1M".parse().unwrap()];
    spec.rlimit.insert("nofile".into(), Rlimit { soft: Some(1024), hard: None });
    spec.umask = Some(0o27);
    spec.instances = 2;
    spec.log_mode = LogMode::Time;
    spec.log_format = Some("%F %T".into());
    spec.log_keep = Cap::None;
    let instances: Vec<Row> = rows()
        .into_iter()
        .take(2)
        .map(|row| Row {
            limits: (row.instance == 0).then(|| InForce {
                memory_max_bytes: Some(300 << 20),
                memory_peak_bytes: Some(120 << 20),
                cpus: Some(0.5),
                cpu_weight: Some(300),
                pids: Some(11),
                pids_max: Some(40),
                io_max: vec!["8:0 rbps=1048576 wbps=max riops=max wiops=max".into()],
                ..InForce::default()
            }),
            run: Some(17),
            cgroup: Some("/sys/fs/cgroup/opm/apps/0.0/run-17".into()),
            ..row
        })
        .collect();
    let info = AppInfo {
        id: 0,
        spec: Arc::new(spec),
        instances,
        processes: vec![Some(4), None],
        out_logs: vec!["/var/log/opm/web-0-out.log".into(), "/var/log/opm/web-1-out.log".into()],
        err_logs: vec!["/var/log/opm/web-0-err.log".into(), "/var/log/opm/web-1-err.log".into()],
    };
    let text = info::app(&info, &screen(None, false));
    assert!(!text.contains("s3cret"));
    assert_snapshot!(text);
}

fn outcome(result: Word) -> OutcomeBody {
    OutcomeBody {
        id: 0,
        name: "web".into(),
        instance: Some(0),
        result,
        pid: None,
        message: None,
        changes: None,
        saved: true,
    }
}

#[test]
fn outcomes_one_by_one() {
    let with_pid = |result| OutcomeBody { pid: Some(4242), ..outcome(result) };
    let lines = [
        ("start", with_pid(Word::Started)),
        ("restart", with_pid(Word::Restarted)),
        ("start", with_pid(Word::AlreadyOnline)),
        ("start", OutcomeBody { instance: None, ..outcome(Word::Added) }),
        ("wait", outcome(Word::Finished)),
        ("stop", OutcomeBody { saved: false, ..outcome(Word::Stopped) }),
        ("stop", outcome(Word::AlreadyStopped)),
        ("delete", OutcomeBody { instance: None, ..outcome(Word::Deleted) }),
        ("signal", with_pid(Word::Signalled)),
        ("signal", OutcomeBody { message: Some("it is paused".into()), ..with_pid(Word::Signalled) }),
        ("pause", with_pid(Word::Paused)),
        ("pause", with_pid(Word::AlreadyPaused)),
        ("resume", with_pid(Word::Resumed)),
        ("reset", outcome(Word::Reset)),
        ("restore", OutcomeBody { instance: None, ..outcome(Word::Kept) }),
        (
            "start",
            OutcomeBody {
                message: Some("failed to execute /x: permission\u{1b} denied".into()),
                ..outcome(Word::Failed)
            },
        ),
        ("stop", OutcomeBody { message: Some("stopping (stuck in the kernel)".into()), ..outcome(Word::Pending) }),
        ("start", outcome(Word::Superseded)),
    ];
    let text: Vec<String> = lines
        .iter()
        .map(|(verb, body)| outcome::line(verb, body, Some(Duration::from_millis(31)), Paint { on: false }))
        .collect();
    assert_snapshot!(text.join("\n"));
}

#[test]
fn limits_are_told_once_for_each_app() {
    let limited = |instance, pid, changes: Option<&str>| OutcomeBody {
        instance: Some(instance),
        pid,
        changes: changes.map(str::to_owned),
        ..outcome(Word::Limited)
    };
    let lines = |outcomes: &[OutcomeBody]| {
        outcome::lines("limit", outcomes, Duration::from_millis(31), Paint { on: false }).join("\n")
    };
    let changes = Some("memory_max 512M -> 1G, cpus none -> 2");
    let all: Vec<_> = (0..4).map(|i| limited(i, Some(40 + i), changes)).collect();
    assert_eq!(
        lines(&all),
        "limits of web changed (id 0): memory_max 512M -> 1G, cpus none -> 2; applied to 4 instances"
    );
    let refused = OutcomeBody { message: Some("no such device".into()), pid: None, ..limited(2, None, changes) };
    let mixed = [limited(0, Some(40), None), limited(1, None, None), OutcomeBody { result: Word::Failed, ..refused }];
    assert_eq!(
        lines(&mixed),
        "limits of web are so already (id 0); applied to 1 instance, 1 instance not running\n\
         failed to limit web (id 0, web:2): no such device"
    );
    assert_eq!(lines(&[limited(0, None, changes)]).rsplit("; ").next(), Some("nothing of it runs now"));
}

#[test]
fn the_exit_code_is_the_worst_of_all_outcomes() {
    let answer = |words: &[Word]| OrderAnswer { outcomes: words.iter().map(|w| outcome(*w)).collect() };
    assert_eq!(outcome::exit(&answer(&[])), None);
    assert_eq!(outcome::exit(&answer(&[Word::Started, Word::AlreadyStopped])), None);
    assert_eq!(outcome::exit(&answer(&[Word::Started, Word::Pending])), Some(Exit::NotReached));
    assert_eq!(outcome::exit(&answer(&[Word::Pending, Word::Failed, Word::Started])), Some(Exit::Failed));
}

#[test]
fn a_thousand_outcomes_are_told_by_kind_and_what_went_wrong_singly() {
    let app = |i: u32, result| OutcomeBody { id: i, name: format!("a{i}"), ..outcome(result) };
    let mut all: Vec<_> = (0..900).map(|i| app(i, Word::Started)).collect();
    all.extend((900..999).map(|i| app(i, Word::AlreadyOnline)));
    all.push(OutcomeBody { message: Some("failed to execute /x: no such file".into()), ..app(999, Word::Failed) });
    let lines = outcome::lines("start", &all, Duration::from_millis(612), Paint { on: false });
    assert_snapshot!(lines.join("\n"), @"
    started 900 (a0 to a899) in 612 ms
    99 (a900 to a998) are already online
    failed to start a999 (id 999, a999:0): failed to execute /x: no such file
    ");
}

fn examined(checks: Vec<Check>) -> Doctor {
    let verdict = checks.iter().map(|check| check.verdict).max().unwrap_or(Verdict::Ok);
    Doctor { version: 1, opm: "0.1.0".into(), daemon: None, verdict, checks }
}

#[test]
fn a_doctor_s_lines_stand_in_groups_with_what_is_lost_and_the_mend() {
    let checks = vec![
        Check::ok("daemon.answers", "opm 0.1.0"),
        Check::ok("kernel.version", "6.1.0-56-amd64"),
        Check::note("kernel.pidfd_exit", "not there", "how an app ended is not always known", "a kernel from 6.15 on"),
        Check::ok("places.state", "/var/lib/opm: mode 0700, owner 0"),
        Check::bad("places.state.room", "12.0 MiB of 8.0 GiB free", "changes are refused", "make room"),
        Check::bad("daemon.troubles", "a name\u{1b}[2J that draws", "what it says", "'opm daemon logs' may say more"),
    ];
    assert_snapshot!(doctor::screen(&examined(checks.clone()), &screen(None, false)));
    assert_snapshot!(doctor::screen(&examined(checks), &screen(None, true)));
    let fine = vec![Check::ok("kernel.version", "6.18.2"), Check::ok("kernel.pidfd", "works")];
    assert_snapshot!(doctor::screen(&examined(fine), &screen(None, false)));
}
