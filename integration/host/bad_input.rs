//! What bad input gets: a clear error that names the thing, a daemon that lives, and nothing half-applied.

use crate::rig::{Rig, cli};

#[test]
fn what_cannot_be_started_is_refused_with_its_name() {
    let rig = Rig::new();
    rig.start("web", &[], &["pause"]);
    let daemon = rig.daemon_pid();
    let plain = rig.write("plain", "just text\n");
    let (prog, dir) = (rig.prog.to_str().unwrap().to_owned(), rig.work.to_str().unwrap().to_owned());
    let cases: Vec<(Vec<&str>, &str)> = vec![
        (vec!["/no/such/script.js"], "/no/such/script.js"),
        (vec!["./missing.py"], "missing.py"),
        (vec![&dir], "directory"),
        (vec![&plain], "plain"),
        (vec![&prog, "--interpreter", "no-such-interpreter"], "no-such-interpreter"),
        (vec![&prog, "--user", "no-such-user-here"], "no-such-user-here"),
        (vec![&prog, "--group", "no-such-group-here"], "no-such-group-here"),
        (vec![&prog, "--cwd", "/no/such/folder"], "/no/such/folder"),
        (vec![&prog, "--name", "a/b"], "a/b"),
        (vec![&prog, "--name", "web:0"], "web:0"),
        (vec![&prog, "--name", "a\nb"], "control"),
        (vec![&prog, "--name", "\u{1b}[31m"], "control"),
        (vec![&prog, "--name", ""], "empty"),
        (vec![&prog, "--name", "all"], "all"),
        (vec![&prog, "--memory-max", "lots"], "lots"),
        (vec![&prog, "--memory-max", "-1"], "-1"),
        (vec![&prog, "--cpus", "many"], "many"),
        (vec![&prog, "--pids", "few"], "few"),
        (vec![&prog, "--nice", "99"], "99"),
        (vec![&prog, "--umask", "999"], "999"),
        (vec![&prog, "--rlimit", "nonsense=1"], "nonsense"),
        (vec![&prog, "--rlimit", "nofile=x"], "x"),
        (vec![&prog, "--stop-timeout", "soon"], "soon"),
        (vec![&prog, "--stop-signal", "SIGWRONG"], "SIGWRONG"),
        (vec![&prog, "--restart", "sometimes"], "sometimes"),
        (vec![&prog, "-i", "x"], "x"),
        (vec![&prog, "--env", "NOEQUALS"], "NOEQUALS"),
        (vec![&prog, "--no-such-flag"], "no-such-flag"),
    ];
    for (args, named) in cases {
        let said = rig.opm(&[&["start"], &args[..]].concat());
        assert!(matches!(said.code, Some(1 | 2)), "{args:?}: {said}");
        said.says(&[named]);
    }
    let rows = rig.rows();
    assert_eq!((rows.len(), rig.daemon_pid()), (1, daemon), "nothing was half-applied, the daemon lives: {rows:?}");
}

/// A script that is not executable, of no known extension and without a first line for the kernel, is refused before "started".
#[test]
fn a_program_that_cannot_be_executed_is_no_start() {
    let rig = Rig::new();
    use std::os::unix::fs::PermissionsExt;
    for (name, text) in [("badbang", "#!/no/such/interpreter\n"), ("noexec", "\x7fELF broken"), ("nothing", "")] {
        let path = rig.write(name, text);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let said = rig.opm(&["start", &path, "--restart", "never"]);
        assert!(matches!(said.code, Some(1 | 2)), "{said}");
        said.says(&[name]);
    }
    assert!(rig.app_pids().is_empty());
}

/// 10 MB of arguments are more than the kernel takes; the answer says so, and the daemon is none the worse.
#[test]
fn ten_megabytes_of_arguments_are_refused() {
    let rig = Rig::new();
    rig.start("web", &[], &["pause"]);
    let arg = "x".repeat(100_000);
    let apps = serde_json::json!({"apps": [{"name": "big", "script": rig.prog, "args": vec![arg; 100]}]});
    let file = rig.write("big.json", &apps.to_string());
    let said = rig.opm(&["start", &file]);
    assert_eq!(said.code, Some(1), "{}", said.err());
    assert!(!said.err().is_empty());
    assert_eq!(rig.row("web")["state"], "online");
}

/// 1 MB of arguments is fine with the kernel, and so with opm.
#[test]
fn many_arguments_that_the_kernel_takes_are_taken() {
    let rig = Rig::new();
    let args = vec!["y".repeat(10_000); 100];
    let mut start = rig.start_command("big", &[], &["pause"]);
    cli::run(start.args(&args)).ok();
    assert_eq!(crate::rig::observe::command_line(rig.pid("big")).len(), 102);
}

/// The ways to say what to run: by extension, by shebang, as one string, by a shell.
#[test]
fn scripts_find_their_interpreter() {
    let rig = Rig::new();
    use std::os::unix::fs::PermissionsExt;
    let shell = rig.write("a.sh", "echo from sh $1; exec sleep 1000\n");
    let python = rig.write("a.py", "import time; print('from python', flush=True); time.sleep(1000)\n");
    let bang = rig.write("bang", "#!/bin/sh\necho from shebang; exec sleep 1000\n");
    std::fs::set_permissions(&bang, std::fs::Permissions::from_mode(0o755)).unwrap();
    rig.ok(&["start", &shell, "--name", "sh", "--", "arg"]);
    rig.ok(&["start", &python, "--name", "py"]);
    rig.ok(&["start", &bang, "--name", "bang"]);
    rig.ok(&["start", "./prog 'out:from one string' pause", "--name", "string"]);
    rig.ok(&["start", "echo from $((40+2)) && exec sleep 1000", "--shell", "--name", "shell"]);
    for (name, said) in [
        ("sh", "from sh arg\n"),
        ("py", "from python\n"),
        ("bang", "from shebang\n"),
        ("string", "from one string\n"),
        ("shell", "from 42\n"),
    ] {
        crate::rig::wait::until_or(
            name,
            crate::rig::wait::PATIENCE,
            || rig.log(name, 0, "out") == said.as_bytes(),
            || {
                (
                    String::from_utf8_lossy(&rig.log(name, 0, "out")).into_owned(),
                    String::from_utf8_lossy(&rig.log(name, 0, "err")).into_owned(),
                )
            },
        );
    }
    // A name is made of the script where none is given.
    rig.ok(&["start", &shell]);
    assert_eq!(rig.row("a")["state"], "online");
}

/// A Node app, where there is node.
#[test]
fn a_node_app_is_started_by_node() {
    let rig = Rig::new();
    let script = rig.write("web.js", "console.log('from node ' + process.argv[2]); setInterval(() => {}, 1e6);\n");
    rig.ok(&["start", &script, "--", "x"]);
    crate::rig::wait::until("node to speak", || rig.log("web", 0, "out") == b"from node x\n");
}
