//! From lines of the journal to what clients are told: names for numbers, times for moments.
//!
//! Owns the translation. It must not select. What a reader would get wrong: names of users come from a user database, which may
//! hang on a dead server; so this is never used on the loop, and who waits is the one client that asked.

use super::journal::{Cursor, Line, Piece};
use crate::api::{AppRef, By, EVENT_VERSION, EventLine, Exit, Happening, MemoryMark, OrderBody, Used, Whose};
use crate::model::exit::Sequel;
use crate::model::{AppId, Asker, Event, ExitRecord, ExitStatus, InstanceId, MarkPassed, Moment, Tally, Wall};
use nix::unistd::{Uid, User};
use std::collections::HashMap;

/// An app by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) name: String,
    /// Of those that exist.
    pub(super) namespace: Option<String>,
}

/// What numbers are called.
#[derive(Debug, Default)]
pub(super) struct Names {
    apps: HashMap<AppId, Known>,
    users: HashMap<u32, Option<String>>,
}

impl Names {
    /// Learns the names of apps that exist.
    pub(super) fn learn(&mut self, apps: impl IntoIterator<Item = (AppId, Known)>) {
        self.apps.extend(apps);
    }

    /// Learns what a line says about names. Those that are known of apps that exist stay.
    pub(super) fn note(&mut self, line: &Line) {
        if let Event::Added { app, name } | Event::Deleted { app, name } | Event::Changed { app, name, .. } =
            &line.event
        {
            self.apps.entry(*app).or_insert_with(|| Known { name: name.to_string(), namespace: None });
        }
    }

    /// Whether any app is so.
    pub(super) fn any(&self, test: impl Fn(&Known) -> bool) -> bool {
        self.apps.values().any(test)
    }

    pub(super) fn app(&self, id: AppId) -> Option<&Known> {
        self.apps.get(&id)
    }

    /// The apps that a line is about and that have no name here.
    pub(super) fn lacks(&self, line: &Line) -> bool {
        apps_of(&line.event).iter().any(|app| !self.apps.contains_key(app))
    }

    fn name(&self, id: AppId) -> Option<String> {
        self.apps.get(&id).map(|known| known.name.clone())
    }

    fn user(&mut self, uid: u32) -> Option<String> {
        let look = || User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name);
        self.users.entry(uid).or_insert_with(look).clone()
    }

    fn whose(&self, id: InstanceId) -> Whose {
        Whose { id: id.app.0, name: self.name(id.app), instance: id.index }
    }

    fn by(&mut self, asker: &Asker) -> By {
        let login = asker.login.map(|uid| self.user(uid).unwrap_or_else(|| uid.to_string()));
        By {
            uid: asker.uid,
            user: self.user(asker.uid),
            pid: asker.pid,
            command: asker.command.clone(),
            parent: asker.parent.clone(),
            login,
        }
    }

    /// An order; None if the event is none.
    pub(super) fn order(&mut self, event: &Event) -> Option<OrderBody> {
        let Event::Ordered { verb, apps, key, asked } = event else { return None };
        let only = |app: AppId| asked.iter().flat_map(|a| &a.only).filter(move |id| id.app == app);
        let about = |app: &AppId| -> Vec<AppRef> {
            let one = |instance| AppRef { id: app.0, name: self.name(*app), instance };
            let some: Vec<AppRef> = only(*app).map(|id| one(Some(id.index))).collect();
            if some.is_empty() { vec![one(None)] } else { some }
        };
        let apps = apps.iter().flat_map(about).collect();
        let signal = asked.as_ref().and_then(|asked| asked.signal).map(|signal| signal.to_string());
        let by = asked.as_ref().map(|asked| self.by(&asked.by));
        Some(OrderBody { verb: verb.clone(), apps, key: key.as_ref().map(|k| k.0.clone()), by, signal })
    }

    /// A line as clients see it.
    pub(super) fn line(&mut self, line: &Line) -> EventLine {
        let what = match &line.event {
            Event::Started { instance, run, generation, pid } => {
                Happening::Started { of: self.whose(*instance), run: run.0, generation: generation.0, pid: *pid }
            }
            Event::Exited(record) => {
                Happening::Exited { of: self.whose(record.instance), run: record.run.0, exit: exit(record, line) }
            }
            Event::LastWords(words) => Happening::LastWords {
                of: self.whose(words.instance),
                run: words.run.0,
                lines: words.lines.clone(),
                same_as: words.same_as.map(|run| run.0),
                cut: words.cut,
            },
            Event::Cleared { instance } => Happening::Cleared { of: self.whose(*instance) },
            event @ Event::Ordered { .. } => self.order(event).map_or(Happening::Other, Happening::Ordered),
            Event::Added { app, name } => Happening::Added(app_ref(*app, name)),
            Event::Changed { app, name, fields } => {
                Happening::Changed { app: app_ref(*app, name), fields: fields.clone() }
            }
            Event::Deleted { app, name } => Happening::Deleted(app_ref(*app, name)),
            Event::DaemonStarted { version, before, reason } => {
                Happening::DaemonStarted { version: version.clone(), before: *before, reason: reason.clone() }
            }
            Event::DaemonEnded { keep_apps } => Happening::DaemonEnded { keep_apps: *keep_apps },
            Event::Trouble { message } => Happening::Trouble { message: message.clone() },
        };
        EventLine { v: EVENT_VERSION, cursor: line.cursor().to_string(), at: wall(line.at), what }
    }

    /// A piece as clients see it; `before` is the cursor of the line before.
    pub(super) fn piece(&mut self, piece: &Piece, before: Cursor, now: Wall) -> EventLine {
        match piece {
            Piece::Line(line) => self.line(line),
            Piece::Gap => {
                EventLine { v: EVENT_VERSION, cursor: before.to_string(), at: wall(now), what: Happening::Gap }
            }
        }
    }
}

fn app_ref(id: AppId, name: &crate::model::AppName) -> AppRef {
    AppRef { id: id.0, name: Some(name.to_string()), instance: None }
}

/// The apps that an event is about. None: the daemon, or all of them.
pub(super) fn apps_of(event: &Event) -> Vec<AppId> {
    match event {
        Event::Started { instance, .. } | Event::Cleared { instance } => vec![instance.app],
        Event::Exited(record) => vec![record.instance.app],
        Event::LastWords(words) => vec![words.instance.app],
        Event::Ordered { apps, .. } => apps.clone(),
        Event::Added { app, .. } | Event::Changed { app, .. } | Event::Deleted { app, .. } => vec![*app],
        Event::DaemonStarted { .. } | Event::DaemonEnded { .. } | Event::Trouble { .. } => vec![],
    }
}

/// Whether an event is about this app, or this instance of it.
pub(super) fn is_about(event: &Event, app: AppId, index: Option<u32>) -> bool {
    let of = |id: &InstanceId| id.app == app && index.is_none_or(|index| index == id.index);
    match event {
        Event::Started { instance, .. } | Event::Cleared { instance } => of(instance),
        Event::Exited(record) => of(&record.instance),
        Event::LastWords(words) => of(&words.instance),
        Event::Ordered { apps, asked, .. } => {
            let mut only = asked.iter().flat_map(|a| &a.only).filter(|id| id.app == app).peekable();
            apps.contains(&app) && (only.peek().is_none() || only.any(of))
        }
        Event::Added { app: a, .. } | Event::Changed { app: a, .. } | Event::Deleted { app: a, .. } => *a == app,
        Event::DaemonStarted { .. } | Event::DaemonEnded { .. } | Event::Trouble { .. } => false,
    }
}

/// How a run ended, as its line says.
pub(super) fn exit(record: &ExitRecord, line: &Line) -> Exit {
    let (code, signal, core) = match record.status {
        ExitStatus::Code(code) => (Some(code), None, false),
        ExitStatus::Signal { signal, core } => (None, Some(signal.to_string()), core),
        ExitStatus::NotObserved | ExitStatus::NeverRan => (None, None, false),
    };
    let (next, at) = match record.sequel {
        Sequel::Finished => ("finished", None),
        Sequel::Errored { next } => ("errored", next),
        Sequel::Restart { at } => ("restart", Some(at)),
        Sequel::Down => ("down", None),
        Sequel::Replaced => ("replaced", None),
    };
    let later = |at: Moment| wall(Wall(line.at.0 + at.since(line.moment).as_millis() as u64));
    Exit {
        code,
        signal,
        core,
        cause: record.cause.as_str().to_owned(),
        memory_mark: record
            .memory_mark
            .map(|MarkPassed { mark, seen }| MemoryMark { mark_bytes: mark, seen_bytes: seen }),
        sent: record.sent,
        failure: record.failure.clone(),
        ran_ms: match record.status {
            ExitStatus::NeverRan => 0,
            ExitStatus::Code(_) | ExitStatus::Signal { .. } | ExitStatus::NotObserved => {
                record.ended.since(record.started).as_millis() as u64
            }
        },
        max_rss_bytes: record.usage.map(|usage| usage.max_rss).filter(|rss| *rss > 0),
        used: record.tally.map(used),
        restarts: record.restarts,
        failures: record.failures,
        next: next.to_owned(),
        next_at: at.map(later),
    }
}

fn used(tally: Tally) -> Used {
    let Tally { cpu_us, memory_peak, memory_max, pids_peak, pids_max, oom_kills, pids_refused } = tally;
    let (memory_peak_bytes, memory_max_bytes) = (memory_peak, memory_max);
    Used { cpu_us, memory_peak_bytes, memory_max_bytes, pids_peak, pids_max, oom_kills, pids_refused }
}

/// RFC 3339 in UTC.
pub(super) fn wall(at: Wall) -> String {
    let at = i64::try_from(at.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    at.map_or_else(String::new, |at| format!("{at:.3}"))
}
