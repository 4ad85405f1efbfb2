//! Lines that outlive a rotation beside the last exits: who started what lives now, by which order, and the last words.
//!
//! Owns which of them are kept, so that `opm why` can tell the story of a quiet app after a noisy one has filled both files.
//! Bounded: last words have a budget, an order that was about a thousand apps is held once. What a reader would get wrong:
//! nothing is decided by these lines; losing one costs a sentence.

use super::line::Line;
use crate::model::{AppId, Event, InstanceId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The most that last words may take of what is carried over. The oldest go first.
const WORDS_MOST: usize = 1 << 20;

/// What an order does to what is wanted: the last of each kind is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Up,
    Down,
    Hold,
}

fn kind(verb: &str) -> Option<Kind> {
    match verb {
        "create" | "start" | "restart" | "reload" | "restore" | "reset" => Some(Kind::Up),
        "stop" | "delete" => Some(Kind::Down),
        "pause" | "resume" => Some(Kind::Hold),
        _ => None,
    }
}

/// The lines. Boxed where each app has one: the nodes of a map that only grows at its end are half empty.
#[derive(Debug, Default)]
pub(super) struct Tale {
    started: BTreeMap<InstanceId, Box<Line>>,
    words: BTreeMap<InstanceId, (Line, usize)>,
    words_size: usize,
    /// By app, instance if only that was meant, and kind.
    orders: BTreeMap<(AppId, Option<u32>, Kind), Arc<Line>>,
    added: BTreeMap<AppId, Box<Line>>,
}

impl Tale {
    pub(super) fn note(&mut self, line: &Line) {
        // A line without a number could not be told from its copy.
        if line.seq == 0 {
            return;
        }
        match &line.event {
            Event::Started { instance, run, .. } => {
                let newer = |old: &Line| matches!(&old.event, Event::Started { run: old, .. } if old > run);
                if !self.started.get(instance).is_some_and(|old| newer(old)) {
                    self.started.insert(*instance, Box::new(line.clone()));
                }
            }
            Event::LastWords(words) => {
                let size = words.lines.iter().map(|l| l.as_bytes().len()).sum();
                // Those that only say "the same again" need the ones that say what.
                if words.same_as.is_none() {
                    self.keep_words(words.instance, line, size);
                }
            }
            Event::Ordered { verb, apps, asked, .. } => {
                let Some(kind) = kind(verb) else { return };
                let line = Arc::new(line.clone());
                let only = asked.iter().flat_map(|asked| &asked.only);
                let single: Vec<_> = only.map(|id| (id.app, Some(id.index))).collect();
                let whole = apps.iter().filter(|app| !single.iter().any(|(a, _)| a == *app)).map(|app| (*app, None));
                for (app, instance) in whole.chain(single.iter().copied()) {
                    self.orders.insert((app, instance, kind), Arc::clone(&line));
                }
            }
            Event::Added { app, .. } => drop(self.added.insert(*app, Box::new(line.clone()))),
            Event::Deleted { app, .. } => self.forget(*app),
            Event::Exited(_)
            | Event::Cleared { .. }
            | Event::Changed { .. }
            | Event::DaemonStarted { .. }
            | Event::DaemonEnded { .. }
            | Event::Trouble { .. } => {}
        }
    }

    fn keep_words(&mut self, instance: InstanceId, line: &Line, size: usize) {
        self.words_size += size;
        if let Some((_, old)) = self.words.insert(instance, (line.clone(), size)) {
            self.words_size -= old;
        }
        while self.words_size > WORDS_MOST
            && let Some(oldest) = self.words.iter().min_by_key(|(_, (line, _))| line.seq).map(|(id, _)| *id)
            && let Some((_, size)) = self.words.remove(&oldest)
        {
            self.words_size -= size;
        }
    }

    fn forget(&mut self, app: AppId) {
        self.started.retain(|id, _| id.app != app);
        self.orders.retain(|(of, ..), _| *of != app);
        self.added.remove(&app);
        let gone: Vec<InstanceId> = self.words.keys().filter(|id| id.app == app).copied().collect();
        for id in gone {
            self.words_size -= self.words.remove(&id).map_or(0, |(_, size)| size);
        }
    }

    /// Each once.
    pub(super) fn lines(&self) -> impl Iterator<Item = &Line> {
        let mut told = BTreeSet::new();
        let orders = self.orders.values().map(|line| &**line).filter(move |line| told.insert(line.seq));
        let boxed = self.started.values().chain(self.added.values()).map(|line| &**line);
        boxed.chain(self.words.values().map(|(line, _)| line)).chain(orders)
    }
}
