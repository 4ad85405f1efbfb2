//! Daemon start, in order: take over from the keeper, read desired, adopt, only then decide. And its end.
//!
//! What a reader would get wrong: nothing is spawned before every run in the cgroup tree has been looked at.

use super::adopt::{self, Begun, Found};
use super::deletions::Deletions;
use super::effects::Hands;
use super::event_loop::{BURST, Ending, EventLoop, watch};
use super::handle::{Handle, Mail};
use super::journal::Journal;
use super::keeper_link::{self, KeeperLink};
use super::last_words::Mourning;
use super::limiter::Limiter;
use super::logs::journald;
use super::logs::keeping::{KeepHandle, Known};
use super::logs::place::Plan;
use super::logs::pump::{self, PumpEvent};
use super::orders::Orders;
use super::program::{self, Own};
use super::runs::Runs;
use super::server::{self, Shared};
use super::sharing::Sharing;
use super::store::{self, Command};
use super::token::Token;
use crate::config::{Paths, Settings};
use crate::kernel::cgroup::Tree;
use crate::kernel::clock::{self, Alarm};
use crate::kernel::epoll::Epoll;
use crate::kernel::slots::Slots;
use crate::kernel::{mount, rlimit};
use crate::model::{AppId, AppName, BootId, Event, RunId};
use crate::supervise::{Beginning, Input, Supervisor, recent_failures};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::fd::OwnedFd;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

/// Descriptors that there is room for from the start: those of a thousand instances.
const ROOM: u64 = 4096;

/// Serves until ordered to end. Started by the keeper.
///
/// # Errors
/// It could not start, and why; the keeper has been told as well.
pub fn serve(paths: &Paths) -> Result<(), String> {
    super::say_panics();
    let (keeper, listener) = keeper_link::take_over()?;
    // The environment is the keeper's; nothing of it reaches an app, whose environment is put together from its spec.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(16)
        .thread_keep_alive(Duration::MAX)
        .build()
        .map_err(|e| format!("failed to make the event loop: {e}"))?;
    rlimit::make_room(&keeper, ROOM);
    let ended = match runtime.block_on(Work::begin(paths, keeper, listener)) {
        Ok(work) => runtime.block_on(work.until_the_end()),
        Err(Failed(keeper, why)) => {
            keeper.failed(&why);
            Err(why)
        }
    };
    // Dropped, it would wait for threads that wait for a dead file server or user database.
    runtime.shutdown_background();
    ended
}

/// What runs until the end.
struct Work {
    event_loop: EventLoop,
    ready: AsyncFd<OwnedFd>,
    pump_thread: std::thread::JoinHandle<()>,
    store_thread: std::thread::JoinHandle<()>,
    server: tokio::task::JoinHandle<()>,
}

/// Could not start: the keeper is to be told this.
struct Failed(KeeperLink, String);

/// What is on disk, read before anything is started.
struct Loaded {
    boot: BootId,
    store: store::Loaded,
    journal: Journal,
    past: super::journal::LoadedJournal,
}

fn load(paths: &Paths) -> Result<Loaded, String> {
    let boot = clock::boot_id().map_err(|e| format!("failed to read the boot id: {e}"))?;
    let store = store::load(&paths.state, &boot)?;
    let (journal, past) = Journal::load(&paths.state.join("events"), &boot);
    Ok(Loaded { boot, store, journal, past })
}

impl Work {
    async fn begin(paths: &Paths, keeper: KeeperLink, listener: UnixListener) -> Result<Self, Failed> {
        match Self::prepare(paths, &keeper) {
            Ok(prepared) => Self::start(paths, keeper, listener, prepared).await,
            Err(e) => Err(Failed(keeper, e)),
        }
    }

    /// Everything that may fail and touches no app.
    fn prepare(paths: &Paths, keeper: &KeeperLink) -> Result<Prepared, String> {
        // First of all, and before there are threads that would not have it blocked.
        let mut terminate = SigSet::empty();
        terminate.add(Signal::SIGTERM);
        // Blocked, SIGXFSZ kills nobody: a file that may not grow (RLIMIT_FSIZE) is an error to be told, EFBIG.
        let mut blocked = terminate;
        blocked.add(Signal::SIGXFSZ);
        blocked.thread_block().map_err(|e| format!("failed to block signals: {e}"))?;
        let signals = SignalFd::with_flags(&terminate, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .map_err(|e| format!("failed to set up signals: {e}"))?;
        // The keeper has raised the soft limit already; what apps get is what it was before.
        let nofile = (keeper.soft_descriptors, rlimit::raise_descriptors().1);
        let oom_score = !program::takes_the_apps_oom_score();
        // Low numbers, while there are any.
        let slots = Slots::new().map_err(|e| format!("failed to keep descriptors for children: {e}"))?;
        let loaded = load(paths)?;
        // The keeper is in <root>/supervisor, and so are we.
        let mount = mount::cgroup2_mount().map_err(|e| format!("failed to find the cgroup2 tree: {e}"))?;
        let own = mount::own_cgroup().map_err(|e| format!("failed to find the own cgroup: {e}"))?;
        let root = own.parent().map(|p| mount::below(&mount, p)).ok_or("the keeper is in no cgroup of its own")?;
        let tree = Tree::open(&root)?;
        let say = |e: rustix::io::Errno| format!("failed to set up the event loop: {e}");
        let (epoll, alarm) = (Epoll::new().map_err(say)?, Alarm::new().map_err(say)?);
        epoll.add(&alarm, Token::Alarm.encode()).map_err(say)?;
        epoll.add(&signals, Token::Signals.encode()).map_err(say)?;
        epoll.add(keeper, Token::Keeper.encode()).map_err(say)?;
        let ready = watch(&epoll).map_err(|e| format!("failed to set up the event loop: {e}"))?;
        Ok(Prepared { loaded, tree, slots, epoll, ready, alarm, signals, own: Own { nofile, oom_score } })
    }

    async fn start(
        paths: &Paths,
        keeper: KeeperLink,
        listener: UnixListener,
        prepared: Prepared,
    ) -> Result<Self, Failed> {
        let Prepared { loaded, tree, slots, epoll, ready, alarm, signals, own } = prepared;
        let Loaded { boot, store: wanted, journal, past } = loaded;
        let (letters, mailbox) = mpsc::unbounded_channel();
        let handle = Handle::new(letters);
        let mut runs = Runs::new(tree, slots);

        let adopted = keeper.hear_kept().and_then(|mut kept| {
            let last = (kept.before.take(), kept.reload.take());
            Ok((adopt::adopt(&mut runs, &epoll, &keeper, kept, &past.ended)?, last))
        });
        let (mut found, (before, reload)) = match adopted {
            Ok(found) => found,
            Err(e) => return Err(Failed(keeper, e)),
        };
        // The runtime panics where something is to be done off the loop and there is no thread for it and none can be made (`pids.max`).
        // One that is there, and stays, makes it a queue. Not before adoption has opened thousands of descriptors.
        drop(tokio::task::spawn_blocking(|| ()));
        let to_loop = handle.clone();
        let keep = KeepHandle::new(paths.logs.clone(), Box::new(|notice| super::log(&notice)));
        let (pump, pump_thread) = match pump::spawn(
            paths.runtime.join("spool"),
            Path::new(journald::SOCKET),
            keep.clone(),
            Box::new(move |event| pump_said(&to_loop, event)),
        ) {
            Ok(pump) => pump,
            Err(e) => return Err(Failed(keeper, e)),
        };
        let to_loop = handle.clone();
        let bell = journal.bell();
        let (store, store_thread) =
            match store::spawn(wanted.disk, journal, Box::new(move |event| to_loop.send(Mail::Store(event)))) {
                Ok(store) => store,
                Err(e) => return Err(Failed(keeper, e)),
            };

        let next_run = RunId(found.highest.max(past.highest_run).map_or(1, |r| r.0 + 1));
        let names: HashMap<AppId, AppName> = wanted.apps.iter().map(|(id, a)| (*id, a.spec.name.clone())).collect();
        let aside = found.set_aside(|app| !names.contains_key(&app) && wanted.hidden.may_hold(app));
        // An id that a live run bears is not given to another app.
        let next_id = aside.iter().map(|(instance, _)| AppId(instance.app.0 + 1)).fold(wanted.next_id, AppId::max);
        let mut troubles = BTreeMap::new();
        if !aside.is_empty() {
            let paths: Vec<_> = aside.iter().map(|(at, run)| runs.tree().run_path(at.app.0, at.index, run.0)).collect();
            let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
            let told = format!("left alone, since their apps cannot be read: {}", paths.join(", "));
            super::log(&told);
            troubles.insert("aside", told);
        }
        for trouble in wanted.troubles.iter().chain(&past.troubles) {
            super::log(trouble);
        }
        let settings = match crate::config::settings::read(&paths.config, rustix::process::geteuid().as_raw()) {
            Ok(settings) => settings,
            Err(mistake) => {
                let told = mistake.with_hint();
                super::log(&told);
                troubles.insert("config", told);
                Settings::default()
            }
        };
        let told = [wanted.troubles, past.troubles].concat();
        if !told.is_empty() {
            troubles.insert("start", told.join("; "));
        }
        let mut endings = past.past;
        for ending in &mut endings {
            let spec = wanted.apps.iter().find(|(id, _)| *id == ending.instance.app).map(|(_, app)| &app.spec);
            if let (Some(spec), Some(recent)) = (spec, past.recent.get(&ending.instance)) {
                ending.failures = recent_failures(spec, recent.iter().map(|r| &**r), clock::now());
            }
        }
        let core = Supervisor::new(Beginning {
            boot,
            seed: clock::now().0,
            apps: wanted.apps,
            next_id,
            past: endings,
            next_run,
        });
        let limiter = Limiter::new(handle.clone(), runs.tree().controllers().clone());
        let hands = Hands {
            epoll,
            limiter,
            runs,
            keeper,
            store,
            pump: pump.clone(),
            handle: handle.clone(),
            own,
            root_user: rustix::process::geteuid().is_root(),
            paths: paths.clone(),
            keep,
            unborn: BTreeSet::new(),
            draining: BTreeSet::new(),
            mourning: Mourning::default(),
            unrecorded: BTreeSet::new(),
            drained: BTreeMap::new(),
        };
        let keeper_pid = hands.keeper.keeper.0;
        let program = hands.keeper.program.clone();
        let mut event_loop = EventLoop {
            core,
            hands,
            mailbox,
            signals,
            alarm,
            orders: Orders::default(),
            deletions: Deletions::new(past.deletions),
            put_off: VecDeque::new(),
            troubles,
            leaving: None,
            // To start is one: what was needed to get here is given back once it is quiet.
            burst: BURST,
        };
        let known = |begun: &Begun| past.started.get(&begun.instance).is_some_and(|run| *run >= begun.run);
        let unknown: Vec<Begun> = found.begun.iter().filter(|begun| !known(begun)).copied().collect();
        event_loop.take_on(found);
        let spare = match server::Spare::keep() {
            Ok(spare) => spare,
            Err(e) => return Err(Failed(event_loop.hands.keeper, e)),
        };
        // Nothing is written before this: from here on it is known that we serve, and no older program has to read it.
        event_loop.hands.keeper.ready();
        // Those that began under a daemon that did not live to write it down; before our own beginning, or that would be their cause.
        for begun in unknown {
            event_loop.hands.record_start(begun);
        }
        event_loop.hands.record(Event::DaemonStarted {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            before: Some(past.before),
            reason: before.clone(),
        });

        let listener = listener
            .set_nonblocking(true)
            .and_then(|()| tokio::net::UnixListener::from_std(listener))
            .map_err(|e| format!("failed to listen: {e}"));
        let listener = match listener {
            Ok(listener) => listener,
            Err(e) => return Err(Failed(event_loop.hands.keeper, e)),
        };
        let apps = event_loop.core.apps().count();
        super::info(&format!(
            "opm {} serves; {apps} app{}",
            env!("CARGO_PKG_VERSION"),
            if apps == 1 { "" } else { "s" }
        ));
        let since = clock::now();
        let sharing = Sharing::begin(paths, settings, handle.clone());
        let shared = Shared {
            sharing,
            handle,
            pump,
            meter: super::reads::Meter::default(),
            paths: paths.clone(),
            keeper_pid,
            since,
            journal: bell,
            streams: server::stream_places(),
            program,
            before,
            reload,
        };
        let server = tokio::spawn(server::serve(listener, spare, Arc::new(shared)));
        Ok(Self { event_loop, ready, pump_thread, store_thread, server })
    }

    async fn until_the_end(self) -> Result<(), String> {
        let Self { event_loop, ready, pump_thread, store_thread, server } = self;
        let (ending, mut hands) = event_loop.run(ready).await;
        // Before anything that waits for a disk: from here on nobody answers the watchdog, and should we die of that, it is this
        // that was ordered, and no crash.
        match &ending {
            Ending::Quit { keep_apps } => hands.keeper.bye(*keep_apps),
            Ending::HandOver { key, .. } => hands.keeper.reload(&key.0),
        }
        // Answers on their way out get the time that one turn of the runtime takes; then nobody new is heard.
        tokio::task::yield_now().await;
        server.abort();
        hands.pump.send(pump::Command::Shutdown);
        let (told, done) = tokio::sync::oneshot::channel();
        hands.store.send(Command::Barrier(Box::new(move || {
            let _ = told.send(());
        })));
        let _ = done.await;
        let _ = tokio::task::spawn_blocking(move || pump_thread.join()).await;
        // The pump has drained what it was asked to drain, and the loop that would have been told is over.
        hands.let_go_of_the_rest(!matches!(ending, Ending::Quit { keep_apps: false }));
        drop(hands);
        drop(store_thread);
        super::info(match &ending {
            Ending::Quit { keep_apps: false } => "ends as ordered, its apps stopped",
            Ending::Quit { keep_apps: true } => "ends as ordered; its apps live on",
            Ending::HandOver { .. } => "makes room for the installed opm",
        });
        drop(ending);
        Ok(())
    }
}

/// What start needs, made without touching any app.
struct Prepared {
    loaded: Loaded,
    tree: Tree,
    slots: Slots,
    epoll: Epoll,
    ready: AsyncFd<OwnedFd>,
    alarm: Alarm,
    signals: SignalFd,
    own: Own,
}

impl EventLoop {
    /// Tells the core what adoption found, and lets it converge.
    fn take_on(&mut self, found: Found) {
        let Found { adopted, ended, pipes, leftovers, stale, highest: _, begun: _ } = found;
        let specs: HashMap<_, _> = self.core.apps().map(|(id, app)| (id, &app.spec)).collect();
        for (run, instance, streams) in pipes {
            let paths = &self.hands.paths;
            let plan = match specs.get(&instance.app) {
                Some(spec) => Some(Plan::new(paths, spec, instance)),
                // An app that was deleted has no name any more; its last words go under its number.
                None => format!("app-{}", instance.app).parse().ok().map(|name| Plan::by_name(paths, name, instance)),
            };
            if let Some(plan) = plan {
                self.hands.pump.send(pump::Command::Add { run, plan: Box::new(plan), streams });
            }
        }
        for (id, app) in self.core.apps() {
            self.hands.keep.know(id, Known::of(&self.hands.paths, &app.spec));
        }
        self.hands.keep.sweep();
        for run in stale {
            self.hands.keeper.acknowledge(run);
        }
        for run in leftovers {
            self.hands.keeper.acknowledge(run);
            self.hands.retire(run);
        }
        let now = clock::now();
        for input in adopted.into_iter().chain([Input::Converge]).chain(ended) {
            self.core.handle(now, input);
        }
        self.give_up_on_records();
    }
}

fn pump_said(to_loop: &Handle, event: PumpEvent) {
    match event {
        PumpEvent::Trouble(message) => to_loop.send(Mail::Trouble { about: "logs", message: Some(message) }),
        PumpEvent::TroubleOver => to_loop.send(Mail::Trouble { about: "logs", message: None }),
        PumpEvent::Notice(message) => super::log(&message),
    }
}
