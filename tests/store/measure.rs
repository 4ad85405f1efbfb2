//! How long durability takes here. Not a test: run it with `--ignored --nocapture measure`.

use crate::support::{Running, app, env, load, put};
use opm::daemon::store::StoreEvent;
use opm::model::WriteId;
use std::time::Instant;

#[test]
#[ignore = "prints figures, proves nothing"]
#[expect(clippy::print_stdout, reason = "that is what it is for")]
fn measure() {
    // Not the temporary folder, which may be in memory.
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let store = Running::start(dir.path());
    let mut times: Vec<_> = (0..100)
        .map(|n| {
            let one = app(&format!("one{n}"), &env(&n.to_string()));
            let begin = Instant::now();
            assert_eq!(store.write(put(&[(n, &one)], n + 1)), StoreEvent::Persisted(WriteId(0)));
            begin.elapsed()
        })
        .collect();
    times.sort();
    println!("a new app, durable: median {:?}, worst {:?}", times[50], times[99]);
    let shared = env("shared");
    let apps: Vec<_> = (0..1000).map(|n| app(&format!("many{n}"), &shared)).collect();
    let all: Vec<_> = (1000..).zip(&apps).collect();
    let begin = Instant::now();
    assert_eq!(store.write(put(&all, 2000)), StoreEvent::Persisted(WriteId(0)));
    println!("1,000 new apps in one change, durable: {:?}", begin.elapsed());
    let begin = Instant::now();
    assert_eq!(store.write(put(&all, 2000)), StoreEvent::Persisted(WriteId(0)));
    println!("up or down of 1,000 apps, durable: {:?}", begin.elapsed());
    store.end();
    let begin = Instant::now();
    assert_eq!(load(dir.path()).apps.len(), 1100);
    println!("reading 1,100 apps: {:?}", begin.elapsed());
}
