//! A rig: one opm of its own (home, cgroup subtree, work folder), driven through its command line and watched from outside.
//!
//! Owns making it and taking it away without leaving anything. It must not look into opm's state to learn what runs; that
//! is the observer's to say. What a reader would get wrong: a rig is refused loudly where the machine cannot carry it. A
//! host test that skips itself proves nothing and says so to nobody.

pub mod cli;
pub mod ground;
pub mod observe;
pub mod wait;

use cli::Output;
pub use ground::free_port;
use ground::{compiled, insist_on_a_host, unique};
use observe::{Grip, Run};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The binary under test.
pub const OPM: &str = env!("CARGO_BIN_EXE_opm");

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One opm.
pub struct Rig {
    /// Short, since a socket's path holds 107 bytes.
    pub dir: PathBuf,
    /// `OPM_HOME`.
    pub home: PathBuf,
    /// Where scripts and notes are, readable by everybody.
    pub work: PathBuf,
    /// `OPM_CGROUP`.
    pub cgroup: PathBuf,
    /// The program under supervision.
    pub prog: PathBuf,
    /// More environment for every command.
    pub env: Vec<(String, String)>,
    /// Whether `OPM_CGROUP` is set.
    named_cgroup: bool,
    /// The binary: the one under test, or a copy of the rig's own that a test may replace.
    pub opm: PathBuf,
}

impl Rig {
    /// A rig, or a panic that says what this machine lacks.
    #[track_caller]
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mount = insist_on_a_host();
        let tag = format!("{}-{}", unique(), NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = PathBuf::from(format!("/tmp/opm-t-{tag}"));
        let rig = Self {
            home: dir.join("home"),
            work: dir.join("work"),
            prog: dir.join("work/prog"),
            cgroup: mount.join(format!("opm-test-{tag}")),
            env: Vec::new(),
            named_cgroup: true,
            opm: OPM.into(),
            dir,
        };
        fs::create_dir_all(&rig.work).unwrap();
        for dir in [&rig.dir, &rig.work] {
            fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
        }
        // By a program of its own: were we to hold it open for writing, a child forked meanwhile by another test would
        // hold it too, and executing it would fail with ETXTBSY.
        cli::run(Command::new("cp").arg(compiled()).arg(&rig.prog)).ok();
        rig
    }

    /// A rig that leaves the choice of the cgroup to opm.
    #[track_caller]
    pub fn without_named_cgroup() -> Self {
        let mut rig = Self::new();
        rig.named_cgroup = false;
        rig
    }

    /// A rig with an installed opm of its own, in `bin`, that a test may replace. Nothing runs yet.
    #[track_caller]
    pub fn with_own_opm() -> Self {
        let mut rig = Self::new();
        let bin = rig.dir.join("bin");
        fs::create_dir(&bin).unwrap();
        rig.opm = bin.join("opm");
        rig.install(Path::new(OPM));
        cli::run(Command::new("cp").arg(OPM).arg(bin.join("opm.real"))).ok();
        rig
    }

    /// Replaces the installed opm as a package manager does: another file under the same name.
    #[track_caller]
    pub fn install(&self, file: &Path) {
        let draft = self.opm.with_extension("new");
        cli::run(Command::new("cp").arg(file).arg(&draft)).ok();
        fs::rename(&draft, &self.opm).unwrap();
    }

    /// Installs an opm that passes the check and then does this instead of serving: `exit`, `abort` or `hang`.
    #[track_caller]
    pub fn install_impostor(&self, how: &str) {
        fs::write(self.opm.with_file_name("impostor"), how).unwrap();
        self.install(&ground::impostor());
    }

    /// The command line of opm, in an environment of the rig's own.
    pub fn command(&self) -> Command {
        self.command_of(&self.opm)
    }

    /// The same by another binary: what is installed may be none at all.
    pub fn command_of(&self, opm: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(opm);
        self.prepare(&mut command);
        command
    }

    /// Gives any command the rig's environment.
    pub fn prepare(&self, command: &mut Command) {
        command.env_clear().env("PATH", PATH).env("HOME", &self.dir).env("LANG", "C.UTF-8").env("OPM_HOME", &self.home);
        if self.named_cgroup {
            command.env("OPM_CGROUP", &self.cgroup);
        }
        command.envs(self.env.iter().map(|(k, v)| (k, v))).current_dir(&self.work);
    }

    /// Runs opm to its end, whatever that is.
    #[track_caller]
    pub fn opm(&self, args: &[&str]) -> Output {
        cli::run(self.command().args(args))
    }

    /// Runs opm, which has to work.
    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> Output {
        self.opm(args).ok()
    }

    /// `opm start prog --name NAME FLAGS -- OPS`.
    pub fn start_command(&self, name: &str, flags: &[&str], ops: &[&str]) -> Command {
        let mut command = self.command();
        command.arg("start").arg(&self.prog).args(["--name", name]).args(flags).arg("--").args(ops);
        command
    }

    /// Starts the program under a name, which has to work.
    #[track_caller]
    pub fn start(&self, name: &str, flags: &[&str], ops: &[&str]) -> Output {
        cli::run(&mut self.start_command(name, flags, ops)).ok()
    }

    /// What `opm ls --json` says.
    #[track_caller]
    pub fn rows(&self) -> Vec<Value> {
        match self.ok(&["ls", "--json"]).json() {
            Value::Array(rows) => rows,
            other => panic!("ls --json is an array, not {other}"),
        }
    }

    /// The row of an instance; null if there is none.
    #[track_caller]
    pub fn row_of(&self, name: &str, instance: u32) -> Value {
        self.rows().into_iter().find(|row| row["name"] == name && row["instance"] == instance).unwrap_or(Value::Null)
    }

    /// The row of an app's first instance.
    #[track_caller]
    pub fn row(&self, name: &str) -> Value {
        self.row_of(name, 0)
    }

    /// Waits until the row of an app's first instance is as wanted.
    #[track_caller]
    pub fn await_row(&self, name: &str, what: &str, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        let mut row = Value::Null;
        let held = wait::holds_within(wait::PATIENCE, || {
            row = self.row(name);
            wanted(&row)
        });
        assert!(held, "waited in vain for {name} to be {what}: {row:#}");
        row
    }

    /// Waits until an app's first instance is in a state.
    #[track_caller]
    pub fn await_state(&self, name: &str, state: &str) -> Value {
        self.await_row(name, state, |row| row["state"] == state)
    }

    /// The main process of an app's first instance, as opm says and as the kernel confirms.
    #[track_caller]
    pub fn pid(&self, name: &str) -> u32 {
        let row = self.row(name);
        let pid = row["pid"].as_u64().unwrap_or_else(|| panic!("{name} has no process: {row:#}")) as u32;
        assert!(self.everybody().contains(&pid), "{name} is said to be process {pid}, which is not in our cgroups");
        pid
    }

    /// A hold on an app's main process.
    #[track_caller]
    pub fn grip(&self, name: &str) -> Grip {
        Grip::on(self.pid(name), &self.cgroup)
    }

    /// Populated or not, every run.
    pub fn runs(&self) -> Vec<Run> {
        observe::runs(&self.cgroup)
    }

    /// The runs in which somebody lives.
    pub fn living(&self) -> Vec<Run> {
        self.runs().into_iter().filter(|run| !run.pids.is_empty()).collect()
    }

    /// Every process in the apps' cgroups.
    pub fn app_pids(&self) -> Vec<u32> {
        observe::everybody(&self.cgroup.join("apps"))
    }

    /// Every process in the whole subtree.
    pub fn everybody(&self) -> Vec<u32> {
        observe::everybody(&self.cgroup)
    }

    /// Main processes with this word among their arguments.
    pub fn copies(&self, word: &str) -> Vec<u32> {
        self.app_pids().into_iter().filter(|pid| observe::command_line(*pid).iter().any(|arg| arg == word)).collect()
    }

    #[track_caller]
    pub fn status(&self) -> Value {
        self.ok(&["daemon", "status", "--json"]).json()
    }

    #[track_caller]
    pub fn daemon_pid(&self) -> u32 {
        self.status()["pid"].as_u64().expect("daemon status --json has a pid") as u32
    }

    #[track_caller]
    pub fn keeper_pid(&self) -> u32 {
        self.status()["keeper_pid"].as_u64().expect("daemon status --json has a keeper_pid") as u32
    }

    /// `kill -9` of the daemon; returns once another one serves.
    #[track_caller]
    pub fn kill_daemon(&self) {
        let old = self.daemon_pid();
        Grip::on(old, &self.cgroup).kill();
        wait::until("another daemon to serve", || {
            let said = self.opm(&["daemon", "status", "--json"]);
            said.code == Some(0) && said.json()["pid"].as_u64().is_some_and(|pid| pid != u64::from(old))
        });
    }

    /// `kill -9` of keeper and daemon at once; returns when both are gone. Nobody starts another pair by itself.
    #[track_caller]
    pub fn kill_pair(&self) {
        let status = self.status();
        let hold = |key: &str| Grip::on(status[key].as_u64().unwrap() as u32, &self.cgroup);
        let (keeper, daemon) = (hold("keeper_pid"), hold("pid"));
        keeper.kill();
        // It goes with its keeper by itself; that it may already have gone is as good.
        assert!(daemon.gone_within(Duration::from_secs(10)), "the daemon outlives its keeper");
    }

    /// A file in the work folder.
    pub fn path(&self, name: &str) -> String {
        self.work.join(name).to_str().unwrap().to_owned()
    }

    /// Writes a file in the work folder.
    pub fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.work.join(name), text).unwrap();
        self.path(name)
    }

    /// The lines of a file in the work folder; none while there is no such file.
    pub fn lines(&self, name: &str) -> Vec<String> {
        fs::read_to_string(self.work.join(name)).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// Waits until a file in the work folder has that many lines, and gives them.
    #[track_caller]
    pub fn await_lines(&self, name: &str, count: usize) -> Vec<String> {
        wait::until_or(
            &format!("{count} lines in {name}"),
            wait::PATIENCE,
            || self.lines(name).len() >= count,
            || (self.lines(name), self.rows()),
        );
        self.lines(name)
    }

    /// What an app's file of facts says, once it is there: key and value of each line.
    #[track_caller]
    pub fn facts(&self, name: &str) -> Facts {
        wait::until_or(&format!("facts in {name}"), wait::PATIENCE, || self.work.join(name).exists(), || self.rows());
        Facts(
            self.lines(name)
                .iter()
                .map(|l| l.split_once(' ').map_or((l.clone(), String::new()), |(k, v)| (k.into(), v.into())))
                .collect(),
        )
    }

    /// A log file's bytes.
    pub fn log(&self, name: &str, instance: u32, stream: &str) -> Vec<u8> {
        fs::read(self.home.join(format!("logs/{name}-{instance}-{stream}.log"))).unwrap_or_default()
    }
}

/// What a program finds itself in, as prog.c writes it.
#[derive(Debug)]
pub struct Facts(Vec<(String, String)>);

impl Facts {
    #[track_caller]
    pub fn get(&self, key: &str) -> &str {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v.trim()).unwrap_or_else(|| panic!("no '{key}' in {self:?}"))
    }

    /// A field of /proc/self/status.
    #[track_caller]
    pub fn status(&self, field: &str) -> &str {
        let mut fields = self.0.iter().filter(|(k, _)| k == "status").filter_map(|(_, v)| v.split_once(':'));
        fields.find(|(k, _)| *k == field).map(|(_, v)| v.trim()).unwrap_or_else(|| panic!("no '{field}' in {self:?}"))
    }

    /// Every value of a key that is written in hexadecimal.
    pub fn bytes(&self, key: &str) -> Vec<Vec<u8>> {
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        self.0.iter().filter(|(k, _)| k == key).map(|(_, v)| v.as_bytes().chunks(2).map(byte).collect()).collect()
    }

    /// A variable of its environment.
    pub fn env(&self, name: &str) -> Option<String> {
        let prefix = format!("{name}=");
        self.env_all().into_iter().find_map(|e| e.strip_prefix(&prefix).map(str::to_owned))
    }

    pub fn env_all(&self) -> Vec<String> {
        self.bytes("env").iter().map(|e| String::from_utf8_lossy(e).into_owned()).collect()
    }
}

impl Drop for Rig {
    /// Ends everything; a green test that leaves anything behind turns red here.
    fn drop(&mut self) {
        let mut kill = self.command();
        kill.arg("kill");
        let killed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| cli::run(&mut kill)));
        let clean = wait::holds_within(Duration::from_secs(10), || self.everybody().is_empty());
        let left: Vec<_> = self.everybody().into_iter().map(|pid| (pid, observe::command_line(pid))).collect();
        observe::destroy(&self.cgroup);
        let stays = self.cgroup.exists();
        if std::thread::panicking() {
            return; // The folder stays, for whoever looks into the failure.
        }
        let _ = fs::remove_dir_all(&self.dir);
        match killed {
            Ok(output) => assert!(clean, "'opm kill' left processes: {left:?}\n{output}"),
            Err(_) => panic!("'opm kill' did not come to an end; left: {left:?}"),
        }
        assert!(!stays, "{} could not be removed", self.cgroup.display());
    }
}

/// Runs one ignored test of this very binary inside fresh namespaces.
#[track_caller]
pub fn run_inside(unshare: &[&str], before: &str, test: &str) -> Output {
    // The shell stays as the namespace's first process and reaps what is orphaned there.
    let script = format!("{before}\n\"$0\" \"$@\"; exit $?");
    cli::run(
        Command::new("unshare").args(unshare).args(["sh", "-c", &script]).arg(std::env::current_exe().unwrap()).args([
            "--exact",
            test,
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ]),
    )
}

/// Whether a path is a socket, folder or file that only its owner may use.
pub fn is_private(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|m| m.permissions().mode() & 0o077 == 0)
}
