//! The clients: people and scripts that give orders at random, several at once, some of them killed half-way.
//!
//! Each answer is judged on the spot, by the kernel: "stopped" while anything of the app lives is a complaint. What a reader
//! would get wrong: an order is refused rightly while the disk is full or descriptors are short, and never else.

use crate::chance::Chance;
use crate::rig::{cli, observe};
use crate::yard::{App, Known, Yard};
use std::process::{Command, Stdio};
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Gives orders until the storm is over.
pub fn client(yard: &Yard, mut chance: Chance) {
    while yard.storming() {
        let app = chance.pick(&yard.apps);
        let mut known = app.known.lock().unwrap();
        if known.exists != Some(true) && chance.one_in(2) {
            order(yard, app, &mut known, "create");
            continue;
        }
        match chance.below(24) {
            0..=2 => order(yard, app, &mut known, "start"),
            3..=6 => order(yard, app, &mut known, "stop"),
            7..=10 => order(yard, app, &mut known, "restart"),
            11 => order(yard, app, &mut known, "reset"),
            12 | 13 => {
                known.signalled = true;
                let signal = *chance.pick(&["TERM", "KILL", "HUP", "USR1", "CONT"]);
                judge(yard, app, &mut known, "signal", || yard.opm(&["signal", signal, &app.name]));
            }
            14 => {
                order(yard, app, &mut known, "delete");
                if known.exists == Some(false) {
                    order(yard, app, &mut known, "create");
                }
            }
            15 => drop(judge(yard, app, &mut known, "ls", || yard.opm(&["ls", "--json"]))),
            16 => order(yard, app, &mut known, "info"),
            17 => drop(judge(yard, app, &mut known, "logs", || {
                yard.opm(&["logs", &app.name, "-n", "3", "--no-follow", "--raw"])
            })),
            18 | 19 => cut_short(yard, app, known, &mut chance),
            20 => contested(yard, app, known, &mut chance),
            21 => drop(judge(yard, app, &mut known, "env", || yard.opm(&["env", &app.name]))),
            _ if yard.can_pause => {
                let verb = *chance.pick(&["pause", "resume", "pause"]);
                order(yard, app, &mut known, verb);
            }
            _ => order(yard, app, &mut known, "restart"),
        }
    }
}

fn order(yard: &Yard, app: &App, known: &mut Known, verb: &str) {
    judge(yard, app, known, verb, || match verb {
        "create" => cli::run(&mut yard.create(app)),
        verb => yard.opm(&[verb, &app.name]),
    });
}

/// Runs a command about an app, holds the answer against what may be, and learns from it.
fn judge(yard: &Yard, app: &App, known: &mut Known, verb: &str, run: impl FnOnce() -> cli::Output) -> cli::Output {
    let over = |counter: &AtomicU64| {
        let before = counter.load(Ordering::SeqCst);
        move |counter: &AtomicU64| before % 2 == 1 || counter.load(Ordering::SeqCst) != before
    };
    let (disk, leaving) = (over(&yard.disk), over(&yard.leaving));
    let kills = yard.kills.load(Ordering::SeqCst);
    let was = *known;
    let said = run();
    let killed = yard.kills.load(Ordering::SeqCst) != kills;
    let refusable = yard.few_descriptors.is_some() || disk(&yard.disk);
    let left = leaving(&yard.leaving);
    let code = said.code.unwrap_or(-1);
    yard.count(&format!("{verb} {code}"));
    let there = was.exists == Some(true);
    let fine = match (verb, code) {
        (_, 0) => true,
        // The pair that this very client started was killed before it was up.
        (_, 3) if killed => true,
        ("create" | "start" | "restart" | "stop" | "delete" | "pause" | "resume", 1 | 5) if left => true,
        // A daemon that has been told to end answers nobody's question any more.
        ("ls" | "info" | "logs" | "env" | "signal" | "reset", 1 | 3) if left => true,
        (_, 4) => !there || refusable,
        ("create", 1) if was.exists != Some(false) => true, // with other flags than it may have got already
        ("create" | "start" | "restart", 1 | 5) => refusable || !app.kind.steady,
        ("signal" | "pause" | "resume", 1) => true, // nobody there
        ("pause" | "resume", 5) => true,
        ("delete", 1) => refusable,
        _ => false,
    };
    if !fine || said.err().contains("panicked") {
        yard.complain(format!("{verb} of {} ({was:?}): {said}", app.name));
    }
    let unsure = code != 0 || said.err().contains("not saved");
    match verb {
        "create" | "start" | "restart" => {
            known.up = if unsure && code != 5 { None } else { Some(true) };
            if verb == "create" {
                known.exists = if code == 0 || code == 5 { Some(true) } else { None };
                known.id = if was.exists == Some(true) { was.id } else { None };
            }
        }
        "stop" => known.up = if unsure { None } else { Some(false) },
        "delete" => {
            known.exists = if unsure { None } else { Some(false) };
            known.up = None;
        }
        _ => {}
    }
    if matches!(verb, "stop" | "delete") && !unsure && !refusable {
        nothing_lives(yard, app, was.id, &said);
    }
    said
}

/// An order has said that it is down: so nothing lives in its cgroups.
fn nothing_lives(yard: &Yard, app: &App, id: Option<u64>, said: &cli::Output) {
    let Some(id) = id else { return };
    for instance in 0..app.instances {
        let dir = yard.rig.cgroup.join(format!("apps/{id}.{instance}"));
        let alive = observe::everybody(&dir);
        if !alive.is_empty() {
            let who: Vec<_> = alive.iter().map(|pid| (pid, observe::command_line(*pid))).collect();
            yard.complain(format!("{} lives on in {}: {who:?}, though {said}", app.name, dir.display()));
        }
    }
}

/// A client that is killed before it has heard the answer.
fn cut_short(yard: &Yard, app: &App, mut known: MutexGuard<'_, Known>, chance: &mut Chance) {
    let verb = *chance.pick(&["start", "stop", "restart"]);
    let mut client = quiet(yard.command().args([verb, &app.name]));
    std::thread::sleep(chance.up_to(Duration::from_millis(15)));
    let _ = client.kill();
    let _ = client.wait();
    known.up = None;
    yard.count("client killed");
}

/// Several orders about one app at the same time: any of them may be the last.
fn contested(yard: &Yard, app: &App, mut known: MutexGuard<'_, Known>, chance: &mut Chance) {
    let orders: Vec<_> = (0..3)
        .map(|_| cli::start(yard.command().args([*chance.pick(&["start", "stop", "restart", "reset"]), &app.name])))
        .collect();
    for order in orders {
        let said = order.finish(cli::DEADLINE);
        if said.err().contains("panicked") || !matches!(said.code, Some(0 | 1 | 4 | 5)) {
            yard.complain(format!("contested: {said}"));
        }
    }
    known.up = None;
    yard.count("contested");
}

fn quiet(command: &mut Command) -> std::process::Child {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}
