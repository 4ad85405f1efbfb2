//! Reading logs: several at once, merged by time, then what is added to them.
//!
//! Owns who is read when. It must not wait: it gives what there is and says when that is all; followers (`follow`) say when there is
//! more. What a reader would get wrong: memory is bounded and time is not, for finding the last lines that match may read all; call
//! this where waiting for a disk is allowed. Of thousands of logs a few are open at a time, and the others are a position each.

mod begin;
mod choice;
mod content;
mod lookup;
mod open;
mod piece;
mod position;
mod start;
mod walk;
mod wanted;

pub use choice::{Choice, Chosen, Known};
pub use open::PIECE_MOST;
pub use position::Position;

pub use wanted::Wanted;

use crate::api::{LogLine, LogQuery, LogStart};
use crate::model::RawText;
use choice::Who;
use content::Listing;
use piece::Piece;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use walk::Walk;

/// How many files are open at once, for one reader.
const OPEN_MOST: usize = 64;
/// How often it is asked whether anybody still listens, in lines.
const LISTEN_EVERY: u32 = 1024;

/// Logs being read.
pub struct Reading {
    logs: Vec<Log>,
    by_key: HashMap<Arc<str>, usize>,
    /// Those in which there is something, by its time.
    queue: BinaryHeap<Reverse<(u64, usize)>>,
    /// Those that are open, the one opened first in front.
    open: VecDeque<usize>,
    wanted: Wanted,
    /// Whether incomplete lines are held back.
    whole: bool,
    troubles: VecDeque<LogLine>,
    listens: Box<dyn Fn() -> bool + Send>,
    passed: u32,
}

struct Log {
    key: Arc<str>,
    chosen: Chosen,
    walk: Walk,
    /// Lines of these instances are told from here on only.
    begin: HashMap<(Arc<str>, u32), Position>,
    /// It joined then, and nothing older is told.
    joined: Option<u64>,
    /// What was told of why it cannot be read.
    trouble: Option<String>,
    /// It has come to what is too late to be wanted.
    over: bool,
}

/// Where to begin.
#[derive(Debug, Clone, Copy)]
pub enum Begin<'a> {
    /// As the query says.
    Asked(&'a LogQuery),
    /// Where another ended: a place for each log.
    Resumed(&'a BTreeMap<String, Position>),
}

impl Reading {
    /// Begins. `listens` says whether anybody still wants this; it is asked now and then. `whole`: incomplete lines are held back
    /// until they are complete, or too long. A log that cannot be read is told as a line that is missing, with the reason.
    pub fn begin(
        choice: Choice,
        wanted: Wanted,
        begin: Begin<'_>,
        whole: bool,
        listens: Box<dyn Fn() -> bool + Send>,
    ) -> (Self, LogStart) {
        let mut reading = Self {
            logs: Vec::new(),
            by_key: HashMap::new(),
            queue: BinaryHeap::new(),
            open: VecDeque::new(),
            wanted,
            whole,
            troubles: VecDeque::new(),
            listens,
            passed: 0,
        };
        let mut listing = Listing::default();
        for chosen in choice.logs {
            reading.put(chosen, None);
        }
        reading.previous(&mut listing);
        match begin {
            Begin::Asked(query) => reading.begin_asked(query, &mut listing),
            Begin::Resumed(from) => reading.place(|log| match from.get(&*log.key) {
                Some(position) => Ok(*position),
                None => start::beginning(&log.chosen.series, &mut listing),
            }),
        }
        let start = LogStart { from: reading.positions(0), note: choice.note };
        reading.queue_all();
        (reading, start)
    }

    fn put(&mut self, chosen: Chosen, joined: Option<u64>) {
        let key = Arc::clone(chosen.series.key());
        let walk = Walk::new(chosen.series.clone(), Position::default(), self.whole);
        self.by_key.insert(Arc::clone(&key), self.logs.len());
        self.logs.push(Log { key, chosen, walk, begin: HashMap::new(), joined, trouble: None, over: false });
    }

    fn place(&mut self, mut find: impl FnMut(&Log) -> Result<Position, String>) {
        for i in 0..self.logs.len() {
            let log = &self.logs[i];
            match find(log) {
                Ok(position) => self.logs[i].walk = Walk::new(log.chosen.series.clone(), position, self.whole),
                Err(e) => self.trouble(i, e),
            }
        }
        (self.queue, self.open) = (BinaryHeap::new(), VecDeque::new());
    }

    fn positions(&self, first: usize) -> BTreeMap<String, String> {
        let of = |log: &Log| (log.key.to_string(), log.walk.position().to_string());
        self.logs[first..].iter().map(of).collect()
    }

    fn queue_all(&mut self) {
        for i in 0..self.logs.len() {
            self.enqueue(i);
        }
    }

    /// What the logs are called where it is told that they have grown.
    pub fn keys(&self) -> impl Iterator<Item = Arc<str>> {
        self.logs.iter().map(|log| Arc::clone(&log.key))
    }

    /// These may have grown.
    pub fn look(&mut self, keys: impl IntoIterator<Item = Arc<str>>) {
        let waiting: HashSet<usize> = self.queue.iter().map(|Reverse((_, i))| *i).collect();
        for key in keys {
            if let Some(i) = self.by_key.get(&key).copied().filter(|i| !waiting.contains(i)) {
                if let Err(e) = self.logs[i].walk.look() {
                    self.trouble(i, e);
                }
                self.enqueue(i);
            }
        }
    }

    /// Logs that are meant by now; of those that are new, what was written from `time` on. None: none is new.
    pub fn join(&mut self, choice: Choice, time: u64) -> Option<LogStart> {
        let first = self.logs.len();
        for chosen in choice.logs {
            if !self.by_key.contains_key(chosen.series.key()) {
                self.put(chosen, Some(time));
            }
        }
        let mut listing = Listing::default();
        for i in first..self.logs.len() {
            let series = self.logs[i].chosen.series.clone();
            match start::since(&series, &mut listing, time) {
                Ok(position) => self.logs[i].walk = Walk::new(series, position, self.whole),
                Err(e) => self.trouble(i, e),
            }
        }
        let start = (first < self.logs.len()).then(|| LogStart { from: self.positions(first), note: None });
        (first..self.logs.len()).for_each(|i| self.enqueue(i));
        start
    }

    /// The next line. None: that is all for now, or nobody listens.
    #[expect(clippy::should_implement_trait, reason = "None is not the end")]
    pub fn next(&mut self) -> Option<LogLine> {
        if let Some(trouble) = self.troubles.pop_front() {
            return Some(trouble);
        }
        match self.step() {
            Some((i, piece, who)) => Some(line(&self.logs[i].key, piece, who)),
            None => self.troubles.pop_front(),
        }
    }

    /// The next piece that is wanted.
    fn step(&mut self) -> Option<(usize, Piece, Who)> {
        loop {
            self.passed = self.passed.wrapping_add(1);
            if self.passed.is_multiple_of(LISTEN_EVERY) && !(self.listens)() {
                return None;
            }
            let Reverse((_, i)) = self.queue.pop()?;
            let piece = match self.opened(i, Walk::next) {
                Ok(Some(piece)) => piece,
                Ok(None) => continue,
                Err(e) => {
                    self.trouble(i, e);
                    continue;
                }
            };
            let log = &mut self.logs[i];
            log.over = self.wanted.until.is_some_and(|until| piece.key >= until);
            if !log.over {
                self.enqueue(i);
            }
            let log = &self.logs[i];
            let Some(who) = log.chosen.owners.who(piece.lane) else { continue };
            let begin =
                (!log.begin.is_empty()).then(|| log.begin.get(&(Arc::clone(&who.name), who.instance))).flatten();
            if log.joined.is_none_or(|time| piece.key >= time)
                && begin.is_none_or(|begin| piece.start >= *begin)
                && self.wanted.wants(&piece)
            {
                return Some((i, piece, who));
            }
        }
    }

    fn enqueue(&mut self, i: usize) {
        if self.logs[i].over {
            return;
        }
        match self.opened(i, Walk::ready) {
            Ok(Some(time)) => self.queue.push(Reverse((time, i))),
            Ok(None) => {}
            Err(e) => self.trouble(i, e),
        }
    }

    /// Does something with a log that may open its file, and closes another's if too many are open.
    fn opened<T>(&mut self, i: usize, what: impl FnOnce(&mut Walk) -> T) -> T {
        let walk = &mut self.logs[i].walk;
        let was_open = walk.is_open();
        let result = what(walk);
        if !was_open && walk.is_open() {
            self.open.push_back(i);
            while self.open.len() > OPEN_MOST {
                if let Some(first) = self.open.pop_front() {
                    self.logs[first].walk.let_go();
                }
            }
        }
        result
    }

    /// A log that cannot be read: said once, in its place.
    fn trouble(&mut self, i: usize, why: String) {
        let log = &mut self.logs[i];
        if log.trouble.as_ref() == Some(&why) {
            return;
        }
        log.trouble = Some(why.clone());
        let Some(who) = log.chosen.owners.who(None) else { return };
        let position = log.walk.position();
        let piece = Piece::missing(0, why, position, position, 0);
        self.troubles.push_back(line(&log.key, piece, who));
    }
}

fn line(key: &str, piece: Piece, who: Who) -> LogLine {
    let text = |us| jiff::Timestamp::from_microsecond(us).ok().map(|time| format!("{time:.6}"));
    LogLine {
        name: who.name.to_string(),
        instance: who.instance,
        stream: who.stream,
        time: piece.time.and_then(|us| i64::try_from(us).ok()).and_then(text),
        run: piece.run,
        line: RawText::from(piece.text),
        complete: piece.complete,
        missing: piece.missing,
        log: key.to_owned(),
        at: piece.end.to_string(),
    }
}
