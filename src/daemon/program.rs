//! From a spec to what the child needs: the environment put together, the program looked for, names turned into numbers.
//!
//! Decides nothing about whether to start. What a reader would get wrong: env files and user databases may be on a network,
//! so what needs them runs off the event loop ([`needs_waiting`]); everything else is done at once.

use crate::config::env::{Composed, Parts, Source, compose};
use crate::kernel::limits;
use crate::kernel::plan::Program;
use crate::kernel::plan::c_string;
use crate::kernel::rlimit;
use crate::kernel::user::{Account, account};
use crate::model::{AppSpec, DesiredApp, RawText};
use rustix::fs::{Mode, OFlags, open};
use std::ffi::CString;
use std::io::Read;
use std::path::Path;

/// The most that an env file may hold.
const ENV_FILE_MOST: u64 = 1 << 20;
/// Where programs are looked for when the environment has no PATH.
const DEFAULT_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What of the daemon itself must not show in its children.
#[derive(Debug, Clone, Copy)]
pub(super) struct Own {
    /// The soft limit on descriptors before the daemon raised it, and the hard one.
    pub(super) nofile: (u64, u64),
    /// Its out-of-memory score is not 0.
    pub(super) oom_score: bool,
}

/// The out-of-memory score that apps begin with, which is 0 where it may be that, becomes the daemon's own. What a unit says of it
/// (OOMScoreAdjust=-900) then holds for the keeper, whose death would cost something: a daemon that is killed for want of memory is
/// replaced. And a child that had to set it for itself could not share our memory, see `kernel::clone`. False: each child has to try.
pub(super) fn takes_the_apps_oom_score() -> bool {
    const FILE: &str = "/proc/self/oom_score_adj";
    let denied = |e: &std::io::Error| e.kind() == std::io::ErrorKind::PermissionDenied;
    // Up to 0 is anybody's right. Down to it is not, nor is it any child's then.
    std::fs::read_to_string(FILE).map_or(true, |score| score.trim() == "0")
        || std::fs::write(FILE, "0").map_or_else(|e| denied(&e), |()| true)
}

/// Whether making this program may have to wait: for a file that the user named, for a user database, or for where a device is
/// looked up.
pub(super) fn needs_waiting(spec: &AppSpec) -> bool {
    !spec.env_file.is_empty() || spec.user.is_some() || spec.group.is_some() || !spec.io_max.is_empty()
}

/// The program of instance `index`.
///
/// # Errors
/// What is wrong with the spec or with what it names, in words.
pub(super) fn program(app: &DesiredApp, index: u32, own: Own) -> Result<Program, String> {
    let spec = &app.spec;
    let account = match (&spec.user, &spec.group) {
        (None, None) => None,
        (user, group) => Some(account(user.as_deref(), group.as_deref())?),
    };
    let Composed { variables, problems } = environment(app, index, account.as_ref());
    if !problems.is_empty() {
        return Err(problems.join("; "));
    }
    let path = variables.iter().find(|v| v.name.as_bytes() == b"PATH").map(|v| v.value.clone());
    let mut envp = Vec::with_capacity(variables.len());
    for variable in &variables {
        let mut entry = variable.name.as_bytes().to_vec();
        entry.push(b'=');
        entry.extend_from_slice(variable.value.as_bytes());
        envp.push(c_string(&entry, &format!("the variable {}", variable.name))?);
    }
    let argv = spec.argv();
    let first = argv.first().map_or(&b""[..], |a| a.as_bytes());
    let candidates = candidates(first, path.as_ref().map_or(DEFAULT_PATH, RawText::as_bytes), spec.cwd.as_bytes())?;
    let argv = argv.iter().map(|a| c_string(a.as_bytes(), "an argument")).collect::<Result<_, _>>()?;
    let mut rlimits = vec![(rlimit::NOFILE, own.nofile.0, own.nofile.1)];
    for (name, limit) in &spec.rlimit {
        let resource = rlimit::by_name(name).ok_or_else(|| format!("no such resource limit: '{name}'"))?;
        rlimits.retain(|(r, ..)| *r != resource);
        rlimits.push((resource, limit.soft.unwrap_or(u64::MAX), limit.hard.unwrap_or(u64::MAX)));
    }
    Ok(Program {
        candidates,
        argv,
        envp,
        cwd: c_string(spec.cwd.as_bytes(), "the working directory")?,
        umask: spec.umask.unwrap_or(0o022),
        nice: spec.nice,
        rlimits,
        reset_oom_score: own.oom_score,
        identity: account.map(|a| a.identity),
        limits: limits::resolved(spec.limits())?,
    })
}

/// The environment that the next run of an instance gets. Reads the env files.
pub(super) fn environment(app: &DesiredApp, index: u32, account: Option<&Account>) -> Composed {
    let spec = &app.spec;
    let files: Vec<_> = spec.env_file.iter().map(|path| (path.clone(), read_env_file(path))).collect();
    let mut own: Vec<(RawText, RawText)> = vec![
        ("OPM_APP".into(), spec.name.as_str().into()),
        ("OPM_INSTANCE".into(), index.to_string().into()),
        // What PM2's users have in their apps.
        ("NODE_APP_INSTANCE".into(), index.to_string().into()),
    ];
    if let Some(account) = account {
        let variables =
            [("HOME", &account.home), ("USER", &account.name), ("LOGNAME", &account.name), ("SHELL", &account.shell)];
        for (name, value) in variables {
            // What was declared for the app is the user's word; what was captured was another user's.
            if let (Some(value), false) = (value, spec.env.contains_key(&name.into())) {
                own.push((name.into(), value.as_str().into()));
            }
        }
    }
    own.retain(|(name, _)| !spec.env.contains_key(name));
    compose(Parts { captured: &app.captured, clean: spec.env_clean, files: &files, declared: &spec.env, own: &own })
}

/// Where a variable comes from, in the API's words.
pub(super) fn api_source(source: Source) -> crate::api::EnvSource {
    match source {
        Source::Captured => crate::api::EnvSource::Captured,
        Source::EnvFile => crate::api::EnvSource::EnvFile,
        Source::Declared => crate::api::EnvSource::Declared,
        Source::Opm => crate::api::EnvSource::Opm,
    }
}

fn read_env_file(path: &RawText) -> Result<Vec<u8>, String> {
    let say = |e: &dyn std::fmt::Display| format!("failed to read the env file {path}: {e}");
    // A FIFO without a writer would hold this thread for ever, and with it every start, stop and end of the daemon.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = std::fs::File::from(open(Path::new(path.as_os_str()), flags, Mode::empty()).map_err(|e| say(&e))?);
    if !file.metadata().map_err(|e| say(&e))?.is_file() {
        return Err(say(&"it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(ENV_FILE_MOST + 1).read_to_end(&mut bytes).map_err(|e| say(&e))?;
    if bytes.len() as u64 > ENV_FILE_MOST { Err(say(&"it is larger than 1 MiB")) } else { Ok(bytes) }
}

/// What execvp(3) would try: the path itself, from the working directory if it is relative, or the name in each directory of
/// PATH. All of it is tried by the child, so an interpreter that was upgraded or moved is found anew at each spawn.
fn candidates(program: &[u8], path: &[u8], cwd: &[u8]) -> Result<Vec<CString>, String> {
    let join = |directory: &[u8], name: &[u8]| [directory, b"/", name].concat();
    let all = if program.first() == Some(&b'/') {
        vec![program.to_vec()]
    } else if program.contains(&b'/') {
        vec![join(cwd, program)]
    } else {
        path.split(|b| *b == b':').map(|d| join(if d.is_empty() { cwd } else { d }, program)).collect()
    };
    all.iter().map(|c| c_string(c, "the program")).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn an_env_file_that_is_a_fifo_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("env");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, 0o600.into()).unwrap();
        let refusal = read_env_file(&path.as_os_str().to_owned().into()).unwrap_err();
        assert!(refusal.contains("not a regular file"), "{refusal}");
    }

    #[test]
    fn programs_are_looked_for_as_execvp_would() {
        let list = |p: &str| candidates(p.as_bytes(), b"/a::/b", b"/cwd").unwrap_or_default();
        let expected = |paths: &[&str]| paths.iter().map(|p| CString::new(*p).unwrap_or_default()).collect::<Vec<_>>();
        assert_eq!(list("node"), expected(&["/a/node", "/cwd/node", "/b/node"]));
        assert_eq!(list("./x"), expected(&["/cwd/./x"]));
        assert_eq!(list("/bin/x"), expected(&["/bin/x"]));
        assert!(candidates(b"a\0b", b"/a", b"/").is_err());
    }
}
