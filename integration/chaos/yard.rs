//! The yard: one opm on a disk of its own that can be filled, its apps, and what this test knows about each of them.
//!
//! Owns what was last ordered of whom and answered, and the list of complaints. What a reader would get wrong: `wanted` is
//! known only after an answer. An order whose client was killed half-way may have happened or not, and then either will do.

use crate::chance::Chance;
use crate::kinds::{KINDS, Kind};
use crate::rig::{OPM, Rig, cli, ground};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// What is known of an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Whether it is there; none: either.
    pub exists: Option<bool>,
    /// Its number; none until the next quiet moment.
    pub id: Option<u64>,
    /// Whether it is wanted up; none: either.
    pub up: Option<bool>,
    /// Somebody other than opm sent signals to it, by order or by itself, since the last deep quiet.
    pub signalled: bool,
}

#[derive(Debug)]
pub struct App {
    pub name: String,
    pub kind: &'static Kind,
    pub instances: u32,
    /// Held while an order about it is under way.
    pub known: Mutex<Known>,
}

pub struct Yard {
    pub rig: Rig,
    pub seed: u64,
    pub apps: Vec<App>,
    pub program: PathBuf,
    /// What the apps say about themselves; not on the disk that fills up.
    pub account: PathBuf,
    /// Set while clients, faults are to go on.
    pub storming: AtomicBool,
    /// Set while the observer is to go on.
    pub watching: AtomicBool,
    /// How often the disk has been filled: an order that saw this change, or saw it odd, may be refused.
    pub disk: AtomicU64,
    /// The same of `daemon stop --keep-apps`: who waits then is told "not reached", and the next daemon goes on with it.
    pub leaving: AtomicU64,
    /// How often anybody of the pair was killed: one that was still coming up can only say that it did not.
    pub kills: AtomicU64,
    /// A limit on descriptors for every process of opm: starts may be refused.
    pub few_descriptors: Option<u32>,
    pub can_pause: bool,
    pub can_upgrade: bool,
    /// From when to when keepers went, on CLOCK_BOOTTIME: what lived through that may have ended without a witness.
    pub keeper_deaths: Mutex<Vec<(u64, u64)>>,
    complaints: Mutex<Vec<String>>,
    begun: Instant,
    pub counts: Mutex<std::collections::BTreeMap<String, u64>>,
    // Last: taken away after the rig's processes are.
    _disk: Option<SmallDisk>,
}

impl Yard {
    /// With a disk that can be filled: needs a mount namespace of its own.
    pub fn new(seed: u64, apps: usize, chance: &mut Chance) -> Self {
        let rig = Rig::new();
        let disk = SmallDisk::mount(&rig.dir, &rig.home);
        Self::of(rig, Some(disk), seed, apps, chance)
    }

    /// On the machine's own disk, with no apps yet.
    pub fn without_small_disk(seed: u64) -> Self {
        Self::of(Rig::new(), None, seed, 0, &mut Chance::new(seed))
    }

    fn of(rig: Rig, disk: Option<SmallDisk>, seed: u64, apps: usize, chance: &mut Chance) -> Self {
        let program = rig.work.join("chaos");
        cli::run(Command::new("cp").arg(compiled()).arg(&program)).ok();
        let account = rig.work.join("account");
        fs::write(&account, "").unwrap();
        let knows = |args: &[&str]| cli::run(Command::new(OPM).args(args)).code == Some(0);
        let known = Known { exists: Some(false), id: None, up: None, signalled: false };
        let apps = (0..apps)
            .map(|n| {
                let kind = &KINDS[n % KINDS.len()];
                let instances = if chance.one_in(4) { 2 + chance.below(2) as u32 } else { 1 };
                App { name: format!("{}{n}", kind.name), kind, instances, known: Mutex::new(known) }
            })
            .collect();
        Self {
            seed,
            apps,
            program,
            account,
            storming: AtomicBool::new(true),
            watching: AtomicBool::new(true),
            disk: AtomicU64::new(0),
            leaving: AtomicU64::new(0),
            kills: AtomicU64::new(0),
            few_descriptors: None,
            can_pause: knows(&["pause", "--help"]) && knows(&["resume", "--help"]),
            can_upgrade: knows(&["daemon", "reload", "--help"]),
            keeper_deaths: Mutex::new(Vec::new()),
            complaints: Mutex::new(Vec::new()),
            begun: Instant::now(),
            counts: Mutex::default(),
            rig,
            _disk: disk,
        }
    }

    /// opm, with as many descriptors as this seed gives.
    pub fn command(&self) -> Command {
        let mut command = match self.few_descriptors {
            None => Command::new(OPM),
            Some(most) => {
                let mut limited = Command::new("prlimit");
                limited.arg(format!("--nofile={most}:{most}")).arg(OPM);
                limited
            }
        };
        self.rig.prepare(&mut command);
        command
    }

    pub fn opm(&self, args: &[&str]) -> cli::Output {
        cli::run(self.command().args(args))
    }

    /// `opm start` of an app that is not there yet.
    pub fn create(&self, app: &App) -> Command {
        let mut command = self.command();
        command.arg("start").arg(&self.program).args(["--name", &app.name, "-i", &app.instances.to_string()]);
        command.args(["--stop-timeout", "400ms", "--env", &format!("CHAOS_ACCOUNT={}", self.account.display())]);
        command.args(["--env", &format!("OPM_CHAOS={}", self.marker(app))]);
        command.args(app.kind.flags).arg("--").arg(app.kind.name);
        command
    }

    /// What the environment of every process of an app holds; opm adds the instance.
    pub fn marker(&self, app: &App) -> String {
        format!("{:x}-{}-{}", self.seed, std::process::id(), app.name)
    }

    /// Says that something is not as it must be. The test goes on, to find more.
    pub fn complain(&self, what: String) {
        let at = self.begun.elapsed();
        eprintln!("[{:8.3}] COMPLAINT: {what}", at.as_secs_f64());
        self.complaints.lock().unwrap().push(what);
    }

    pub fn complaints(&self) -> Vec<String> {
        self.complaints.lock().unwrap().clone()
    }

    /// What happened, for whoever reads the output of a failed run.
    pub fn tell(&self, what: &str) {
        eprintln!("[{:8.3}] {what}", self.begun.elapsed().as_secs_f64());
    }

    pub fn count(&self, what: &str) {
        *self.counts.lock().unwrap().entry(what.to_owned()).or_default() += 1;
    }

    pub fn storming(&self) -> bool {
        self.storming.load(Ordering::Relaxed)
    }

    /// A keeper is about to go: by a kill, or by an order that leaves the apps.
    pub fn keeper_goes(&self) {
        self.keeper_deaths.lock().unwrap().push((boottime(), u64::MAX));
    }

    /// It is gone, and its daemon too.
    pub fn keeper_gone(&self) {
        self.keeper_deaths.lock().unwrap().last_mut().unwrap().1 = boottime();
    }
}

/// Nanoseconds on CLOCK_BOOTTIME, the clock of opm's records.
fn boottime() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// A small filesystem, in a mount namespace that ends with this process.
struct SmallDisk {
    dir: PathBuf,
    at: PathBuf,
}

impl SmallDisk {
    fn mount(dir: &Path, at: &Path) -> Self {
        fs::create_dir_all(at).unwrap();
        cli::run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=48m,mode=700", "opm-chaos"]).arg(at)).ok();
        Self { dir: dir.to_owned(), at: at.to_owned() }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if failed {
            let _ = fs::remove_file(self.at.join("balloon"));
            let _ = Command::new("cp").arg("-a").arg(&self.at).arg(self.dir.join("evidence")).status();
            eprintln!("what is left of it: {}", self.dir.display());
        }
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
        if !failed {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// `chaos.c`, compiled once per version of its source.
pub fn compiled() -> PathBuf {
    let source = include_str!("chaos.c");
    let hash = source.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("opm-chaos-{hash:x}"));
    if !target.exists() {
        let draft = target.with_extension(ground::unique());
        let file = draft.with_extension("c");
        fs::write(&file, source).unwrap();
        cli::run(Command::new("gcc").args(["-O1", "-Wall", "-o"]).arg(&draft).arg(&file)).ok();
        fs::rename(&draft, &target).unwrap();
        let _ = fs::remove_file(&file);
    }
    target
}
