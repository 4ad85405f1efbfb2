//! What commands send, print and return.

use crate::fake::{Fake, Reply, stderr, stdout};
use serde_json::{Value, json};
use std::fs;
use std::process::{Command, Stdio};

fn no_such_app(word: &str) -> Reply {
    Reply::Json(404, json!({"kind": "no_such_app", "message": format!("no app matches '{word}'")}).to_string())
}

fn row(name: &str) -> Value {
    json!({
        "id": 0, "name": name, "namespace": "default", "instance": 0, "state": "online", "detail": null, "desired": "up",
        "ready": "none", "pid": 42, "since": null, "restarts": 0, "cpu_percent": null, "memory_bytes": null, "run": null,
        "cgroup": null, "last_exit": null, "next_attempt": null
    })
}

fn outcomes(result: &str) -> Reply {
    let outcome = json!({"id": 0, "name": "web", "instance": 0, "result": result, "pid": 42});
    Reply::Json(200, json!({"outcomes": [outcome]}).to_string())
}

#[test]
fn a_misspelt_name_is_answered_with_the_nearest() {
    let fake = Fake::new(vec![no_such_app("wbe"), Reply::Json(200, json!([row("api"), row("web")]).to_string())]);
    let output = fake.opm(&["restart", "wbe"]);
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(stderr(&output), "error: no app matches 'wbe'\nhint: did you mean 'web'?\n");
}

#[test]
fn a_word_is_an_app_first_and_a_script_else() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("web.sh");
    fs::write(&script, "").unwrap();
    let fake = Fake::new(vec![outcomes("restarted")]);
    let output = fake.opm(&["start", "web"]);
    assert!(stderr(&output).starts_with("restarted web (id 0, web:0, pid 42) in "), "{}", stderr(&output));
    assert_eq!(stdout(&output), "");
    assert_eq!(fake.requests()[0].line, "POST /v1/start");

    // A path is never a name: no question needed.
    let fake = Fake::new(vec![outcomes("started")]);
    let output = fake.opm(&["start", script.to_str().unwrap(), "--json"]);
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap()["outcomes"][0]["result"], "started");
    let requests = fake.requests();
    assert_eq!(requests[0].line, "POST /v1/apps");
    let body: Value = serde_json::from_str(&requests[0].body).unwrap();
    assert_eq!(body["apps"][0]["name"], "web");
    assert_eq!(body["captured"]["PORT"], "3000");
    assert_eq!(body["captured"].get("SSH_CONNECTION"), None);

    let fake = Fake::new(vec![no_such_app("sh"), outcomes("started")]);
    fake.opm(&["start", "sh"]);
    let lines: Vec<_> = fake.requests().into_iter().map(|r| r.line).collect();
    assert_eq!(lines, ["POST /v1/start", "POST /v1/apps"]);

    let fake = Fake::new(vec![no_such_app("nosuch"), Reply::Json(200, "[]".to_owned())]);
    let output = fake.opm(&["start", "nosuch"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(stderr(&output).contains("no app matches 'nosuch', and there is no such script or program"));
}

#[test]
fn flags_make_the_spec() {
    let fake = Fake::new(vec![outcomes("started")]);
    let flags = [
        "start",
        "sh",
        "--name",
        "job",
        "-i",
        "2",
        "--env",
        "A=b=c",
        "--restart",
        "on-failure",
        "--stop-signal",
        "int",
        "--stop-timeout",
        "3s",
        "--kill-mode",
        "cgroup",
        "--stop-exit-codes",
        "0,3",
        "--memory-max",
        "300M",
        "--cpus",
        "0.5",
        "--nice",
        "-5",
        "--umask",
        "077",
        "--rlimit",
        "nofile=1024:4096",
        "--transient",
        "--no-autostart",
        "--log-mode",
        "json",
        "-o",
        "/var/log/job.log",
        "--err-file",
        "NULL",
        "--log-max-size",
        "1M",
        "--log-keep",
        "none",
        "--log-drop",
        "never",
        "--",
        "-c",
        "true",
    ];
    let output = fake.opm(&flags);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let body: Value = serde_json::from_str(&fake.requests()[0].body).unwrap();
    let mut spec = body["apps"][0].clone();
    spec.as_object_mut().unwrap().remove("cwd");
    assert_eq!(
        spec,
        json!({
            "name": "job", "namespace": "default", "script": "sh", "args": ["-c", "true"], "env": {"A": "b=c"},
            "instances": 2, "umask": 63, "nice": -5, "rlimit": {"nofile": "1024:4096"}, "restart": "on-failure",
            "max_restarts": 10, "min_uptime": "1s", "backoff": "100ms..15s", "errored_retry": "1m", "stop_signal": "SIGINT",
            "stop_timeout": "3s", "kill_mode": "cgroup", "stop_exit_codes": [0, 3], "autostart": false, "transient": true,
            "memory_max": "300M", "cpus": "0.5", "log_mode": "json", "out_file": "/var/log/job.log", "error_file": "/dev/null",
            "log_max_size": "1M", "log_keep": "none", "log_drop": "never"
        })
    );
}

/// What is said is sent, `none` as null, and nothing else.
#[test]
fn limit_sends_what_changes_and_takes_off_what_is_none() {
    let fake = Fake::new(vec![outcomes("limited")]);
    let flags =
        ["--memory-max", "1G", "--cpus", "none", "--max-memory", "800M", "--pids", "40", "--oom-kill", "process"];
    let disks = ["--io-max", "/dev/sda:rbps=10M,wbps=5M", "--io-max", "8:16:riops=7"];
    let output = fake.opm(&[&["limit", "web", "api"], &flags[..], &disks[..]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let request = &fake.requests()[0];
    let body: Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!(
        body,
        json!({"select": ["web", "api"], "limits": {
            "memory_max": "1G", "max_memory_restart": "800M", "oom_kill": "process", "cpus": null, "pids": 40,
            "io_max": ["/dev/sda rbps=10M wbps=5M", "8:16 riops=7"]
        }})
    );
    for wrong in [&["--cpus", "x"][..], &["--cpu-weight", "0"], &["--io-max", "sda"], &[]] {
        let output = fake.opm(&[&["limit", "web"], wrong].concat());
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
    }
}

/// What people have in their fingers from PM2, and what opm calls the same.
#[test]
fn the_log_flags_of_pm2_are_understood() {
    let spec = |flags: &[&str]| {
        let fake = Fake::new(vec![outcomes("started")]);
        let output = fake.opm(&[&["start", "sh"], flags].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let body: Value = serde_json::from_str(&fake.requests()[0].body).unwrap();
        body["apps"][0].clone()
    };
    for (theirs, ours) in [
        (
            &["--output", "/l/o", "--error", "none", "--log", "/l/a"][..],
            &["-o", "/l/o", "-e", "NULL", "-l", "/l/a"][..],
        ),
        (&["--time"], &["--log-mode", "time"]),
        (&["--log-type", "json", "--time"], &["--log-mode", "json"]),
        (&["--disable-logs"], &["--log-sink", "none"]),
        (&["--log-date-format", "DD.MM.YYYY HH:mm"], &["--log-format", "%d.%m.%Y %H:%M"]),
    ] {
        assert_eq!(spec(theirs), spec(ours), "{theirs:?}");
    }
    let fake = Fake::new(vec![]);
    let output = fake.opm(&["start", "sh", "--log-sink", "journald", "-o", "/l/o"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("out_file is about files"), "{}", stderr(&output));
    assert_eq!(fake.requests(), []);
}

#[test]
fn a_taken_name_is_told_with_the_differences() {
    let problem = json!({"kind": "name_taken", "message": "app 'sh' exists with another spec",
        "differences": [{"field": "args", "now": "[]", "asked": "[\"x\"]"}]});
    let fake = Fake::new(vec![Reply::Json(409, problem.to_string())]);
    let output = fake.opm(&["start", "sh", "--", "x"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stderr(&output),
        "error: app 'sh' exists with another spec\n  args: [] -> [\"x\"]\n\
         hint: --replace gives the app its new spec; --name makes another app\n"
    );
}

#[test]
fn exit_codes_say_what_came_of_it() {
    for (result, code) in [("stopped", 0), ("already_stopped", 0), ("failed", 1), ("pending", 5)] {
        let fake = Fake::new(vec![outcomes(result)]);
        assert_eq!(fake.opm(&["stop", "web"]).status.code(), Some(code), "{result}");
    }
    let fake = Fake::new(vec![Reply::Json(200, json!({"outcomes": []}).to_string())]);
    let output = fake.opm(&["stop", "all"]);
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), "no apps to stop\n"));
    let fake = Fake::new(vec![]);
    for wrong in [
        &["start"][..],
        &["stop"],
        &["start", "sh", "--memory-max", "lots"],
        &["start", "a", "b", "--name", "x"],
        &["start", "sh", "--env", "novalue"],
        &["frobnicate"],
        &["signal", "SIGNOPE", "web"],
    ] {
        assert_eq!(fake.opm(wrong).status.code(), Some(2), "{wrong:?}");
    }
    assert_eq!(fake.requests(), []);
}

#[test]
fn an_empty_list_is_valid_json_and_a_friendly_word() {
    let fake = Fake::new(vec![Reply::Json(200, "[]".to_owned()), Reply::Json(200, "[]".to_owned())]);
    assert_eq!(stdout(&fake.opm(&["list", "--json"])), "[]\n");
    let output = fake.opm(&["ps"]);
    assert_eq!(
        (stdout(&output).as_str(), stderr(&output).as_str()),
        ("", "no apps yet; 'opm start app.js' starts one\n")
    );
}

/// `opm completions bash | head -1`: what was wanted was had.
#[test]
fn a_reader_that_went_away_is_no_failure() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_opm"))
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
}

#[test]
fn lists_of_apps_are_one_order() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("apps.json");
    fs::write(&file, r#"{"apps": [{"name": "a", "script": "sh", "pmx": 1}, {"name": "b", "script": "sh"}]}"#).unwrap();
    let fake = Fake::new(vec![outcomes("started")]);
    let output = fake.opm(&["start", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).starts_with("note: app 'a': 'pmx' is part of PM2 itself, and ignored\n"));
    let requests = fake.requests();
    assert_eq!(requests.len(), 1);
    let body: Value = serde_json::from_str(&requests[0].body).unwrap();
    assert_eq!(body["apps"].as_array().unwrap().len(), 2);
    assert_eq!(body["apps"][1]["cwd"], dir.path().to_str().unwrap());
    assert_eq!(fake.opm(&["start", file.to_str().unwrap(), "--name", "x"]).status.code(), Some(2));
}

#[test]
fn kill_is_done_when_the_daemon_is_gone_whether_it_answered_or_not() {
    for answered in [true, false] {
        let status = json!({"version": "1", "pid": 1, "keeper_pid": 1, "since": "2026-01-01T00:00:00Z",
            "cgroup_root": "/sys/fs/cgroup/opm", "controllers": [], "apps": 1, "instances": 1});
        let mut replies = vec![Reply::Json(200, status.to_string())];
        replies.push(if answered { outcomes("stopped") } else { Reply::Break });
        replies.push(Reply::Gone);
        let fake = Fake::new(replies);
        let output = fake.opm(&["kill"]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(stderr(&output).ends_with("the daemon ended\n"), "{}", stderr(&output));
        let requests = fake.requests();
        assert_eq!(requests[1].line, "POST /v1/shutdown");
        assert_eq!(requests[1].body, r#"{"keep_apps":false}"#);
    }
}

/// The unit that the command line starts must know the code by which the keeper says "do not start me again".
#[test]
fn launcher_and_keeper_mean_the_same_exit_code() {
    assert_eq!(opm::cli::KEPT_APPS, opm::keeper::KEPT_APPS);
}
