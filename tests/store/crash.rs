//! The store killed, and its disk failing, at each system call that touches the disk: what was answered is there, what was refused is not,
//! and nothing else is lost. Injected by strace(1); where there is none, nothing is tried, but in CI.

use crate::support::{Running, app, boot, env, files, put, put_back, remove, write_once};
use opm::daemon::store::{self, StoreEvent};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

const CALLS: [&str; 8] = ["linkat", "renameat", "unlinkat", "fsync", "fdatasync", "write", "pwrite64", "ftruncate"];

/// What is there before: apps 0, 2 and 3, of which 2 and 3 stand in the log only.
fn before(dir: &Path) {
    write_once(dir, put(&[(0, &app("a0", &env("e0")))], 1));
    let store = Running::start(dir);
    store.write(put(&[(1, &app("a1", &env("e1")))], 2));
    store.write(put(&[(2, &app("a2", &env("e2")))], 3));
    store.write(put(&[(3, &app("a3", &env("e3")))], 4));
    store.write(remove(1, 4));
    store.end();
}

/// A daemon's life with these orders (`4`: app 4 is put), with that injected. What it answered of each.
fn live(dir: &Path, inject: &[String], orders: &str) -> BTreeMap<u32, bool> {
    let calls: Vec<&str> = inject.iter().map(|inject| inject.split(':').next().unwrap()).collect();
    traced(dir, Path::new("/dev/null"), &calls, inject, orders)
}

/// How often such a life makes each call.
fn count(dir: &Path, orders: &str) -> BTreeMap<&'static str, usize> {
    let trace = dir.with_extension("trace");
    traced(dir, &trace, &CALLS, &[], orders);
    let text = fs::read_to_string(trace).unwrap();
    CALLS.into_iter().map(|call| (call, text.lines().filter(|l| l.contains(&format!(" {call}("))).count())).collect()
}

fn traced(dir: &Path, to: &Path, calls: &[&str], inject: &[String], orders: &str) -> BTreeMap<u32, bool> {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-qq", "-o", to.to_str().unwrap(), "-e", &format!("trace={}", calls.join(","))]);
    strace.args(inject.iter().flat_map(|inject| ["-e".to_owned(), format!("inject={inject}")]));
    strace.arg(std::env::current_exe().unwrap()).args(["--exact", "crash::as_a_daemon", "--ignored", "--nocapture"]);
    strace.env("OPM_TEST_STATE", dir).env("OPM_TEST_ORDERS", orders);
    let out = strace.stdout(Stdio::null()).stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    let answers = said.lines().filter_map(|line| line[line.find("order ")? + 6..].split_once(' '));
    answers.map(|(id, saved)| (id.parse().unwrap(), saved == "true")).collect()
}

#[test]
#[ignore = "run, and killed, by the tests here"]
fn as_a_daemon() {
    let say = |text: String| std::io::stderr().write_all(text.as_bytes()).unwrap();
    let Some(dir) = std::env::var_os("OPM_TEST_STATE") else { return };
    let store = Running::start(Path::new(&dir));
    for id in std::env::var("OPM_TEST_ORDERS").unwrap().split(' ').map(|id| id.parse().unwrap()) {
        let said = store.write(put(&[(id, &app(&format!("a{id}"), &env(&format!("e{id}"))))], id + 1));
        say(format!("order {id} {}\n", matches!(said, StoreEvent::Persisted(_))));
    }
    store.end();
}

/// `dir` holds all that was there before, all that was answered, nothing that was refused. What people are told.
fn judge(dir: &Path, answers: &BTreeMap<u32, bool>, what: &str) -> Vec<String> {
    let loaded = store::load(dir, &boot()).unwrap();
    let there: Vec<u32> = loaded.apps.iter().map(|(id, _)| id.0).collect();
    for id in [0, 2, 3].iter().chain(answers.iter().filter(|(_, saved)| **saved).map(|(id, _)| id)) {
        assert!(there.contains(id), "{what}: app {id} is lost; there are {there:?}; {:?}", loaded.troubles);
    }
    for (id, _) in answers.iter().filter(|(_, saved)| !**saved) {
        assert!(!there.contains(id), "{what}: app {id} was refused and is there; {there:?}; {:?}", loaded.troubles);
    }
    assert!(!there.contains(&1), "{what}: app 1 is deleted");
    loaded.troubles
}

fn have_strace() -> bool {
    let have = Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok_and(|status| status.success());
    assert!(have || std::env::var_os("CI").is_none(), "CI has strace");
    have
}

enum Begin {
    /// As a daemon leaves it.
    Plain,
    /// Somebody removed the index.
    Lost,
    /// On a filesystem without hard links.
    Linkless,
}

/// `how`: of each call the n-th is so. With each call and each n that there is.
fn at_each_call(begin: &Begin, how: impl Fn(&str, usize) -> String, quiet: bool) {
    if !have_strace() {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("state");
    before(&dir);
    let mut good = files(&dir);
    if matches!(begin, Begin::Lost) {
        good.remove(Path::new("index.json"));
    }
    let links = matches!(begin, Begin::Linkless).then(|| "linkat:error=EPERM".to_owned());
    put_back(&dir, &good);
    let counts = count(&dir, "4 5");
    assert!(counts["renameat"] > 3 && counts["fsync"] > 3, "{counts:?}");
    assert_eq!(counts["fdatasync"], usize::from(!matches!(begin, Begin::Lost)), "a line in the log: {counts:?}");
    for (call, n) in counts.into_iter().flat_map(|(call, count)| (1..=count).map(move |n| (call, n))) {
        if links.is_some() && call == "linkat" {
            continue;
        }
        put_back(&dir, &good);
        let inject: Vec<String> = [how(call, n)].into_iter().chain(links.clone()).collect();
        let answers = live(&dir, &inject, "4 5");
        let troubles = judge(&dir, &answers, &inject.join(", "));
        assert!(!quiet || troubles.is_empty(), "{}: {troubles:?}", inject.join(", "));
        // Nor is it after the next daemon's first change.
        write_once(&dir, put(&[], 9));
        judge(&dir, &answers, &format!("{}, and a daemon later", inject.join(", ")));
    }
}

fn killed(call: &str, n: usize) -> String {
    format!("{call}:signal=KILL:when={n}")
}

fn fails_once(call: &str, n: usize) -> String {
    format!("{call}:error=EIO:when={n}")
}

fn fails_from_then_on(call: &str, n: usize) -> String {
    format!("{call}:error=EIO:when={n}+")
}

#[test]
fn killed_at_each_call() {
    at_each_call(&Begin::Plain, killed, true);
}

#[test]
fn killed_at_each_call_after_the_index_was_lost() {
    at_each_call(&Begin::Lost, killed, false);
}

#[test]
fn killed_at_each_call_without_hard_links() {
    at_each_call(&Begin::Linkless, killed, false);
}

#[test]
fn each_call_fails() {
    at_each_call(&Begin::Plain, fails_once, true);
}

#[test]
fn each_call_fails_after_the_index_was_lost() {
    at_each_call(&Begin::Lost, fails_once, false);
}

#[test]
fn each_call_fails_from_then_on() {
    at_each_call(&Begin::Plain, fails_from_then_on, true);
}

#[test]
fn each_call_fails_from_then_on_without_hard_links() {
    at_each_call(&Begin::Linkless, fails_from_then_on, false);
}

/// Killed at each rename, and the daemon after that, too.
#[test]
fn killed_twice() {
    if !have_strace() {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("state");
    before(&dir);
    let good = files(&dir);
    put_back(&dir, &good);
    for first in 1..=count(&dir, "4")["renameat"] {
        put_back(&dir, &good);
        let answers = live(&dir, &[killed("renameat", first)], "4");
        let between = files(&dir);
        put_back(&dir, &between);
        let counts = count(&dir, "5");
        for (call, second) in ["renameat", "unlinkat"].into_iter().flat_map(|c| (1..=counts[c]).map(move |n| (c, n))) {
            put_back(&dir, &between);
            let mut answers = answers.clone();
            answers.extend(live(&dir, &[killed(call, second)], "5"));
            let troubles = judge(&dir, &answers, &format!("killed at renameat {first}, then at {call} {second}"));
            assert!(troubles.is_empty(), "killed at renameat {first}, then at {call} {second}: {troubles:?}");
        }
    }
}

/// What is named is durable before it is named, and what is answered before it is answered: which fsyncs there are, and when.
#[test]
fn nothing_is_named_before_it_is_durable() {
    if !have_strace() {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let (dir, trace) = (temp.path().join("state"), temp.path().join("trace"));
    before(&dir);
    let answers = traced(&dir, &trace, &["fsync", "fdatasync", "pwrite64", "renameat"], &[], "4 5");
    assert_eq!(answers, BTreeMap::from([(4, true), (5, true)]));
    let text = fs::read_to_string(trace).unwrap();
    // `fsync(7</tmp/x/state/apps>) = 0`, `renameat(6</tmp/x/state>, "index.json.new", 6</tmp/x/state>, "index.json") = 0`
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("/state")).collect();
    let place = |what: &dyn Fn(&str) -> bool| lines.iter().position(|line| what(line));
    let synced = |file: &str, from: usize, to: usize| {
        let end = format!("{file}>)");
        lines[from..to].iter().any(|line| line.contains("sync(") && line.contains(&end))
    };
    let commit = place(&|line| line.contains("renameat(") && line.contains("\"index.json\"")).unwrap();
    let mut renamed = 0;
    for (at, line) in lines[..=commit].iter().enumerate().filter(|(_, line)| line.contains("renameat(")) {
        let new = line.split('"').nth(1).unwrap();
        let link = new == "index.json.previous.new";
        assert!(link || synced(&format!("/{new}"), 0, at), "{new} is renamed before it is durable:\n{text}");
        renamed += 1;
        let folder = line.split(['<', '>']).nth(1).unwrap();
        let to = if at == commit { lines.len() } else { commit };
        assert!(link || synced(folder, at, to), "{folder} is not durable after the rename of {new}:\n{text}");
    }
    assert!(renamed > 3, "{text}");
    let is_log = |line: &str| line.contains("/index-") && line.contains(".log");
    assert!(lines[..commit].iter().any(|line| line.contains("sync(") && is_log(line)), "{text}");
    let line = place(&|line| line.contains("pwrite64(") && is_log(line)).unwrap();
    assert!(line > commit && lines[line + 1].contains("fdatasync(") && is_log(lines[line + 1]), "{text}");
}

/// A line that is in the file and cannot be made durable, and a disk that takes no index in its place: then it must not be in the file.
#[test]
fn a_line_that_was_refused_is_cut_off_or_spoiled() {
    if !have_strace() {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("state");
    before(&dir);
    let good = files(&dir);
    let first = count(&dir, "4")["fsync"];
    for cannot_be_cut in [false, true] {
        put_back(&dir, &good);
        let mut inject = vec!["fdatasync:error=EIO".to_owned(), format!("fsync:error=EIO:when={}+", first + 1)];
        inject.extend(cannot_be_cut.then(|| "ftruncate:error=EIO".to_owned()));
        let answers = live(&dir, &inject, "4 5");
        assert_eq!(answers, BTreeMap::from([(4, true), (5, false)]), "{inject:?}");
        let troubles = judge(&dir, &answers, &inject.join(", "));
        assert_eq!(troubles.is_empty(), !cannot_be_cut, "{troubles:?}");
    }
}
