//! The two accounts of what every run came to: the app's own, and opm's journal. They must agree.
//!
//! Owns the rules of agreement: exactly one exit record for each run that is over, with the code that the app meant, or with
//! a signal that somebody sent. What a reader would get wrong: "not observed" is right only for a run that outlived its
//! keeper; and a line that was carried over by the journal's rotation is the same line twice, not two records.

use crate::yard::Yard;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read, Seek, SeekFrom};

#[derive(Debug, Clone)]
struct Begun {
    pid: u64,
    app: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meant {
    Code(i64),
    Signal(i64),
}

/// Everything both sides have said so far.
#[derive(Debug, Default)]
pub struct Records {
    read: u64,
    begun: BTreeMap<u64, Begun>,
    meant: BTreeMap<u64, Meant>,
    exits: BTreeMap<u64, Vec<Value>>,
    started: BTreeMap<u64, u64>,
    lines: HashSet<u64>,
    /// Runs that were found right. A second, different record of one is still a complaint.
    settled: BTreeSet<u64>,
    pub not_observed: u64,
}

impl Records {
    /// Reads on in both.
    pub fn read(&mut self, yard: &Yard) {
        let mut file = fs::File::open(&yard.account).unwrap();
        file.seek(SeekFrom::Start(self.read)).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        let whole = text.rfind('\n').map_or(0, |at| at + 1);
        self.read += whole as u64;
        for line in text[..whole].lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let run: u64 = words[1].parse().unwrap();
            match words[0] {
                "begin" => {
                    let begun = Begun { pid: words[2].parse().unwrap(), app: words[3].to_owned() };
                    if let Some(before) = self.begun.insert(run, begun.clone()) {
                        yard.complain(format!("run {run} began twice: {before:?}, {begun:?}"));
                    }
                }
                "code" => drop(self.meant.insert(run, Meant::Code(words[3].parse().unwrap()))),
                "signal" => drop(self.meant.insert(run, Meant::Signal(words[3].parse().unwrap()))),
                _ => {}
            }
        }
        for name in ["previous.jsonl", "current.jsonl"] {
            let text = fs::read(yard.rig.home.join("state/events").join(name)).unwrap_or_default();
            for line in String::from_utf8_lossy(&text).lines() {
                self.journal_line(line);
            }
        }
    }

    fn journal_line(&mut self, line: &str) {
        let known = line.contains("\"exited\"") || line.contains("\"event\":\"started\"");
        let mut hash = DefaultHasher::new();
        // A copy says that it is one, and nothing else.
        line.replacen("\"carried\":true,", "", 1).hash(&mut hash);
        if !known || !self.lines.insert(hash.finish()) {
            return;
        }
        let Ok(event) = serde_json::from_str::<Value>(line) else { return };
        let Some(run) = event["run"].as_u64() else { return };
        match event["event"].as_str() {
            Some("exited") => self.exits.entry(run).or_default().push(event),
            Some("started") => drop(self.started.insert(run, event["pid"].as_u64().unwrap_or(0))),
            _ => {}
        }
    }

    /// The runs that began, are over, and have no record yet.
    pub fn missing(&self) -> Vec<u64> {
        self.begun.keys().copied().filter(|run| !self.exits.contains_key(run)).collect()
    }

    /// Holds the one against the other, for all that is new and over.
    pub fn check(&mut self, yard: &Yard) {
        for (run, records) in &self.exits {
            if records.len() > 1 && self.settled.insert(u64::MAX - run) {
                yard.complain(format!("run {run} has {} exit records: {records:#?}", records.len()));
            }
        }
        let new: Vec<u64> = self.exits.keys().copied().filter(|run| !self.settled.contains(run)).collect();
        for run in new {
            self.settled.insert(run);
            let record = &self.exits[&run][0];
            let begun = self.begun.get(&run);
            if let (Some(begun), Some(pid)) = (begun, self.started.get(&run))
                && begun.pid != *pid
            {
                yard.complain(format!("run {run} is said to be process {pid}, and is {begun:?}"));
            }
            let Some(begun) = begun else { continue };
            if let Err(why) = agree(yard, begun, self.meant.get(&run).copied(), record, &mut self.not_observed) {
                yard.complain(format!("run {run} of {}: {why}: {record}", begun.app));
            }
        }
    }

    pub fn runs(&self) -> usize {
        self.begun.len()
    }
}

fn agree(yard: &Yard, begun: &Begun, meant: Option<Meant>, record: &Value, unseen: &mut u64) -> Result<(), String> {
    let app = yard.apps.iter().find(|app| app.name == begun.app).ok_or("nobody knows this app")?;
    let cause = record["cause"].as_str().unwrap_or_default();
    let signal = record["status"]["signal"]["signal"].as_str();
    let code = record["status"]["code"].as_i64();
    let signalled = app.known.lock().unwrap().signalled;
    if cause == "not_observed" || record["status"] == "not_observed" {
        *unseen += 1;
        let (from, to) = (record["started"].as_u64().unwrap_or(0), record["ended"].as_u64().unwrap_or(0));
        let deaths = yard.keeper_deaths.lock().unwrap();
        return deaths
            .iter()
            .any(|(goes, gone)| from <= *gone && *goes <= to)
            .then_some(())
            .ok_or("no keeper died, and nobody saw it end".into());
    }
    let ordered = matches!(cause, "stop_order" | "deadline");
    match (meant, code, signal) {
        (Some(Meant::Code(meant)), Some(code), None) if meant == code => Ok(()),
        (Some(Meant::Signal(_)), None, Some(_)) => Ok(()),
        (_, None, Some(_)) if ordered || signalled => Ok(()),
        (meant, ..) => Err(format!("it meant {meant:?}")),
    }
}
