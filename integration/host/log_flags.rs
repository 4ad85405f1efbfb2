//! The flags about logs, from the command line to what is on the disk.

use crate::rig::{Rig, wait};
use std::fs;
use std::path::{Path, PathBuf};

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Waits until the file holds what is wanted, and gives it.
#[track_caller]
fn await_file(path: impl AsRef<Path>, wanted: impl Fn(&str) -> bool) -> String {
    let path = path.as_ref();
    wait::until_or(&path.display().to_string(), wait::PATIENCE, || wanted(&read(path)), || read(path));
    read(path)
}

fn own(rig: &Rig, name: &str) -> PathBuf {
    rig.home.join("logs").join(name)
}

/// Paths start from the app's directory; what goes nowhere is kept nowhere.
#[test]
fn files_of_ones_own_are_written() {
    let rig = Rig::new();
    rig.start("web", &["-o", "mine.log", "--err-file", "NULL"], &["out:hello", "err:gone", "pause"]);
    await_file(rig.path("mine.log"), |text| text == "hello\n");
    let script = rig.write("both.sh", "echo out; sleep 0.05; echo err >&2; exec sleep 1000\n");
    let (all, errors) = (rig.path("all.log"), rig.path("errors.log"));
    rig.ok(&["start", &script, "--name", "both", "--log-file", &all, "-e", &errors]);
    await_file(&all, |text| text == "out\nerr\n");
    assert_eq!((read(&errors), read(own(&rig, "both-0-out.log"))), ("err\n".to_owned(), "out\n".to_owned()));
    rig.start("quiet", &["--log-sink", "none"], &["out:x", "err:x", "append:done:x", "pause"]);
    rig.await_lines("done", 1);
    let left: Vec<_> = fs::read_dir(rig.home.join("logs")).unwrap().map(|e| e.unwrap().file_name()).collect();
    let web_err = |name: &str| name.starts_with("quiet") || name.starts_with("web");
    assert!(!left.iter().any(|name| web_err(&name.to_string_lossy())), "{left:?}");
}

#[test]
fn lines_are_stamped_and_instances_share_a_file() {
    let rig = Rig::new();
    rig.start("time", &["--log-date-format", "YYYY-MM-DD HH:mm:ss"], &["part:one ", "sleep:30", "out:line", "pause"]);
    let text = await_file(own(&rig, "time-0-out.log"), |text| text.ends_with('\n'));
    assert!(text.starts_with("20") && text.len() == 29 && text.ends_with(" one line\n"), "{text}");
    rig.start("json", &["--log-type", "json", "--merge-logs", "-i", "2"], &["out:hi", "pause"]);
    let text = await_file(own(&rig, "json-out.log"), |text| text.lines().count() == 2);
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let mut instances: Vec<_> = lines.map(|line| line["instance"].as_u64().unwrap()).collect();
    instances.sort_unstable();
    assert_eq!(instances, [0, 1], "{text}");
}

#[test]
fn what_has_grown_is_set_aside_and_flush_makes_room() {
    let rig = Rig::new();
    let flags = ["--log-max-size", "4K", "--log-compress", "none", "--log-keep", "3"];
    rig.start("web", &flags, &["lines:5000:line", "waitfile:go", "out:after", "pause"]);
    let file = own(&rig, "web-0-out.log");
    wait::until("the log to be set aside", || own(&rig, "web-0-out.log.000001").exists() || parts(&rig) > 0);
    await_file(&file, |text| text.ends_with("line 4999\n"));
    wait::until("no more than three to be kept", || parts(&rig) <= 3);
    let told = rig.ok(&["flush", "web", "--json"]).json();
    assert!(told["files"].as_u64().unwrap() >= 2 && told["bytes"].as_u64().unwrap() > 4096, "{told}");
    assert_eq!((read(&file), parts(&rig)), (String::new(), 0));
    rig.write("go", "");
    await_file(&file, |text| text == "after\n");
    rig.opm(&["flush", "nosuch"]).code(4);
    rig.ok(&["flush"]);
    rig.ok(&["flush"]).says(&["no log file holds anything"]);
}

fn parts(rig: &Rig) -> usize {
    let names = fs::read_dir(rig.home.join("logs")).unwrap().map(|e| e.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with("web-0-out.log.0")).count()
}

/// As logrotate does with `create`: the file is renamed, and the daemon told of it.
#[test]
fn external_logrotate_goes_on_working() {
    let rig = Rig::new();
    rig.start("web", &[], &["out:before", "waitfile:go", "out:after", "pause"]);
    let (file, aside) = (own(&rig, "web-0-out.log"), own(&rig, "web-0-out.log-20261121"));
    await_file(&file, |text| text == "before\n");
    fs::rename(&file, &aside).unwrap();
    rig.ok(&["reloadLogs"]);
    rig.write("go", "");
    await_file(&file, |text| text == "after\n");
    assert_eq!(read(&aside), "before\n");
}

#[test]
fn wishes_that_contradict_each_other_are_refused_by_the_daemon_as_well() {
    let rig = Rig::new();
    rig.start("web", &[], &["pause"]);
    let body = serde_json::json!({"captured": {}, "apps": [
        {"name": "x", "script": rig.prog, "cwd": "/", "log_sink": "journald", "out_file": "/x"}]});
    let (status, told) = crate::socket::request(&rig, "POST", "/v1/apps", "", &body.to_string());
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(status, 400);
    assert_eq!(told["message"], "app 'x': out_file is about files, and log_sink is journald");
}
