//! Which cgroup is opm's own: the delegated one it was started in, or one that root may make. Never a login session's.
//!
//! Decides from what the kernel and the environment say; makes nothing. What a reader would get wrong: systemd's delegation
//! is a promise, not a permission. Root could write anywhere; a cgroup that was not delegated may be taken apart under us.

use super::{cgroup, mount};
use rustix::fs::{Access, access, getxattr};
use sha2::{Digest, Sha256};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// The subtree that holds keeper, daemon and apps, or why there is none and what to do.
///
/// `home` is `OPM_HOME`, if set: such a daemon gets a subtree of its own. `last` is where the keeper before had its own: if something
/// of it lives there, it is there that it must be looked after. Another root would know nothing of it, and start everything twice.
///
/// # Errors
/// In words, with the mend on a second line.
pub fn find(home: Option<&Path>, last: Option<&Path>) -> Result<PathBuf, String> {
    let (root, by_default) = choose(home)?;
    match last.filter(|last| *last != root && something_lives(last)) {
        None => Ok(root),
        Some(last) if by_default => Ok(last.to_owned()),
        Some(last) => Err(format!(
            "apps of this opm live under {}, and here it would work under {}\nstart it where it was started before, or with OPM_CGROUP={}",
            last.display(),
            root.display(),
            last.display()
        )),
    }
}

fn something_lives(root: &Path) -> bool {
    // Who cannot be looked at lives.
    cgroup::runs_in(root).map_or(true, |runs| runs.into_iter().any(|run| cgroup::run_is_populated(root, run)))
}

/// The root, and whether nothing but our own rule says so.
fn choose(home: Option<&Path>) -> Result<(PathBuf, bool), String> {
    let mount = mount::cgroup2_mount().map_err(|e| {
        format!("failed to find the cgroup2 tree: {e}\nmount one: mount -t cgroup2 none /sys/fs/cgroup (in a container, pass the host's with --cgroupns=private and a writable /sys/fs/cgroup)")
    })?;
    if let Some(named) = env::var_os("OPM_CGROUP").filter(|v| !v.is_empty()) {
        let named = PathBuf::from(named);
        return if named.starts_with(&mount) && named != mount {
            Ok((named, false))
        } else {
            Err(format!("OPM_CGROUP is {}, which is not below the cgroup2 mount {}", named.display(), mount.display()))
        };
    }
    let own = mount::own_cgroup().map_err(|e| format!("failed to find the own cgroup: {e}"))?;
    let own = mount::below(&mount, &own);
    // Where systemd put us below the unit (DelegateSubgroup=supervisor), or where the keeper put itself.
    let unit = if own.ends_with("supervisor") { own.parent().unwrap_or(&own) } else { &own };
    if is_delegated(unit) {
        return Ok((unit.to_owned(), false));
    }
    let systemd = Path::new("/run/systemd/system").exists();
    if !rustix::process::geteuid().is_root() {
        return Err(format!(
            "no cgroup was delegated to this user (this process is in {})\nstart opm through systemd: systemctl --user start opm (or any opm command in a login session with a user manager); without systemd, run opm as root",
            own.display()
        ));
    }
    if systemd {
        return Err("systemd runs this machine, and opm was not started as its unit\nstart it with: systemctl start opm, or any opm command, which makes a unit where none is installed".to_owned());
    }
    if access(&mount, Access::WRITE_OK).is_err() {
        return Err(format!(
            "{} is read-only here\nin a container, pass it writable: docker run --privileged or --cgroupns=private with -v /sys/fs/cgroup:/sys/fs/cgroup:rw",
            mount.display()
        ));
    }
    Ok((mount.join(home.map_or_else(|| "opm".to_owned(), name_for)), true))
}

/// `opm-` and a hash of the folder's real path, so that two homes never share a subtree.
fn name_for(home: &Path) -> String {
    use std::fmt::Write;
    use std::os::unix::ffi::OsStrExt;
    let real = fs::canonicalize(home).unwrap_or_else(|_| home.to_owned());
    let hash = Sha256::digest(real.as_os_str().as_bytes());
    hash[..6].iter().fold("opm-".to_owned(), |mut name, byte| {
        let _ = write!(name, "{byte:02x}");
        name
    })
}

/// Whether systemd gave this cgroup away (Delegate=yes): it says so in an extended attribute, `user.delegate` (from 251) or
/// `trusted.delegate` (from 236, readable by root alone). Before 251 a user's service has neither; then being the service
/// that systemd started, in a directory that is ours to write, has to do.
fn is_delegated(unit: &Path) -> bool {
    let mut value = [0u8; 8];
    let says =
        |name: &str, value: &mut [u8; 8]| getxattr(unit, name, &mut value[..]).is_ok_and(|n| &value[..n] == b"1");
    if says("user.delegate", &mut value) || says("trusted.delegate", &mut value) {
        return true;
    }
    env::var_os("INVOCATION_ID").is_some()
        && unit.extension().is_some_and(|e| e == "service")
        && !rustix::process::geteuid().is_root()
        && access(unit, Access::WRITE_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_home_has_a_subtree_of_its_own() {
        let (a, b) = (name_for(Path::new("/nowhere/a")), name_for(Path::new("/nowhere/b")));
        assert_ne!(a, b);
        assert!(a.starts_with("opm-") && a.len() == 16, "{a}");
        assert_eq!(name_for(Path::new("/usr/../usr/bin")), name_for(Path::new("/usr/bin")), "by the real path");
    }
}
