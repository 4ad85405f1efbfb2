//! The environment: what is captured, declared, read from files, and what never gets in.

use crate::rig::{Rig, cli};
use std::os::unix::ffi::OsStrExt;

fn set(rig: &mut Rig, vars: &[(&str, &str)]) {
    rig.env = vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
}

/// `PORT=3000 opm start app.js` works, and goes on working after a restart from elsewhere and a daemon's death.
#[test]
fn the_callers_environment_is_captured_and_kept() {
    let mut rig = Rig::new();
    set(&mut rig, &[("PORT", "3000")]);
    rig.start("web", &[], &["facts:one", "append:runs:x", "pause"]);
    assert_eq!(rig.facts("one").env("PORT").as_deref(), Some("3000"));
    set(&mut rig, &[("PORT", "4000")]);
    std::fs::remove_file(rig.path("one")).unwrap();
    rig.kill_daemon();
    rig.ok(&["restart", "web"]);
    assert_eq!(rig.facts("one").env("PORT").as_deref(), Some("3000"), "kept unless --update-env");
    std::fs::remove_file(rig.path("one")).unwrap();
    rig.ok(&["restart", "web", "--update-env"]);
    assert_eq!(rig.facts("one").env("PORT").as_deref(), Some("4000"));
    // A variable that is gone from the caller is gone from the app: nothing is merged.
    set(&mut rig, &[]);
    std::fs::remove_file(rig.path("one")).unwrap();
    rig.ok(&["start", "web", "--update-env"]);
    assert_eq!(rig.facts("one").env("PORT"), None);
}

/// What belongs to the login session, or to whoever started opm itself, is not the app's.
#[test]
fn session_variables_and_service_variables_do_not_reach_the_app() {
    let mut rig = Rig::new();
    let session = [
        "SSH_CLIENT",
        "SSH_CONNECTION",
        "SSH_TTY",
        "SSH_AUTH_SOCK",
        "DBUS_SESSION_BUS_ADDRESS",
        "XDG_SESSION_ID",
        "XDG_SESSION_TYPE",
        "TERM",
        "DISPLAY",
        "SHLVL",
        "OLDPWD",
        "NOTIFY_SOCKET",
        "LISTEN_FDS",
        "LISTEN_PID",
        "INVOCATION_ID",
        "JOURNAL_STREAM",
    ];
    rig.env = session.iter().map(|k| ((*k).to_owned(), "leak".to_owned())).collect();
    rig.start("web", &[], &["facts:one", "pause"]);
    let facts = rig.facts("one");
    for name in session {
        assert_eq!(facts.env(name), None, "{name}");
    }
}

/// E5: `restart_delay=60000 namespace=fromenv watch=true pm2 start x` changed the app, which also got some 30 of PM2's own
/// variables.
#[test]
fn e5_variables_named_like_options_change_nothing() {
    let mut rig = Rig::new();
    let options = [
        ("restart_delay", "60000"),
        ("namespace", "fromenv"),
        ("watch", "true"),
        ("instances", "3"),
        ("name", "evil"),
        ("NAME", "evil"),
        ("NAMESPACE", "fromenv"),
        ("OPM_NAMESPACE", "fromenv"),
        ("OPM_INSTANCES", "3"),
        ("exec_mode", "cluster"),
        ("max_restarts", "0"),
        ("stop_signal", "9"),
        ("cwd", "/"),
        ("user", "nobody"),
        ("RUST_LOG", "trace"),
    ];
    set(&mut rig, &options);
    rig.start("web", &[], &["facts:one", "pause"]);
    let rows = rig.rows();
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!((&rows[0]["name"], &rows[0]["namespace"]), (&"web".into(), &"default".into()));
    let facts = rig.facts("one");
    assert_eq!(facts.get("uid"), "0");
    assert_eq!(facts.env("restart_delay").as_deref(), Some("60000"), "it is a variable like any other");
    // What the app has that its caller did not is opm's own: few, and by their name.
    let caller = ["PATH", "HOME", "LANG"].into_iter().chain(options.iter().map(|(k, _)| *k)).collect::<Vec<_>>();
    let own: Vec<_> = facts.env_all().into_iter().filter(|e| !caller.contains(&e.split('=').next().unwrap())).collect();
    assert!(
        own.len() <= 6 && own.iter().all(|e| e.starts_with("OPM_") || e.starts_with("NODE_APP_INSTANCE=")),
        "the app got {own:?}"
    );
    rig.grip("web").kill();
    rig.await_row("web", "back at once", |row| row["restarts"] == 1);
}

/// Declared wins over the file, the file over what was captured. The file is read at every spawn, and its values are stored nowhere.
#[test]
fn precedence_and_env_files_at_every_spawn() {
    let mut rig = Rig::new();
    set(&mut rig, &[("A", "captured"), ("B", "captured"), ("C", "captured")]);
    let file = rig.write("secrets.env", "# a comment\nB=file\nexport C=file\nD=\"s3cr3t value\"\nGONE=soon\n");
    rig.start("web", &["--env-file", &file, "--env", "C=declared"], &["facts:one", "pause"]);
    let facts = rig.facts("one");
    for (name, value) in [("A", "captured"), ("B", "file"), ("C", "declared"), ("D", "s3cr3t value"), ("GONE", "soon")]
    {
        assert_eq!(facts.env(name).as_deref(), Some(value), "{name}");
    }
    rig.ok(&["env", "web", "--why"]).says(&["A=captured", "B=file", "C=declared", "secrets.env"]);
    rig.ok(&["save"]);
    assert_eq!(grep(&rig.home, "s3cr3t"), Vec::<String>::new(), "the file's values are in no file of opm's");
    rig.write("secrets.env", "B=changed\nD=n3w\n");
    std::fs::remove_file(rig.path("one")).unwrap();
    rig.ok(&["restart", "web"]);
    let facts = rig.facts("one");
    assert_eq!(
        (facts.env("B").as_deref(), facts.env("D").as_deref(), facts.env("GONE")),
        (Some("changed"), Some("n3w"), None)
    );
}

/// Files below a folder that hold some text.
fn grep(dir: &std::path::Path, needle: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().map(|e| e.unwrap()) {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() {
            found.extend(grep(&path, needle));
        } else if kind.is_file() && String::from_utf8_lossy(&std::fs::read(&path).unwrap()).contains(needle) {
            found.push(path.display().to_string());
        }
    }
    found
}

/// An env file that is missing at the next spawn is a reason, not a silence.
#[test]
fn a_missing_env_file_is_said() {
    let rig = Rig::new();
    let mut start = rig.start_command("web", &["--env-file", "/nonexistent/x.env"], &["pause"]);
    let said = cli::run(&mut start);
    assert!(said.code.is_some_and(|c| c == 1 || c == 2), "{said}");
    said.says(&["/nonexistent/x.env"]);
    assert!(rig.app_pids().is_empty());
}

#[test]
fn env_clean_keeps_only_what_every_program_needs() {
    let mut rig = Rig::new();
    set(&mut rig, &[("SECRET", "x"), ("TZ", "Europe/Berlin"), ("USER", "root"), ("SHELL", "/bin/sh")]);
    rig.start("web", &["--env-clean", "--env", "MINE=1"], &["facts:one", "pause"]);
    let facts = rig.facts("one");
    assert_eq!(facts.env("SECRET"), None);
    for name in ["PATH", "HOME", "LANG", "TZ", "USER", "SHELL", "MINE"] {
        assert!(facts.env(name).is_some(), "{name} is kept: {:?}", facts.env_all());
    }
}

/// Bytes that are not UTF-8 go through the command line, the API, the disk and a daemon's death, and come out the same.
#[test]
fn arguments_and_values_that_are_not_utf8_stay_intact() {
    let rig = Rig::new();
    let odd = std::ffi::OsStr::from_bytes(b"caf\xe9 \xff\xfe");
    let mut start = rig.start_command("odd", &[], &["facts:one"]);
    start.arg(odd).arg("").arg("two\nlines").arg("pause").env("ODD", odd);
    cli::run(&mut start).ok();
    for _ in 0..2 {
        let facts = rig.facts("one");
        let args = facts.bytes("arg");
        assert_eq!(args[2], odd.as_bytes());
        assert_eq!((args[3].as_slice(), args[4].as_slice()), (&b""[..], &b"two\nlines"[..]));
        assert!(facts.bytes("env").contains(&[b"ODD=", odd.as_bytes()].concat()));
        std::fs::remove_file(rig.path("one")).unwrap();
        rig.kill_daemon();
        rig.ok(&["restart", "odd"]);
    }
}
