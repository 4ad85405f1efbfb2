//! What people type after `opm start`, and what it means.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::model::AppSpec;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use tempfile::TempDir;

/// A directory with scripts, and a PATH with `node`, `npm` and `sh`.
struct Stage {
    dir: TempDir,
    bin: TempDir,
}

impl Stage {
    fn new() -> Self {
        let stage = Self { dir: tempfile::tempdir().unwrap(), bin: tempfile::tempdir().unwrap() };
        for program in ["node", "npm", "python3.11"] {
            stage.file(&stage.bin, program, 0o755);
        }
        stage.file(&stage.dir, "app.js", 0o644);
        stage.file(&stage.dir, "run me", 0o755);
        stage.file(&stage.dir, "plain", 0o644);
        stage.file(&stage.dir, "server", 0o755);
        fs::create_dir(stage.dir.path().join("folder")).unwrap();
        stage
    }

    fn file(&self, dir: &TempDir, name: &str, mode: u32) {
        let path = dir.path().join(name);
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn place(&self) -> Place {
        Place { cwd: self.dir.path().to_owned(), path: Some(self.bin.path().as_os_str().to_owned()) }
    }

    fn spec(&self, asked: Asked) -> Result<AppSpec, Mistake> {
        asked.into_spec(&self.place())
    }

    /// Name, and argv without the directory.
    fn told(&self, asked: Asked) -> (String, Vec<String>) {
        let spec = self.spec(asked).unwrap();
        let dir = format!("{}/", self.dir.path().display());
        (spec.name.to_string(), spec.argv().into_iter().map(|word| word.to_string().replace(&dir, "")).collect())
    }
}

fn script(script: &str) -> Asked {
    Asked { script: script.into(), ..Asked::default() }
}

#[test]
fn files_programs_and_command_lines() {
    let stage = Stage::new();
    for (typed, name, argv) in [
        ("app.js", "app", &["node", "app.js"][..]),
        ("./app.js", "app", &["node", "app.js"]),
        ("run me", "run me", &["run me"]),
        ("server", "server", &["server"]),
        ("npm", "npm", &["npm"]),
        ("python3.11", "python3.11", &["python3.11"]),
        ("npm run start", "npm", &["npm", "run", "start"]),
        ("app.js --port 3000 'a b'", "app", &["node", "app.js", "--port", "3000", "a b"]),
    ] {
        let (got_name, got) = stage.told(script(typed));
        assert_eq!(
            (got_name.as_str(), got.iter().map(String::as_str).collect::<Vec<_>>().as_slice()),
            (name, argv),
            "{typed}"
        );
    }
}

#[test]
fn arguments_and_interpreters_that_were_named() {
    let stage = Stage::new();
    let args = Asked { args: vec!["--x".into()], ..script("npm start") };
    assert_eq!(stage.told(args).1, ["npm", "start", "--x"]);
    let node =
        Asked { interpreter: Some("node".into()), interpreter_args: vec!["--inspect".into()], ..script("plain") };
    assert_eq!(stage.told(node).1, ["node", "--inspect", "plain"]);
    let none = Asked { interpreter: Some("none".into()), ..script("server") };
    assert_eq!(stage.told(none).1, ["server"]);
    let shell = Asked { shell: true, args: vec!["x".into()], ..script("echo $1 | cat") };
    assert_eq!(
        stage.told(shell),
        ("echo".into(), ["/bin/sh", "-c", "echo $1 | cat", "sh", "x"].map(String::from).into())
    );
}

#[test]
fn bytes_that_are_not_utf8_are_kept() {
    let stage = Stage::new();
    let bytes = OsString::from_vec(b"\xff\xfe".to_vec());
    stage.file(&stage.dir, "server", 0o755);
    let spec = stage.spec(Asked { args: vec![bytes.clone().into()], ..script("server") }).unwrap();
    assert_eq!(spec.args, [RawText::from(bytes)]);
}

#[test]
fn what_cannot_be_started_is_told_with_the_mend() {
    let stage = Stage::new();
    let mistake = |asked| {
        let mistake = stage.spec(asked).unwrap_err();
        (mistake.message.replace(&stage.dir.path().display().to_string(), "DIR"), mistake.hint.unwrap_or_default())
    };
    let named = |name: &str| Asked { name: Some(name.into()), ..script("app.js") };
    for (asked, message, hint) in [
        (script(""), "nothing to start: the script is empty", ""),
        (script("nosuch.js"), "'nosuch.js' is neither a file in DIR nor a program in PATH", ""),
        (script("./nosuch.js"), "DIR/nosuch.js does not exist", ""),
        (script("folder"), "DIR/folder is a directory", "name the script in it"),
        (script("plain"), "DIR/plain is not executable, and its name does not say what runs it", "chmod +x"),
        (script("PORT=1 npm start"), "'PORT=1' is neither a file in DIR nor a program in PATH", "--env PORT=1"),
        (
            script("npm a && npm b"),
            "'npm a && npm b' needs a shell: '&&' would reach the program as it stands",
            "--shell",
        ),
        (script("npm 'a"), "'npm 'a' has a quote that is never closed", ""),
        (
            Asked { interpreter: Some("deno".into()), ..script("app.js") },
            "interpreter 'deno' not found in PATH",
            "install",
        ),
        (Asked { interpreter: Some("none".into()), ..script("app.js") }, "DIR/app.js is not executable", "chmod +x"),
        (
            Asked { interpreter_args: vec!["-x".into()], ..script("server") },
            "there are arguments for an interpreter, but the script runs by itself",
            "--interpreter",
        ),
        (Asked { cwd: Some("gone".into()), ..script("app.js") }, "working directory DIR/gone does not exist", ""),
        (Asked { env_file: vec![".env".into()], ..script("app.js") }, "env file DIR/.env does not exist", ""),
        (named("a/b"), "name 'a/b' holds a '/'", ""),
        (named("web:0"), "name 'web:0' holds a ':', which separates an app from its instance (web:0)", ""),
    ] {
        let (got, got_hint) = mistake(asked);
        assert_eq!(got, message);
        assert!(got_hint.contains(hint), "{got}: {got_hint}");
    }
}

/// A deploy switches a `current` symlink. The spec must keep the path through it, or every restart runs the old release.
#[test]
fn the_logical_path_is_kept() {
    let stage = Stage::new();
    let parent = tempfile::tempdir().unwrap();
    let current = parent.path().join("current");
    symlink(stage.dir.path(), &current).unwrap();
    let place = Place { cwd: current.clone(), path: stage.place().path };
    let spec = script("app.js").into_spec(&place).unwrap();
    assert_eq!(Path::new(spec.script.as_os_str()), current.join("app.js"));
    assert_eq!(Path::new(spec.cwd.as_os_str()), current);
    // $PWD counts only if it is this very directory.
    let here = std::env::current_dir().unwrap();
    assert_eq!(logical_cwd(Some(current.into_os_string())).unwrap(), here);
    assert_eq!(logical_cwd(None).unwrap(), here);
    let link = parent.path().join("here");
    symlink(&here, &link).unwrap();
    assert_eq!(logical_cwd(Some(link.clone().into_os_string())).unwrap(), link);
}
