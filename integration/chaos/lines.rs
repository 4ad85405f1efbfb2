//! Numbered lines at full speed, while daemons are killed and upgraded: none missing, none doubled, none torn.
//!
//! What a reader would get wrong: only the daemon is killed here, never the keeper. The pipes stay with the keeper, and the
//! bytes go from pipe to file in one kernel step, so that a SIGKILL falls on neither side of a line.

use crate::chance::{Chance, option};
use crate::faults::pair;
use crate::rig::{cli, wait};
use crate::yard::Yard;
use rustix::process::{Signal, pidfd_send_signal};
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
            let log = yard.rig.log(&name, 0, "out");
            log.len() > whole && log.ends_with(format!(" {}\n", each - 1).as_bytes())
        });
        total += count(&name, &yard.rig.log(&name, 0, "out"), each);
    }
    yard.tell(&format!("{total} lines, each exactly once"));
    assert_eq!(total, writers * each);
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
