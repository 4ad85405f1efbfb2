//! Numbered lines at full speed, while daemons are killed and upgraded: none missing, none doubled, none torn.
//!
//! What a reader would get wrong: only the daemon is killed here, never the keeper. The pipes stay with the keeper, and the
//! bytes go from pipe to file in one kernel step, so that a SIGKILL falls on neither side of a line.

use crate::chance::{Chance, option};
use crate::faults::pair;
use crate::rig::{cli, wait};
use crate::yard::Yard;
use opm::daemon::logs::pack;
use opm::daemon::logs::series::Series;
use opm::model::LogCompress;
use rustix::process::{Signal, pidfd_send_signal};
use std::ffi::OsStr;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

/// `OPM_CHAOS_WRITERS` apps at `OPM_CHAOS_RATE` lines a second, `OPM_CHAOS_KILLS` daemon deaths and `OPM_CHAOS_UPGRADES`.
pub fn numbered_lines(seed: u64) {
    let (writers, rate) = (option("OPM_CHAOS_WRITERS", 20), option("OPM_CHAOS_RATE", 10_000));
    let (kills, upgrades) = (option("OPM_CHAOS_KILLS", 50), option("OPM_CHAOS_UPGRADES", 20));
    let mut chance = Chance::new(seed);
    let yard = Yard::without_small_disk(seed);
    let upgrades = if yard.can_upgrade { upgrades } else { 0 };
    // Long enough for all of it: each death is waited for, and some time is left between them.
    let seconds = (kills + upgrades) / 4 + 3;
    let each = rate * seconds;
    let apps = (0..writers)
        .map(|n| {
            serde_json::json!({
                "name": format!("w{n}"), "script": yard.program, "args": ["lines", rate.to_string(), each.to_string()],
                "env": {"CHAOS_ACCOUNT": yard.account},
                // Set aside and packed all the time; every third is made of what a spool holds.
                "log_mode": if n % 3 == 0 { "json" } else { "raw" },
                "log_max_size": "256K", "log_keep": "none", "log_total": "none",
            })
        })
        .collect::<Vec<_>>();
    let file = yard.rig.write("writers.json", &serde_json::json!({ "apps": apps }).to_string());
    yard.rig.ok(&["start", &file]);
    let begun = Instant::now();
    let mut left = (kills, upgrades);
    while left != (0, 0) {
        let upgrade = chance.below((left.0 + left.1) as usize) >= left.0 as usize;
        if upgrade {
            cli::run(yard.command().args(["daemon", "reload"])).ok();
            left.1 -= 1;
        } else if let Some((_, daemon)) = pair(&yard).daemon {
            pidfd_send_signal(&daemon, Signal::KILL).unwrap();
            cli::readable(&daemon, Duration::from_secs(10));
            left.0 -= 1;
        }
        // Some die while they are still coming up, some after they have served.
        if chance.one_in(2) {
            yard.rig.ok(&["ping"]);
        }
        std::thread::sleep(chance.up_to(Duration::from_millis(300)));
    }
    yard.tell(&format!("{kills} kills and {upgrades} upgrades in {:?}", begun.elapsed()));
    let done = |n: u64| std::fs::read_to_string(&yard.account).is_ok_and(|t| t.matches("wrote").count() as u64 >= n);
    wait::until_or("all to have written", Duration::from_secs(600), || done(writers), || yard.rig.rows());
    yard.tell(&format!("all written after {:?}", begun.elapsed()));
    let mut total = 0;
    for n in 0..writers {
        let name = format!("w{n}");
        let whole = each.to_string().len();
        wait::until(&format!("the last line of {name}"), || {
            let log = String::from_utf8_lossy(&yard.rig.log(&name, 0, "out")).into_owned();
            let last = log.lines().last().unwrap_or_default().trim_end_matches("\"}");
            log.len() > whole && log.ends_with('\n') && last.ends_with(&format!(" {}", each - 1))
        });
        total += count(&name, &written(&yard.rig.home.join("logs"), &name), each);
    }
    yard.tell(&format!("{total} lines, each exactly once"));
    assert_eq!(total, writers * each);
}

/// What an app wrote: out of all of its files, packed or not, and without what was put around its lines.
fn written(logs: &Path, name: &str) -> Vec<u8> {
    let series = Series::own(logs, &format!("{name}-0-out.log"));
    let read = |name: &OsStr| {
        let mut bytes = Vec::new();
        pack::open(logs, name).map(|mut file| file.read_to_end(&mut bytes).unwrap()).map(|_| bytes)
    };
    let mut all = Vec::new();
    let names: Vec<_> = std::fs::read_dir(logs).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    for part in series.parts(&names) {
        // It may have been packed since it was listed.
        let packed = series.rotated(part.number, LogCompress::Zstd);
        all.extend(read(&part.name).or_else(|_| read(&packed)).unwrap());
    }
    all.extend(read(series.name()).unwrap());
    if !all.starts_with(b"{") {
        return all;
    }
    let text = String::from_utf8(all).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines.flat_map(|record| format!("{}\n", record["line"].as_str().unwrap()).into_bytes()).collect()
}

/// How many lines there are: each number once, in order, by one and the same process.
fn count(name: &str, log: &[u8], each: u64) -> u64 {
    let text = std::str::from_utf8(log).unwrap_or_else(|e| panic!("{name}: {e}"));
    let mut writer = None;
    for (line, due) in text.lines().zip(0..) {
        let words: Vec<&str> = line.split(' ').collect();
        let ["L", pid, number] = words[..] else { panic!("{name}: torn line {due}: {line:?}") };
        assert_eq!(number.parse(), Ok(due), "{name}: line {due} is {line:?}");
        assert_eq!(*writer.get_or_insert(pid), pid, "{name}: another writer at line {due}");
    }
    let all = text.lines().count() as u64;
    assert_eq!(all, each, "{name}");
    all
}
