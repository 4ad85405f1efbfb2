//! Where the output of an instance goes, as its spec asks.
//!
//! Owns the meaning of `log_sink`, `out_file`, `error_file`, `log_file` and `merge_logs`, which are PM2's. It must not touch a
//! disk. What a reader would get wrong: the same answer is needed by who writes, by who reads, and with no daemon at all.

use super::series::Series;
use crate::config::Paths;
use crate::model::{AppName, AppSpec, InstanceId, LogCaps, LogDrop, LogMode, LogSink, RawText};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Where one stream of one instance goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sink {
    /// Byte for byte into a file that no other stream of the app writes to.
    Raw(Series),
    /// Cut into lines, which are written into each of these: stamped, or together with those of others.
    Lines(Vec<Series>),
    /// To journald.
    Journald,
    /// Nowhere.
    Nowhere,
}

impl Sink {
    /// The files, the stream's own first.
    #[must_use]
    pub fn files(&self) -> &[Series] {
        match self {
            Self::Raw(series) => std::slice::from_ref(series),
            Self::Lines(all) => all,
            Self::Journald | Self::Nowhere => &[],
        }
    }
}

/// Everything that the pump must know of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The app's name.
    pub name: AppName,
    /// The app's number and the instance's.
    pub instance: InstanceId,
    /// What stands in the files.
    pub mode: LogMode,
    /// With mode `time`: how the time is written.
    pub format: Option<String>,
    /// How much is kept.
    pub caps: LogCaps,
    /// What becomes of what a full disk cannot take.
    pub drop: LogDrop,
    /// Where standard output goes.
    pub out: Sink,
    /// Where standard error goes.
    pub err: Sink,
}

impl Plan {
    /// As the spec asks.
    #[must_use]
    pub fn new(paths: &Paths, spec: &AppSpec, instance: InstanceId) -> Self {
        Self {
            name: spec.name.clone(),
            instance,
            mode: spec.log_mode,
            format: spec.log_format.clone(),
            caps: spec.log_caps(),
            drop: spec.log_drop,
            out: sink(paths, spec, instance.index, false),
            err: sink(paths, spec, instance.index, true),
        }
    }

    /// Of an app that was deleted and of which only its name is known.
    #[must_use]
    pub fn by_name(paths: &Paths, name: AppName, instance: InstanceId) -> Self {
        Self::new(paths, &AppSpec::new(name, RawText::default(), RawText::default()), instance)
    }
}

/// All logs of an app.
#[must_use]
pub fn all(paths: &Paths, spec: &AppSpec) -> Vec<Series> {
    let both = (0..spec.instances).flat_map(|instance| [false, true].map(|err| sink(paths, spec, instance, err)));
    let mut all: Vec<Series> = both.flat_map(|sink| sink.files().to_vec()).collect();
    all.sort();
    all.dedup();
    all
}

/// Where a stream of an instance goes.
#[must_use]
pub fn sink(paths: &Paths, spec: &AppSpec, instance: u32, err: bool) -> Sink {
    match spec.log_sink {
        LogSink::Files => {}
        LogSink::Journald => return Sink::Journald,
        LogSink::None => return Sink::Nowhere,
    }
    let file = |err| own_file(paths, spec, instance, err);
    let both = spec.log_file.as_ref().and_then(|path| user_file(paths, path, spec, instance));
    let own = file(err);
    let shared = spec.merge_logs && spec.instances > 1 || own.is_some() && own == file(!err) || own == both;
    let mut all: Vec<Series> = own.into_iter().collect();
    all.extend(both);
    all.dedup();
    match (all.len(), spec.log_mode) {
        (0, _) => Sink::Nowhere,
        (1, LogMode::Raw) if !shared && spec.log_file.is_none() => Sink::Raw(all.remove(0)),
        (_, LogMode::Raw | LogMode::Time | LogMode::Json) => Sink::Lines(all),
    }
}

fn own_file(paths: &Paths, spec: &AppSpec, instance: u32, err: bool) -> Option<Series> {
    let asked = if err { &spec.error_file } else { &spec.out_file };
    if let Some(path) = asked {
        return user_file(paths, path, spec, instance);
    }
    let stream = if err { "err" } else { "out" };
    let name = &spec.name;
    let file = if spec.merge_logs { format!("{name}-{stream}.log") } else { format!("{name}-{instance}-{stream}.log") };
    Some(Series::own(&paths.logs, &file))
}

/// None: nowhere.
fn user_file(paths: &Paths, path: &RawText, spec: &AppSpec, instance: u32) -> Option<Series> {
    // A bare name is one in opm's own folder.
    let path = paths.logs.join(path.as_os_str());
    if path == Path::new("/dev/null") {
        return None;
    }
    let path = if spec.merge_logs || spec.instances == 1 { path } else { numbered(&path, instance) };
    Series::of_the_user(&paths.logs, &path)
}

/// `/var/log/web.log` of instance 2 is `/var/log/web-2.log`.
fn numbered(path: &Path, instance: u32) -> PathBuf {
    let mut name: OsString = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{instance}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn said(change: impl FnOnce(&mut AppSpec), instance: u32, err: bool) -> String {
        let home = PathBuf::from("/h");
        let paths = Paths {
            state: home.clone(),
            logs: home.join("logs"),
            runtime: home.clone(),
            config: home.clone(),
            home: None,
            system: false,
        };
        let mut spec = AppSpec::new("web".parse().unwrap(), "/app.js".into(), "/".into());
        change(&mut spec);
        let files = |all: &[Series]| all.iter().map(|s| s.path().display().to_string()).collect::<Vec<_>>().join(" ");
        match sink(&paths, &spec, instance, err) {
            Sink::Raw(series) => format!("raw {}", series.path().display()),
            Sink::Lines(all) => format!("lines {}", files(&all)),
            Sink::Journald => "journald".to_owned(),
            Sink::Nowhere => "nowhere".to_owned(),
        }
    }

    #[test]
    fn each_stream_of_each_instance_has_a_file_of_its_own_unless_asked_otherwise() {
        assert_eq!(said(|_| (), 0, false), "raw /h/logs/web-0-out.log");
        assert_eq!(said(|s| s.instances = 2, 1, true), "raw /h/logs/web-1-err.log");
        assert_eq!(said(|s| s.log_mode = LogMode::Json, 0, true), "lines /h/logs/web-0-err.log");
        let mine = |s: &mut AppSpec| s.out_file = Some("/l/web.log".into());
        assert_eq!(said(mine, 0, false), "raw /l/web.log");
        assert_eq!(said(|s| (mine(s), s.instances = 2).1, 1, false), "raw /l/web-1.log");
        assert_eq!(said(mine, 0, true), "raw /h/logs/web-0-err.log");
    }

    #[test]
    fn what_several_write_to_is_cut_into_lines() {
        let merged = |s: &mut AppSpec| (s.merge_logs, s.instances) = (true, 2);
        assert_eq!(said(merged, 1, false), "lines /h/logs/web-out.log");
        assert_eq!(said(|s| s.merge_logs = true, 0, false), "raw /h/logs/web-out.log");
        let same = |s: &mut AppSpec| (s.out_file, s.error_file) = (Some("/l/a".into()), Some("/l/a".into()));
        assert_eq!(said(same, 0, true), "lines /l/a");
        let both = |s: &mut AppSpec| s.log_file = Some("/l/all.log".into());
        assert_eq!(said(both, 0, true), "lines /h/logs/web-0-err.log /l/all.log");
        let own = |s: &mut AppSpec| (s.log_file, s.instances) = (Some("web-all.log".into()), 2);
        assert_eq!(said(own, 1, true), "lines /h/logs/web-1-err.log /h/logs/web-all-1.log");
        let quiet = |s: &mut AppSpec| s.error_file = Some("/dev/null".into());
        assert_eq!(said(quiet, 0, true), "nowhere");
        assert_eq!(said(quiet, 0, false), "raw /h/logs/web-0-out.log");
        assert_eq!(said(|s| s.log_sink = LogSink::Journald, 0, true), "journald");
    }
}
