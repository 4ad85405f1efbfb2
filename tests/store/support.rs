//! What the tests of the store share: apps, a store that can be asked and waited for, and folders.

use opm::daemon::journal::{Journal, LoadedJournal};
use opm::daemon::store::{self, Command, Loaded, StoreEvent, StoreHandle};
use opm::model::exit::{Cause, Sequel};
use opm::model::{
    AppId, AppSpec, BootId, Desired, DesiredApp, DesiredInstance, EnvMap, ExitRecord, ExitStatus, Generation,
    InstanceId, Moment, RawText, RunId, WriteId,
};
use opm::supervise::Change;
use std::collections::BTreeMap;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

pub(crate) fn boot() -> BootId {
    BootId("boot-a".into())
}

/// An environment with bytes that are not UTF-8.
pub(crate) fn env(marker: &str) -> Arc<EnvMap> {
    let mut env = EnvMap::default();
    env.0.insert("MARKER".into(), marker.into());
    env.0.insert("ODD".into(), RawText::from(vec![0xff, b'x', 0xfe]));
    Arc::new(env)
}

pub(crate) fn app(name: &str, env: &Arc<EnvMap>) -> DesiredApp {
    let mut spec = AppSpec::new(name.parse().unwrap(), "/srv/app.js".into(), "/srv".into());
    spec.args = vec!["--port".into(), RawText::from(vec![0x80, 0x81])];
    spec.instances = 2;
    let up = DesiredInstance { desired: Desired::Up, generation: Generation(1) };
    let down = DesiredInstance { desired: Desired::Down, generation: Generation(7) };
    DesiredApp { spec: Arc::new(spec), captured: Arc::clone(env), instances: vec![up, down], last_order: None }
}

pub(crate) fn put(apps: &[(u32, &DesiredApp)], next_id: u32) -> Change {
    let put = apps.iter().map(|(id, app)| (AppId(*id), (*app).clone())).collect();
    Change { put, removed: Vec::new(), next_id: AppId(next_id) }
}

pub(crate) fn remove(id: u32, next_id: u32) -> Change {
    Change { put: Vec::new(), removed: vec![AppId(id)], next_id: AppId(next_id) }
}

pub(crate) fn load(dir: &Path) -> Loaded {
    store::load(dir, &boot()).unwrap()
}

/// The log of changes of the index that stands.
pub(crate) fn log_of(dir: &Path) -> PathBuf {
    let index = std::fs::read_to_string(dir.join("index.json")).unwrap();
    let check = index.rsplit("\"check\": \"").next().unwrap();
    dir.join(format!("index-{}.log", check.split('"').next().unwrap()))
}

pub(crate) type Files = BTreeMap<PathBuf, Vec<u8>>;

/// All files of a state folder, as they are.
pub(crate) fn files(dir: &Path) -> Files {
    let mut all = BTreeMap::new();
    for folder in ["", "apps", "env"] {
        for path in
            std::fs::read_dir(dir.join(folder)).unwrap().map(|e| e.unwrap().path()).filter(|path| path.is_file())
        {
            all.insert(path.strip_prefix(dir).unwrap().to_owned(), std::fs::read(path).unwrap());
        }
    }
    all
}

/// These and no others. Hard links become copies, which is no matter here.
pub(crate) fn put_back(dir: &Path, files: &Files) {
    let _ = std::fs::remove_dir_all(dir);
    for folder in ["", "apps", "env"] {
        std::fs::DirBuilder::new().mode(0o700).recursive(true).create(dir.join(folder)).unwrap();
    }
    for (path, bytes) in files {
        std::fs::write(dir.join(path), bytes).unwrap();
        std::fs::set_permissions(dir.join(path), std::fs::Permissions::from_mode(0o600)).unwrap();
    }
}

pub(crate) fn load_journal(dir: &Path) -> (Journal, LoadedJournal) {
    Journal::load(&dir.join("events"), &boot())
}

/// A store with its thread. Dropping the handle ends the thread.
pub(crate) struct Running {
    pub(crate) handle: Option<StoreHandle>,
    pub(crate) events: Receiver<StoreEvent>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Running {
    pub(crate) fn start(dir: &Path) -> Self {
        let (tell, events) = channel();
        let tell = std::sync::Mutex::new(tell);
        let reply = Box::new(move |event| drop(tell.lock().unwrap().send(event)));
        let (handle, thread) = store::spawn(load(dir).disk, load_journal(dir).0, reply).unwrap();
        Self { handle: Some(handle), events, thread: Some(thread) }
    }

    pub(crate) fn send(&self, command: Command) {
        self.handle.as_ref().unwrap().send(command);
    }

    pub(crate) fn persist(&self, write: u64, change: Change) {
        self.send(Command::Persist { write: WriteId(write), change });
    }

    /// Sends one change and waits for its answer.
    pub(crate) fn write(&self, change: Change) -> StoreEvent {
        self.persist(0, change);
        self.events.recv().unwrap()
    }

    /// Ends it; everything sent before is done.
    pub(crate) fn end(mut self) -> Vec<StoreEvent> {
        self.handle = None;
        self.thread.take().unwrap().join().unwrap();
        self.events.try_iter().collect()
    }
}

/// Does one change in a store of its own, as a daemon that lives shortly.
pub(crate) fn write_once(dir: &Path, change: Change) {
    let store = Running::start(dir);
    assert_eq!(store.write(change), StoreEvent::Persisted(WriteId(0)));
    store.end();
}

pub(crate) fn exit(app: u32, index: u32, run: u64, ended: u64, failures: u32) -> ExitRecord {
    ExitRecord {
        instance: InstanceId::new(AppId(app), index),
        run: RunId(run),
        generation: Generation(1),
        started: Moment(ended.saturating_sub(5)),
        ended: Moment(ended),
        status: ExitStatus::Code(3),
        cause: Cause::OwnExit,
        failure: None,
        sent: false,
        usage: None,
        tally: None,
        memory_mark: None,
        restarts: failures,
        failures,
        down: None,
        sequel: Sequel::Restart { at: Moment(ended + 1) },
    }
}
