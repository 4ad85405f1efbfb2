//! Lingering: whether a user's manager, and with it their opm, runs from boot on and without a session of theirs.

use super::manager::said;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// The caller's name.
///
/// # Errors
/// There is none.
pub(in crate::cli) fn own_name() -> Result<String, String> {
    let mut command = Command::new("id");
    command.arg("-un");
    Ok(said(command)?.trim().to_owned())
}

/// Whether that user lingers: logind keeps a file for each who does.
pub(in crate::cli) fn is_on(name: &str) -> bool {
    Path::new("/var/lib/systemd/linger").join(name).exists()
}

/// The one command that makes it so, for whoever may.
pub(in crate::cli) fn command_for(name: &str) -> String {
    format!("sudo loginctl enable-linger {name}")
}

/// Asks logind for it. It asks polkit, which often lets people do this for themselves.
///
/// # Errors
/// In its words.
pub(super) fn enable(name: &str) -> Result<(), String> {
    let mut command = Command::new("loginctl");
    command.args(["--no-ask-password", "enable-linger", name]).env("LC_ALL", "C");
    said(command).map(drop)
}

/// How long a manager may take to come up.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for the manager that logind starts for somebody who lingers; not for ever.
pub(super) fn await_manager(runtime_dir: &Path) {
    let give_up = Instant::now() + PATIENCE;
    let mut pause = Duration::from_millis(5);
    // No one tells us: neither the folder nor its parents may be there yet, and the bus that would say so is in it.
    while !runtime_dir.join("systemd/private").exists() && Instant::now() < give_up {
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(200));
    }
}
