//! `opm why`: the answer in the first line, and what it rests on: who ordered what, how runs ended, what they said last.

use crate::rig::observe::Grip;
use crate::rig::{Rig, cli, wait};
use rustix::process::Signal;
use serde_json::Value;

/// What `why` says, once it says all of this.
#[track_caller]
fn await_why(rig: &Rig, app: &str, words: &[&str]) -> String {
    let mut said = String::new();
    let held = wait::holds_within(wait::PATIENCE, || {
        said = rig.opm(&["why", app]).out();
        words.iter().all(|word| said.contains(word))
    });
    assert!(held, "waited in vain for {words:?} in:\n{said}");
    said
}

/// The first line.
fn answer(said: &str) -> &str {
    said.lines().next().unwrap_or_default()
}

#[track_caller]
fn facts(rig: &Rig, app: &str) -> Value {
    rig.ok(&["why", app, "--json"]).json()[0].clone()
}

#[test]
fn a_failure_is_told_with_its_code_and_its_last_words() {
    let rig = Rig::new();
    cli::run(&mut rig.start_command("job", &["--restart", "never"], &["err:cannot bind port 80", "exit:3"]));
    let said = await_why(&rig, "job", &["| cannot bind port 80\n"]);
    assert!(answer(&said).starts_with("job:0 is errored: it exited with code 3; it is not tried again"), "{said}");
    assert!(said.contains("'start' ordered by ") && said.contains("(uid 0)"), "{said}");
    assert!(said.contains("opm logs job --err"), "{said}");
    let facts = facts(&rig, "job");
    assert_eq!((&facts["exit"]["code"], &facts["exit"]["cause"]), (&3.into(), &"own_exit".into()), "{facts:#}");
    assert_eq!(facts["started"]["because"], "order", "{facts:#}");
}

/// Ten times the same words are one record, and nine that say "the same": a crash loop must not fill the journal.
#[test]
fn a_crash_loop_is_told_in_one_sentence_and_its_words_once() {
    let rig = Rig::new();
    let words = "x".repeat(1000);
    cli::run(&mut rig.start_command("loop", &["--backoff", "1ms..2ms"], &[&format!("err:{words}"), "exit:1"]));
    rig.await_state("loop", "errored");
    let said = await_why(&rig, "loop", &["9 more runs ended in the same way"]);
    assert!(answer(&said).contains("is errored: it exited with code 1, 10 times in 60 s; next attempt in "), "{said}");
    assert_eq!(said.matches(&words).count(), 1, "{said}");
    let journal = std::fs::read_to_string(rig.home.join("state/events/current.jsonl")).unwrap();
    assert_eq!(journal.matches(&words).count(), 1, "{journal}");
}

#[test]
fn a_kill_from_outside_is_told_apart_from_orders_and_orders_name_who_gave_them() {
    let rig = Rig::new();
    // It says something on stderr each time; an end by order is no reason to keep that.
    rig.start("web", &["--backoff", "1ms..1ms"], &["err:hello", "append:runs:x", "pause"]);
    rig.await_lines("runs", 1);
    assert!(answer(&rig.ok(&["why", "web"]).out()).contains("(uid 0) ordered 'start'"));
    rig.grip("web").kill();
    rig.await_lines("runs", 2);
    let said = await_why(&rig, "web", &["is online", "was ended from outside by SIGKILL"]);
    assert!(answer(&said).contains("after it was ended from outside by SIGKILL"), "{said}");
    assert_eq!(facts(&rig, "web")["started"]["because"], "restart");

    rig.ok(&["signal", "KILL", "web"]);
    rig.await_lines("runs", 3);
    let said = await_why(&rig, "web", &["'signal SIGKILL' ordered by "]);
    assert!(answer(&said).contains("sent with 'opm signal' by "), "{said}");
    assert_eq!(said.matches("from outside").count(), 1, "that was the first one: {said}");

    rig.ok(&["stop", "web"]);
    let said = rig.ok(&["why", "web"]).out();
    assert!(
        answer(&said).starts_with("web:0 is stopped: ") && answer(&said).contains("(uid 0) ordered 'stop'"),
        "{said}"
    );
    assert!(said.contains("ended on order by SIGTERM"), "{said}");
    let by = &facts(&rig, "web")["order"]["by"];
    assert_eq!((&by["uid"], &by["command"]), (&0.into(), &"opm".into()), "{by:#}");
    assert!(by["pid"].as_u64().is_some_and(|pid| pid > 1), "{by:#}");
    let (_, after_stop) = said.split_once("'stop' ordered").unwrap();
    assert!(!after_stop.contains("last words"), "an order is no failure: {said}");
    let journal = std::fs::read_to_string(rig.home.join("state/events/current.jsonl")).unwrap();
    assert_eq!(journal.matches(r#""event":"last_words""#).count(), 2, "{journal}");
}

/// An order for one instance says nothing of the other.
#[test]
fn an_order_for_one_instance_is_not_blamed_for_the_other() {
    let rig = Rig::new();
    rig.start("web", &["-i", "2"], &["pause"]);
    rig.ok(&["stop", "web:1"]);
    let said = rig.ok(&["why", "web"]).out();
    let (first, second) = said.split_once("\nweb:1 ").expect("a block for each instance");
    assert!(first.starts_with("web:0 is online") && !first.contains("'stop'"), "{said}");
    assert!(second.starts_with("is stopped: ") && second.contains("'stop'"), "{said}");
}

#[test]
fn an_exit_while_the_daemon_was_dead_is_told_with_its_code_and_words() {
    let rig = Rig::new();
    rig.start("web", &["--backoff", "1ms..1ms"], &["append:runs:x", "waitfile:go", "err:no more disk", "exit:77"]);
    rig.await_lines("runs", 1);
    let web = rig.grip("web");
    let pid = rig.daemon_pid();
    let daemon = Grip::on(pid, &rig.cgroup);
    daemon.signal(Signal::STOP);
    // Every thread of it: what a dying daemon still moves into the log, the next one does not count as this run's.
    wait::until("the daemon to be stopped", || all_stopped(pid));
    rig.write("go", "");
    assert!(web.gone_within(cli::DEADLINE));
    std::fs::remove_file(rig.path("go")).unwrap();
    daemon.kill();
    rig.await_lines("runs", 2);
    let said = await_why(&rig, "web", &["exited with code 77", "| no more disk\n", "the one before had died"]);
    assert!(answer(&said).contains("is online") && answer(&said).contains("after it exited with code 77"), "{said}");
}

/// Whether every thread of a process is stopped (proc_pid_stat(5), field 3).
fn all_stopped(pid: u32) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|task| task.unwrap().path().join("stat"));
    let state = |stat: std::path::PathBuf| {
        let text = std::fs::read_to_string(stat).unwrap_or_default();
        text.rsplit(')').next().unwrap_or_default().trim_start().starts_with('T')
    };
    tasks.into_iter().all(state)
}

/// Words that an earlier run wrote are not this one's.
#[test]
fn last_words_are_those_of_this_run_only() {
    let rig = Rig::new();
    let script = rig.write(
        "two.sh",
        "if [ -e second ]; then printf 'new \\377words\\n' >&2; exit 2; fi\n: >second; echo old words >&2; exit 1\n",
    );
    rig.opm(&["start", &script, "--name", "two", "--max-restarts", "2", "--backoff", "1ms..1ms"]);
    let said = await_why(&rig, "two", &["| old words\n", "| new \u{fffd}words\n"]);
    assert_eq!(said.matches("old words").count(), 1, "{said}");
    let story = facts(&rig, "two")["story"].clone();
    let words: Vec<_> = story.as_array().unwrap().iter().filter(|e| e["event"] == "last_words").collect();
    assert_eq!(words.len(), 2, "{story:#}");
    assert_eq!(words[0]["lines"], serde_json::json!(["old words"]));
    assert_eq!(words[1]["lines"][0]["hex"], "6e657720ff776f726473", "bytes survive");
}

#[test]
fn it_answers_for_what_never_ran_what_is_gone_and_without_a_daemon() {
    let rig = Rig::new();
    rig.start("idle", &["--no-autostart"], &["pause"]);
    assert!(answer(&rig.ok(&["why", "idle"]).out()).contains("is stopped: it was never started"));
    rig.start("gone", &[], &["pause"]);
    rig.ok(&["delete", "gone"]);
    let said = rig.ok(&["why", "gone"]).out();
    assert!(
        answer(&said).starts_with("gone is deleted: ") && answer(&said).contains("(uid 0) ordered 'delete'"),
        "{said}"
    );
    rig.opm(&["why", "nobody"]).code(4).says(&["no app matches 'nobody'"]);
    rig.start("web", &[], &["pause"]);
    rig.kill_daemon();
    assert!(answer(&rig.ok(&["why", "web"]).out()).contains("ordered 'start'"), "an adopted run keeps its story");
    rig.ok(&["kill"]);
    let said = rig.ok(&["why", "web"]).out();
    assert!(answer(&said).contains("web:0 is stopped: ") && answer(&said).contains("ordered 'shutdown'"), "{said}");
    assert!(answer(&rig.ok(&["why", "gone"]).out()).starts_with("gone is deleted: "));
    rig.opm(&["why", "nobody"]).code(4);
    rig.ok(&["daemon", "start"]);
    let said = await_why(&rig, "web", &["is online"]);
    assert!(answer(&said).contains("started by the daemon after its own start"), "{said}");
}

#[test]
fn a_run_on_its_way_down_says_who_ordered_it_and_when_it_is_killed() {
    let rig = Rig::new();
    rig.start("deaf", &["--stop-timeout", "60s"], &["ignore:15", "append:up:x", "pause"]);
    rig.await_lines("up", 1);
    let stop = cli::start(rig.command().args(["stop", "deaf"]));
    let said = await_why(&rig, "deaf", &["is stopping"]);
    assert!(answer(&said).contains("ordered 'stop'") && answer(&said).contains("; killed in "), "{said}");
    assert!(said.contains("the main process"), "{said}");
    rig.grip("deaf").kill();
    stop.finish(cli::DEADLINE).ok();
}
