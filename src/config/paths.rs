//! Where things live: state, logs, socket, for the system daemon and for a user's own.
//!
//! Owns the layout and nothing else; it creates nothing. `OPM_HOME` moves all of it under one folder.

use std::env;
use std::path::{Path, PathBuf};

/// The places of one daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// Desired state, dump, event journal.
    pub state: PathBuf,
    /// The apps' logs.
    pub logs: PathBuf,
    /// Socket and lock.
    pub runtime: PathBuf,
    /// The daemon's configuration file.
    pub config: PathBuf,
    /// `OPM_HOME`, where it is set: such a daemon gets a cgroup subtree of its own.
    pub home: Option<PathBuf>,
    /// The system daemon's places, rather than a user's own.
    pub system: bool,
}

impl Paths {
    /// The places for whoever runs this: `OPM_HOME` if set, else the system's for root or when `system` asks for it, else the
    /// user's own by the XDG base directories.
    ///
    /// # Errors
    /// No home directory, or no runtime directory, in words with the mend.
    pub fn find(system: bool) -> Result<Self, String> {
        let root = rustix::process::geteuid().is_root();
        if let Some(home) = env::var_os("OPM_HOME").filter(|h| !h.is_empty()) {
            let home =
                std::path::absolute(PathBuf::from(home)).map_err(|e| format!("failed to resolve OPM_HOME: {e}"))?;
            return Ok(Self::under(&home, root));
        }
        if root || system {
            return Ok(Self {
                state: "/var/lib/opm".into(),
                logs: "/var/log/opm".into(),
                runtime: "/run/opm".into(),
                config: "/etc/opm/config.toml".into(),
                home: None,
                system: true,
            });
        }
        let home = || {
            env::var_os("HOME")
                .filter(|h| !h.is_empty())
                .map(PathBuf::from)
                .ok_or("HOME is not set; set it, or set OPM_HOME to a folder of opm's own")
        };
        let state = xdg("XDG_STATE_HOME").map_or_else(|| home().map(|h| h.join(".local/state")), Ok)?.join("opm");
        let config =
            xdg("XDG_CONFIG_HOME").map_or_else(|| home().map(|h| h.join(".config")), Ok)?.join("opm/config.toml");
        let runtime = runtime_dir()
            .or_else(|| Path::new("/run/systemd/system").is_dir().then(usual_runtime_dir))
            .ok_or("XDG_RUNTIME_DIR is not set, and systemd, which would set it, does not run this machine; set it, or OPM_HOME, or be root")?
            .join("opm");
        Ok(Self { logs: state.join("logs"), state, runtime, config, home: None, system: false })
    }

    fn under(home: &Path, system: bool) -> Self {
        Self {
            state: home.join("state"),
            logs: home.join("logs"),
            runtime: home.join("run"),
            config: home.join("config.toml"),
            home: Some(home.to_owned()),
            system,
        }
    }

    /// The API's socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.runtime.join("opm.sock")
    }

    /// Held by keeper and daemon together, so that there is exactly one pair.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.runtime.join("opm.lock")
    }

    /// Held by a client while it starts the daemon, so that racing clients start one.
    #[must_use]
    pub fn start_lock(&self) -> PathBuf {
        self.runtime.join("start.lock")
    }

    /// What keeper and daemon say themselves, where they do not speak to the journal. Before that `.1` and `.2`.
    #[must_use]
    pub fn daemon_log(&self) -> PathBuf {
        self.logs.join("opm-daemon.log")
    }

    /// The log file of one stream of an instance: `<name>-<instance>-out.log` or `-err.log`.
    #[must_use]
    pub fn log_file(&self, name: &str, instance: u32, err: bool) -> PathBuf {
        self.logs.join(format!("{name}-{instance}-{}.log", if err { "err" } else { "out" }))
    }
}

/// Where the caller's runtime files are: `XDG_RUNTIME_DIR`, unless it is somebody else's (`su` leaves root's in place), which the XDG
/// base directory specification forbids to use; else where systemd puts it, if it is there.
#[must_use]
pub fn runtime_dir() -> Option<PathBuf> {
    use std::os::unix::fs::MetadataExt;
    let own = rustix::process::geteuid().as_raw();
    let theirs = |dir: &Path| dir.metadata().is_ok_and(|found| found.uid() != own);
    xdg("XDG_RUNTIME_DIR").filter(|dir| !theirs(dir)).or_else(|| Some(usual_runtime_dir()).filter(|dir| dir.is_dir()))
}

/// Where systemd puts it (pam_systemd(8)), whether it is there or not.
#[must_use]
pub fn usual_runtime_dir() -> PathBuf {
    PathBuf::from(format!("/run/user/{}", rustix::process::geteuid().as_raw()))
}

/// An XDG variable counts only if it is an absolute path (XDG base directory specification).
fn xdg(name: &str) -> Option<PathBuf> {
    env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute())
}
