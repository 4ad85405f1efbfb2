//! The installed opm takes over: no app notices, and one that cannot serve is gone back from.

use crate::rig::observe::{Identity, command_line, identity};
use crate::rig::{OPM, Rig, cli, wait::until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Main processes by app name, as opm says and the kernel confirms.
fn mains(rig: &Rig) -> BTreeMap<String, Identity> {
    let name = |row: &Value| row["name"].as_str().unwrap().to_owned();
    rig.rows().iter().map(|row| (name(row), identity(row["pid"].as_u64().unwrap() as u32).expect("it lives"))).collect()
}

fn start_five(rig: &Rig) -> BTreeMap<String, Identity> {
    let app = |n| json!({"name": format!("a{n}"), "script": rig.prog, "args": ["append:runs:x", "pause"]});
    let file = rig.write("apps.json", &json!({"apps": (0..5).map(app).collect::<Vec<_>>()}).to_string());
    rig.ok(&["start", &file]);
    rig.await_lines("runs", 5);
    mains(rig)
}

/// Which file a process was made from.
fn program(pid: u32) -> (u64, u64) {
    let file = std::fs::metadata(format!("/proc/{pid}/exe")).unwrap();
    (file.dev(), file.ino())
}

fn installed(rig: &Rig) -> (u64, u64) {
    let file = std::fs::metadata(&rig.opm).unwrap();
    (file.dev(), file.ino())
}

/// Keeper and daemon become the installed program, the keeper in the same process; apps, exits and orders go on as if nothing
/// had been.
#[test]
fn the_installed_opm_takes_over_and_no_app_notices() {
    let rig = Rig::with_own_opm();
    let before = start_five(&rig);
    let (keeper, mut daemon) = (rig.keeper_pid(), rig.daemon_pid());
    for _ in 0..3 {
        rig.install(Path::new(OPM));
        let told = rig.ok(&["daemon", "reload", "--json"]).json();
        let now = rig.daemon_pid();
        assert_ne!(now, daemon);
        assert_eq!((&told["pid"], &told["apps"]), (&json!(now), &json!(5)), "{told:#}");
        assert_eq!(rig.keeper_pid(), keeper, "the keeper stays the parent of all");
        until("the keeper to be renewed", || program(keeper) == installed(&rig));
        assert_eq!(program(now), installed(&rig));
        let called = || std::fs::read_to_string(format!("/proc/{keeper}/comm")).unwrap();
        until("the keeper to be called opm", || called() == "opm\n");
        assert_eq!(mains(&rig), before);
        daemon = now;
    }
    let told = rig.ok(&["events", "-n", "200"]).out();
    assert_eq!(told.matches("'reload' ordered by").count(), 3, "{told}");
    // What the renewed keeper keeps: exits, pipes, orders.
    let dies = ["append:dies:x", "waitfile:die", "exit:41"];
    rig.start("dies", &["--restart", "never"], &dies);
    rig.await_lines("dies", 1);
    rig.install(Path::new(OPM));
    rig.ok(&["daemon", "reload"]).says(&["took over"]);
    rig.write("die", "");
    let row = rig.await_state("dies", "errored");
    assert_eq!(row["last_exit"]["code"], 41, "{row:#}");
    // And it still does what a keeper is for.
    rig.kill_daemon();
    rig.ok(&["delete", "dies"]);
    assert_eq!(mains(&rig), before);
    assert_eq!(rig.lines("runs").len(), 5, "nothing was started a second time");
    assert!(rig.rows().iter().all(|row| row["restarts"] == 0));
    rig.ok(&["delete", "all"]);
    assert!(rig.app_pids().is_empty(), "adopted apps obey");
}

/// The same file again is no upgrade, but a new daemon all the same; the keeper need not become what it is.
#[test]
fn without_a_new_program_the_daemon_alone_is_replaced() {
    let rig = Rig::with_own_opm();
    let before = start_five(&rig);
    let (keeper, daemon) = (rig.keeper_pid(), rig.daemon_pid());
    rig.ok(&["daemon", "reload"]).says(&["took over from", "5 apps"]);
    assert_ne!(rig.daemon_pid(), daemon);
    assert!(!command_line(keeper).iter().any(|word| word == "--resume"), "{:?}", command_line(keeper));
    assert_eq!(mains(&rig), before);
}

/// Asked alone, the check changes nothing.
#[test]
fn a_check_only_says() {
    let rig = Rig::with_own_opm();
    start_five(&rig);
    let daemon = rig.daemon_pid();
    rig.install(Path::new(OPM));
    rig.ok(&["daemon", "reload", "--check"]).says(&["can take over", "5 apps"]);
    assert_eq!(rig.daemon_pid(), daemon);
    rig.ok(&["kill"]);
    rig.opm(&["daemon", "reload"]).code(3).says(&["no daemon runs"]);
}

/// What cannot even be executed, or cannot read what is saved, is refused before anything is touched.
#[test]
fn what_fails_the_check_is_refused_and_nothing_is_touched() {
    let rig = Rig::with_own_opm();
    let before = start_five(&rig);
    let daemon = rig.daemon_pid();
    let broken = rig.write("broken", "this is no program\n");
    rig.install(Path::new(&broken));
    cli::run(rig.command_of(OPM).args(["daemon", "reload"]))
        .code(1)
        .says(&["cannot be executed", "no app was touched"]);
    let says_no = rig.write("says-no", "#!/bin/sh\necho 'out of order' >&2\nexit 7\n");
    rig.install(Path::new(&says_no));
    cli::run(std::process::Command::new("chmod").arg("755").arg(&rig.opm)).ok();
    // It is executed by its descriptor, which an interpreter does not get.
    for check in [&["daemon", "reload", "--check"][..], &["daemon", "reload"]] {
        cli::run(rig.command_of(OPM).args(check)).code(1).says(&["does not answer whether it could take over"]);
    }
    rig.install(Path::new(OPM));
    let index = rig.home.join("state/index.json");
    let text = std::fs::read_to_string(&index).unwrap();
    assert!(text.contains("\"version\": 2,"), "{text}");
    std::fs::write(&index, text.replace("\"version\": 2,", "\"version\": 1000,")).unwrap();
    rig.opm(&["daemon", "reload"]).code(1).says(&["would not start", "index.json"]);
    std::fs::write(&index, text).unwrap();
    assert_eq!(rig.daemon_pid(), daemon, "the same daemon all along");
    assert_eq!(mains(&rig), before);
}

/// It passed the check and dies all the same before it serves: back to the one that served, and the reason is said. The bad one is
/// not tried again, not even after the next death, until another file is installed.
#[test]
fn what_does_not_get_ready_is_gone_back_from() {
    let rig = Rig::with_own_opm();
    let before = start_five(&rig);
    let keeper = rig.keeper_pid();
    let good = program(rig.daemon_pid());
    for (how, why) in [("exit", "code 3"), ("abort", "SIGABRT")] {
        rig.install_impostor(how);
        cli::run(rig.command_of(OPM).args(["daemon", "reload"])).code(1).says(&[
            "could not take over",
            why,
            "serves on",
            "no app was touched",
        ]);
        assert_eq!(cli_status(&rig)["keeper_pid"], keeper);
        let before = cli_status(&rig)["before"].to_string();
        assert!(before.contains("did not last") && before.contains(why), "{before}");
        assert_eq!(program(cli_status(&rig)["pid"].as_u64().unwrap() as u32), good);
    }
    let old = cli_status(&rig)["pid"].as_u64().unwrap() as u32;
    crate::rig::observe::Grip::on(old, &rig.cgroup).kill();
    until("another daemon to serve", || cli_status(&rig)["pid"] != old);
    assert_eq!(
        program(cli_status(&rig)["pid"].as_u64().unwrap() as u32),
        good,
        "a daemon's death is no reason to try again"
    );

    rig.install(Path::new(OPM));
    rig.ok(&["daemon", "reload"]).says(&["took over"]);
    until("the keeper to be renewed", || program(keeper) == installed(&rig));
    assert_eq!(program(rig.daemon_pid()), installed(&rig));
    assert_eq!(mains(&rig), before);
    assert_eq!(rig.lines("runs").len(), 5);
}

fn cli_status(rig: &Rig) -> Value {
    cli::run(rig.command_of(OPM).args(["daemon", "status", "--json"])).ok().json()
}

/// It serves, and dies of it a moment later: that is no success either. Whoever looks finds the one that served before.
#[test]
fn what_serves_only_for_a_moment_is_gone_back_from() {
    let rig = Rig::with_own_opm();
    let before = start_five(&rig);
    let good = program(rig.daemon_pid());
    rig.install_impostor("brief");
    // It did take over, as far as can be said by then.
    cli::run(rig.command_of(OPM).args(["daemon", "reload"])).ok();
    let gone_back = || {
        let status = cli_status(&rig);
        let said = status["before"].as_str().unwrap_or_default();
        said.contains("did not last") && program(status["pid"].as_u64().unwrap() as u32) == good
    };
    until("the one that served before", gone_back);
    assert_eq!(mains(&rig), before);
    assert_eq!(rig.lines("runs").len(), 5);
    rig.install(Path::new(OPM));
    rig.ok(&["daemon", "reload"]).says(&["took over"]);
    let keeper = rig.keeper_pid();
    until("the keeper to be renewed", || program(keeper) == installed(&rig));
}

/// One that hangs instead of serving has its time, and no more.
#[test]
fn what_does_not_get_ready_in_time_is_gone_back_from() {
    let rig = Rig::with_own_opm();
    let keeper = cli::start(rig.command().args(["daemon", "run", "--ready-timeout", "300ms"]));
    until("the daemon to serve", || rig.opm(&["ping"]).code == Some(0));
    let before = start_five(&rig);
    rig.install_impostor("hang");
    cli::run(rig.command_of(OPM).args(["daemon", "reload"]))
        .code(1)
        .says(&["could not take over", "not there in 300ms"]);
    rig.install(Path::new(OPM));
    assert_eq!(mains(&rig), before);
    rig.ok(&["kill"]);
    keeper.finish(cli::DEADLINE).says(&["not there in 300ms"]);
}

/// A package manager may take the program away before it puts the next one there.
#[test]
fn a_daemon_that_dies_while_nothing_is_installed_is_followed_by_what_served_last() {
    let rig = Rig::with_own_opm();
    let before = start_five(&rig);
    let old = rig.daemon_pid();
    let away = rig.opm.with_extension("away");
    std::fs::rename(&rig.opm, &away).unwrap();
    crate::rig::observe::Grip::on(old, &rig.cgroup).kill();
    until("another daemon to serve", || cli_status(&rig)["pid"] != old);
    std::fs::rename(&away, &rig.opm).unwrap();
    assert_eq!(mains(&rig), before);
}

/// What is installed may be no program at all by the time that a daemon dies: copied by halves, of another machine.
#[test]
fn a_daemon_that_dies_while_what_is_installed_cannot_be_executed_is_followed_by_what_served_last() {
    let rig = Rig::with_own_opm();
    let before = start_five(&rig);
    let (keeper, old) = (rig.keeper_pid(), rig.daemon_pid());
    let good = program(old);
    let broken = rig.write("broken", "this is no program\n");
    cli::run(std::process::Command::new("chmod").args(["755", &broken])).ok();
    rig.install(Path::new(&broken));
    crate::rig::observe::Grip::on(old, &rig.cgroup).kill();
    until("another daemon to serve", || cli_status(&rig)["pid"] != old);
    assert_eq!(program(cli_status(&rig)["pid"].as_u64().unwrap() as u32), good);
    assert_eq!(cli_status(&rig)["keeper_pid"], keeper);
    rig.install(Path::new(OPM));
    assert_eq!(mains(&rig), before);
}

/// Orders that come while one daemon makes room for the next are carried out once, each.
#[test]
fn orders_and_reads_outlast_reloads() {
    let rig = Rig::with_own_opm();
    let before = start_five(&rig);
    let mut orders = Vec::new();
    for n in 0..12 {
        orders.push(cli::start(&mut rig.start_command(&format!("new{n}"), &[], &[&format!("tag{n}"), "pause"])));
        orders.push(cli::start(rig.command().args(["ls", "--json"])));
        if n % 2 == 0 {
            rig.install(Path::new(OPM));
        }
        orders.push(cli::start(rig.command().args(["daemon", "reload"])));
        orders.push(cli::start(rig.command().args(["restart", "a0"])));
    }
    for order in orders {
        order.finish(cli::DEADLINE).ok();
    }
    for n in 0..12 {
        assert_eq!(rig.copies(&format!("tag{n}")).len(), 1, "one copy of new{n}");
    }
    let mut after = mains(&rig);
    after.retain(|name, _| name.starts_with('a') && name != "a0");
    assert!(after.iter().all(|(name, main)| before[name] == *main));
    assert_eq!(rig.living().len(), 17);
}
