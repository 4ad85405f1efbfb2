//! The spool: whatever is killed whenever, each byte comes out once, at the place where it was put.

use opm::daemon::logs::frame::{self, LINE_MOST};
use opm::daemon::logs::index::Lane;
use opm::daemon::logs::spool::Spool;
use opm::kernel::pump::Moved;
use opm::model::AppId;
use proptest::prelude::*;
use rustix::fd::OwnedFd;
use rustix::pipe::{PipeFlags, pipe_with};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

const LANE: Lane = Lane { app: AppId(3), instance: 0, err: false };

fn pipe() -> (OwnedFd, File) {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    rustix::io::ioctl_fionbio(&read, true).unwrap();
    (read, File::from(write))
}

/// Puts bytes in, by way of a pipe.
fn put(spool: &mut Spool, bytes: &[u8]) {
    let (read, mut write) = pipe();
    for chunk in bytes.chunks(4096) {
        write.write_all(chunk).unwrap();
        assert_eq!(spool.fill(&read, 1 << 20), Ok(Moved::Bytes(chunk.len())));
    }
}

fn held(spool: &Spool, from: u64) -> Vec<u8> {
    let mut out = Vec::new();
    spool.read(from, usize::MAX, &mut out).unwrap();
    out
}

/// Bytes of which each eight say where they stand.
fn numbers(from: u64, to: u64) -> Vec<u8> {
    let mut bytes: Vec<u8> = (from / 8..to.div_ceil(8)).flat_map(u64::to_le_bytes).collect();
    bytes.truncate(usize::try_from(to - from / 8 * 8).unwrap());
    bytes.drain(..usize::try_from(from % 8).unwrap());
    bytes
}

fn sizes(folder: &Path) -> Vec<(String, u64)> {
    let one = |e: fs::DirEntry| (e.file_name().into_string().unwrap(), e.metadata().unwrap().len());
    let mut all: Vec<_> = fs::read_dir(folder).unwrap().map(|e| one(e.unwrap())).collect();
    all.sort();
    all
}

#[test]
fn what_was_put_in_is_there_again_at_its_place_until_it_is_settled() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("spool");
    let mut spool = Spool::open(&folder, LANE, 1000).unwrap();
    put(&mut spool, b"one\ntwo\n");
    assert_eq!((spool.begin(), spool.end()), (1000, 1008));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&folder.join("3.0.out.a"))), (0o700, 0o600));
    drop(spool);
    let mut spool = Spool::open(&folder, LANE, 1004).unwrap();
    assert_eq!(held(&spool, 1004), b"two\n");
    assert_eq!((held(&spool, 999), held(&spool, 1008)), (vec![], vec![]), "places that it does not hold");
    let mut part = b"so far: ".to_vec();
    spool.read(1000, 2, &mut part).unwrap();
    assert_eq!(part, b"so far: on");
    spool.settle(1008);
    assert_eq!(held(&spool, 1004), b"two\n", "not worth a flip");
    put(&mut spool, &numbers(1008, 20_000));
    spool.settle(19_999);
    assert_eq!(spool.begin(), 1000, "little is copied for less");
    spool.settle(20_000);
    assert_eq!((spool.begin(), spool.end()), (20_000, 20_000));
    let names = ["3.0.out.a", "3.0.out.at", "3.0.out.b"].map(str::to_owned);
    assert_eq!(sizes(&folder), names.into_iter().zip([0, 32, 0]).collect::<Vec<_>>());
    spool.remove().unwrap();
    assert_eq!(sizes(&folder), []);
}

#[test]
fn places_only_grow_whatever_became_of_the_folder() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("spool");
    let mut spool = Spool::open(&folder, LANE, 0).unwrap();
    put(&mut spool, b"0123456789");
    drop(spool);
    let spool = Spool::open(&folder, LANE, 12).unwrap();
    assert_eq!((spool.begin(), spool.end()), (12, 12), "it was an older one");
    drop(spool);
    fs::write(folder.join("3.0.out.at"), b"torn").unwrap();
    fs::write(folder.join("3.0.out.a"), b"whatever").unwrap();
    let spool = Spool::open(&folder, LANE, 50).unwrap();
    assert_eq!((spool.begin(), spool.end()), (50, 50));
    drop(spool);
    let mut state = fs::read(folder.join("3.0.out.at")).unwrap();
    state[31] ^= 1;
    fs::write(folder.join("3.0.out.at"), state).unwrap();
    fs::write(folder.join("3.0.out.a"), b"of a boot before").unwrap();
    let spool = Spool::open(&folder, LANE, 60).unwrap();
    assert_eq!((spool.begin(), spool.end()), (60, 60));
}

#[test]
fn a_place_can_be_noted_by_who_has_no_index() {
    let home = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(home.path(), LANE, 0).unwrap();
    assert_eq!(spool.noted(), 0);
    put(&mut spool, &[b'x'; 40_000]);
    spool.note(39_000).unwrap();
    spool.settle(39_000);
    drop(spool);
    let mut spool = Spool::open(home.path(), LANE, 0).unwrap();
    assert_eq!((spool.noted(), spool.begin(), spool.end()), (39_000, 0, 40_000));
    spool.settle(40_000);
    assert_eq!(spool.noted(), 40_000);
}

#[test]
fn a_spool_is_there_until_it_is_forgotten_and_none_is_no_error() {
    let home = tempfile::tempdir().unwrap();
    let other = Lane { app: AppId(70), instance: 12, err: true };
    let there = || [LANE, other].map(|lane| Spool::exists(home.path(), lane));
    Spool::forget(&home.path().join("none"), LANE).unwrap();
    assert_eq!(there(), [false, false]);
    drop((Spool::open(home.path(), LANE, 0), Spool::open(home.path(), other, 0)));
    assert_eq!(there(), [true, true]);
    Spool::forget(home.path(), other).unwrap();
    assert_eq!(there(), [true, false]);
}

/// What a daemon leaves that is killed within a flip: before the state is written, and before the old file is emptied.
#[test]
fn a_flip_that_is_cut_short_anywhere_has_happened_or_has_not() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path();
    let file = |end: &str| folder.join(format!("3.0.out.{end}"));
    let bytes = numbers(0, 1_200_000);
    let mut spool = Spool::open(folder, LANE, 0).unwrap();
    put(&mut spool, &bytes);
    let before = fs::read(file("at")).unwrap();
    spool.settle(700_000);
    assert_eq!(spool.begin(), 700_000);
    drop(spool);
    let (after, copied) = (fs::read(file("at")).unwrap(), fs::read(file("b")).unwrap());
    assert_eq!(copied.len(), 500_000);
    for (state, begin, copied) in [
        (&before, 0, &copied[..0]),
        (&before, 0, &copied[..300_000]),
        (&before, 0, &copied[..]),
        (&after, 700_000, &copied[..]),
    ] {
        fs::write(file("at"), state).unwrap();
        fs::write(file("a"), &bytes).unwrap();
        fs::write(file("b"), copied).unwrap();
        let mut spool = Spool::open(folder, LANE, 650_000).unwrap();
        assert_eq!((spool.begin(), spool.end()), (begin, 1_200_000));
        assert!(held(&spool, 700_000) == bytes[700_000..]);
        put(&mut spool, b"more");
        spool.settle(1_000_000);
        assert!(held(&spool, 1_000_000) == [&bytes[1_000_000..], b"more"].concat());
        spool.settle(1_200_004);
        assert_eq!((spool.begin(), sizes(folder)[0].1 + sizes(folder)[2].1), (1_200_004, 0));
    }
}

#[derive(Debug, Clone)]
enum Step {
    Put(usize),
    Settle(u64),
    Reopen,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn what_is_not_settled_is_always_there(steps in prop::collection::vec(prop_oneof![
        (1_usize..400_000).prop_map(Step::Put),
        (0_u64..900_000).prop_map(Step::Settle),
        Just(Step::Reopen),
    ], 1..16), start in 0_u64..1 << 40) {
        let home = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(home.path(), LANE, start).unwrap();
        let (mut end, mut done) = (start, start);
        for step in steps {
            match step {
                Step::Put(n) => {
                    put(&mut spool, &numbers(end, end + n as u64));
                    end += n as u64;
                }
                Step::Settle(n) => {
                    done = (done + n).min(end);
                    spool.settle(done);
                    let most = (1 << 20).max(2 * (end - done));
                    prop_assert!(end - spool.begin() <= most, "more is kept than must be");
                }
                Step::Reopen => {
                    drop(spool);
                    spool = Spool::open(home.path(), LANE, done).unwrap();
                }
            }
            prop_assert_eq!(spool.end(), end);
            prop_assert!(spool.begin() <= done);
            prop_assert!(held(&spool, done) == numbers(done, end));
        }
    }
}

#[test]
fn numbered_lines_are_exact_although_who_makes_them_is_killed_again_and_again() {
    let home = tempfile::tempdir().unwrap();
    let ((out, mut writer), made) = (pipe(), home.path().join("made"));
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let writing = std::thread::spawn(move || {
        let (mut n, mut text) = (0_u64, Vec::new());
        while stopped.try_recv().is_err() {
            // Lines in pieces that are none of theirs.
            while text.len() < 3001 {
                writeln!(text, "line {n} of an app that outlives its daemons").unwrap();
                n += 1;
            }
            writer.write_all(&text.drain(..3001).collect::<Vec<u8>>()).unwrap();
        }
        writer.write_all(&text).unwrap();
        n
    });
    let size = || fs::metadata(&made).map_or(0, |m| m.len());
    let daemon = |life: u64| {
        std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "spool::as_a_daemon", "--ignored"])
            .env("OPM_TEST_HOME", home.path())
            .env("OPM_TEST_LAZY", if life % 3 == 2 { "1500000" } else { "0" })
            .stdin(out.try_clone().unwrap())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap()
    };
    for life in 0..30 {
        let (before, mut child) = (size(), daemon(life));
        // Killed in the middle of its work, which shows in the file.
        while size() < before + 100_000 + life * 77_777 % 1_000_000 {
            assert_eq!(child.try_wait().unwrap(), None, "it gave up by itself");
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    stop.send(()).unwrap();
    let mut last = daemon(0);
    let lines = writing.join().unwrap();
    assert!(last.wait().unwrap().success());
    let text = fs::read_to_string(&made).unwrap();
    for (n, line) in text.lines().enumerate() {
        assert_eq!(line, format!("> line {n} of an app that outlives its daemons"));
    }
    assert_eq!(text.lines().count() as u64, lines);
}

/// A daemon in small: lines from the spool into a file, each with a mark before it.
#[test]
#[ignore = "run and killed by the test above"]
fn as_a_daemon() {
    let home = std::env::var_os("OPM_TEST_HOME").map(std::path::PathBuf::from).unwrap();
    let lazy: u64 = std::env::var("OPM_TEST_LAZY").unwrap().parse().unwrap();
    let open =
        |name: &str| File::options().create(true).truncate(false).read(true).write(true).open(home.join(name)).unwrap();
    let (made, commits, pipe) = (open("made"), open("commits"), std::io::stdin());
    let mut commit = [0; 32];
    let _ = commits.read_exact_at(&mut commit, 0);
    let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| commit[at + i]));
    let (mut source, mut target) = (number(0), number(8));
    made.set_len(target).unwrap();
    let mut spool = Spool::open(&home.join("spool"), LANE, source).unwrap();
    assert!(source >= spool.begin(), "what was not made yet is gone");
    let mut over = false;
    while !over || source < spool.end() {
        match spool.fill(&pipe, 100_000).unwrap() {
            Moved::Bytes(_) if spool.end() - source < lazy => continue,
            Moved::Bytes(_) => {}
            Moved::End => over = true,
            Moved::Nothing => {
                let mut waits = [rustix::event::PollFd::new(&pipe, rustix::event::PollFlags::IN)];
                rustix::event::poll(&mut waits, None).unwrap();
                continue;
            }
            Moved::NotSpliceable => unreachable!("tests run where splices are taken"),
        }
        let (mut bytes, mut lines, mut at) = (Vec::new(), Vec::new(), 0);
        // Some is left each time, so that it is carried over by the flips.
        let most = if lazy > 0 && !over { 1_200_000 } else { usize::MAX };
        spool.read(source, most, &mut bytes).unwrap();
        while let Some(frame) = frame::next(&bytes[at..], LINE_MOST, over) {
            lines.extend_from_slice(b"> ");
            lines.extend_from_slice(frame.text);
            lines.push(b'\n');
            at += frame.taken;
        }
        made.write_all_at(&lines, target).unwrap();
        (source, target) = (source + at as u64, target + lines.len() as u64);
        commit[..8].copy_from_slice(&source.to_le_bytes());
        commit[8..16].copy_from_slice(&target.to_le_bytes());
        commits.write_all_at(&commit, 0).unwrap();
        spool.settle(source);
    }
}
