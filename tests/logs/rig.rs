//! The pump as the tests drive it: real pipes, real files, no daemon.

use opm::config::Paths;
use opm::daemon::logs::keeping::KeepHandle;
use opm::daemon::logs::place::Plan;
use opm::daemon::logs::pump::{Command, PumpEvent, PumpHandle, spawn};
use opm::daemon::logs::series::Series;
use opm::model::{AppId, AppSpec, ByteSize, Cap, InstanceId, LogCompress, RunId};
use rustix::fd::OwnedFd;
use rustix::pipe::{PipeFlags, pipe_with};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;

pub(crate) struct Pump {
    pub(crate) handle: Option<PumpHandle>,
    keep: KeepHandle,
    pub(crate) events: Receiver<PumpEvent>,
    thread: Option<JoinHandle<()>>,
    pub(crate) logs: PathBuf,
}

/// An app's two ends.
pub(crate) struct App {
    pub(crate) out: File,
    pub(crate) err: File,
}

impl Pump {
    pub(crate) fn start(home: &Path) -> Self {
        Self::start_with(home, home)
    }

    pub(crate) fn start_with(home: &Path, runtime: &Path) -> Self {
        let logs = home.join("logs");
        let (tell, events) = channel();
        let keep = KeepHandle::new(logs.clone(), Box::new(|_| ()));
        let (handle, thread) = spawn(
            runtime.join("spool"),
            &home.join("socket"),
            keep.clone(),
            Box::new(move |event| drop(tell.send(event))),
        )
        .unwrap();
        Self { handle: Some(handle), keep, events, thread: Some(thread), logs }
    }

    pub(crate) fn send(&self, command: Command) {
        self.handle.as_ref().unwrap().send(command);
    }

    /// The app's number is its name's hash, so that each has lanes of its own.
    pub(crate) fn plan(&self, name: &str, change: impl FnOnce(&mut AppSpec)) -> Plan {
        let home = self.logs.parent().unwrap();
        let paths = Paths {
            state: home.join("state"),
            logs: self.logs.clone(),
            runtime: home.join("run"),
            config: home.join("config.toml"),
            home: Some(home.to_owned()),
            system: false,
        };
        let mut spec = AppSpec::new(name.parse().unwrap(), "/app".into(), "/".into());
        change(&mut spec);
        let id = name.bytes().fold(7_u32, |id, byte| id.wrapping_mul(31).wrapping_add(u32::from(byte)));
        Plan::new(&paths, &spec, InstanceId::new(AppId(id), 0))
    }

    pub(crate) fn add_as(&self, run: u64, plan: Plan, streams: [OwnedFd; 2]) {
        self.send(Command::Add { run: RunId(run), plan: Box::new(plan), streams });
    }

    pub(crate) fn app(&self, run: u64, name: &str) -> App {
        self.app_as(run, self.plan(name, |_| ()))
    }

    pub(crate) fn app_as(&self, run: u64, plan: Plan) -> App {
        let ((out_read, out), (err_read, err)) = (pipe(), pipe());
        self.add_as(run, plan, [out_read, err_read]);
        App { out, err }
    }

    pub(crate) fn flush(&self) {
        let (tell, done) = channel();
        self.send(Command::Flush { done: Box::new(move || tell.send(()).unwrap()) });
        done.recv().unwrap();
    }

    pub(crate) fn finish(&self, run: u64) {
        let (tell, done) = channel();
        self.send(Command::Finish { run: RunId(run), last_words: 0, done: Box::new(move |_| tell.send(()).unwrap()) });
        done.recv().unwrap();
    }

    pub(crate) fn text(&self, file: &str) -> String {
        fs::read_to_string(self.logs.join(file)).unwrap()
    }

    /// All that a log holds: the files that were set aside, oldest first, then the one that is written.
    pub(crate) fn whole(&self, file: &str) -> String {
        String::from_utf8(whole(&self.logs, file)).unwrap_or_else(|_| panic!("{file} holds more than text"))
    }

    /// Waits until nothing more is being packed or let go.
    pub(crate) fn settle(&self) {
        let (tell, done) = channel();
        self.keep.settled(Box::new(move || tell.send(()).unwrap()));
        done.recv().unwrap();
    }

    /// Dropping the last handle ends the thread.
    pub(crate) fn end(mut self) {
        self.handle = None;
        self.thread.take().unwrap().join().unwrap();
    }
}

pub(crate) fn whole(logs: &Path, file: &str) -> Vec<u8> {
    let names: Vec<_> = fs::read_dir(logs).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let mut all = Vec::new();
    for part in Series::own(logs, file).parts(&names) {
        all.extend(fs::read(logs.join(part.name)).unwrap());
    }
    all.extend(fs::read(logs.join(file)).unwrap_or_default());
    all
}

/// A file is set aside after 64 KiB, and nothing of it goes.
pub(crate) fn small(spec: &mut AppSpec) {
    spec.log_max_size = Cap::At(ByteSize(64 << 10));
    (spec.log_keep, spec.log_total, spec.log_compress) = (Cap::None, Cap::None, LogCompress::None);
}

pub(crate) fn pipe() -> (OwnedFd, File) {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    rustix::io::ioctl_fionbio(&read, true).unwrap();
    (read, File::from(write))
}
