//! The faults: what befalls opm itself, one at a time, while clients give orders.
//!
//! Owns finding keeper and daemon by asking the kernel alone (the cgroup, and who is whose parent). It must not outlive a
//! storm with anything still broken: the disk is freed, whoever was stopped goes on.

use crate::chance::Chance;
use crate::rig::{cli, observe};
use crate::yard::Yard;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// One after the other, until the storm is over.
pub fn faults(yard: &Yard, mut chance: Chance) {
    let mut open = Vec::new();
    while yard.storming() {
        std::thread::sleep(chance.up_to(Duration::from_millis(500)));
        match chance.below(20) {
            0..=6 => kill(yard, false, "daemon killed"),
            7 | 8 => kill(yard, true, "keeper killed"),
            9 => kill_both(yard),
            10 => keep_apps(yard),
            11 | 12 => hold_up(yard, &mut chance),
            13 => fill_disk(yard, &mut chance),
            14 | 15 => garbage(yard, &mut chance, &mut open),
            16 | 17 => kill_apps(yard, &mut chance),
            _ if yard.can_upgrade => upgrade(yard),
            _ => kill(yard, false, "daemon killed"),
        }
        if chance.one_in(3) {
            yard.opm(&["ls", "--json"]);
        }
    }
}

/// Keeper and daemon, as far as they live.
pub struct Pair {
    pub keeper: Option<(u32, OwnedFd)>,
    pub daemon: Option<(u32, OwnedFd)>,
}

/// The keeper is whose child the other one is.
pub fn pair(yard: &Yard) -> Pair {
    let supervisor = yard.rig.cgroup.join("supervisor");
    let held: Vec<(u32, u32, OwnedFd)> = observe::procs(&supervisor)
        .into_iter()
        .filter_map(|pid| {
            let fd = pidfd_open(Pid::from_raw(pid.try_into().ok()?)?, PidfdFlags::empty()).ok()?;
            // Still listed, now that we hold it: so the number means the same process.
            observe::procs(&supervisor).contains(&pid).then_some(())?;
            Some((pid, parent(pid)?, fd))
        })
        .collect();
    let pids: Vec<u32> = held.iter().map(|(pid, ..)| *pid).collect();
    let mut pair = Pair { keeper: None, daemon: None };
    for (pid, parent, fd) in held {
        // A child between clone3 and its own cgroup is in here for a moment too, where clone3 cannot do it: not the daemon's
        // parent's, and not the daemon.
        if pids.contains(&parent) {
            pair.daemon.get_or_insert((pid, fd));
        } else {
            pair.keeper.get_or_insert((pid, fd));
        }
    }
    pair
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn end(yard: &Yard, held: &Option<(u32, OwnedFd)>) -> bool {
    yard.kills.fetch_add(1, Ordering::SeqCst);
    held.as_ref().is_some_and(|(_, fd)| pidfd_send_signal(fd, Signal::KILL).is_ok())
}

fn kill(yard: &Yard, keeper: bool, what: &str) {
    let pair = pair(yard);
    if keeper {
        yard.keeper_goes();
    }
    if end(yard, if keeper { &pair.keeper } else { &pair.daemon }) {
        yard.count(what);
        yard.tell(what);
        if let (true, Some((pid, daemon))) = (keeper, &pair.daemon)
            && !cli::readable(daemon, Duration::from_secs(20))
        {
            yard.complain(format!("daemon {pid} outlives its keeper"));
        }
    }
    if keeper {
        // What a daemon started with its last breath never had a keeper.
        yard.keeper_gone();
    }
}

fn kill_both(yard: &Yard) {
    let pair = pair(yard);
    yard.keeper_goes();
    if end(yard, &pair.daemon) | end(yard, &pair.keeper) {
        for (_, fd) in pair.keeper.iter().chain(&pair.daemon) {
            cli::readable(fd, Duration::from_secs(20));
        }
        yard.count("both killed");
        yard.tell("both killed");
    }
    yard.keeper_gone();
}

fn keep_apps(yard: &Yard) {
    yard.keeper_goes();
    let begun = Instant::now();
    yard.leaving.fetch_add(1, Ordering::SeqCst);
    let said = yard.opm(&["daemon", "stop", "--keep-apps"]);
    yard.leaving.fetch_add(1, Ordering::SeqCst);
    yard.keeper_gone();
    yard.count(&format!("keep-apps {}", said.code.unwrap_or(-1)));
    yard.tell(&format!("daemon stop --keep-apps took {:?}", begun.elapsed()));
    if !matches!(said.code, Some(0 | 3)) {
        yard.complain(format!("{said}"));
    }
}

/// The new binary is the same one: all the ways of an upgrade but a change.
fn upgrade(yard: &Yard) {
    yard.tell("upgrade");
    yard.kills.fetch_add(1, Ordering::SeqCst);
    let said = yard.opm(&["daemon", "reload"]);
    yard.count(&format!("upgrade {}", said.code.unwrap_or(-1)));
    if said.code != Some(0) {
        yard.complain(format!("{said}"));
    }
}

/// Stops the daemon or the keeper (as a debugger or a swapped-out machine does), and lets it go on, or not.
fn hold_up(yard: &Yard, chance: &mut Chance) {
    let pair = pair(yard);
    let who = if chance.one_in(3) { &pair.keeper } else { &pair.daemon };
    let Some((_, fd)) = who else { return };
    if pidfd_send_signal(fd, Signal::STOP).is_ok() {
        yard.tell("held up");
        yard.count("held up");
        std::thread::sleep(chance.up_to(Duration::from_millis(1200)));
        if chance.one_in(3) {
            end(yard, &pair.daemon);
        }
        let _ = pidfd_send_signal(fd, Signal::CONT);
    }
}

fn fill_disk(yard: &Yard, chance: &mut Chance) {
    let path = yard.rig.home.join("balloon");
    yard.disk.fetch_add(1, Ordering::SeqCst);
    yard.tell("disk full");
    yard.count("disk full");
    if let Ok(mut balloon) = fs::File::create(&path) {
        let zeros = vec![0_u8; 1 << 20];
        for size in [1 << 20, 4096, 1] {
            while balloon.write_all(&zeros[..size]).is_ok() {}
        }
    }
    for _ in 0..chance.below(4) {
        std::thread::sleep(chance.up_to(Duration::from_millis(400)));
        if chance.one_in(2) {
            kill(yard, false, "daemon killed on a full disk");
        }
    }
    let _ = fs::remove_file(&path);
    yard.tell("disk free");
    // Until what could not be saved has been: only then is a refusal a mistake again.
    yard.opm(&["save"]);
    yard.disk.fetch_add(1, Ordering::SeqCst);
}

/// Nonsense and half requests, some of them left hanging.
fn garbage(yard: &Yard, chance: &mut Chance, open: &mut Vec<UnixStream>) {
    const SAID: &[&[u8]] = &[
        b"\0\xff\xfe\x01garbage\r\n\r\n",
        b"GET",
        b"POST /v1/stop HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{\"sel",
        b"POST /v1/stop HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999\r\n\r\n",
        b"POST /v1/stop HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\n",
        b"POST /v1/restart HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 4\r\n\r\n[[[[",
        b"GET /v1/logs?select=all&follow=true HTTP/1.1\r\nhost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ];
    for _ in 0..1 + chance.below(20) {
        let Ok(mut stream) = UnixStream::connect(yard.rig.home.join("run/opm.sock")) else { break };
        let _ = stream.set_write_timeout(Some(Duration::from_secs(1)));
        let _ = stream.write_all(SAID[chance.below(SAID.len())]);
        if chance.one_in(2) {
            open.push(stream);
        }
    }
    open.truncate(30);
    yard.count("garbage");
}

/// Main processes and others of the apps die by a stranger's hand.
fn kill_apps(yard: &Yard, chance: &mut Chance) {
    for run in yard.rig.living() {
        let Some(app) = yard.apps.iter().find(|a| chance.one_in(8) && belongs(yard, &run, a)) else { continue };
        let Ok(mut known) = app.known.try_lock() else { continue };
        let pid = *chance.pick(&run.pids);
        let Some(fd) = Pid::from_raw(pid.cast_signed()).and_then(|p| pidfd_open(p, PidfdFlags::empty()).ok()) else {
            continue;
        };
        if observe::procs(&run.path).contains(&pid) {
            known.signalled = true;
            let _ = pidfd_send_signal(&fd, *chance.pick(&[Signal::KILL, Signal::KILL, Signal::TERM, Signal::ABORT]));
        }
    }
    yard.count("apps killed");
}

fn belongs(yard: &Yard, run: &observe::Run, app: &crate::yard::App) -> bool {
    run.pids.first().is_some_and(|pid| {
        crate::observer::variable(*pid, "OPM_CHAOS").is_some_and(|marker| marker == yard.marker(app))
    })
}
