//! A keeper outlives the daemons it starts, and upgrades: what each released one says is understood today, and the other way
//! round.

use crate::{VERSIONS, golden, json};
use opm::keeper::protocol::passed::Passed;
use opm::keeper::protocol::{Reload, ToDaemon, ToKeeper};
use opm::kernel::clone::{Ended, Wait};
use serde_json::Value;
use std::time::Duration;

fn bytes(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().unwrap().as_bytes();
    hex.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn the_words_between_keeper_and_daemon_stay_what_they_were() {
    for version in VERSIONS {
        let golden = json(&golden(version).join("keeper.json"));
        for (name, message) in [
            ("hold 7", ToKeeper::Hold(7)),
            ("drop 7", ToKeeper::Drop(7)),
            ("main 7 4242", ToKeeper::Main(7, 4242)),
            ("ack 7", ToKeeper::Ack(7)),
            ("ready", ToKeeper::Ready),
            ("failed no room", ToKeeper::Failed("no room".into())),
            ("bye keeping apps", ToKeeper::Bye(true)),
            ("reload", ToKeeper::Reload(Reload { key: "k".into(), from: "0.1.0".into(), failure: String::new() })),
            ("renew 1", ToKeeper::Renew(1)),
            ("alive", ToKeeper::Alive),
        ] {
            let golden = bytes(&golden["to_keeper"][name]);
            assert_eq!(message.encode(), golden, "{version}: an older keeper hears '{name}'");
            assert_eq!(ToKeeper::decode(&golden), Some(message), "{version}: an older daemon says '{name}'");
        }
        let (user, system) = (Duration::from_micros(5), Duration::from_micros(6));
        let ended = Ended { pid: 4242, wait: Wait::Code(3), user, system, max_rss: 4096 };
        for (name, message) in [
            ("held 7", ToDaemon::Held(7)),
            ("exit 7: process 4242, code 3, 5 and 6 us, 4096 bytes", ToDaemon::Exit(7, ended)),
            ("end", ToDaemon::End),
            ("ping", ToDaemon::Ping),
            (
                "reloaded",
                ToDaemon::Reloaded(Reload { key: "k".into(), from: "0.1.0".into(), failure: "no room".into() }),
            ),
            ("before", ToDaemon::Before("killed".into())),
        ] {
            let golden = bytes(&golden["to_daemon"][name]);
            assert_eq!(message.encode(), golden, "{version}: '{name}'");
            assert_eq!(ToDaemon::decode(&golden), Some(message), "{version}: an older keeper says '{name}'");
        }
        let passed = Passed::decode(golden["passed"].as_str().unwrap().as_ref()).expect("understood");
        assert_eq!(passed.understood(), Ok(()), "{version}: a keeper that is still running may start today's daemon");
        assert_eq!(u64::from(passed.version), golden["version"].as_u64().unwrap());
        assert_eq!((passed.control, passed.listener, passed.lock, passed.keeper_pid), (3, 4, 5, 4242));
        assert_eq!((passed.keeper_start, passed.soft_descriptors), (987_654_321, 1024));
        assert_eq!(passed.program.to_str(), Some("/opt/my tools/opm"));
    }
}
