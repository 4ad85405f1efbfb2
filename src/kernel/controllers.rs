//! Which cgroup2 controllers opm may use, and why not the others.
//!
//! Enables them along the way down to the instances. What a reader would get wrong: a controller that exists may still be
//! refused, for a reason that only the kernel knows (EBUSY: processes live at the root; ENOENT: nobody above enabled it); so the
//! reason is kept, and told to whoever asks for a limit.

use std::fs;
use std::path::{Path, PathBuf};

/// The controllers that opm's limits use.
const WANTED: [&str; 4] = ["cpu", "memory", "pids", "io"];

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
    let file = cgroup.join("cgroup.subtree_control");
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
}

impl Controllers {
    /// Enables each by itself, at the root and in `apps/`: one that is refused must not take the others with it, and with two
    /// levels nobody above can switch one off again and wipe the limits.
    #[must_use]
    pub fn enable(root: &Path) -> Self {
        let mut done = Self::default();
        let offered = || fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
        let has = |list: &str, name: &str| list.split_whitespace().any(|o| o == name);
        for name in WANTED {
            let on = format!("+{name}");
            if !has(&offered(), name) && !Path::new("/run/systemd/system").exists() {
                // Without systemd nobody hands controllers down to us; root may do it itself.
                let _ = root.parent().map(|above| fs::write(above.join("cgroup.subtree_control"), &on));
            }
            if !has(&offered(), name) {
                continue;
            }
            let enabled = ["cgroup.subtree_control", "apps/cgroup.subtree_control"]
                .iter()
                .try_for_each(|file| fs::write(root.join(file), &on).map_err(|e| (root.join(file), e)));
            match enabled {
                Ok(()) => done.enabled.push(name.to_owned()),
                Err((file, e)) => done.refused.push((name, format!("{} refuses it: {e}", file.display()))),
            }
        }
        done
    }

    /// Those that limits can be enforced with.
    #[must_use]
    pub fn enabled(&self) -> &[String] {
        &self.enabled
    }

    /// Whether that one can be used.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, name: &str) -> Result<(), String> {
        if self.enabled.iter().any(|c| c == name) {
            return Ok(());
        }
        Err(match self.refused.iter().find(|(refused, _)| *refused == name) {
            Some((_, why)) => why.clone(),
            None if self.enabled.is_empty() => {
                "no controller is available to opm; on a hybrid host they belong to cgroup version 1".to_owned()
            }
            None => format!("only {} are available to opm", self.enabled.join(", ")),
        })
    }

    /// For tests: these and no others.
    #[cfg(test)]
    pub(super) fn of(enabled: &[&str], refused: &[(&'static str, &str)]) -> Self {
        Self {
            enabled: enabled.iter().map(|c| (*c).to_owned()).collect(),
            refused: refused.iter().map(|(c, why)| (*c, (*why).to_owned())).collect(),
        }
    }
}
