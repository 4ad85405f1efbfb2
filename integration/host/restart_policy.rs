//! When a run gets a successor, and when not any more.

use crate::rig::{Rig, cli};
use serde_json::Value;

/// Whether an RFC 3339 time in UTC is later than now.
fn is_future(time: &Value) -> bool {
    let time: jiff::Timestamp = time.as_str().unwrap_or_default().parse().unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time > jiff::Timestamp::now()
}

#[test]
fn each_policy_does_what_it_says() {
    let rig = Rig::new();
    for (policy, code, again) in [
        ("always", 0, true),
        ("always", 1, true),
        ("on-failure", 0, false),
        ("on-failure", 1, true),
        ("never", 0, false),
        ("never", 1, false),
    ] {
        let name = format!("{policy}{code}");
        // The first run exits with the code; a successor finds the marker and stays.
        let ops = [format!("append:{name}:run"), format!("waitfile:{name}.go"), format!("exit:{code}")];
        rig.start(&name, &["--restart", policy, "--backoff", "1ms..1ms"], &ops.each_ref().map(String::as_str));
        let stays = rig.path(&format!("{name}.go"));
        rig.await_lines(&name, 1);
        std::fs::write(&stays, "").unwrap();
        if again {
            rig.await_lines(&name, 2);
        } else {
            // Done on purpose, or failed and not to be tried again.
            let row = rig.await_state(&name, if code == 0 { "stopped" } else { "errored" });
            assert_eq!(row["detail"] == "finished", code == 0, "{row:#}");
            assert_eq!(
                (&row["restarts"], &row["desired"], &row["last_exit"]["code"]),
                (&0.into(), &"up".into(), &code.into()),
                "{row:#}"
            );
            assert!(row["next_attempt"].is_null(), "{row:#}");
            assert_eq!(rig.lines(&name).len(), 1);
        }
        rig.ok(&["delete", &name]);
    }
}

/// Bug 5: a clean exit was counted as a crash in 9 of 10 cases.
#[test]
fn bug_5_a_clean_exit_is_not_a_crash() {
    let rig = Rig::new();
    for n in 0..10 {
        let name = format!("job{n}");
        cli::run(&mut rig.start_command(&name, &["--restart", "on-failure"], &[&format!("append:{name}:x"), "exit:0"]));
        let row = rig.await_state(&name, "stopped");
        assert_eq!(
            (&row["detail"], &row["restarts"], &row["last_exit"]["code"]),
            (&"finished".into(), &0.into(), &0.into()),
            "{row:#}"
        );
        assert_eq!(rig.lines(&name).len(), 1);
    }
}

/// PM2 ends a crash loop for ever, or never; here it is errored after the limit, and says when it tries again.
#[test]
fn ten_failures_make_it_errored_with_a_time_for_the_next_attempt() {
    let rig = Rig::new();
    cli::run(&mut rig.start_command("loop", &["--backoff", "1ms..2ms"], &["append:runs:x", "exit:3"]));
    let row = rig.await_state("loop", "errored");
    assert_eq!(rig.lines("runs").len(), 10, "ten failures in a minute are the limit");
    assert!(is_future(&row["next_attempt"]), "{row:#}");
    assert_eq!(
        (&row["desired"], &row["last_exit"]["code"], &row["pid"]),
        (&"up".into(), &3.into(), &Value::Null),
        "{row:#}"
    );
}

/// `opm reset` forgets failures and tries at once; an order starts it too, and neither is counted.
#[test]
fn reset_and_orders_end_the_waiting() {
    let rig = Rig::new();
    let ops = ["append:runs:x", "exit:3"];
    cli::run(&mut rig.start_command("loop", &["--backoff", "1ms..2ms", "--max-restarts", "3"], &ops));
    rig.await_state("loop", "errored");
    assert_eq!(rig.lines("runs").len(), 3);
    rig.ok(&["reset", "loop"]);
    rig.await_lines("runs", 6);
    rig.await_state("loop", "errored");
    assert_eq!(rig.lines("runs").len(), 6, "three more, as after a new beginning");
    rig.opm(&["start", "loop"]);
    rig.await_lines("runs", 7);
}

/// In a long backoff: shown with its time, ended by an order, and a stop is a stop.
#[test]
fn backoff_is_shown_with_its_time_and_gives_way_to_orders() {
    let rig = Rig::new();
    cli::run(&mut rig.start_command("slow", &["--backoff", "60s"], &["append:runs:x", "exit:1"]));
    let row = rig.await_state("slow", "backoff");
    assert!(is_future(&row["next_attempt"]) && row["pid"].is_null(), "{row:#}");
    rig.opm(&["start", "slow"]);
    rig.await_lines("runs", 2);
    rig.await_state("slow", "backoff");
    rig.ok(&["stop", "slow"]);
    let row = rig.row("slow");
    assert_eq!((&row["state"], &row["next_attempt"]), (&"stopped".into(), &Value::Null), "{row:#}");
    assert_eq!(rig.lines("runs").len(), 2);
}

#[test]
fn a_fixed_restart_delay_takes_the_place_of_the_backoff() {
    let rig = Rig::new();
    rig.start("web", &["--restart-delay", "60000"], &["pause"]);
    rig.grip("web").kill();
    let row = rig.await_state("web", "backoff");
    assert!(is_future(&row["next_attempt"]), "{row:#}");
}

/// As in PM2: these codes mean "done on purpose", whatever the policy.
#[test]
fn stop_exit_codes_are_no_failures() {
    let rig = Rig::new();
    cli::run(&mut rig.start_command("job", &["--stop-exit-codes", "7,9"], &["append:runs:x", "exit:9"]));
    let row = rig.await_state("job", "stopped");
    assert_eq!((&row["detail"], &row["last_exit"]["code"]), (&"finished".into(), &9.into()), "{row:#}");
    assert_eq!(rig.lines("runs").len(), 1);
}

/// Bug 4: of ten crashes after more than five seconds of life none was counted, or shown.
#[test]
fn bug_4_every_crash_is_counted_however_long_it_ran() {
    let rig = Rig::new();
    rig.start("web", &["--min-uptime", "1ms"], &["append:runs:x", "pause"]);
    for crash in 1..=5 {
        rig.await_lines("runs", crash);
        rig.await_state("web", "online");
        rig.grip("web").kill();
        rig.await_row("web", "counted", |row| row["restarts"] == crash);
    }
    assert_eq!(rig.await_state("web", "online")["last_exit"]["signal"], "SIGKILL");
}

/// Bug 7: ten manual restarts used the budget up, and the next crash was the last.
#[test]
fn bug_7_orders_never_count_against_the_start_limit() {
    let rig = Rig::new();
    rig.start("web", &["--min-uptime", "1ms"], &["pause"]);
    for _ in 0..12 {
        rig.ok(&["restart", "web"]);
    }
    assert_eq!(rig.row("web")["restarts"], 0);
    let old = rig.pid("web");
    rig.grip("web").kill();
    rig.await_row("web", "back", |row| row["state"] == "online" && row["pid"] != old);
}

/// Bug 6: one failed respawn was for ever. The program is missing for a while, then back, and so is the app.
#[test]
fn bug_6_a_program_that_was_missing_for_a_while_is_started_when_it_is_back() {
    let rig = Rig::new();
    let (here, gone) = (rig.path("own"), rig.path("away"));
    cli::run(std::process::Command::new("cp").arg(&rig.prog).arg(&here)).ok();
    let flags = ["--name", "web", "--backoff", "20ms..100ms", "--max-restarts", "100000"];
    rig.ok(&[&["start", &here], &flags[..], &["--", "pause"]].concat());
    std::fs::rename(&here, &gone).unwrap();
    rig.grip("web").kill();
    let row = rig.await_row("web", "failing to start", |row| row["last_exit"]["cause"] == "spawn_failed");
    assert!(
        row["detail"].as_str().is_some_and(|d| d.to_lowercase().contains("no such file")),
        "the reason is shown: {row:#}"
    );
    std::fs::rename(&gone, &here).unwrap();
    rig.await_state("web", "online");
    assert_eq!(rig.app_pids().len(), 1);
}
