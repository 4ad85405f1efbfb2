//! What is recorded of a run's end beyond how it ended: the last lines that it wrote to its standard error, where the reason mostly
//! stands, and whether a signal that ended it was opm's.
//!
//! Owns whose last words are wanted and how much is kept. It must not read anything; the log pump does, once for each run that failed and
//! never for one that was ordered to end. What a reader would get wrong: it is a record of what was said, and no log. The file has
//! it all, as long as the file is kept.

use super::logs::pump::LastBytes;
use crate::model::exit::Sequel;
use crate::model::{AppId, Cause, Event, ExitRecord, ExitStatus, InstanceId, LastWords, RawText, RunId, Signal};
use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// As much is kept at most.
const BYTES: usize = 2 << 10;
const LINES: usize = 10;

/// Whose last words are wanted, and whose were recorded.
#[derive(Debug, Default)]
pub(super) struct Mourning {
    wanted: HashSet<RunId>,
    /// The signals that were sent to runs that live.
    sent: HashSet<(RunId, Signal)>,
    /// Which run of each instance had them written last, and their hash: the same again is not written again.
    said: HashMap<InstanceId, (RunId, u64)>,
}

impl Mourning {
    /// A signal is sent to a run.
    pub(super) fn sent(&mut self, run: RunId, signal: Signal) {
        self.sent.insert((run, signal));
    }

    /// Takes in what happened, and completes it: whether the signal that ended a run was ours. (Sent by a daemon that died before it
    /// saw the end, it is called one from outside. That would take a mark on the cgroup for each signal.)
    pub(super) fn note(&mut self, event: &mut Event) {
        match event {
            Event::Exited(record) => {
                let run = record.run;
                if let (Cause::Signal, ExitStatus::Signal { signal, .. }) = (record.cause, record.status)
                    && self.sent.contains(&(run, signal))
                {
                    Arc::make_mut(record).sent = true;
                }
                self.sent.retain(|(of, _)| *of != run);
                if failed(record) {
                    self.wanted.insert(run);
                }
            }
            Event::Deleted { app, .. } => self.forget(*app),
            Event::Started { .. }
            | Event::LastWords(_)
            | Event::Cleared { .. }
            | Event::Ordered { .. }
            | Event::Added { .. }
            | Event::Changed { .. }
            | Event::DaemonStarted { .. }
            | Event::DaemonEnded { .. }
            | Event::Trouble { .. } => {}
        }
    }

    fn forget(&mut self, app: AppId) {
        self.said.retain(|instance, _| instance.app != app);
    }

    /// How many of its last bytes are to be read; 0 if none are wanted.
    pub(super) fn wanted(&self, run: RunId) -> usize {
        if self.wanted.contains(&run) { BYTES } else { 0 }
    }

    /// What is to be recorded of a run's last bytes, if anything.
    pub(super) fn words(&mut self, instance: InstanceId, run: RunId, last: &LastBytes) -> Option<LastWords> {
        if !self.wanted.remove(&run) {
            return None;
        }
        let (lines, cut) = lines(last);
        if lines.is_empty() {
            return None;
        }
        let mut hasher = DefaultHasher::new();
        lines.hash(&mut hasher);
        let hash = hasher.finish();
        match self.said.get(&instance) {
            Some((before, said)) if *said == hash => {
                Some(LastWords { instance, run, lines: Vec::new(), same_as: Some(*before), cut })
            }
            Some(_) | None => {
                self.said.insert(instance, (run, hash));
                Some(LastWords { instance, run, lines, same_as: None, cut })
            }
        }
    }
}

/// Whether a run ended as nobody wanted.
fn failed(record: &ExitRecord) -> bool {
    let by_itself = match record.cause {
        Cause::OwnExit | Cause::Signal | Cause::OutOfMemory | Cause::NotObserved => true,
        // Ordered; and what could not be started has said nothing.
        Cause::StopOrder | Cause::MemoryMark | Cause::Deadline | Cause::SpawnFailed => false,
    };
    let done = match record.sequel {
        Sequel::Finished => true,
        Sequel::Errored { .. } | Sequel::Restart { .. } | Sequel::Down | Sequel::Replaced => false,
    };
    by_itself && !done
}

/// The last lines in these bytes, and whether there was more before them.
fn lines(last: &LastBytes) -> (Vec<RawText>, bool) {
    let text = last.bytes.strip_suffix(b"\n").unwrap_or(&last.bytes);
    if text.is_empty() {
        return (Vec::new(), last.cut);
    }
    let mut all: Vec<&[u8]> = text.split(|b| *b == b'\n').collect();
    // The first is the end of a line, unless it is all there is.
    if last.cut && all.len() > 1 {
        all.remove(0);
    }
    let from = all.len().saturating_sub(LINES);
    (all[from..].iter().map(|line| RawText::from(line.to_vec())).collect(), last.cut || from > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(bytes: &[u8], cut: bool) -> (Vec<String>, bool) {
        let (lines, cut) = lines(&LastBytes { bytes: bytes.to_vec(), cut });
        (lines.iter().map(ToString::to_string).collect(), cut)
    }

    #[test]
    fn the_last_ten_lines_and_no_half_of_a_line() {
        assert_eq!(said(b"", false), (vec![], false));
        assert_eq!(said(b"\n", false), (vec![], false));
        assert_eq!(said(b"one\ntwo", false), (vec!["one".into(), "two".into()], false));
        assert_eq!(said(b"alf\nwhole\n", true), (vec!["whole".into()], true));
        assert_eq!(said(b"one endless line", true), (vec!["one endless line".into()], true));
        let twelve: String = (0..12).map(|n| format!("{n}\n")).collect();
        let (lines, cut) = said(twelve.as_bytes(), false);
        assert_eq!((lines.len(), lines[0].as_str(), cut), (10, "2", true));
    }

    #[test]
    fn a_crash_loop_says_the_same_thing_once() {
        let mut mourning = Mourning::default();
        let instance = InstanceId::new(AppId(0), 0);
        let mut words = |run, bytes: &[u8]| {
            mourning.wanted.insert(RunId(run));
            mourning.words(instance, RunId(run), &LastBytes { bytes: bytes.to_vec(), cut: false })
        };
        let lines = vec![RawText::from("oh no")];
        let first = LastWords { instance, run: RunId(1), lines, same_as: None, cut: false };
        assert_eq!(words(1, b"oh no\n"), Some(first));
        for run in 2..4 {
            let same = LastWords { instance, run: RunId(run), lines: vec![], same_as: Some(RunId(1)), cut: false };
            assert_eq!(words(run, b"oh no\n"), Some(same));
        }
        assert!(words(4, b"other\n").is_some_and(|w| w.same_as.is_none()));
        assert!(words(5, b"").is_none(), "it said nothing");
    }
}
