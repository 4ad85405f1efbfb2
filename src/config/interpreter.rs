//! What runs a script: found by its extension, else the script itself.
//!
//! A known extension wins over a shebang, as PM2 users expect (`app.py` means python3 wherever it lies); `--interpreter none`
//! leaves it to the shebang. The answer is a bare name, looked up in the app's PATH at each spawn, so that an upgraded node
//! is found by the next run; here it is only checked that there is one now.

use super::Mistake;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Extensions and what runs them: the first that is on PATH.
const BY_EXTENSION: &[(&[&str], &[&str])] = &[
    (&["js", "mjs", "cjs"], &["node"]),
    (&["ts", "tsx", "mts", "cts"], &["bun", "tsx", "node"]),
    (&["py"], &["python3"]),
    (&["sh"], &["bash"]),
    (&["rb"], &["ruby"]),
    (&["php"], &["php"]),
    (&["pl"], &["perl"]),
];

/// What runs the file `script`; none: the script itself.
///
/// # Errors
/// None of its interpreters is on PATH; or nothing says what runs it and it is not executable.
pub fn choose(script: &Path, path: Option<&OsStr>) -> Result<Option<String>, Mistake> {
    let shown = script.display();
    let extension = script.extension().and_then(OsStr::to_str).map(str::to_ascii_lowercase);
    let known = extension.and_then(|e| BY_EXTENSION.iter().find(|(all, _)| all.contains(&e.as_str())));
    if let Some((_, candidates)) = known {
        return match candidates.iter().find(|c| on_path(OsStr::new(c), path).is_some()) {
            Some(found) => Ok(Some((*found).to_owned())),
            None => Err(Mistake::new(format!("nothing to run {shown} with: {} not found in PATH", listed(candidates)))
                .hint(format!("install {}, or name another with --interpreter", listed(candidates)))),
        };
    }
    if is_executable(script) {
        return Ok(None);
    }
    Err(Mistake::new(format!("{shown} is not executable, and its name does not say what runs it"))
        .hint(format!("make it executable (chmod +x {shown}), or name what runs it with --interpreter")))
}

/// Checks an interpreter that was named: a bare name on PATH, or a path to something executable.
///
/// # Errors
/// There is no such thing.
pub fn check(interpreter: &OsStr, path: Option<&OsStr>) -> Result<(), Mistake> {
    if is_bare(interpreter) {
        return on_path(interpreter, path).map(drop).ok_or_else(|| {
            Mistake::new(format!("interpreter '{}' not found in PATH", interpreter.display()))
                .hint("install it, or give its path")
        });
    }
    if is_executable(Path::new(interpreter)) {
        Ok(())
    } else {
        Err(Mistake::new(format!("interpreter {} does not exist or is not executable", interpreter.display())))
    }
}

/// Whether a word names a program by PATH rather than a file by where it is.
pub(super) fn is_bare(word: &OsStr) -> bool {
    !word.as_encoded_bytes().contains(&b'/')
}

/// Where PATH finds a program. An empty entry means the current directory to a shell; here it means nothing, since the
/// daemon's is another one.
pub(super) fn on_path(program: &OsStr, path: Option<&OsStr>) -> Option<PathBuf> {
    let default = OsString::from("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    std::env::split_paths(path.unwrap_or(&default))
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(program))
        .find(|file| is_executable(file))
}

/// A regular file that somebody may execute. Whether the app's user may is found out at spawn.
pub(super) fn is_executable(file: &Path) -> bool {
    file.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

/// `bun, tsx or node`.
fn listed(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::fs;

    fn file(dir: &Path, name: &str, mode: u32) -> PathBuf {
        let path = dir.join(name);
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn the_extension_says_what_runs_a_script() {
        let dir = tempfile::tempdir().unwrap();
        let bin = tempfile::tempdir().unwrap();
        for program in ["node", "python3", "bash"] {
            file(bin.path(), program, 0o755);
        }
        let path = Some(bin.path().as_os_str());
        for (name, mode, expected) in [
            ("a.js", 0o644, Some("node")),
            ("a.PY", 0o644, Some("python3")),
            ("a.sh", 0o755, Some("bash")),
            ("a.ts", 0o644, Some("node")),
            ("a.bin", 0o755, None),
            ("plain", 0o755, None),
        ] {
            let script = file(dir.path(), name, mode);
            assert_eq!(choose(&script, path).unwrap().as_deref(), expected, "{name}");
        }
        file(bin.path(), "bun", 0o755);
        assert_eq!(choose(&dir.path().join("a.ts"), path).unwrap().as_deref(), Some("bun"));
    }

    #[test]
    fn without_one_the_error_names_the_mend() {
        let dir = tempfile::tempdir().unwrap();
        let nothing = Some(dir.path().as_os_str());
        let told = choose(&file(dir.path(), "a.tsx", 0o644), nothing).unwrap_err();
        assert!(told.message.ends_with("bun, tsx or node not found in PATH"), "{told}");
        let told = choose(&file(dir.path(), "plain", 0o644), nothing).unwrap_err();
        assert!(told.hint.unwrap().contains("chmod +x"));
        assert!(check(OsStr::new("nosuch"), nothing).is_err());
        assert!(check(OsStr::new("/bin/sh"), nothing).is_ok());
    }
}
