//! Quiet moments: every order is answered, every fault is over, and now all that must hold is looked at.
//!
//! Owns the shallow look (what runs is what is wanted, under the same numbers) and the deep one (all stopped: nothing lives,
//! every run has its one record, nothing has grown). What a reader would get wrong: quiet is no time that has passed. Each
//! condition is awaited with a deadline, and the same condition must not be broken by the time the next one holds.

use crate::faults::pair;
use crate::growth::{Held, held};
use crate::records::Records;
use crate::rig::{cli, observe, wait};
use crate::yard::{App, Yard};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What is carried from one quiet moment to the next.
#[derive(Debug, Default)]
pub struct Book {
    pub records: Records,
    /// Every number that any app ever had, and whose.
    ids: BTreeMap<u64, String>,
    /// What keeper and daemon held at the first deep quiet.
    first: Option<[Held; 2]>,
}

/// Everything that must hold, one after the other.
pub fn quiet(yard: &Yard, book: &mut Book) {
    settle(yard);
    ids(yard, book);
    shallow(yard);
    deep(yard, book);
}

/// A pair serves again, nobody is paused, and every app is there.
fn settle(yard: &Yard) {
    insist(yard, &["ls", "--json"]);
    if yard.can_pause {
        yard.opm(&["resume", "all"]);
    }
    let rows = rows(yard);
    for app in &yard.apps {
        let mut known = app.known.lock().unwrap();
        let row = rows.iter().find(|row| row["name"] == *app.name);
        match (known.exists, row) {
            (Some(true), None) => yard.complain(format!("{} is forgotten ({known:?})", app.name)),
            (Some(false), Some(row)) => yard.complain(format!("{} was deleted, and is there: {row}", app.name)),
            _ => {}
        }
        if row.is_none() {
            // Its deletion may have lost its client, and take its time.
            let mut said = cli::run(&mut yard.create(app));
            wait::until(&format!("the name {} to be free", app.name), || {
                let leaving = said.err().contains("is being deleted");
                if leaving {
                    said = cli::run(&mut yard.create(app));
                }
                !leaving
            });
            if said.code != Some(0) && (app.kind.steady || !matches!(said.code, Some(1 | 5))) {
                yard.complain(format!("{said}"));
            }
            (known.up, known.id) = (Some(true), None);
        }
        known.exists = Some(true);
    }
}

fn insist(yard: &Yard, args: &[&str]) -> cli::Output {
    let said = yard.opm(args);
    if said.code != Some(0) {
        yard.complain(format!("at a quiet moment: {said}"));
    }
    said
}

pub fn rows(yard: &Yard) -> Vec<Value> {
    let said = insist(yard, &["ls", "--json"]);
    serde_json::from_slice(&said.stdout).unwrap_or_default()
}

/// Numbers are given once and kept.
fn ids(yard: &Yard, book: &mut Book) {
    let rows = rows(yard);
    for app in &yard.apps {
        let mut known = app.known.lock().unwrap();
        let numbers: BTreeSet<u64> =
            rows.iter().filter(|r| r["name"] == *app.name).filter_map(|r| r["id"].as_u64()).collect();
        let Some(id) = numbers.first().copied().filter(|_| numbers.len() == 1) else {
            yard.complain(format!("{} has the numbers {numbers:?}", app.name));
            continue;
        };
        if known.id.is_some_and(|before| before != id) {
            yard.complain(format!("{} was {known:?} and is {id}", app.name));
        }
        match book.ids.get(&id) {
            Some(owner) if *owner != app.name => yard.complain(format!("{id} was {owner} and is {}", app.name)),
            Some(_) if known.id.is_none() && known.exists == Some(false) => {
                yard.complain(format!("{} is new, and has the used number {id}", app.name));
            }
            _ => drop(book.ids.insert(id, app.name.clone())),
        }
        known.id = Some(id);
        // Either was right; from now on it is what opm says.
        if known.up.is_none() {
            known.up = rows.iter().find(|r| r["name"] == *app.name).map(|r| r["desired"] == "up");
        }
    }
}

/// Observed equals desired, by the kernel and by what this test itself ordered.
fn shallow(yard: &Yard) {
    let mut wrong = Vec::new();
    let held = wait::holds_within(wait::PATIENCE, || {
        wrong = differences(yard);
        wrong.is_empty()
    });
    if !held {
        yard.complain(format!("observed is not desired: {wrong:#?}"));
    }
}

fn differences(yard: &Yard) -> Vec<String> {
    let mut wrong = Vec::new();
    let rows = rows(yard);
    let runs = yard.rig.runs();
    let mut ours = BTreeSet::new();
    for app in &yard.apps {
        let known = *app.known.lock().unwrap();
        for instance in 0..app.instances {
            let Some(row) = rows.iter().find(|r| r["name"] == *app.name && r["instance"] == instance) else {
                wrong.push(format!("{}:{instance} is not there", app.name));
                continue;
            };
            let home = format!("{}.{instance}", known.id.unwrap_or(u64::MAX));
            let live: Vec<_> = runs.iter().filter(|r| r.instance == home && !r.pids.is_empty()).collect();
            if let Err(why) = stands(app, known.up == Some(true), row, &live) {
                wrong.push(format!("{}:{instance} {why}: {row}, {live:?}", app.name));
            }
            ours.insert(home);
        }
    }
    if rows.len() != ours.len() {
        wrong.push(format!("{} rows for {} instances", rows.len(), ours.len()));
    }
    wrong.extend(runs.iter().filter(|r| !ours.contains(&r.instance)).map(|r| format!("whose is {r:?}")));
    wrong
}

fn stands(app: &App, up: bool, row: &Value, live: &[&observe::Run]) -> Result<(), &'static str> {
    if row["desired"] != if up { "up" } else { "down" } {
        return Err("is wanted otherwise");
    }
    if live.len() > 1 {
        return Err("has several live runs");
    }
    if !up {
        return (live.is_empty() && row["state"] == "stopped").then_some(()).ok_or("is not down");
    }
    if app.kind.steady {
        let run = live.first().ok_or("does not live")?;
        if row["state"] != "online" || row["run"] != run.number {
            return Err("is not online as what lives");
        }
        return row["pid"].as_u64().is_some_and(|pid| run.pids.contains(&(pid as u32))).then_some(()).ok_or("main");
    }
    Ok(())
}

/// All stopped: nothing lives at once, records are complete, nothing has grown. Then all up again.
fn deep(yard: &Yard, book: &mut Book) {
    insist(yard, &["stop", "all"]);
    let left = yard.rig.living();
    if !left.is_empty() {
        yard.complain(format!("all is stopped, and there live {left:?}"));
    }
    let strays = crate::observer::marked(yard);
    if !strays.is_empty() {
        yard.complain(format!("all is stopped, and there live {strays:?}"));
    }
    let complete = wait::holds_within(wait::PATIENCE, || {
        book.records.read(yard);
        book.records.missing().is_empty() && yard.rig.runs().is_empty()
    });
    if !complete {
        let (missing, left) = (book.records.missing(), yard.rig.runs());
        yard.complain(format!("runs without exit record: {missing:?}; cgroups left: {left:?}"));
    }
    book.records.check(yard);
    grown(yard, book);
    yard.keeper_deaths.lock().unwrap().clear();
    let said = yard.opm(&["start", "all"]);
    if !matches!(said.code, Some(0 | 1 | 5)) {
        yard.complain(format!("{said}"));
    }
    for app in &yard.apps {
        let mut known = app.known.lock().unwrap();
        (known.up, known.signalled) = (Some(true), false);
    }
}

/// With nothing running, keeper and daemon hold what they held the first time.
fn grown(yard: &Yard, book: &mut Book) {
    let look = || {
        let pair = pair(yard);
        Some([held(pair.keeper.as_ref()?.0)?, held(pair.daemon.as_ref()?.0)?])
    };
    let Some(first) = book.first.or_else(look) else { return yard.complain("no pair".into()) };
    book.first = Some(first);
    let mut now = None;
    // The connections of the last clients are still being closed.
    let back = wait::holds_within(wait::PATIENCE, || {
        now = look();
        now.is_some_and(|now| now.iter().zip(&first).all(|(now, first)| now.descriptors <= first.descriptors + 3))
    });
    yard.tell(&format!("quiet: keeper and daemon hold {now:?}"));
    if !back {
        yard.complain(format!("descriptors grew: first {first:?}, now {now:?}"));
    }
    if now.is_some_and(|[keeper, daemon]| keeper.private > 4096 || daemon.private > 96 * 1024) {
        yard.complain(format!("memory grew: {now:?}"));
    }
}
