//! `opm why`: how an instance came to be as it is, from the journal (what was) and the kernel (what is).
//!
//! Owns the asking of both and the putting together. It must not decide anything, nor find words: clients get facts. What a reader
//! would get wrong: the two are never mixed. Whether something lives is what the row and the cgroup say; the journal only says how it
//! came about.

mod kernel;
mod story;

use super::clock_text::{self, Clocks};
use super::events;
use super::journal::{Piece, Replay};
use super::reads::{self, Memory, Meter, Sketch};
use super::resolve;
use super::told::Names;
use crate::api::{Policy, Problem, ProblemKind, Why};
use crate::model::{AppId, AppSpec, DesiredApp, Event, Selector};
use crate::supervise::Supervisor;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use story::Story;

/// What the loop knows, copied out in one go.
pub(super) struct Look {
    sketches: Vec<Sketch>,
    specs: BTreeMap<AppId, Arc<AppSpec>>,
    names: Names,
    /// What no app that exists answers to, and how that is said.
    unknown: Vec<(Selector, Problem)>,
    clocks: Clocks,
}

/// Looks at what the loop knows.
///
/// # Errors
/// A selector that is none.
pub(super) fn look(core: &Supervisor, root: &Path, select: &str) -> Result<Look, Problem> {
    let clocks = clock_text::now();
    let apps: Vec<(AppId, &DesiredApp)> = core.apps().collect();
    let (mut targets, mut unknown) = (Vec::new(), Vec::new());
    for selector in Selector::parse_list(select).map_err(|e| resolve::bad_request(e, None))? {
        match resolve::matches(&resolve::listed(core), &selector) {
            Ok(found) => targets.extend(found),
            Err(problem) if problem.kind == ProblemKind::NoSuchApp => unknown.push((selector, problem)),
            Err(problem) => return Err(problem),
        }
    }
    let mut names = Names::default();
    names.learn(events::known(core.apps()));
    let specs = apps.iter().map(|(id, app)| (*id, app.spec.clone())).collect();
    Ok(Look { sketches: reads::sketch_of(core, root, &targets, clocks), specs, names, unknown, clocks })
}

/// Asks the kernel and reads the journal. Not on the loop.
///
/// # Errors
/// A selector that nothing answers to, not even in the journal; a journal that cannot be read.
pub(super) fn answer(look: Look, journal: &Path, meter: &Meter) -> Result<Vec<Why>, Problem> {
    let Look { sketches, specs, mut names, unknown, clocks } = look;
    let (rows, _) = meter.finish(sketches, Memory::Controller, clocks.moment);
    let internal = |message| Problem { kind: ProblemKind::Internal, message, hint: None, differences: vec![] };
    let gone = if unknown.is_empty() { vec![] } else { deleted(journal, unknown, &specs).map_err(internal)?? };
    let mut stories: Vec<Story> = rows.iter().map(|row| Story::new(AppId(row.id), Some(row.instance))).collect();
    stories.extend(gone.iter().map(|(app, _)| Story::new(*app, None)));
    let mut replay = Replay::all(journal);
    loop {
        let (pieces, end) = replay.more().map_err(internal)?;
        for piece in &pieces {
            if let Piece::Line(line) = piece {
                names.note(line);
                stories.iter_mut().for_each(|story| story.note(line));
            }
        }
        if end {
            break;
        }
    }
    let mut stories = stories.into_iter();
    let mut all = Vec::with_capacity(rows.len() + gone.len());
    for (row, story) in rows.into_iter().zip(stories.by_ref()) {
        let spec = specs.get(&AppId(row.id));
        let kill_at = kernel::kill_at(&row, clocks);
        let why = Why {
            id: row.id,
            name: row.name.clone(),
            instance: Some(row.instance),
            state: row.state.clone(),
            now: kernel::now(&row),
            kill_at,
            policy: spec.map(|spec| policy(spec)),
            ..story.told(&mut names, spec.map(|spec| &**spec), Some(&row))
        };
        all.push(Why { row: Some(row), ..why });
    }
    for ((app, name), story) in gone.into_iter().zip(stories) {
        let why = story.told(&mut names, None, None);
        all.push(Why { id: app.0, name, state: "deleted".to_owned(), ..why });
    }
    Ok(all)
}

fn policy(spec: &AppSpec) -> Policy {
    let restart = serde_json::to_value(spec.restart).ok().and_then(|v| v.as_str().map(str::to_owned));
    Policy {
        restart: restart.unwrap_or_default(),
        max_restarts: spec.max_restarts,
        stop_signal: spec.stop_signal.to_string(),
        stop_timeout_ms: u64::try_from(spec.stop_timeout.0.as_millis()).unwrap_or(u64::MAX),
    }
}

type Gone = Vec<(AppId, String)>;

/// The apps that were deleted and that the journal still knows by what was typed: of each name the last that bore it.
fn deleted(
    journal: &Path,
    unknown: Vec<(Selector, Problem)>,
    live: &BTreeMap<AppId, Arc<AppSpec>>,
) -> Result<Result<Gone, Problem>, String> {
    let mut by_name: BTreeMap<String, AppId> = BTreeMap::new();
    let mut replay = Replay::all(journal);
    loop {
        let (pieces, end) = replay.more()?;
        for piece in pieces {
            if let Piece::Line(line) = piece
                && let Event::Deleted { app, name } = line.event
                && !live.contains_key(&app)
            {
                by_name.insert(name.to_string(), app);
            }
        }
        if end {
            break;
        }
    }
    let mut gone = BTreeSet::new();
    for (selector, problem) in unknown {
        let before = gone.len();
        match &selector {
            Selector::All => {}
            Selector::Pattern(pattern) => {
                let Ok(regex) = regex_lite::Regex::new(pattern) else { return Ok(Err(problem)) };
                gone.extend(
                    by_name.iter().filter(|(name, _)| regex.is_match(name)).map(|(name, id)| (*id, name.clone())),
                );
            }
            Selector::Word { word, .. } => {
                let found = by_name.iter().find(|(name, _)| *name == word);
                let found = found.or_else(|| by_name.iter().find(|(_, id)| word.parse() == Ok(id.0)));
                gone.extend(found.map(|(name, id)| (*id, name.clone())));
            }
        }
        if gone.len() == before {
            return Ok(Err(problem));
        }
    }
    Ok(Ok(gone.into_iter().collect()))
}
