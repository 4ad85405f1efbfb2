//! Carries out what `plan.rs` decided, or says what it would be: looks at files and managers, writes, enables, starts.
//!
//! It must not decide. What a reader would get wrong: a user without a manager gets the whole of it all the same, as files; what is
//! missing then is lingering, and one command of an administrator brings both.

use super::linger;
use super::manager::{Manager, Reach};
use super::plan::{Content, Facts, File, Linger, Plan, Step};
use super::unit::{Unit, is_ours};
use crate::cli::exit::{Exit, Failure};
use crate::config::{Paths, cause, usual_runtime_dir};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Where things are to be done, and what is there.
pub(in crate::cli) struct Site {
    pub(super) unit: Unit,
    pub(super) manager: Option<Manager>,
    /// Where the user's manager is, or would be.
    runtime_dir: Option<PathBuf>,
    /// Who asks; none: root.
    pub(in crate::cli) user: Option<String>,
    pub(in crate::cli) facts: Facts,
}

impl Site {
    /// Looks. `program`: what the unit is to start.
    ///
    /// # Errors
    /// Nothing can be installed here, with what to do instead.
    pub(in crate::cli) fn look(paths: &Paths, reach: Reach, program: &Path, daemon: bool) -> Result<Self, Failure> {
        let say = |why: String| Failure::new(Exit::Failed, why);
        let runtime_dir = match &reach {
            Reach::Here(manager) => manager.runtime_dir.clone(),
            Reach::NotRunning => Some(usual_runtime_dir()),
            Reach::OnlyRoot => {
                return Err(say("only root can install the system's opm".to_owned()).hint("sudo opm startup"));
            }
            Reach::NoSystemd => return Err(no_systemd()),
        };
        let manager = match reach {
            Reach::Here(manager) => Some(manager),
            Reach::NotRunning | Reach::OnlyRoot | Reach::NoSystemd => None,
        };
        let unit = Unit::of(paths, runtime_dir.as_deref()).map_err(say)?;
        let user = runtime_dir.is_some().then(linger::own_name).transpose().map_err(say)?;
        let state = manager.as_ref().map(|manager| manager.show(&unit.name)).transpose().map_err(|why| {
            say(format!("systemd does not answer: {why}")).hint("'systemctl [--user] status' says more")
        })?;
        let facts = Facts {
            unit: unit.name.clone(),
            wanted_by: unit.wanted_by(),
            lasting: file(unit.lasting_file()),
            fleeting: file(unit.fleeting_file()),
            foreign: unit.foreign_file(),
            text: unit.text(program).map_err(say)?,
            state,
            daemon,
            linger: match &user {
                None => Linger::NoMatter,
                Some(name) if linger::is_on(name) => Linger::On,
                Some(_) => Linger::Off,
            },
            linked: fs::symlink_metadata(unit.lasting.join(format!("{}.wants", unit.wanted_by())).join(&unit.name))
                .is_ok(),
        };
        Ok(Self { unit, manager, runtime_dir, user, facts })
    }

    /// Does it, step by step, and says each as it is done. Lingering is not among it, see [`Site::enable_linger`].
    ///
    /// # Errors
    /// A step failed; what was done before stays.
    pub(in crate::cli) fn carry_out(&self, plan: &Plan, say: &mut dyn FnMut(&str)) -> Result<(), Failure> {
        for step in &plan.steps {
            let done = match step {
                Step::EnableLinger => continue,
                Step::Write { path, text } => write(path, text),
                Step::Remove(path) => remove(path),
                Step::Link { path, target } => link(path, target),
                Step::Reload => self.with_manager(Manager::reload),
                Step::Enable => self.with_manager(|manager| {
                    self.may_link()?;
                    manager.run(&["enable", &self.unit.name]).map(drop)
                }),
                Step::Disable => self.with_manager(|manager| manager.run(&["disable", &self.unit.name]).map(drop)),
                Step::Start => self.manager.as_ref().map_or(Ok(()), |m| m.start(&self.unit.name)).map(Ok)?,
                Step::Stop => self.manager.as_ref().map_or(Ok(()), |m| m.stop(&self.unit.name)).map(Ok)?,
            };
            done.map_err(|why| Failure::new(Exit::Failed, format!("failed to {}: {why}", self.words(step))))?;
            if *step != Step::Reload {
                say(&self.past(step));
            }
        }
        Ok(())
    }

    /// Whether there can be a link where systemctl makes one. If there cannot, it says that there is no such unit.
    fn may_link(&self) -> Result<(), String> {
        let wants = self.unit.lasting.join(format!("{}.wants", self.unit.wanted_by()));
        let may = || -> io::Result<()> {
            fs::create_dir_all(&wants)?;
            Ok(rustix::fs::access(&wants, rustix::fs::Access::WRITE_OK)?)
        };
        may().map_err(|e| format!("{}: {}", wants.display(), cause(&e)))
    }

    fn with_manager(&self, act: impl FnOnce(&Manager) -> Result<(), String>) -> Result<(), String> {
        self.manager.as_ref().map_or(Ok(()), act)
    }

    /// Has logind keep the user's manager, and waits for it. What there is has to be looked at again then.
    ///
    /// # Errors
    /// It was refused; in logind's words.
    pub(in crate::cli) fn enable_linger(&self) -> Result<(), String> {
        let (Some(name), Some(dir)) = (&self.user, &self.runtime_dir) else { return Ok(()) };
        linger::enable(name)?;
        linger::await_manager(dir);
        Ok(())
    }

    /// The program that the unit starts, if it is another than this one.
    pub(in crate::cli) fn starts_another(&self, own: &Path) -> Option<PathBuf> {
        let state = self.manager.as_ref()?.show(&self.unit.name).ok()?;
        state.program.filter(|program| fs::canonicalize(program).ok() != fs::canonicalize(own).ok())
    }

    /// Whether the unit starts all the same: an administrator may have enabled it for all users.
    pub(in crate::cli) fn still_enabled(&self) -> bool {
        self.manager.as_ref().and_then(|m| m.show(&self.unit.name).ok()).is_some_and(|state| state.is_enabled())
    }

    /// The step as the command that would do it.
    pub(in crate::cli) fn preview(&self, plan: &Plan) -> String {
        let systemctl = if self.user.is_none() { "systemctl" } else { "systemctl --user" };
        let unit = &self.unit.name;
        let one = |step: &Step| match step {
            Step::EnableLinger => format!("loginctl enable-linger {}\n", self.user.as_deref().unwrap_or_default()),
            Step::Write { path, text } => format!("write {}:\n{}", path.display(), indented(text)),
            Step::Remove(path) => format!("rm {}\n", path.display()),
            Step::Reload => format!("{systemctl} daemon-reload\n"),
            Step::Enable => format!("{systemctl} enable {unit}\n"),
            Step::Disable => format!("{systemctl} disable {unit}\n"),
            Step::Start => format!("{systemctl} start {unit}\n"),
            Step::Stop => format!("{systemctl} stop {unit}\n"),
            Step::Link { path, target } => format!("ln -s {} {}\n", target.display(), path.display()),
        };
        plan.steps.iter().map(one).collect()
    }

    fn words(&self, step: &Step) -> String {
        let unit = &self.unit.name;
        match step {
            Step::EnableLinger => "enable lingering".to_owned(),
            Step::Write { path, .. } => format!("write {}", path.display()),
            Step::Remove(path) => format!("remove {}", path.display()),
            Step::Reload => "have systemd read its units anew".to_owned(),
            Step::Enable => format!("enable {unit}"),
            Step::Disable => format!("disable {unit}"),
            Step::Start => format!("start {unit}"),
            Step::Stop => format!("stop {unit}"),
            Step::Link { path, .. } => format!("link {}", path.display()),
        }
    }

    fn past(&self, step: &Step) -> String {
        let unit = &self.unit.name;
        match step {
            Step::EnableLinger => "enabled lingering".to_owned(),
            Step::Write { path, .. } => format!("wrote {}", path.display()),
            Step::Remove(path) => format!("removed {}", path.display()),
            Step::Reload => "had systemd read its units anew".to_owned(),
            Step::Enable => format!("enabled {unit}"),
            Step::Disable => format!("disabled {unit}"),
            Step::Start => format!("started {unit}"),
            Step::Stop => format!("stopped {unit}, and with it the daemon and its apps; they are wanted up as before"),
            Step::Link { path, .. } => format!("enabled {unit} ({})", path.display()),
        }
    }
}

/// What there is to do where systemd is not.
pub(in crate::cli) fn no_systemd() -> Failure {
    Failure::new(Exit::Failed, "systemd does not run this machine, and opm installs itself nowhere else").hint(
        "have whatever starts services here run 'opm daemon run' in the foreground, as root; in a container, make it the command \
         ('opm daemon run --help')",
    )
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

pub(super) fn file(path: PathBuf) -> File {
    let content = match fs::symlink_metadata(&path) {
        Err(_) => Content::Absent,
        Ok(found) if !found.is_file() => Content::Theirs,
        Ok(_) => match fs::read_to_string(&path) {
            Ok(text) if is_ours(&text) => Content::Ours(text),
            Ok(_) | Err(_) => Content::Theirs,
        },
    };
    File { path, content }
}

/// Whole or not at all, and on the disk before it is enabled.
pub(super) fn write(path: &Path, text: &str) -> Result<(), String> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    let whole = || -> io::Result<()> {
        fs::create_dir_all(dir)?;
        // A name that systemd takes for no unit.
        let new = path.with_extension("service.new");
        let _ = fs::remove_file(&new);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        fs::File::open(dir)?.sync_all()
    };
    whole().map_err(|e| cause(&e))
}

pub(super) fn remove(path: &Path) -> Result<(), String> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(cause(&e)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn link(path: &Path, target: &Path) -> Result<(), String> {
    let link = || -> io::Result<()> {
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
        match std::os::unix::fs::symlink(target, path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    };
    link().map_err(|e| cause(&e))
}
