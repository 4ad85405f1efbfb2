//! Answers to reads: rows, details, environments. Reads never write, and never make the loop wait.
//!
//! Two steps: what the loop knows is copied out in one go ([`sketch`]); rows are made of it, and what the kernel has to be asked (CPU
//! time, memory) is asked, by [`Meter`], off the loop and by several threads where there are many. What a reader would get wrong: CPU per cent is over the time since the
//! *previous read*, so two readers see each their share of a shared memory; it is for people, not for accounting.

use super::clock_text::Clocks;
use super::in_force::in_force;
use super::logs::place::sink;
use super::logs::reading::{Choice, Known};
use super::program;
use super::resolve;
use super::shared_out::shared_out;
use crate::api::{AppEnv, AppInfo, EnvVar, LastExit, LogStream, Problem, ProblemKind, Row};
use crate::config::Paths;
use crate::kernel::apps::Apps;
use crate::kernel::process;
use crate::model::state::When;
use crate::model::{
    AppId, AppSpec, Cause, DesiredApp, ExitStatus, InstanceId, InstanceStatus, Moment, RunId, Selector, Target,
};
use crate::supervise::Supervisor;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// What the loop knows of one row.
pub(super) struct Sketch {
    spec: Arc<AppSpec>,
    at: InstanceStatus,
    root: Arc<Path>,
    clocks: Clocks,
}

/// The rows of these targets, or of everything.
///
/// # Errors
/// A selector that matches nothing.
pub(super) fn sketch(core: &Supervisor, root: &Path, select: &str, clocks: Clocks) -> Result<Vec<Sketch>, Problem> {
    let targets = resolve::resolve(&resolve::listed(core), &[select.to_owned()])?;
    Ok(sketch_of(core, root, &targets, clocks))
}

/// The rows of these targets.
pub(super) fn sketch_of(core: &Supervisor, root: &Path, targets: &[Target], clocks: Clocks) -> Vec<Sketch> {
    let wanted: HashSet<Target> = targets.iter().copied().collect();
    let by_id: HashMap<AppId, &DesiredApp> = core.apps().collect();
    let root: Arc<Path> = root.into();
    let shown = |at: &InstanceStatus| {
        let InstanceId { app, index } = at.instance;
        [None, Some(index)].into_iter().any(|instance| wanted.contains(&Target { app, instance }))
    };
    let sketch = |at: InstanceStatus| {
        let spec = Arc::clone(&by_id.get(&at.instance.app)?.spec);
        Some(Sketch { spec, at, root: Arc::clone(&root), clocks })
    };
    core.status().into_iter().filter(shown).filter_map(sketch).collect()
}

/// The row, but for what the kernel has to be asked.
fn row(Sketch { spec, at, root, clocks }: Sketch) -> Row {
    let last_exit = at.last_exit.as_ref().map(|(record, when)| {
        let (code, signal, core) = match record.status {
            ExitStatus::Code(code) => (Some(code), None, false),
            ExitStatus::Signal { signal, core } => (None, Some(signal.to_string()), core),
            ExitStatus::NotObserved | ExitStatus::NeverRan => (None, None, false),
        };
        let memory_peak_bytes = record.tally.and_then(|tally| tally.memory_peak);
        let memory_max_bytes = match record.cause {
            Cause::OutOfMemory => record.tally.and_then(|tally| tally.memory_max),
            Cause::MemoryMark => record.memory_mark.map(|passed| passed.mark),
            Cause::OwnExit
            | Cause::Signal
            | Cause::StopOrder
            | Cause::Deadline
            | Cause::SpawnFailed
            | Cause::NotObserved => None,
        };
        let (cause, at) = (record.cause.as_str().to_owned(), clocks.text(*when));
        LastExit { code, signal, core, cause, memory_peak_bytes, memory_max_bytes, at }
    });
    Row {
        id: at.instance.app.0,
        name: spec.name.to_string(),
        namespace: spec.namespace.to_string(),
        instance: at.instance.index,
        state: at.state.as_str().to_owned(),
        detail: at.detail.map(|d| d.to_string()),
        desired: match at.desired {
            crate::model::Desired::Up => "up",
            crate::model::Desired::Down => "down",
        }
        .to_owned(),
        ready: match at.ready {
            crate::model::Ready::Yes => "yes",
            crate::model::Ready::No => "no",
            crate::model::Ready::None => "none",
        }
        .to_owned(),
        pid: at.pid,
        since: at.since.map(|w| clocks.text(w)),
        restarts: at.restarts,
        cpu_percent: None,
        memory_bytes: None,
        limits: None,
        run: at.run.map(|r| r.0),
        cgroup: at
            .run
            .map(|run| format!("{}/apps/{}.{}/run-{run}", root.display(), at.instance.app, at.instance.index)),
        last_exit,
        next_attempt: at.next_attempt.map(|m| clocks.text(When::Moment(m))),
    }
}

/// How memory is found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Memory {
    /// From the controller, else not at all: a read costs the same whatever the apps do.
    Controller,
    /// Without the controller, as the sum over the tree's processes.
    Summed,
}

/// Remembers the CPU time of runs between reads.
#[derive(Default)]
pub(super) struct Meter {
    last: Mutex<HashMap<RunId, (u64, Moment)>>,
}

impl Meter {
    /// Asks the kernel for what is missing in the rows. Second value: how many processes each has.
    pub(super) fn finish(&self, sketches: Vec<Sketch>, memory: Memory, now: Moment) -> (Vec<Row>, Vec<Option<u32>>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let apps = sketches.first().and_then(|one| Apps::at(&one.root).ok());
        let look = Look { apps, memory, now, last: &last };
        let looked = shared_out(sketches, |sketch| look.at(sketch));
        let (mut rows, mut counts) = (Vec::with_capacity(looked.len()), Vec::with_capacity(looked.len()));
        let mut seen = HashMap::with_capacity(looked.len());
        for Looked { row, used, processes } in looked {
            seen.extend(used);
            rows.push(row);
            counts.push(processes);
        }
        // Runs that were not asked for keep theirs; those that are gone are forgotten at the next read of everything.
        if seen.len() >= last.len() {
            *last = seen;
        } else {
            last.extend(seen);
        }
        (rows, counts)
    }
}

/// What is asked of the kernel, and of which runs.
struct Look<'a> {
    apps: Option<Apps>,
    memory: Memory,
    now: Moment,
    last: &'a HashMap<RunId, (u64, Moment)>,
}

/// A row, the CPU time by now, and how many processes there are.
struct Looked {
    row: Row,
    used: Option<(RunId, (u64, Moment))>,
    processes: Option<u32>,
}

impl Look<'_> {
    fn at(&self, sketch: Sketch) -> Looked {
        let at = &sketch.at;
        // When the run was spawned, as far as known: since when its CPU time has been counted.
        let started = match at.since {
            Some(When::Moment(moment)) => Some(moment),
            Some(When::Wall(_)) | None => None,
        };
        let place = self
            .apps
            .as_ref()
            .zip(at.run)
            .map(|(apps, run)| (apps.run(at.instance.app.0, at.instance.index, run.0), run));
        let limited = !sketch.spec.has_no_limits();
        let mut looked = Looked { row: row(sketch), used: None, processes: None };
        let row = &mut looked.row;
        let Some((place, run)) = place else { return looked };
        if let Some(used) = place.cpu_micros() {
            let before = self.last.get(&run).copied();
            let (then, since) = before.or(started.map(|at| (0, at))).unwrap_or((used, self.now));
            // A program that began a moment ago spent that moment on beginning; that is no rate.
            let least = if before.is_some() { 0.0 } else { 100_000.0 };
            let elapsed = (self.now.since(since).as_micros() as f64).max(least);
            row.cpu_percent =
                (elapsed > 0.0).then(|| ((used.saturating_sub(then)) as f64 / elapsed * 1000.0).round() / 10.0);
            looked.used = Some((run, (used, self.now)));
        }
        row.memory_bytes = place.memory();
        if (limited || self.memory == Memory::Summed)
            && let Ok(dir) = place.open()
        {
            row.limits = in_force(&dir);
            if self.memory == Memory::Summed {
                let pids = dir.processes().unwrap_or_default();
                looked.processes = u32::try_from(pids.len()).ok();
                row.memory_bytes =
                    row.memory_bytes.or_else(|| Some(pids.iter().filter_map(|p| process::memory(*p)).sum()));
            }
        }
        looked
    }
}

/// An app's details, but for what the kernel has to be asked.
pub(super) struct InfoSketch {
    id: AppId,
    app: DesiredApp,
    rows: Vec<Sketch>,
}

pub(super) fn info_sketches(
    core: &Supervisor,
    root: &Path,
    select: &str,
    clocks: Clocks,
) -> Result<Vec<InfoSketch>, Problem> {
    let mut rows = sketch(core, root, select, clocks)?.into_iter().peekable();
    let mut infos: Vec<InfoSketch> = Vec::new();
    for (id, app) in core.apps() {
        let mut own = Vec::new();
        while let Some(row) = rows.next_if(|s| s.at.instance.app == id) {
            own.push(row);
        }
        if !own.is_empty() {
            infos.push(InfoSketch { id, app: app.clone(), rows: own });
        }
    }
    Ok(infos)
}

pub(super) fn finish_info(infos: Vec<InfoSketch>, meter: &Meter, paths: &Paths, now: Moment) -> Vec<AppInfo> {
    infos
        .into_iter()
        .map(|InfoSketch { id, app, rows }| {
            let (instances, processes) = meter.finish(rows, Memory::Summed, now);
            let logs = |err| {
                let sinks = instances.iter().map(|r| sink(paths, &app.spec, r.instance, err));
                sinks.flat_map(|sink| sink.files().first().map(|file| file.path().display().to_string())).collect()
            };
            let (out_logs, err_logs) = (logs(false), logs(true));
            AppInfo { id: id.0, spec: app.spec, instances, processes, out_logs, err_logs }
        })
        .collect()
}

/// The apps that a selector means, with the instance if one was named.
pub(super) fn chosen(core: &Supervisor, select: &str) -> Result<Vec<(Target, DesiredApp)>, Problem> {
    Ok(apps_of(core, resolve::resolve(&resolve::listed(core), &[select.to_owned()])?))
}

fn apps_of(core: &Supervisor, targets: Vec<Target>) -> Vec<(Target, DesiredApp)> {
    let apps: HashMap<AppId, &DesiredApp> = core.apps().collect();
    targets.into_iter().filter_map(|t| apps.get(&t.app).map(|app| (t, (*app).clone()))).collect()
}

/// Whose logs a selector means.
pub(super) struct LogsOf {
    apps: Vec<(Target, DesiredApp)>,
    /// Words that mean no app, and the refusal that this is if no logs are left of one.
    gone: Vec<(String, Option<u32>, Problem)>,
    known: Known,
}

/// The apps whose logs a selector means, and the names that may be those of apps that are gone.
///
/// # Errors
/// A selector that is none, or a pattern that matches nothing.
pub(super) fn logs_of(core: &Supervisor, select: &str) -> Result<LogsOf, Problem> {
    let known: Known = Arc::new(core.apps().map(|(id, app)| (id, app.spec.name.to_string())).collect());
    match chosen(core, select) {
        Ok(apps) => return Ok(LogsOf { apps, gone: Vec::new(), known }),
        Err(problem) if problem.kind == ProblemKind::NoSuchApp => {}
        Err(problem) => return Err(problem),
    }
    let mut logs = LogsOf { apps: Vec::new(), gone: Vec::new(), known };
    for selector in Selector::parse_list(select).map_err(|e| resolve::bad_request(e, None))? {
        match (resolve::matches(&resolve::listed(core), &selector), selector) {
            (Ok(targets), _) => logs.apps.extend(apps_of(core, targets)),
            (Err(problem), Selector::Word { word, instance }) if problem.kind == ProblemKind::NoSuchApp => {
                logs.gone.push((word, instance, problem));
            }
            (Err(problem), Selector::All | Selector::Pattern(_) | Selector::Word { .. }) => return Err(problem),
        }
    }
    Ok(logs)
}

impl LogsOf {
    /// The logs. Looks for those of apps that are gone on disk, so not on the loop.
    ///
    /// # Errors
    /// A word that means no app, and none that is gone left logs under that name.
    pub(super) fn find(self, paths: &Paths, stream: Option<LogStream>) -> Result<Choice, Problem> {
        let mut choice = Choice::of(paths, &self.apps, &self.known, stream);
        for (word, instance, problem) in self.gone {
            let left = Choice::left(paths, &word, instance, &self.known, stream);
            if left.logs.is_empty() {
                return Err(problem);
            }
            choice.add(left);
        }
        Ok(choice)
    }
}

/// The environments of the next runs. Reads env files, so not on the loop.
pub(super) fn environments(chosen: Vec<(Target, DesiredApp)>) -> Vec<AppEnv> {
    chosen
        .into_iter()
        .map(|(target, app)| {
            let composed = program::environment(&app, target.instance.unwrap_or(0), None);
            let variable = |v: crate::config::env::Variable| EnvVar {
                name: v.name,
                value: v.value,
                source: program::api_source(v.source),
                file: v.file,
            };
            AppEnv {
                id: target.app.0,
                name: app.spec.name.to_string(),
                variables: composed.variables.into_iter().map(variable).collect(),
                problems: composed.problems,
            }
        })
        .collect()
}
