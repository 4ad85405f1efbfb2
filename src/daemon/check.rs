//! Whether the installed program could take over: asked of that program itself, before the daemon that serves makes room for it.
//!
//! Owns both sides, the one that is asked (`opm daemon check`) and the one that asks. It must change nothing on disk and touch no
//! app. What a reader would get wrong: the two sides may be of different versions.

use super::{journal, store};
use crate::api::CheckReport;
use crate::config::{Paths, settings};
use crate::keeper::protocol::passed::{PASSED, Passed};
use crate::kernel::clock;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long the installed program may think about it. Reading thousands of apps takes a fraction of a second.
const PATIENCE: Duration = Duration::from_secs(30);
/// A report has to fit into a pipe.
const TROUBLES_MOST: usize = 50;
/// More than this is no report.
const LONGEST_REPORT: u64 = 1 << 20;

/// What this program makes of what is there. With a keeper's word in the environment, of that too.
#[must_use]
pub fn check(paths: &Paths) -> CheckReport {
    let mut report = CheckReport { version: env!("CARGO_PKG_VERSION").to_owned(), ..CheckReport::default() };
    let keeper = match std::env::var_os(PASSED) {
        Some(text) => Passed::decode(&text).ok_or("what the keeper passes on makes no sense to this opm".to_owned()),
        None => return finish(report, paths),
    };
    if let Err(why) = keeper.and_then(|passed| passed.understood()) {
        report.failure = Some(why);
        return report;
    }
    finish(report, paths)
}

fn finish(mut report: CheckReport, paths: &Paths) -> CheckReport {
    match look(paths) {
        Ok((apps, troubles)) => (report.apps, report.troubles) = (apps, troubles),
        Err(why) => report.failure = Some(why),
    }
    report
}

fn look(paths: &Paths) -> Result<(usize, Vec<String>), String> {
    let boot = clock::boot_id().map_err(|e| format!("failed to read the boot id: {e}"))?;
    let (apps, mut troubles) = store::look(&paths.state)?;
    let events = paths.state.join("events");
    // Loading would make it.
    if events.is_dir() {
        troubles.extend(journal::Journal::load(&events, &boot).1.troubles);
    }
    let own = rustix::process::geteuid().as_raw();
    troubles.extend(settings::read(&paths.config, own).err().map(|mistake| mistake.with_hint()));
    troubles.truncate(TROUBLES_MOST);
    Ok((apps, troubles))
}

/// How often it is asked again if it finds fewer apps than we do: somebody may have deleted one just then.
const TRIES: u32 = 5;

/// Asks the installed program, and holds what it finds on the disk against what we find there. Waits; not for the loop.
///
/// # Errors
/// It cannot be asked, or would not start, or would lose apps; in words.
pub(super) fn ask(program: &Path, state: &Path) -> Result<CheckReport, String> {
    for _ in 1..TRIES {
        if let Ok(report) = ask_once(program, state)? {
            return Ok(report);
        }
    }
    ask_once(program, state)?
}

fn ask_once(program: &Path, state: &Path) -> Result<Result<CheckReport, String>, String> {
    // What we cannot read either, it cannot lose.
    let ours = || store::look(state).map_or(0, |(apps, _)| apps);
    let before = ours();
    let report = report_of(program)?;
    let fewest = before.min(ours());
    if report.apps >= fewest {
        return Ok(Ok(report));
    }
    let CheckReport { version, apps, troubles, .. } = report;
    let lost =
        format!("the installed program (opm {version}) reads only {apps} of {fewest} apps: {}", troubles.join("; "));
    Ok(Err(lost))
}

fn report_of(program: &Path) -> Result<CheckReport, String> {
    let say = |what: &str| format!("the installed program {} {what}", program.display());
    // By its descriptor, as the keeper will execute it: what works by its path alone (a script) would not.
    let file = File::open(program).map_err(|e| say(&format!("cannot be opened: {e}")))?;
    let mut child = Command::new(format!("/proc/self/fd/{}", file.as_raw_fd()))
        .arg0(program)
        .args(["daemon", "check"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| say(&format!("cannot be executed: {e}")))?;
    let ended = ends_in_time(&child);
    if !ended {
        let _ = child.kill();
    }
    // Read after its end: a report is shorter than a pipe, and what is longer is none.
    let output = |pipe: Option<&mut dyn Read>| {
        let mut bytes = Vec::new();
        if let Some(pipe) = pipe {
            let _ = pipe.take(LONGEST_REPORT).read_to_end(&mut bytes);
        }
        bytes
    };
    let status = child.wait().map_err(|e| say(&format!("cannot be waited for: {e}")))?;
    if !ended {
        return Err(say(&format!("did not answer within {PATIENCE:?} whether it could take over")));
    }
    let said = output(child.stdout.as_mut().map(|pipe| pipe as &mut dyn Read));
    match serde_json::from_slice::<CheckReport>(&said) {
        Ok(CheckReport { failure: Some(why), version, .. }) => {
            Err(say(&format!("(opm {version}) would not start: {why}")))
        }
        Ok(report) if status.success() => Ok(report),
        Ok(_) | Err(_) => {
            let words = output(child.stderr.as_mut().map(|pipe| pipe as &mut dyn Read));
            let words = String::from_utf8_lossy(&words);
            let first = words.lines().next().unwrap_or("nothing");
            Err(say(&format!("does not answer whether it could take over ({status}); it said: {first}")))
        }
    }
}

fn ends_in_time(child: &Child) -> bool {
    let Some(pidfd) = Pid::from_raw(child.id().cast_signed()).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
    else {
        // Then it is waited for without an end, which is no worse than not asking.
        return true;
    };
    let timeout = Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
    !matches!(poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout)), Ok(0))
}
