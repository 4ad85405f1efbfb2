//! From `opm start X -- args` to what is executed: which script, run by what, with which arguments, called what.
//!
//! X is, in this order: a file; a program on PATH (a bare name); a command line with spaces, split as a shell would; or,
//! with `--shell`, something for `/bin/sh -c`. Paths are made absolute through the *logical* directory, so that a `current`
//! symlink stays in the spec and is followed anew at each spawn; `..` is left for the kernel, which knows where symlinks go.

use super::interpreter::{self, is_bare, on_path};
use super::{Asked, Mistake, Place, cause};
use crate::model::RawText;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// What is executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) script: RawText,
    pub(super) interpreter: Option<RawText>,
    pub(super) args: Vec<RawText>,
    /// What the app is called if nobody says.
    pub(super) name: String,
}

/// Works out what is executed. `cwd` is the app's working directory.
pub(super) fn resolve(asked: &Asked, cwd: &Path, place: &Place) -> Result<Command, Mistake> {
    let script = asked.script.as_os_str();
    if script.is_empty() {
        return Err(Mistake::new("nothing to start: the script is empty"));
    }
    if asked.shell {
        let args = [RawText::from("-c"), asked.script.clone(), RawText::from("sh")];
        let keep = if asked.args.is_empty() { 2 } else { 3 };
        let args = args.into_iter().take(keep).chain(asked.args.iter().cloned()).collect();
        let line = script.to_string_lossy();
        let name = name_of_program(OsStr::new(line.split_whitespace().next().unwrap_or("sh")));
        return Ok(Command { script: "/bin/sh".into(), interpreter: None, args, name });
    }
    if let Some(found) = find(script, cwd, place)? {
        return finish(found, asked.args.clone(), asked, place);
    }
    let words = words(script)?;
    let Some((first, rest)) = words.split_first().filter(|(_, rest)| !rest.is_empty()) else {
        return Err(missing(script, cwd));
    };
    let Some(found) = find(first.as_os_str(), cwd, place)? else {
        return Err(missing(first.as_os_str(), cwd));
    };
    if let Some(sign) = words.iter().find(|w| SHELL_SIGNS.contains(&w.as_bytes())) {
        return Err(Mistake::new(format!(
            "'{}' needs a shell: '{sign}' would reach the program as it stands",
            asked.script
        ))
        .hint("add --shell to have /bin/sh run it"));
    }
    finish(found, rest.iter().chain(&asked.args).cloned().collect(), asked, place)
}

/// Words that only a shell understands.
const SHELL_SIGNS: [&[u8]; 11] = [b"|", b"||", b"&", b"&&", b";", b">", b">>", b"<", b"2>&1", b"2>", b"<<"];

enum Found {
    /// A file, absolute.
    File(PathBuf),
    /// A bare name on PATH.
    Program(OsString),
}

fn find(word: &OsStr, cwd: &Path, place: &Place) -> Result<Option<Found>, Mistake> {
    let mut directory = None;
    for base in [cwd, &place.cwd] {
        let file = absolute(base, Path::new(word));
        match file.metadata() {
            Ok(meta) if meta.is_dir() => directory = Some(file),
            Ok(_) => return Ok(Some(Found::File(file))),
            Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
                return Err(Mistake::new(format!("failed to look at {}: {}", file.display(), cause(&e))));
            }
            Err(_) => {}
        }
    }
    if is_bare(word) && on_path(word, place.path.as_deref()).is_some() {
        return Ok(Some(Found::Program(word.to_owned())));
    }
    match directory {
        Some(directory) => Err(Mistake::new(format!("{} is a directory", directory.display()))
            .hint("name the script in it that is to be started")),
        None => Ok(None),
    }
}

fn finish(found: Found, args: Vec<RawText>, asked: &Asked, place: &Place) -> Result<Command, Mistake> {
    let path = place.path.as_deref();
    let (script, name, chosen) = match (found, asked.interpreter.as_ref().map(RawText::as_os_str)) {
        (Found::Program(program), named) => (program.clone(), name_of_program(&program), named.map(RawText::from)),
        (Found::File(file), named) => {
            let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let chosen = match named {
                Some(named) if named == "none" => {
                    if !interpreter::is_executable(&file) {
                        return Err(Mistake::new(format!("{} is not executable", file.display()))
                            .hint(format!("chmod +x {}", file.display())));
                    }
                    None
                }
                Some(named) if is_bare(named) => Some(RawText::from(named)),
                Some(named) => Some(RawText::from(absolute(&place.cwd, Path::new(named)).into_os_string())),
                None => interpreter::choose(&file, path)?.map(RawText::from),
            };
            (file.into_os_string(), name, chosen)
        }
    };
    let interpreter = chosen.filter(|i| i.as_bytes() != b"none");
    if let Some(interpreter) = &interpreter {
        interpreter::check(interpreter.as_os_str(), path)?;
    }
    Ok(Command { script: script.into(), interpreter, args, name })
}

/// Splits a command line as a shell would. Bytes that are not UTF-8 cannot be split and are one word.
///
/// # Errors
/// A quote that is never closed.
pub fn words(line: &OsStr) -> Result<Vec<RawText>, Mistake> {
    let Some(text) = line.to_str() else { return Ok(vec![line.into()]) };
    shell_words::split(text)
        .map(|words| words.into_iter().map(RawText::from).collect())
        .map_err(|_| Mistake::new(format!("'{text}' has a quote that is never closed")))
}

fn missing(word: &OsStr, cwd: &Path) -> Mistake {
    let shown = word.display();
    if is_bare(word) {
        let mistake = Mistake::new(format!("'{shown}' is neither a file in {} nor a program in PATH", cwd.display()));
        return match word.to_string_lossy().split_once('=') {
            Some((name, _)) if !name.is_empty() => {
                mistake.hint(format!("variables are set with --env {shown}, or have a shell run the line with --shell"))
            }
            Some(_) | None => mistake,
        };
    }
    Mistake::new(format!("{} does not exist", absolute(cwd, Path::new(word)).display()))
}

fn name_of_program(program: &OsStr) -> String {
    let bytes = program.as_bytes();
    let last = bytes.rsplit(|b| *b == b'/').next().unwrap_or(bytes);
    String::from_utf8_lossy(last).into_owned()
}

/// `path` as seen from `base`, without `.` components.
#[must_use]
pub fn absolute(base: &Path, path: &Path) -> PathBuf {
    base.join(path).components().filter(|c| !matches!(c, Component::CurDir)).collect()
}

/// Where a person stands, as they would say it: `$PWD` if it is this very directory, so that a path through a symlink stays
/// as it was typed; else what the kernel says.
///
/// # Errors
/// The current directory is gone.
pub fn logical_cwd(pwd: Option<OsString>) -> Result<PathBuf, Mistake> {
    let identity = |path: &Path| path.metadata().ok().map(|m| (m.dev(), m.ino()));
    let here = identity(Path::new("."));
    let logical = pwd.map(PathBuf::from).filter(|p| p.is_absolute() && here.is_some() && identity(p) == here);
    if let Some(logical) = logical {
        return Ok(logical);
    }
    std::env::current_dir().map_err(|e| {
        Mistake::new(format!("failed to find the current directory: {}", cause(&e)))
            .hint("go to a directory that exists")
    })
}

#[cfg(test)]
mod tests;
