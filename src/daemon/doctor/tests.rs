//! Facts in, lines out.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::api::Verdict;
use crate::kernel::probe::{Offer, Seen, Trial};

fn healthy() -> Facts {
    let all: Vec<String> = CONTROLLERS.iter().map(|name| (*name).to_owned()).collect();
    let root = PathBuf::from("/sys/fs/cgroup/system.slice/opm.service");
    let seen = Seen {
        uid: 0,
        gid: 0,
        mode: 0o700,
        folder: true,
        socket: false,
        free: 20 << 30,
        size: 40 << 30,
        free_inodes: Some(1_000_000),
        splice: None,
    };
    let file = Seen { mode: 0o600, folder: false, ..seen.clone() };
    let place = |path: &str, seen: &Seen| Place { path: path.into(), seen: Ok(Some(seen.clone())) };
    Facts {
        kernel: KernelFacts {
            release: "6.18.2".to_owned(),
            clone_into_cgroup: Trial::Works,
            pidfd: Trial::Works,
            pidfd_wait: Trial::Works,
            pidfd_signal: Trial::Works,
            pidfd_inode: true,
            pidfd_exit: true,
            splice: Trial::Works,
            tee: Trial::Works,
            pressure: true,
        },
        tree: TreeFacts {
            mount: Ok("/sys/fs/cgroup".into()),
            read_only: false,
            hybrid: false,
            kernel: all.clone(),
            place: root.clone(),
            offer: Offer { controllers: all.clone(), kill: true, freeze: true, events: true, peak: Some(true) },
        },
        limits: LimitFacts {
            descriptors: Some(524_288),
            processes: None,
            root: true,
            inotify_watches: Some(524_288),
            inotify_instances: Some(512),
            pipe_pages: Some(16_384),
            clock: 1_795_000_000,
        },
        places: vec![
            ("state", place("/var/lib/opm", &seen)),
            ("logs", place("/var/log/opm", &Seen { splice: Some(Trial::Works), ..seen.clone() })),
            ("runtime", place("/run/opm", &seen)),
            ("socket", place("/run/opm/opm.sock", &Seen { socket: true, ..file.clone() })),
            ("config", Place { path: "/etc/opm/config.toml".into(), seen: Ok(None) }),
        ],
        settings: Ok(Settings::default()),
        uid: 0,
        owner: 0,
        systemd: true,
        replaced: false,
        inside: Some(Inside {
            root,
            clones: true,
            enabled: all,
            refused: vec![],
            instances: 12,
            troubles: vec![],
            program: "/usr/bin/opm".into(),
        }),
    }
}

/// What is not as it should be, by id.
fn wrong(facts: &Facts) -> Vec<Check> {
    judge(facts).into_iter().filter(|check| check.verdict != Verdict::Ok).collect()
}

/// The one thing that is not as it should be.
#[track_caller]
fn only(facts: &Facts, id: &str, verdict: Verdict) -> Check {
    let mut wrong = wrong(facts);
    assert_eq!(wrong.iter().map(|c| (&*c.id, c.verdict)).collect::<Vec<_>>(), [(id, verdict)], "{wrong:?}");
    let check = wrong.remove(0);
    assert!(check.lost.is_some() && check.mend.is_some(), "says what is lost and how to mend it: {check:?}");
    check
}

fn with(change: impl FnOnce(&mut Facts)) -> Facts {
    let mut facts = healthy();
    change(&mut facts);
    facts
}

fn inside(change: impl FnOnce(&mut Inside)) -> Facts {
    with(|facts| change(facts.inside.as_mut().unwrap()))
}

fn place(name: &str, change: impl FnOnce(&mut Seen)) -> Facts {
    with(|facts| {
        let (_, place) = facts.places.iter_mut().find(|(n, _)| *n == name).unwrap();
        change(place.seen.as_mut().unwrap().as_mut().unwrap());
    })
}

#[test]
fn a_healthy_machine_is_all_ok() {
    let facts = healthy();
    assert_eq!(wrong(&facts), []);
    let mut ids: Vec<String> = judge(&facts).into_iter().map(|check| check.id).collect();
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), all, "one line for each");
}

#[test]
fn old_kernels_lose_what_they_lack_and_no_more() {
    let old = |release: &str| with(|f| f.kernel.release = release.to_owned());
    assert_eq!(wrong(&old("5.14.0-427.el9.x86_64")), []);
    only(&old("5.10.0-28-amd64"), "kernel.version", Verdict::Bad);
    assert_eq!(wrong(&old("strange")), []);
    let exit = only(&with(|f| f.kernel.pidfd_exit = false), "kernel.pidfd_exit", Verdict::Note);
    assert!(exit.mend.unwrap().contains("6.15"));
    only(&with(|f| f.kernel.pidfd_inode = false), "kernel.pidfd_inode", Verdict::Note);
    only(&with(|f| f.kernel.pressure = false), "kernel.pressure", Verdict::Note);
    let lacks = |why: &str| Trial::Fails(why.to_owned());
    only(&with(|f| f.kernel.pidfd = lacks("function not implemented")), "kernel.pidfd", Verdict::Bad);
    only(&with(|f| f.kernel.clone_into_cgroup = lacks("killed")), "kernel.clone_into_cgroup", Verdict::Note);
    let refused = Trial::Refused("permission denied".to_owned());
    assert_eq!(wrong(&with(|f| f.kernel.clone_into_cgroup = refused)), [], "in a session's cgroup");
    only(&with(|f| f.tree.offer.kill = false), "cgroup.kill", Verdict::Bad);
    only(&with(|f| f.tree.offer.freeze = false), "cgroup.freeze", Verdict::Note);
    only(&with(|f| f.tree.offer.peak = Some(false)), "cgroup.memory_peak", Verdict::Note);
}

#[test]
fn the_tree_is_there_and_can_be_written() {
    let gone = with(|f| f.tree.mount = Err("no cgroup2 file system is mounted".to_owned()));
    only(&gone, "cgroup.mount", Verdict::Bad);
    let read_only = only(&with(|f| f.tree.read_only = true), "cgroup.mount", Verdict::Bad);
    assert!(read_only.mend.unwrap().contains("container"));
    assert_eq!(wrong(&with(|f| f.tree.hybrid = true)), [], "what is lost by it, the controllers' lines tell");
    only(&inside(|i| i.root = "/sys/fs/cgroup/opm".into()), "cgroup.subtree", Verdict::Note);
}

#[test]
fn a_controller_that_is_missing_is_told_with_who_keeps_it() {
    let lack = |facts: &mut Facts, kernel: bool, offered: bool| {
        facts.inside.as_mut().unwrap().enabled.retain(|name| name != "io");
        facts.tree.offer.controllers.retain(|name| offered || name != "io");
        facts.tree.kernel.retain(|name| kernel || name != "io");
    };
    let user = with(|f| {
        lack(f, true, false);
        (f.uid, f.places) = (1000, vec![]);
    });
    let check = only(&user, "cgroup.controller.io", Verdict::Note);
    assert!(check.mend.unwrap().contains("user@.service.d/delegate.conf"));
    let root = only(&with(|f| lack(f, true, false)), "cgroup.controller.io", Verdict::Note);
    assert!(root.mend.unwrap().contains("Delegate=yes"));
    let kernel = only(&with(|f| lack(f, false, false)), "cgroup.controller.io", Verdict::Note);
    assert!(kernel.found.contains("kernel"), "{kernel:?}");
    let refused = with(|f| {
        lack(f, true, true);
        f.inside.as_mut().unwrap().refused = vec![("io".to_owned(), "busy".to_owned())];
    });
    assert_eq!(only(&refused, "cgroup.controller.io", Verdict::Note).found, "busy");
    let bare = with(|f| {
        lack(f, true, false);
        f.systemd = false;
    });
    assert!(only(&bare, "cgroup.controller.io", Verdict::Note).mend.unwrap().starts_with("echo +io > /sys/fs/cgroup/"));
}

#[test]
fn limits_are_held_against_the_number_of_instances() {
    // Three for each, 256 for everything else, and two for each log that is held open: a sixteenth of all of them, at most 512.
    let full = with(|f| f.limits.descriptors = Some(256 + 2 * 32 + 3 * 11));
    only(&full, "limits.descriptors", Verdict::Bad);
    let tight = with(|f| f.limits.descriptors = Some(256 + 2 * 73 + 3 * 257));
    assert_eq!(wrong(&tight), [], "room for 257");
    only(&with(|f| f.limits.descriptors = Some(512)), "limits.descriptors", Verdict::Note);
    only(&with(|f| f.limits.inotify_watches = Some(1024)), "limits.inotify", Verdict::Note);
    only(&with(|f| f.limits.clock = 5), "machine.clock", Verdict::Bad);
    let user = |f: &mut Facts| (f.uid, f.places, f.limits.root) = (1000, vec![], false);
    let few = with(|f| {
        user(f);
        f.limits.processes = Some(100);
    });
    only(&few, "limits.processes", Verdict::Note);
    let many = with(|f| {
        user(f);
        f.inside.as_mut().unwrap().instances = 600;
    });
    assert!(only(&many, "limits.pipes", Verdict::Note).mend.unwrap().contains("fs.pipe-user-pages-soft=38400"));
}

#[test]
fn places_are_ours_and_nobody_else_writes_there() {
    only(&place("state", |s| s.uid = 1000), "places.state", Verdict::Bad);
    only(&place("state", |s| s.mode = 0o770), "places.state", Verdict::Bad);
    only(&place("state", |s| s.mode = 0o702), "places.state", Verdict::Bad);
    only(&place("logs", |s| s.mode = 0o755), "places.logs", Verdict::Note);
    assert_eq!(wrong(&place("logs", |s| s.mode = 0o750)), [], "an administrators' group may read logs");
    only(&place("socket", |s| s.mode = 0o666), "places.socket", Verdict::Bad);
    let shared = place("socket", |s| (s.mode, s.gid) = (0o660, 999));
    only(&shared, "places.socket", Verdict::Bad);
    let settings = Settings { socket_group: Some("opm".to_owned()) };
    assert_eq!(wrong(&Facts { settings: Ok(settings), ..shared }), [], "so the configuration has it");
    let config = |mode: u32| {
        with(|f| {
            let seen = f.places[3].1.seen.clone().unwrap().unwrap();
            f.places[4].1.seen = Ok(Some(Seen { mode, socket: false, ..seen }));
        })
    };
    assert_eq!(wrong(&config(0o644)), []);
    only(&config(0o664), "places.config", Verdict::Bad);
    let mistaken = with(|f| f.settings = Err(Mistake::new("config.toml: not TOML")));
    only(&mistaken, "places.config.content", Verdict::Bad);
    let hidden = with(|f| f.places[0].1.seen = Err("permission denied".to_owned()));
    only(&hidden, "places.state", Verdict::Bad);
}

/// A mend that has a plain user own root's state would be the end of both.
#[test]
fn who_asks_about_roots_opm_is_not_told_to_own_it() {
    let asked = with(|f| {
        f.uid = 1000;
        f.places[3].1.seen = Err("permission denied".to_owned());
    });
    let check = only(&asked, "places.socket", Verdict::Note);
    assert_eq!(check.mend.as_deref(), Some("ask as root (sudo)"));
    assert!(judge(&asked).iter().all(|check| !check.mend.as_deref().unwrap_or_default().contains("1000")));
    let own = with(|f| (f.uid, f.owner) = (1000, 1000));
    assert!(wrong(&own).iter().any(|check| check.id == "places.state"), "a user's own opm is that user's");
}

#[test]
fn room_is_told_before_it_is_gone() {
    only(&place("state", |s| s.free = 1 << 20), "places.state.room", Verdict::Bad);
    only(&place("state", |s| s.free_inodes = Some(0)), "places.state.room", Verdict::Bad);
    only(&place("logs", |s| s.free = 300 << 20), "places.logs.room", Verdict::Note);
    assert_eq!(wrong(&place("logs", |s| (s.free, s.size) = (300 << 20, 1 << 30))), [], "a small disk");
    assert_eq!(wrong(&place("logs", |s| s.free_inodes = None)), [], "btrfs");
    only(
        &place("logs", |s| s.splice = Some(Trial::Fails("invalid argument".to_owned()))),
        "places.logs.splice",
        Verdict::Note,
    );
}

#[test]
fn the_daemon_tells_its_troubles_and_what_was_installed_since() {
    only(&inside(|i| i.troubles = vec!["failed to write".to_owned()]), "daemon.troubles", Verdict::Bad);
    let replaced = only(&with(|f| f.replaced = true), "daemon.program", Verdict::Note);
    assert_eq!(replaced.mend.as_deref(), Some("opm daemon reload"));
}

#[test]
fn bytes_are_written_as_people_write_them() {
    assert_eq!(
        (bytes(12), bytes(1536), bytes(300 << 20)),
        ("12 B".to_owned(), "1.5 KiB".to_owned(), "300 MiB".to_owned())
    );
}

/// Nothing of the machine is left out, and nothing panics, whatever it is.
#[test]
fn this_machine_can_be_examined() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let paths = Paths { state: at("s"), logs: at("l"), runtime: at("r"), config: at("c"), home: None, system: false };
    let found = examine(&paths);
    assert_eq!(found.pid, None);
    assert!(found.checks.iter().any(|check| check.id == "kernel.version"));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "looking makes nothing");
}
