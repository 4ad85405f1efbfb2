//! Which logs are meant, and whose the lines in them are.
//!
//! Owns the way from apps, and from the names of apps that are gone, to logs. It must not read lines. What a reader would get wrong:
//! one log may hold the lines of several streams, instances and apps, and one app's lines those of an app that had its name and
//! files before it.

use crate::api::LogStream;
use crate::config::Paths;
use crate::daemon::logs::index::{HEADER, Header, Lane};
use crate::daemon::logs::place::{Sink, sink};
use crate::daemon::logs::series::Series;
use crate::kernel::files::Dir;
use crate::model::{AppId, DesiredApp, Target};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Logs that are meant.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// They, each once.
    pub logs: Vec<Chosen>,
    /// What to know about them.
    pub note: Option<String>,
}

/// A log that is meant.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// It.
    pub series: Series,
    pub(super) owners: Owners,
}

/// Whose a line is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Who {
    pub(super) name: Arc<str>,
    pub(super) instance: u32,
    pub(super) stream: LogStream,
}

/// The apps that exist.
pub type Known = Arc<BTreeMap<AppId, String>>;

/// Whose lines of a log are meant.
#[derive(Debug, Clone)]
pub(super) struct Owners {
    of: Of,
    known: Known,
}

#[derive(Debug, Clone)]
enum Of {
    /// These lanes'.
    Lanes(Vec<(Lane, Who)>),
    /// All that an app of this name left; who it was where nobody recorded it.
    Left { instance: Option<u32>, stream: Option<LogStream>, first: Who },
}

impl Owners {
    /// Whose a line is. None: nobody's who is meant.
    pub(super) fn who(&self, lane: Option<Lane>) -> Option<Who> {
        // Bytes that were there before there was an index are of no app.
        match (&self.of, lane.filter(|lane| lane.app != AppId(u32::MAX))) {
            (Of::Lanes(lanes), None) => lanes.first().map(|(_, who)| who.clone()),
            (Of::Lanes(lanes), Some(lane)) => {
                if let Some((_, who)) = lanes.iter().find(|(own, _)| *own == lane) {
                    return Some(who.clone());
                }
                if self.known.contains_key(&lane.app) {
                    return None;
                }
                // Of one that is gone, and had the file before.
                let alike = lanes.iter().find(|(own, _)| (own.instance, own.err) == (lane.instance, lane.err));
                alike.or_else(|| lanes.first().filter(|_| lanes.len() == 1)).map(|(_, who)| who.clone())
            }
            (Of::Left { instance, stream, first }, lane) => {
                let mut who = first.clone();
                if let Some(lane) = lane {
                    if self.known.get(&lane.app).is_some_and(|name| **name != *who.name) {
                        return None;
                    }
                    (who.instance, who.stream) = (u32::from(lane.instance), lane.stream());
                }
                let meant = instance.is_none_or(|i| i == who.instance) && stream.is_none_or(|s| s == who.stream);
                meant.then_some(who)
            }
        }
    }

    /// Whether the lines of a lane are meant.
    pub(super) fn want(&self, lane: Lane) -> bool {
        self.who(Some(lane)).is_some()
    }

    /// Name and instance of all that are known to be meant.
    pub(super) fn instances(&self) -> Vec<(Arc<str>, u32)> {
        match &self.of {
            Of::Lanes(lanes) => lanes.iter().map(|(_, who)| (Arc::clone(&who.name), who.instance)).collect(),
            Of::Left { .. } => Vec::new(),
        }
    }
}

impl Choice {
    /// The logs of apps, or of instances of them.
    #[must_use]
    pub fn of(paths: &Paths, apps: &[(Target, DesiredApp)], known: &Known, stream: Option<LogStream>) -> Self {
        let mut logs: BTreeMap<Series, Vec<(Lane, Who)>> = BTreeMap::new();
        let (mut elsewhere, mut somewhere) = (None, false);
        for (target, app) in apps {
            let name: Arc<str> = app.spec.name.as_str().into();
            let count = u32::try_from(app.instances.len()).unwrap_or(u32::MAX);
            for instance in (0..count).filter(|i| target.instance.is_none_or(|t| t == *i)) {
                for (err, which) in [(false, LogStream::Out), (true, LogStream::Err)] {
                    if stream.is_some_and(|s| s != which) {
                        continue;
                    }
                    let sink = sink(paths, &app.spec, instance, err);
                    match &sink {
                        Sink::Journald => elsewhere = Some(format!("the output of '{name}' goes to journald")),
                        Sink::Nowhere => elsewhere = Some(format!("the output of '{name}' goes nowhere")),
                        Sink::Raw(_) | Sink::Lines(_) => somewhere = true,
                    }
                    let Some(series) = sink.files().first() else { continue };
                    let number = u16::try_from(instance).unwrap_or(u16::MAX);
                    let lane = Lane { app: target.app, instance: number, err };
                    let who = Who { name: Arc::clone(&name), instance, stream: which };
                    logs.entry(series.clone()).or_default().push((lane, who));
                }
            }
        }
        let owners = |lanes| Owners { of: Of::Lanes(lanes), known: Arc::clone(known) };
        let logs = logs.into_iter().map(|(series, lanes)| Chosen { series, owners: owners(lanes) }).collect();
        Self { logs, note: elsewhere.filter(|_| !somewhere) }
    }

    /// The logs that an app of this name left.
    #[must_use]
    pub fn left(paths: &Paths, name: &str, instance: Option<u32>, known: &Known, stream: Option<LogStream>) -> Self {
        let mut logs = Vec::new();
        let folder = Dir::open(&paths.logs.join("index"));
        for index in folder.iter().flat_map(|folder| folder.names().unwrap_or_default()) {
            let Some(series) = Series::of_index(&paths.logs, &index).filter(|_| !is_rotated(&index)) else { continue };
            let mut header = [0; HEADER];
            let Some((file, _)) = folder.as_ref().ok().and_then(|folder| folder.open_for_reading(&index).ok()) else {
                continue;
            };
            let header = File::from(file).read_exact_at(&mut header, 0).ok().and_then(|()| Header::decode(&header));
            if header.is_none_or(|header| header.app != name) {
                continue;
            }
            let err =
                series.key().strip_suffix(".log").is_some_and(|key| key.ends_with("-err") || key.ends_with("error"));
            let which = if err { LogStream::Err } else { LogStream::Out };
            let first = Who { name: name.into(), instance: instance.unwrap_or(0), stream: which };
            logs.push(Chosen {
                series,
                owners: Owners { of: Of::Left { instance, stream, first }, known: Arc::clone(known) },
            });
        }
        logs.sort_unstable_by(|a, b| a.series.cmp(&b.series));
        let note = match instance.filter(|_| known.values().any(|known| known == name)) {
            Some(instance) => format!("'{name}' has no instance {instance} any more; these are the logs that it left"),
            None => format!("there is no app '{name}' any more; these are the logs that it left"),
        };
        Self { note: (!logs.is_empty()).then_some(note), logs }
    }

    /// Adds those of another. What both mean is meant as here.
    pub fn add(&mut self, other: Self) {
        let known = |chosen: &Chosen| !self.logs.iter().any(|own| own.series == chosen.series);
        let more: Vec<Chosen> = other.logs.into_iter().filter(known).collect();
        self.logs.extend(more);
        self.note = self.note.take().or(other.note);
    }
}

/// The index of a file that was set aside: `NAME.000017.idx`.
fn is_rotated(index: &std::ffi::OsStr) -> bool {
    let name = index.to_string_lossy();
    let stem = name.strip_suffix(".idx").unwrap_or(&name);
    stem.rsplit_once('.').is_some_and(|(_, end)| end.len() >= 6 && end.bytes().all(|b| b.is_ascii_digit()))
}
