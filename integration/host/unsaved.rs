//! Stops that did not get to the disk: it refused, or the daemon died first. Within the boot they hold all the same, since the run's
//! mark and its exit record say that it was ordered; and what was not ordered comes back.

use crate::rig::{Rig, wait};

/// A disk that reads and refuses to save: where the new index is written first, there is a folder. And the log of changes is not the
/// one that the daemon knows, so that it does not go on with it.
fn refuse(rig: &Rig) {
    let state = rig.home.join("state");
    std::fs::create_dir(state.join("index.json.new")).unwrap();
    for log in logs(rig) {
        std::fs::copy(&log, state.join("copy")).unwrap();
        std::fs::rename(state.join("copy"), log).unwrap();
    }
}

fn logs(rig: &Rig) -> Vec<std::path::PathBuf> {
    let all = std::fs::read_dir(rig.home.join("state")).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.extension().is_some_and(|e| e == "log")).collect()
}

fn accept(rig: &Rig) {
    std::fs::remove_dir(rig.home.join("state/index.json.new")).unwrap();
}

fn saved_as_down(rig: &Rig) -> bool {
    let mut files = logs(rig);
    files.push(rig.home.join("state/index.json"));
    files.iter().any(|file| std::fs::read_to_string(file).unwrap().contains("\"down\""))
}

/// The order is sent by a client that dies, so that nobody sends it again.
#[track_caller]
fn order_and_forget(rig: &Rig, args: &[&str], happened: impl FnMut() -> bool) {
    let mut client = rig.command().args(args).stderr(std::process::Stdio::null()).spawn().unwrap();
    wait::until(&format!("{args:?} to begin"), happened);
    client.kill().unwrap();
    client.wait().unwrap();
}

#[test]
fn a_stop_that_the_disk_refused_is_not_undone_by_a_daemon_death() {
    let rig = Rig::new();
    rig.start("web", &[], &["append:up:x", "pause"]);
    rig.await_lines("up", 1);
    refuse(&rig);
    rig.ok(&["stop", "web"]).says(&["stopped web", "not saved"]);
    for both in [false, true] {
        if both {
            rig.kill_pair();
            rig.ok(&["daemon", "start"]);
        } else {
            rig.kill_daemon();
        }
        let row = rig.row("web");
        assert_eq!((&row["state"], &row["desired"]), (&"stopped".into(), &"down".into()), "{row:#}");
        assert!(!saved_as_down(&rig), "the disk still refuses");
    }
    rig.opm(&["start", "web"]).code(1).says(&["could not be saved"]);
    assert_eq!(rig.lines("up").len(), 1, "nothing was run again");
    accept(&rig);
    wait::until("it is saved", || saved_as_down(&rig));
    // An order that comes later stands, whatever the record of the last run says.
    rig.ok(&["start", "web"]);
    rig.await_lines("up", 2);
    rig.kill_daemon();
    assert_eq!((&rig.row("web")["state"], rig.lines("up").len()), (&"online".into(), 2));
}

#[test]
fn a_stop_cut_off_before_it_was_saved_is_finished_and_stays() {
    let rig = Rig::new();
    let ops = ["trapnote:15:asked", "append:up:x", "pause"];
    rig.start("slow", &["--stop-timeout", "1s"], &ops);
    rig.start("gone", &["--stop-timeout", "1s"], &ops);
    rig.await_lines("up", 2);
    refuse(&rig);
    let asked = |count: usize| rig.lines("asked").len() >= count;
    order_and_forget(&rig, &["stop", "slow"], || asked(1));
    order_and_forget(&rig, &["delete", "gone"], || asked(2));
    rig.kill_daemon();
    for name in ["slow", "gone"] {
        assert_eq!(rig.await_state(name, "stopped")["desired"], "down", "{name}");
    }
    assert_eq!(rig.lines("up").len(), 2, "neither was run again");
    accept(&rig);
    rig.ok(&["delete", "gone"]);
    assert_eq!(rig.rows().len(), 1);
}

/// The end of the daemon is no order to want anything down, however it is cut off.
#[test]
fn a_shutdown_cut_off_brings_everything_back() {
    let rig = Rig::new();
    rig.start("web", &["--stop-timeout", "1s"], &["trapnote:15:asked", "append:up:x", "pause"]);
    rig.await_lines("up", 1);
    let daemon = crate::rig::observe::Grip::on(rig.daemon_pid(), &rig.cgroup);
    order_and_forget(&rig, &["kill"], || !rig.lines("asked").is_empty());
    daemon.kill();
    rig.await_lines("up", 2);
    assert_eq!(rig.await_state("web", "online")["desired"], "up");
    wait::until("the old run's cgroup is removed", || rig.runs().len() == 1);
    rig.ok(&["kill"]);
    rig.ok(&["daemon", "start"]);
    rig.await_lines("up", 3);
}

/// A mark of the version before has a deadline and says nothing about why: it is read.
#[test]
fn a_stop_mark_of_the_version_before_is_read() {
    use opm::kernel::mark;
    let rig = Rig::new();
    rig.start("web", &[], &["pause"]);
    let run = std::fs::File::open(&rig.runs()[0].path).unwrap();
    assert_eq!(mark::read_stop(&run), None);
    rustix::fs::fsetxattr(&run, "user.opm.stop", b"1234", rustix::fs::XattrFlags::empty()).unwrap();
    assert_eq!(mark::read_stop(&run), Some((1234, None)));
    mark::write_stop(&run, 99, Some(7)).unwrap();
    assert_eq!(mark::read_stop(&run), Some((99, Some(7))));
}
