//! Which cgroup2 controllers opm may use, and why not the others.
//!
//! Enables them along the way down to the instances. What a reader would get wrong: a controller that exists may still be
//! refused, for a reason that only the kernel knows (EBUSY: processes live at the root; ENOENT: nobody above enabled it); so the
//! reason is kept, and told to whoever asks for a limit. And they do not stay: systemd before 254 can start the unit of a killed
//! keeper again only after its ExecStopPost has taken them off (`packaging/systemd`), which wipes every limit below.

use std::fs;
use std::path::{Path, PathBuf};

/// The controllers that opm's limits use.
const WANTED: [&str; 4] = ["cpu", "memory", "pids", "io"];
/// Their files that depend on how the kernel was built and started.
const FILES: [(&str, &str); 5] =
    [("memory", "memory.swap.max"), ("cpu", "cpu.max"), ("cpu", "cpu.weight"), ("io", "io.weight"), ("io", "io.max")];
const CONTROL: &str = "cgroup.subtree_control";

/// Takes every controller off, from the leaves up to `cgroup`, so that this may hold processes again. Apps too may have made
/// cgroups with controllers, and a parent cannot let go of one that a child hands on.
///
/// # Errors
/// Which file cannot be written, and why.
pub fn take_off(cgroup: &Path) -> Result<(), (PathBuf, std::io::Error)> {
    let gone = |e: &std::io::Error| e.kind() == std::io::ErrorKind::NotFound;
    match fs::read_dir(cgroup) {
        Ok(children) => {
            for child in children.flatten().filter(|child| child.file_type().is_ok_and(|kind| kind.is_dir())) {
                take_off(&child.path())?;
            }
        }
        Err(e) if gone(&e) => return Ok(()),
        Err(e) => return Err((cgroup.to_owned(), e)),
    }
    let file = cgroup.join(CONTROL);
    let off = |enabled: String| {
        let off: Vec<String> = enabled.split_whitespace().map(|name| format!("-{name}")).collect();
        if off.is_empty() { Ok(()) } else { fs::write(&file, off.join(" ")) }
    };
    fs::read_to_string(&file).and_then(off).or_else(|e| if gone(&e) { Ok(()) } else { Err((file, e)) })
}

/// What came of enabling them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Controllers {
    enabled: Vec<String>,
    refused: Vec<(&'static str, String)>,
    found_off: bool,
    /// Files of enabled controllers that this kernel does not have.
    absent: Vec<&'static str>,
    /// The user whose manager (user@UID.service) hands controllers down to us, if one does.
    manager: Option<u32>,
}

/// A limit that cannot be enforced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacking {
    /// Why not.
    pub why: String,
    /// What would mend it, where that is known.
    pub mend: Option<String>,
}

impl Controllers {
    /// Enables each by itself, at the root and in `apps/`: one that is refused must not take the others with it, and with two
    /// levels nobody above can switch one off again and wipe the limits.
    #[must_use]
    pub fn enable(root: &Path) -> Self {
        let mut done = Self { manager: manager_of(root), ..Self::default() };
        let offered = || read(&root.join("cgroup.controllers"));
        let before = read(&root.join(CONTROL));
        for name in WANTED {
            let on = format!("+{name}");
            if !has(&offered(), name) && !Path::new("/run/systemd/system").exists() {
                // Without systemd nobody hands controllers down to us; root may do it itself.
                let _ = root.parent().map(|above| fs::write(above.join(CONTROL), &on));
            }
            if !has(&offered(), name) {
                continue;
            }
            done.found_off |= !has(&before, name);
            let enabled = [root.join(CONTROL), root.join("apps").join(CONTROL)]
                .iter()
                .try_for_each(|file| fs::write(file, &on).map_err(|e| (file.clone(), e)));
            match enabled {
                Ok(()) => done.enabled.push(name.to_owned()),
                Err((file, e)) => done.refused.push((name, format!("{} refuses it: {e}", file.display()))),
            }
        }
        done
    }

    /// Looks which files a cgroup below `apps/` has: a limit whose file is not there is refused when it is asked for, and not
    /// when it is saved already and the next run fails by it.
    pub(super) fn look_at(&mut self, cgroup: &Path) {
        if cgroup.is_dir() {
            let on = FILES.iter().filter(|(controller, _)| self.enabled.iter().any(|name| name == controller));
            self.absent = on.map(|(_, file)| *file).filter(|file| !cgroup.join(file).exists()).collect();
        }
    }

    /// Whether this kernel does not have that file, as far as is known.
    pub(super) fn lacks(&self, file: &str) -> bool {
        self.absent.contains(&file)
    }

    /// Enables in an instance's cgroup what is not enabled there. Asked for each run, since whoever took controllers off above
    /// took them off here first, and what lives here kept the directory.
    ///
    /// # Errors
    /// The file that refused, and why.
    pub fn enable_in(&self, instance: &Path) -> Result<(), String> {
        if self.enabled.is_empty() {
            return Ok(());
        }
        let file = instance.join(CONTROL);
        let now = read(&file);
        let missing: Vec<String> =
            self.enabled.iter().filter(|name| !has(&now, name)).map(|name| format!("+{name}")).collect();
        if missing.is_empty() {
            return Ok(());
        }
        fs::write(&file, missing.join(" ")).map_err(|e| format!("failed to write {}: {e}", file.display()))
    }

    /// Those that limits can be enforced with.
    #[must_use]
    pub fn enabled(&self) -> &[String] {
        &self.enabled
    }

    /// Whether one of them had been off: then the runs below have no limits any more, whatever they had.
    #[must_use]
    pub fn were_off(&self) -> bool {
        self.found_off && !self.enabled.is_empty()
    }

    /// Whether that one can be used.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, name: &str) -> Result<(), Lacking> {
        if self.enabled.iter().any(|c| c == name) {
            return Ok(());
        }
        let refused = self.refused.iter().find(|(refused, _)| *refused == name);
        let why = match refused {
            Some((_, why)) => why.clone(),
            None if self.enabled.is_empty() => {
                "no controller is available to opm; on a hybrid host they belong to cgroup version 1".to_owned()
            }
            None if self.manager.is_some() => {
                format!("the user manager of systemd hands down {} only", self.enabled.join(", "))
            }
            None => format!("only {} are available to opm", self.enabled.join(", ")),
        };
        // Where there is none at all, nobody above has one to hand down, most likely: version 1 has them.
        let mend = self.manager.filter(|_| refused.is_none() && !self.enabled.is_empty()).map(|uid| {
            format!(
                "root grants it: write '[Service]' and 'Delegate=cpu cpuset io memory pids' into \
                 /etc/systemd/system/user@.service.d/delegate.conf, then 'systemctl daemon-reload' and \
                 'systemctl restart user@{uid}' (which ends all that this user runs)"
            )
        });
        Err(Lacking { why, mend })
    }

    /// For tests: these and no others.
    #[cfg(test)]
    pub(crate) fn of(enabled: &[&str], refused: &[(&'static str, &str)]) -> Self {
        Self {
            enabled: enabled.iter().map(|c| (*c).to_owned()).collect(),
            refused: refused.iter().map(|(c, why)| (*c, (*why).to_owned())).collect(),
            ..Self::default()
        }
    }
}

fn read(file: &PathBuf) -> String {
    fs::read_to_string(file).unwrap_or_default()
}

fn has(list: &str, name: &str) -> bool {
    list.split_whitespace().any(|one| one == name)
}

/// The user in `.../user@1000.service/...`.
fn manager_of(root: &Path) -> Option<u32> {
    let name = |part: std::path::Component<'_>| part.as_os_str().to_str().map(str::to_owned);
    root.components()
        .filter_map(name)
        .find_map(|part| part.strip_prefix("user@")?.strip_suffix(".service")?.parse().ok())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn who_lacks_io_under_a_user_manager_is_told_the_drop_in() {
        let root = Path::new("/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice/opm.service");
        let controllers = Controllers { manager: manager_of(root), ..Controllers::of(&["cpu", "memory", "pids"], &[]) };
        let lacking = controllers.check("io").unwrap_err();
        assert!(lacking.why.ends_with("cpu, memory, pids only"), "{}", lacking.why);
        let mend = lacking.mend.unwrap();
        assert!(mend.contains("user@.service.d") && mend.contains("restart user@1000"), "{mend}");
        assert_eq!(Controllers::of(&["cpu"], &[]).check("io").unwrap_err().mend, None);
        let hybrid = Controllers { manager: manager_of(root), ..Controllers::default() };
        assert_eq!(hybrid.check("io").unwrap_err().mend, None, "a drop-in would not bring what version 1 has");
    }

    #[test]
    fn an_instance_gets_what_it_lacks_and_is_not_written_if_it_lacks_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let controllers = Controllers::of(&["cpu", "memory", "pids"], &[]);
        let control = dir.path().join(CONTROL);
        fs::write(&control, "cpu\n").unwrap();
        controllers.enable_in(dir.path()).unwrap();
        assert_eq!(read(&control), "+memory +pids");
        fs::write(&control, "cpu memory pids\n").unwrap();
        controllers.enable_in(dir.path()).unwrap();
        assert_eq!(read(&control), "cpu memory pids\n");
    }

    #[test]
    fn controllers_that_were_off_are_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir(root.join("apps")).unwrap();
        fs::write(root.join("cgroup.controllers"), "cpuset cpu memory").unwrap();
        fs::write(root.join(CONTROL), "cpu memory").unwrap();
        let kept = Controllers::enable(root);
        assert_eq!((kept.enabled(), kept.were_off()), (&["cpu".to_owned(), "memory".to_owned()][..], false));
        fs::write(root.join(CONTROL), "cpu").unwrap();
        assert!(Controllers::enable(root).were_off());
    }
}
