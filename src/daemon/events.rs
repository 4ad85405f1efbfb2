//! Which events somebody wants, and from where on.
//!
//! Owns what a selector means for things that have happened: apps that exist, those that will, and those that are gone and stand
//! in the journal only. It must not read the journal. What a reader would get wrong: what a word means (name, namespace or id)
//! is settled when the reading begins; which apps it means is not, or an app added later would be missed.

use super::journal::{Cursor, Line, Piece, Replay};
use super::resolve;
use super::told::{self, Known, Names};
use crate::api::{EventLine, EventQuery, Problem, ProblemKind};
use crate::kernel::clock;
use crate::model::{AppId, AppSpec, DesiredApp, Event, Selector, Wall};
use std::collections::VecDeque;
use std::path::Path;

/// What is read first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begin {
    /// All that there is.
    All,
    /// What comes after a line.
    After(Cursor),
    /// What was at that time or later.
    At(Wall),
}

impl Begin {
    /// From a cursor or an RFC 3339 time.
    ///
    /// # Errors
    /// It is neither.
    fn parse(text: &str) -> Result<Self, Problem> {
        if let Ok(cursor) = text.parse() {
            return Ok(Self::After(cursor));
        }
        let time: Option<jiff::Timestamp> = text.parse().ok();
        let wrong = || resolve::bad_request(format!("'{}' is neither a cursor nor a time", text.escape_debug()), None);
        time.map(|t| Self::At(Wall(u64::try_from(t.as_millisecond()).unwrap_or(0)))).ok_or_else(wrong)
    }
}

/// What one word of a selector means.
enum Wanted {
    All,
    Pattern(regex_lite::Regex),
    Name(String, Option<u32>),
    Namespace(String, Option<u32>),
    Id(AppId, Option<u32>),
}

/// Which events are wanted. None: all, those of the daemon itself too.
struct Filter(Option<Vec<Wanted>>);

impl Filter {
    /// What a selector means by these names.
    ///
    /// # Errors
    /// A selector that is none, or of which nothing is known.
    fn new(select: Option<&str>, core: &[(AppId, &DesiredApp)], names: &Names) -> Result<Self, Problem> {
        let Some(select) = select else { return Ok(Self(None)) };
        let selectors = Selector::parse_list(select).map_err(|e| resolve::bad_request(e, None))?;
        let one = |selector: &Selector| {
            let live = resolve::matches(&resolve::these(core.iter().copied()), selector);
            match selector {
                Selector::All => Ok(Wanted::All),
                Selector::Pattern(pattern) => match (regex_lite::Regex::new(pattern), live) {
                    (Ok(regex), Ok(_)) => Ok(Wanted::Pattern(regex)),
                    (Ok(regex), Err(_)) if names.any(|known| regex.is_match(&known.name)) => Ok(Wanted::Pattern(regex)),
                    (_, Err(problem)) => Err(problem),
                    (Err(_), Ok(_)) => Err(resolve::bad_request(format!("'/{pattern}/' cannot be read"), None)),
                },
                Selector::Word { word, instance } => {
                    let by = |found: bool, wanted: Wanted| found.then_some(wanted);
                    let app = |test: &dyn Fn(&AppSpec) -> bool| core.iter().any(|(_, a)| test(&a.spec));
                    let id: Option<AppId> = word.parse().ok().map(AppId);
                    let name = || Wanted::Name(word.clone(), *instance);
                    // As in `resolve`: name, namespace, id; then what is gone, by name and by id.
                    by(app(&|spec| spec.name.as_str() == word), name())
                        .or_else(|| {
                            let namespace = Wanted::Namespace(word.clone(), *instance);
                            by(app(&|spec| spec.namespace.as_str() == word), namespace)
                        })
                        .or_else(|| {
                            let id = id.filter(|id| core.iter().any(|(known, _)| known == id));
                            id.map(|id| Wanted::Id(id, *instance))
                        })
                        .or_else(|| by(names.any(|known| known.name == *word), name()))
                        .or_else(|| id.filter(|id| names.app(*id).is_some()).map(|id| Wanted::Id(id, *instance)))
                        .map_or_else(|| live.and(Err(no_such(word))), Ok)
                }
            }
        };
        selectors.iter().map(one).collect::<Result<Vec<_>, _>>().map(|wanted| Self(Some(wanted)))
    }

    /// Whether an event is wanted.
    fn wants(&self, event: &Event, names: &Names) -> bool {
        let Some(wanted) = &self.0 else { return true };
        let apps = told::apps_of(event);
        let about = |app: &AppId, index: &Option<u32>| told::is_about(event, *app, *index);
        let known = |app: &AppId, test: &dyn Fn(&Known) -> bool| names.app(*app).is_some_and(test);
        wanted.iter().any(|wanted| match wanted {
            Wanted::All => !apps.is_empty(),
            Wanted::Pattern(regex) => apps.iter().any(|app| known(app, &|k| regex.is_match(&k.name))),
            Wanted::Name(name, index) => apps.iter().any(|app| known(app, &|k| k.name == *name) && about(app, index)),
            Wanted::Namespace(name, index) => {
                apps.iter().any(|app| known(app, &|k| k.namespace.as_ref() == Some(name)) && about(app, index))
            }
            Wanted::Id(id, index) => about(id, index),
        })
    }
}

fn no_such(word: &str) -> Problem {
    let message = format!("no app matches '{}'", word.escape_debug());
    Problem { kind: ProblemKind::NoSuchApp, message, hint: None, differences: vec![] }
}

/// The apps that exist, by name.
pub(super) fn known<'a>(apps: impl Iterator<Item = (AppId, &'a DesiredApp)>) -> Vec<(AppId, Known)> {
    let named =
        |app: &DesiredApp| Known { name: app.spec.name.to_string(), namespace: Some(app.spec.namespace.to_string()) };
    apps.map(|(id, app)| (id, named(app))).collect()
}

/// Begins to read what is asked for, given the apps that exist. Not on the loop.
///
/// # Errors
/// A query that is none, a selector of which nothing is known, a journal that cannot be read.
pub(super) fn begin(apps: &[(AppId, &DesiredApp)], journal: &Path, query: &EventQuery) -> Result<Reading, Problem> {
    let failed = |message| Problem { kind: ProblemKind::Internal, message, hint: None, differences: vec![] };
    let begin = query.since.as_deref().map_or(Ok(Begin::All), Begin::parse)?;
    let mut names = Names::default();
    names.learn(known(apps.iter().copied()));
    let select = query.select.as_deref();
    let filter = match Filter::new(select, apps, &names) {
        // Perhaps one that is gone: then its name is in the journal.
        Err(problem) if problem.kind == ProblemKind::NoSuchApp => {
            names_in(journal, &mut names).map_err(failed)?;
            Filter::new(select, apps, &names)?
        }
        other => other?,
    };
    Reading::new(journal, begin, query.lines, filter, names).map_err(failed)
}

/// Learns all names that the journal has.
fn names_in(journal: &Path, names: &mut Names) -> Result<(), String> {
    let mut replay = Replay::all(journal);
    loop {
        let (pieces, end) = replay.more()?;
        lines(&pieces).for_each(|line| names.note(line));
        if end {
            return Ok(());
        }
    }
}

fn lines(pieces: &[Piece]) -> impl Iterator<Item = &Line> {
    pieces.iter().filter_map(|piece| match piece {
        Piece::Line(line) => Some(line),
        Piece::Gap => None,
    })
}

/// Somebody's way through the journal.
pub(super) struct Reading {
    replay: Replay,
    filter: Filter,
    pub(super) names: Names,
    /// Nothing before this time; none once it has come.
    from: Option<Wall>,
    /// Only so many of the last, until the end was seen once.
    last: Option<(usize, VecDeque<EventLine>)>,
    batch: Vec<Piece>,
    before: Cursor,
}

impl Reading {
    /// Begins.
    ///
    /// # Errors
    /// The journal cannot be read.
    fn new(journal: &Path, begin: Begin, last: Option<u64>, filter: Filter, names: Names) -> Result<Self, String> {
        let (replay, from) = match begin {
            Begin::All => (Replay::all(journal), None),
            Begin::After(cursor) => (Replay::after(journal, cursor)?, None),
            Begin::At(wall) => (Replay::all(journal), Some(wall)),
        };
        let last = last.map(|n| (usize::try_from(n).unwrap_or(usize::MAX), VecDeque::new()));
        let before = replay.cursor();
        Ok(Self { replay, filter, names, from, last, batch: Vec::new(), before })
    }

    /// Reads some; whether that is all for now.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub(super) fn read(&mut self) -> Result<bool, String> {
        self.before = self.replay.cursor();
        let (pieces, end) = self.replay.more()?;
        // Names first: an order that adds an app stands before what says how the app is called.
        lines(&pieces).for_each(|line| self.names.note(line));
        self.batch = pieces;
        Ok(end)
    }

    /// Whether somebody should be asked for names before what was read is told.
    pub(super) fn lacks_names(&self) -> bool {
        lines(&self.batch).any(|line| self.names.lacks(line))
    }

    /// What was read, as it is wanted. `end`: that is all for now.
    pub(super) fn tell(&mut self, end: bool) -> Vec<EventLine> {
        let mut told = Vec::new();
        for piece in std::mem::take(&mut self.batch) {
            let wanted = match &piece {
                Piece::Gap => self.from.is_none(),
                Piece::Line(line) => {
                    if self.from.is_some_and(|from| line.at >= from) {
                        self.from = None;
                    }
                    self.from.is_none() && self.filter.wants(&line.event, &self.names)
                }
            };
            if wanted {
                told.push(self.names.piece(&piece, self.before, clock::wall()));
            }
            if let Piece::Line(line) = &piece {
                self.before = line.cursor();
            }
        }
        let Some((most, ring)) = &mut self.last else { return told };
        ring.extend(told);
        ring.drain(..ring.len().saturating_sub(*most));
        if !end {
            return Vec::new();
        }
        self.last.take().map(|(_, ring)| ring.into()).unwrap_or_default()
    }

    /// Up to where everything was told.
    pub(super) fn cursor(&self) -> Cursor {
        self.before
    }
}
