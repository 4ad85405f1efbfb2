//! One instance's way through the journal: what started its runs, how they ended, who wanted it down.
//!
//! Owns the telling of causes. Pure but for names. What a reader would get wrong: generations tell an order from a restart. Every
//! order that starts something raises the generation; a run of the same generation as the one before was started by policy, or by a
//! daemon after its own start. An order in the journal alone proves nothing: it may have found the app running.

use crate::api::{Because, ExitAt, Failures, OrderAt, Row, StartedBecause, Why};
use crate::daemon::journal::Line;
use crate::daemon::told::{self, Names, is_about};
use crate::model::exit::Sequel;
use crate::model::policy::START_LIMIT_WINDOW;
use crate::model::{AppId, AppSpec, Cause, Event, ExitRecord, Generation, RunId};
use crate::supervise::recent_failures;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

/// So many events are told.
const TOLD: usize = 60;
/// So many exits can count against the start limit.
const EXITS: usize = 256;

/// What a run was started by, by the lines that say so.
#[derive(Debug, Clone)]
enum By {
    Order(Line),
    Restart(Line),
    Retry(Line),
    Daemon(Line),
    Unknown,
}

/// What is gathered of an instance; of all instances of an app, where it was deleted.
#[derive(Debug)]
pub(super) struct Story {
    app: AppId,
    index: Option<u32>,
    told: VecDeque<Line>,
    cut: bool,
    /// The last order that wanted it up, since the last run was started.
    up: Option<Line>,
    /// The last order that wanted it down, and the last that paused or resumed it.
    down: Option<Line>,
    hold: Option<Line>,
    /// A daemon that began after the last exit.
    daemon: Option<Line>,
    started: Option<(Line, RunId, By)>,
    generation: Option<Generation>,
    exit: Option<(Line, Arc<ExitRecord>)>,
    exits: VecDeque<Arc<ExitRecord>>,
    /// It was told of that order for another exit already.
    ended_by: Option<Line>,
}

impl Story {
    pub(super) fn new(app: AppId, index: Option<u32>) -> Self {
        Self {
            app,
            index,
            told: VecDeque::new(),
            cut: false,
            up: None,
            down: None,
            hold: None,
            daemon: None,
            started: None,
            generation: None,
            exit: None,
            exits: VecDeque::new(),
            ended_by: None,
        }
    }

    /// Takes in one line, in the order in which they were written.
    pub(super) fn note(&mut self, line: &Line) {
        let about = is_about(&line.event, self.app, self.index);
        let narrowed = self.narrowed(line);
        let line: &Line = &narrowed;
        match &line.event {
            Event::Ordered { verb, .. } if about || verb == "shutdown" => self.ordered(verb, line),
            Event::Started { run, generation, .. } if about => self.started(line, *run, *generation),
            Event::Exited(record) if about => self.exited(line, record),
            Event::DaemonStarted { .. } => {
                self.daemon = Some(line.clone());
                // Of those that a quiet app has lived through, the last will do.
                if self.told.back().is_some_and(|last| matches!(last.event, Event::DaemonStarted { .. })) {
                    self.told.pop_back();
                }
            }
            Event::DaemonEnded { .. }
            | Event::LastWords(_)
            | Event::Cleared { .. }
            | Event::Added { .. }
            | Event::Changed { .. }
            | Event::Deleted { .. }
            | Event::Trouble { .. }
            | Event::Ordered { .. }
            | Event::Started { .. }
            | Event::Exited(_) => {}
        }
        let of_the_daemon = match &line.event {
            Event::DaemonStarted { .. } | Event::DaemonEnded { .. } => true,
            Event::Ordered { verb, .. } => verb == "shutdown",
            Event::Started { .. }
            | Event::Exited(_)
            | Event::LastWords(_)
            | Event::Cleared { .. }
            | Event::Added { .. }
            | Event::Changed { .. }
            | Event::Deleted { .. }
            | Event::Trouble { .. } => false,
        };
        // What the daemon went through before the app was there is not its story.
        if about || (of_the_daemon && !self.told.is_empty()) {
            self.told.push_back(line.clone());
            if self.told.len() > TOLD {
                self.told.pop_front();
                self.cut = true;
            }
        }
    }

    /// The line as far as it is about this app: an order about a thousand, kept in the stories of a thousand, would be a million.
    fn narrowed<'a>(&self, line: &'a Line) -> Cow<'a, Line> {
        let Event::Ordered { verb, apps, key, asked } = &line.event else { return Cow::Borrowed(line) };
        let mut asked = asked.clone();
        if let Some(asked) = &mut asked {
            asked.only.retain(|instance| instance.app == self.app);
        }
        let apps = apps.iter().copied().filter(|app| *app == self.app).collect();
        let event = Event::Ordered { verb: verb.clone(), apps, key: key.clone(), asked };
        Cow::Owned(line.with(event))
    }

    fn ordered(&mut self, verb: &str, line: &Line) {
        match verb {
            "create" | "start" | "restart" | "reload" | "restore" | "reset" => self.up = Some(line.clone()),
            "stop" | "delete" => self.down = Some(line.clone()),
            "pause" | "resume" => self.hold = Some(line.clone()),
            _ => {}
        }
        // What may end a run.
        if !matches!(verb, "reset" | "signal" | "pause" | "resume" | "limit" | "restore") {
            self.ended_by = Some(line.clone());
        }
    }

    fn started(&mut self, line: &Line, run: RunId, generation: Generation) {
        if self.started.as_ref().is_some_and(|(_, before, _)| *before >= run) {
            return;
        }
        let by = match (self.generation, &self.exit) {
            (before, _) if before.is_none_or(|before| generation > before) => match (&self.up, &self.daemon) {
                (Some(order), _) => By::Order(order.clone()),
                (None, Some(daemon)) if before.is_none() => By::Daemon(daemon.clone()),
                (None, _) => By::Unknown,
            },
            (_, Some((exit, record))) if exit.boot == line.boot => match (record.sequel, &self.up, &self.daemon) {
                (Sequel::Restart { .. } | Sequel::Errored { .. }, Some(reset), _) if is_reset(reset) => {
                    By::Order(reset.clone())
                }
                (Sequel::Restart { .. }, ..) => By::Restart(exit.clone()),
                (Sequel::Errored { .. }, ..) => By::Retry(exit.clone()),
                (Sequel::Down | Sequel::Replaced | Sequel::Finished, _, Some(daemon)) => By::Daemon(daemon.clone()),
                (Sequel::Down | Sequel::Replaced | Sequel::Finished, Some(order), None) => By::Order(order.clone()),
                (Sequel::Down | Sequel::Replaced | Sequel::Finished, None, None) => By::Unknown,
            },
            (_, Some(_) | None) => self.daemon.clone().map_or(By::Unknown, By::Daemon),
        };
        self.started = Some((line.clone(), run, by));
        self.generation = Some(generation);
        self.up = None;
        self.daemon = None;
    }

    fn exited(&mut self, line: &Line, record: &Arc<ExitRecord>) {
        if self.exit.as_ref().is_some_and(|(_, last)| last.run >= record.run) {
            return;
        }
        if self.exit.as_ref().is_some_and(|(last, _)| last.boot != line.boot) {
            self.exits.clear();
        }
        self.exits.push_back(Arc::clone(record));
        if self.exits.len() > EXITS {
            self.exits.pop_front();
        }
        self.generation = self.generation.max(Some(record.generation));
        self.exit = Some((line.clone(), Arc::clone(record)));
        self.daemon = None;
    }

    /// The facts.
    pub(super) fn told(self, names: &mut Names, spec: Option<&AppSpec>, row: Option<&Row>) -> Why {
        let failures = self.failures(spec);
        let order = self.order(row).and_then(|line| order_at(&line, names));
        let exit = self.exit.as_ref().map(|(line, record)| exit_at(line, record));
        let started = self.started.map(|(line, run, by)| StartedBecause {
            at: told::wall(line.at),
            run: run.0,
            pid: if let Event::Started { pid, .. } = line.event { pid } else { 0 },
            because: because(by, names),
        });
        Why {
            id: self.app.0,
            name: String::new(),
            instance: self.index,
            state: String::new(),
            row: None,
            started,
            order,
            exit,
            failures,
            policy: None,
            kill_at: None,
            now: None,
            story: self.told.iter().map(|line| names.line(line)).collect(),
            cut: self.cut,
        }
    }

    /// The order that wants it as it is.
    fn order(&self, row: Option<&Row>) -> Option<Line> {
        let Some(row) = row else { return self.down.clone() };
        match (row.state.as_str(), row.desired.as_str()) {
            ("paused", _) => self.hold.clone(),
            ("stopping", _) => self.ended_by.clone().filter(|_| row.detail.is_none() || row.desired == "down"),
            ("stopped", "down") => self.down.clone(),
            // Wanted up and down nevertheless: the daemon was shut down, and this one has not started it.
            ("stopped", _) => {
                let by_order =
                    |(_, record): &(Line, Arc<ExitRecord>)| matches!(record.cause, Cause::StopOrder | Cause::Deadline);
                self.ended_by.clone().filter(|_| self.exit.as_ref().is_some_and(by_order))
            }
            _ => None,
        }
    }

    fn failures(&self, spec: Option<&AppSpec>) -> Failures {
        let window_seconds = START_LIMIT_WINDOW.as_secs();
        let (Some(spec), Some((_, last))) = (spec, &self.exit) else {
            return Failures { window_seconds, ..Failures::default() };
        };
        let counted = recent_failures(spec, self.exits.iter().map(|record| &**record), last.ended);
        let alike = self.exits.iter().rev().take(counted.len()).all(|record| record.status == last.status);
        Failures { count: u32::try_from(counted.len()).unwrap_or(u32::MAX), window_seconds, alike }
    }
}

fn is_reset(line: &Line) -> bool {
    matches!(&line.event, Event::Ordered { verb, .. } if verb == "reset")
}

fn order_at(line: &Line, names: &mut Names) -> Option<OrderAt> {
    Some(OrderAt { at: told::wall(line.at), order: names.order(&line.event)? })
}

fn exit_at(line: &Line, record: &ExitRecord) -> ExitAt {
    ExitAt { at: told::wall(line.at), run: record.run.0, exit: told::exit(record, line) }
}

fn because(by: By, names: &mut Names) -> Because {
    let after = |line: &Line| {
        let Event::Exited(record) = &line.event else { return None };
        Some(exit_at(line, record))
    };
    let because = match &by {
        By::Order(line) => order_at(line, names).map(|order| Because::Order { order }),
        By::Restart(line) => after(line).map(|after| Because::Restart { after }),
        By::Retry(line) => after(line).map(|after| Because::Retry { after }),
        By::Daemon(line) => Some(Because::Daemon { daemon_at: told::wall(line.at) }),
        By::Unknown => None,
    };
    because.unwrap_or(Because::Unknown)
}
