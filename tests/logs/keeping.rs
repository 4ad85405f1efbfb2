//! What was set aside: packed without loss wherever it is killed, kept as long as the caps say, and given up for a full disk.

use opm::daemon::logs::index::Header;
use opm::daemon::logs::keeping::{Freed, KeepHandle, Known};
use opm::daemon::logs::pack::{self, Packed, Step};
use opm::daemon::logs::series::Series;
use opm::model::{AppId, ByteSize, Cap, LogCaps, LogCompress, LogMode, Span};
use std::fs::{self, File, FileTimes};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, SystemTime};

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

struct Keeping {
    handle: KeepHandle,
    said: Receiver<String>,
}

impl Keeping {
    fn of(logs: &Path) -> Self {
        let (tell, said) = channel();
        Self { handle: KeepHandle::new(logs.to_owned(), Box::new(move |text| tell.send(text).unwrap())), said }
    }

    fn know(&self, app: u32, name: &str, series: &[&Series], caps: LogCaps) {
        let series = series.iter().map(|series| (*series).clone()).collect();
        self.handle.know(AppId(app), Known { name: name.parse().unwrap(), series, caps });
    }

    fn rotated(&self, series: &Series) -> &Self {
        self.handle.rotated(series.clone());
        self
    }

    fn settle(&self) -> Vec<String> {
        let (tell, settled) = channel();
        self.handle.settled(Box::new(move || tell.send(()).unwrap()));
        settled.recv().unwrap();
        self.said.try_iter().collect()
    }

    fn make_room(&self, folder: &Path) -> Freed {
        let (tell, freed) = channel();
        self.handle.make_room(folder.to_owned(), Box::new(move |freed| tell.send(freed).unwrap()));
        freed.recv().unwrap()
    }

    /// The last thing that the thread does is to end; nothing can tell of that.
    fn falls_asleep(&self) {
        let end = std::time::Instant::now() + Duration::from_secs(20);
        while self.handle.is_awake() {
            assert!(std::time::Instant::now() < end, "the thread is still there");
            std::thread::yield_now();
        }
    }
}

fn log(dir: &Path, name: &str) -> Series {
    Series::own(dir, name)
}

fn ago(seconds: u64) -> SystemTime {
    SystemTime::now() - Duration::from_secs(seconds)
}

fn write(path: &Path, bytes: &[u8], modified: SystemTime) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
    File::open(path).unwrap().set_times(FileTimes::new().set_modified(modified)).unwrap();
}

/// A file that was set aside, and its index, as the worker leaves them.
fn set_aside(series: &Series, number: u64, bytes: &[u8], age: u64) {
    write(&series.folder().join(series.rotated(number, LogCompress::None)), bytes, ago(age));
    write_index(series, &series.rotated_index(number), number, 0);
}

fn write_index(series: &Series, name: &str, number: u64, max_age: u64) {
    let (mode, app) = (LogMode::Raw, "gone".to_owned());
    let header = Header { inode: 0, born: 0, number, max_age, mode, format: String::new(), app };
    write(&series.indices().join(name), &header.encode(), SystemTime::now());
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|n| n != "index")
        .collect();
    names.sort();
    names
}

/// The numbers of what is there of a log: packed ones negative. Each has its index, and nothing else has.
fn kept(series: &Series) -> Vec<i64> {
    let names = fs::read_dir(series.folder()).unwrap().map(|e| e.unwrap().file_name()).collect::<Vec<_>>();
    let parts = series.parts(&names);
    let indices: Vec<_> = parts.iter().map(|part| series.rotated_index(part.number)).collect();
    for index in fs::read_dir(series.indices()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()) {
        let ours = index.strip_prefix(&**series.key()).is_some_and(|rest| rest.starts_with('.') && rest != ".idx");
        assert!(!ours || indices.contains(&index), "{index} is the index of nothing");
    }
    parts.iter().map(|part| i64::try_from(part.number).unwrap() * if part.packed { -1 } else { 1 }).collect()
}

fn read(series: &Series, name: &std::ffi::OsStr) -> Vec<u8> {
    let mut bytes = Vec::new();
    pack::open(series.folder(), name).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

/// Neither all zeros nor all noise, and no two chunks of it alike.
fn lines(bytes: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes + 64);
    for n in 0_u64.. {
        if text.len() >= bytes {
            break;
        }
        text.extend_from_slice(format!("{n} {:x} GET /index.html\n", n.wrapping_mul(0x9E37_79B9_7F4A_7C15)).as_bytes());
    }
    text
}

const FREE: LogCaps =
    LogCaps { size: Cap::None, age: Cap::None, keep: Cap::None, total: Cap::None, compress: LogCompress::None };

#[test]
fn what_is_packed_has_the_same_bytes_time_and_permissions() {
    let dir = tempfile::tempdir().unwrap();
    for how in [LogCompress::Zstd, LogCompress::Gzip] {
        for bytes in [lines(3 << 20), Vec::new(), vec![255, 0, 10]] {
            let series = log(dir.path(), "web-0-out.log");
            set_aside(&series, 7, &bytes, HOUR);
            let from = dir.path().join("web-0-out.log.000007");
            fs::set_permissions(&from, fs::Permissions::from_mode(0o640)).unwrap();
            let before = fs::metadata(&from).unwrap();
            let keeping = Keeping::of(dir.path());
            keeping.know(0, "web", &[&series], LogCaps { compress: how, ..FREE });
            assert_eq!(keeping.rotated(&series).settle(), [""; 0]);
            let packed = series.rotated(7, how);
            assert_eq!(names(dir.path()), [packed.to_str().unwrap()]);
            let after = fs::metadata(dir.path().join(&packed)).unwrap();
            assert_eq!((after.mtime(), after.mtime_nsec()), (before.mtime(), before.mtime_nsec()));
            assert_eq!(after.mode(), before.mode());
            assert!(bytes.len() < 1000 || after.len() < before.len() / 2);
            assert_eq!(read(&series, &packed), bytes);
            // Neither a torn nor a damaged one is read as if it were whole.
            let path = dir.path().join(&packed);
            let whole = fs::read(&path).unwrap();
            fs::write(&path, &whole[..whole.len() - 1]).unwrap();
            let torn = pack::open(dir.path(), &packed).unwrap().read_to_end(&mut Vec::new());
            assert_eq!(torn.unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
            fs::remove_file(&path).unwrap();
        }
    }
}

#[test]
fn only_the_end_that_packing_gives_is_unpacked() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["app.zst", "app.gz", "app.0001.gz", "web.log.000001"] {
        fs::write(dir.path().join(name), "plain\n").unwrap();
        assert_eq!(read(&log(dir.path(), "x"), name.as_ref()), b"plain\n", "{name}");
    }
    assert!(pack::open(dir.path(), "nope.000001".as_ref()).err().unwrap().is_missing());
    std::os::unix::fs::symlink("app.gz", dir.path().join("web.log.000002")).unwrap();
    assert!(pack::open(dir.path(), "web.log.000002".as_ref()).err().unwrap().to_string().ends_with("it is a symlink"));
}

const STEPS: [Step; 6] = [Step::Begin, Step::Copy, Step::Sync, Step::Name, Step::SyncName, Step::Remove];

#[test]
fn killed_at_any_step_nothing_is_lost_and_what_is_left_is_cleared() {
    let bytes = lines(1 << 20);
    for (at, step) in STEPS.iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let series = log(dir.path(), "web-0-out.log");
        set_aside(&series, 1, &bytes, HOUR);
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "keeping::as_who_is_killed", "--ignored"])
            .env("OPM_TEST_LOGS", dir.path())
            .env("OPM_TEST_STEP", at.to_string())
            .output()
            .unwrap();
        assert!(!child.status.success(), "{step:?}");
        let left = names(dir.path());
        let original = dir.path().join("web-0-out.log.000001");
        assert_eq!(fs::read(&original).unwrap(), bytes, "{step:?}: {left:?}");
        if matches!(step, Step::SyncName | Step::Remove) {
            assert_eq!(left, ["web-0-out.log.000001", "web-0-out.log.000001.zst"], "{step:?}");
        } else if *step != Step::Begin {
            assert_eq!(left, ["web-0-out.log.000001", "web-0-out.log.000001.zst.new"], "{step:?}");
        }
        let keeping = Keeping::of(dir.path());
        keeping.know(0, "web", &[&series], FREE);
        keeping.handle.sweep();
        assert_eq!(keeping.settle(), [""; 0]);
        assert_eq!(names(dir.path()), ["web-0-out.log.000001"], "{step:?}");
        // A change of the caps is an occasion to look.
        keeping.know(0, "web", &[&series], LogCaps { compress: LogCompress::Zstd, ..FREE });
        assert_eq!(keeping.settle(), [""; 0]);
        assert_eq!(names(dir.path()), ["web-0-out.log.000001.zst"], "{step:?}");
        assert_eq!(read(&series, "web-0-out.log.000001.zst".as_ref()), bytes);
    }
}

#[test]
#[ignore = "run by the test above, and killed"]
fn as_who_is_killed() {
    let dir = std::env::var_os("OPM_TEST_LOGS").unwrap();
    let at = STEPS[std::env::var("OPM_TEST_STEP").unwrap().parse::<usize>().unwrap()];
    let mut copies = 0;
    let mut go_on = |step| {
        copies += u32::from(step == Step::Copy);
        if step == at && copies != 1 {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        }
        true
    };
    let (from, to) = ("web-0-out.log.000001".as_ref(), "web-0-out.log.000001.zst".as_ref());
    pack::pack(Path::new(&dir), from, to, LogCompress::Zstd, &mut go_on).unwrap();
}

#[test]
fn packing_that_is_asked_to_stop_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let series = log(dir.path(), "web-0-out.log");
    set_aside(&series, 1, &lines(1 << 20), HOUR);
    for step in [Step::Begin, Step::Copy, Step::Sync] {
        let (from, to) = (series.rotated(1, LogCompress::None), series.rotated(1, LogCompress::Gzip));
        let outcome = pack::pack(dir.path(), &from, &to, LogCompress::Gzip, &mut |at| at != step);
        assert_eq!(outcome, Ok(Packed::Stopped));
        assert_eq!(names(dir.path()), ["web-0-out.log.000001"]);
    }
}

#[test]
fn a_file_that_still_grows_is_not_packed() {
    let dir = tempfile::tempdir().unwrap();
    let series = log(dir.path(), "web-0-out.log");
    set_aside(&series, 1, &lines(1 << 20), HOUR);
    let from = dir.path().join("web-0-out.log.000001");
    for grow_at in [Step::Copy, Step::Sync] {
        let to = series.rotated(1, LogCompress::Zstd);
        let outcome = pack::pack(dir.path(), from.file_name().unwrap(), &to, LogCompress::Zstd, &mut |at| {
            if at == grow_at {
                let mut file = File::options().append(true).open(&from).unwrap();
                std::io::Write::write_all(&mut file, b"late\n").unwrap();
            }
            true
        });
        outcome.unwrap_err();
        assert_eq!(names(dir.path()), ["web-0-out.log.000001"]);
    }
}

#[test]
fn a_file_that_is_removed_while_it_is_packed_does_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let series = log(dir.path(), "web-0-out.log");
    for remove_at in [Step::Copy, Step::Sync, Step::Name] {
        set_aside(&series, 1, &lines(1 << 20), HOUR);
        let (from, to) = (series.rotated(1, LogCompress::None), series.rotated(1, LogCompress::Zstd));
        let outcome = pack::pack(dir.path(), &from, &to, LogCompress::Zstd, &mut |at| {
            if at == remove_at {
                let _ = fs::remove_file(dir.path().join(&from));
            }
            true
        });
        assert_eq!((outcome, names(dir.path())), (Ok(Packed::Done), vec![]));
    }
}

#[test]
fn each_log_keeps_its_number_and_neighbours_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (out, err) = (log(dir.path(), "web-0-out.log"), log(dir.path(), "web-0-err.log"));
    for number in 1..=5 {
        set_aside(&out, number, b"out\n", 6 - number);
        set_aside(&err, number, b"err\n", 6 - number);
    }
    let strange =
        ["web-0-out.log", "web-0-out.log.1", "web-0-out.log.2.gz", "web-0-out.log.00000x", "web-0-out.log.000001.bak"];
    for name in strange {
        write(&dir.path().join(name), b"strange\n", ago(99 * DAY));
    }
    let keeping = Keeping::of(dir.path());
    keeping.know(0, "web", &[&out, &err], LogCaps { keep: Cap::At(2), compress: LogCompress::Zstd, ..FREE });
    assert_eq!(keeping.rotated(&out).settle(), [""; 0]);
    assert_eq!((kept(&out), kept(&err)), (vec![-4, -5], vec![-4, -5]));
    keeping.know(0, "web", &[&out, &err], LogCaps { keep: Cap::At(0), ..FREE });
    assert_eq!(keeping.settle(), [""; 0]);
    assert_eq!((kept(&out), kept(&err)), (vec![], vec![]));
    let mut left = strange.map(str::to_owned);
    left.sort();
    assert_eq!(names(dir.path()), left);
}

#[test]
fn the_total_is_of_all_logs_of_an_app_and_spares_what_is_being_written() {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let out = log(dir.path(), "web-0-out.log");
    let err = Series::of_the_user(dir.path(), &elsewhere.path().join("my err.log")).unwrap();
    let other = log(dir.path(), "api-0-out.log");
    for number in 1..=3 {
        set_aside(&out, number, &[b'o'; 100], 100 - number);
        set_aside(&err, number, &[b'e'; 100], 200 - number);
        set_aside(&other, number, &[b'x'; 100], 900);
    }
    fs::write(out.path(), [b'c'; 150]).unwrap();
    let keeping = Keeping::of(dir.path());
    let caps = |most| LogCaps { total: Cap::At(ByteSize(most)), ..FREE };
    keeping.know(0, "web", &[&out, &err], caps(500));
    keeping.know(1, "api", &[&other], FREE);
    keeping.rotated(&out).settle();
    assert_eq!((kept(&out), kept(&err)), (vec![1, 2, 3], vec![]));
    keeping.know(0, "web", &[&out, &err], caps(10));
    keeping.settle();
    assert_eq!((kept(&out), kept(&other)), (vec![], vec![1, 2, 3]));
    assert_eq!(fs::read(out.path()).unwrap().len(), 150);
}

#[test]
fn there_is_a_thread_only_while_there_is_something_to_do_or_to_wait_for() {
    let dir = tempfile::tempdir().unwrap();
    let (quiet, web) = (log(dir.path(), "quiet-0-out.log"), log(dir.path(), "web-0-out.log"));
    let keeping = Keeping::of(dir.path());
    keeping.know(0, "quiet", &[&quiet], LogCaps::default());
    keeping.know(1, "web", &[&web], LogCaps::default());
    assert!(!keeping.handle.is_awake(), "nothing was ever set aside");
    // One is about to be too old, and nothing but time passes.
    let age = |d: Duration| LogCaps { age: Cap::At(Span(d)), ..FREE };
    set_aside(&web, 1, b"old\n", 10);
    keeping.know(1, "web", &[&web], age(Duration::from_millis(10_300)));
    keeping.settle();
    keeping.falls_asleep();
    assert_eq!(kept(&web), [0; 0]);
    set_aside(&web, 2, b"young\n", 0);
    keeping.rotated(&web).settle();
    assert!(keeping.handle.is_awake(), "for it is due some day");
    assert_eq!(kept(&web), [2]);
    keeping.know(1, "web", &[&web], FREE);
    keeping.settle();
    keeping.falls_asleep();
}

#[test]
fn logs_of_apps_that_are_gone_stay_until_they_are_too_old() {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let named = |name: &str| log(dir.path(), name);
    let (old, young, forever, web) = (named("old.log"), named("young.log"), named("forever.log"), named("web.log"));
    let foreign = Series::of_the_user(dir.path(), &elsewhere.path().join("mine.log")).unwrap();
    for (series, max_age) in [(&old, DAY), (&young, DAY), (&forever, 0), (&web, DAY), (&foreign, DAY)] {
        write_index(series, &series.index(), 3, max_age * 1000);
        for number in [1, 2] {
            set_aside(series, number, b"aside\n", 3 * DAY);
            write_index(series, &series.rotated_index(number), number, max_age * 1000);
        }
        write(&series.path(), b"current\n", ago(if *series == young { HOUR } else { 2 * DAY }));
    }
    // Who has no index was not made by this opm.
    write(&dir.path().join("stranger.log"), b"x\n", ago(999 * DAY));
    // Left by a crash between the removal of a file and of its index.
    write_index(&web, &web.rotated_index(9), 9, 0);
    let keeping = Keeping::of(dir.path());
    keeping.know(0, "web", &[&web], FREE);
    keeping.handle.sweep();
    assert_eq!(keeping.settle(), [""; 0]);
    assert_eq!((kept(&web), kept(&young), kept(&forever)), (vec![1, 2], vec![], vec![1, 2]));
    let left = ["forever.log", "forever.log.000001", "forever.log.000002", "stranger.log", "web.log", "web.log.000001"];
    assert_eq!(names(dir.path())[..6], left);
    assert_eq!(names(dir.path())[6..], ["web.log.000002", "young.log"]);
    assert_eq!(names(elsewhere.path()), ["mine.log"], "a file in a place of the user's own stays");
    assert!(!old.indices().join(old.index()).exists());
    assert!(young.indices().join(young.index()).exists());
    // Deleted while the daemon lives, and known again in time.
    keeping.know(0, "web", &[&web], LogCaps { age: Cap::At(Span::millis(4 * DAY * 1000)), ..FREE });
    keeping.handle.forget(AppId(0));
    keeping.settle();
    assert_eq!(kept(&web), [1, 2]);
    keeping.know(7, "web", &[&web], LogCaps { age: Cap::At(Span::millis(DAY * 1000)), ..FREE });
    keeping.settle();
    assert_eq!(kept(&web), [0; 0]);
    assert!(web.path().exists());
    let known = Known {
        name: "web".parse().unwrap(),
        series: vec![young.clone()],
        caps: LogCaps { age: Cap::At(Span::millis(DAY * 1000)), ..FREE },
    };
    keeping.handle.know_some(AppId(7), known);
    keeping.settle();
    assert!(web.path().exists(), "who did not name it may not know it");
    keeping.know(7, "web", &[], LogCaps { age: Cap::At(Span::millis(DAY * 1000)), ..FREE });
    keeping.settle();
    assert!(!web.path().exists(), "the app has this log no more");
}

#[test]
fn what_cannot_be_packed_stays_and_that_is_said_once() {
    let dir = tempfile::tempdir().unwrap();
    let web = log(dir.path(), "web.log");
    // Something in the way that opm will not remove.
    fs::create_dir(dir.path().join("web.log.000002.zst.new")).unwrap();
    (1..=3).for_each(|number| set_aside(&web, number, b"line\n", 10 - number));
    let keeping = Keeping::of(dir.path());
    keeping.know(0, "web", &[&web], LogCaps { compress: LogCompress::Zstd, ..FREE });
    let said = keeping.rotated(&web).settle();
    assert!(
        said.iter().any(|text| text.contains("web.log.000002.zst.new") && text.contains("it stays as it is")),
        "{said:?}"
    );
    assert_eq!(kept(&web), [-1, 2, -3], "the others do not wait for it");
    fs::remove_dir(dir.path().join("web.log.000002.zst.new")).unwrap();
    keeping.settle();
    assert_eq!(kept(&web), [-1, 2, -3], "nothing spins");
    set_aside(&web, 4, b"line\n", 0);
    assert_eq!(keeping.rotated(&web).settle(), [""; 0]);
    assert_eq!(kept(&web), [-1, -2, -3, -4]);
}

#[test]
fn clearing_takes_all_that_was_set_aside_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (out, err) = (log(dir.path(), "web-0-out.log"), log(dir.path(), "web-0-err.log"));
    (1..=3).for_each(|number| set_aside(&out, number, &lines(1 << 20), 9));
    set_aside(&err, 1, b"x\n", 9);
    fs::write(out.path(), "current\n").unwrap();
    let keeping = Keeping::of(dir.path());
    keeping.know(0, "web", &[&out, &err], LogCaps::default());
    keeping.rotated(&out);
    let (tell, freed) = channel();
    keeping.handle.clear(vec![out.clone()], Box::new(move |freed| tell.send(freed).unwrap()));
    assert_eq!(freed.recv().unwrap().files, 3);
    keeping.settle();
    assert_eq!(kept(&out), [0; 0], "nothing that was being packed comes back");
    assert_eq!(kept(&err), [-1]);
    assert!(out.path().exists());
}

/// A full disk, really: a tiny tmpfs in namespaces of the test's own. Where those are not to be had, nothing is tried.
#[test]
fn for_a_full_disk_the_oldest_of_all_go() {
    let dir = tempfile::tempdir().unwrap();
    let script = format!(
        "mount -t tmpfs -o size=8m,mode=700 none {0} && OPM_TEST_TINY={0} exec {1} --exact keeping::on_a_tiny_disk --ignored",
        dir.path().display(),
        std::env::current_exe().unwrap().display()
    );
    let can = std::process::Command::new("unshare").args(["-Urm", "true"]).status();
    if can.is_ok_and(|s| s.success()) {
        assert!(std::process::Command::new("unshare").args(["-Urm", "sh", "-c", &script]).status().unwrap().success());
    }
}

#[test]
#[ignore = "run by the test above, in a namespace with a tiny disk"]
fn on_a_tiny_disk() {
    let dir = std::env::var_os("OPM_TEST_TINY").unwrap();
    let dir = Path::new(&dir);
    let elsewhere = tempfile::tempdir().unwrap();
    let (web, api) = (log(dir, "web.log"), log(dir, "api.log"));
    let far = Series::of_the_user(dir, &elsewhere.path().join("far.log")).unwrap();
    let keeping = Keeping::of(dir);
    keeping.know(0, "web", &[&web], LogCaps { compress: LogCompress::Zstd, ..FREE });
    keeping.know(1, "api", &[&api, &far], LogCaps { compress: LogCompress::Zstd, ..FREE });
    for number in 1..=3 {
        set_aside(&web, number, &vec![b'w'; 256 << 10], 100 - 10 * number);
        set_aside(&api, number, &vec![b'a'; 256 << 10], 105 - 10 * number);
        set_aside(&far, number, b"elsewhere\n", 999);
    }
    fs::write(web.path(), vec![0; 9 << 20]).unwrap_err();
    let full = || {
        fs::OpenOptions::new().append(true).open(web.path()).and_then(|mut f| std::io::Write::write_all(&mut f, b"x"))
    };
    full().unwrap_err();
    // A twentieth of 8 MiB are 410 KiB: two files.
    let freed = keeping.make_room(dir);
    assert_eq!(freed, Freed { files: 2, bytes: 512 << 10 });
    assert_eq!((kept(&api), kept(&web), kept(&far)), (vec![2, 3], vec![2, 3], vec![1, 2, 3]));
    assert_eq!(keeping.settle(), ["dropped 2 rotated log files of api and web (512 KiB): the disk is full"]);
    full().unwrap();
    // Full again, and a rotation: packing needs room too, and the floor is kept first. It is said once.
    fs::write(dir.join("filler"), vec![0; 1 << 20]).unwrap_err();
    let said = keeping.rotated(&web).settle();
    assert_eq!(said, ["dropped 2 rotated log files of api and web (512 KiB): less than 409 KiB of the disk are free"]);
    assert_eq!((kept(&api), kept(&web)), (vec![3], vec![-3]));
    set_aside(&web, 4, b"", 0);
    fs::write(dir.join("filler2"), vec![0; 1 << 20]).unwrap_err();
    assert_eq!(keeping.rotated(&web).settle(), [""; 0], "the spell is not over");
    assert_eq!(kept(&api), [0; 0]);
    // In the end there is nothing more to give.
    while keeping.make_room(dir).files > 0 {}
    assert_eq!((kept(&api), kept(&web)), (vec![], vec![]));
    assert_eq!(kept(&far), [1, 2, 3], "what lies on another disk would not help");
    assert!(web.path().exists());
    // A disk so full that not even a packed file fits, and nothing may go: it stays as it is.
    fs::remove_file(dir.join("filler")).unwrap();
    set_aside(&web, 5, &lines(64 << 10), 0);
    fs::write(dir.join("filler3"), vec![0; 9 << 20]).unwrap_err();
    let (from, to) = (web.rotated(5, LogCompress::None), web.rotated(5, LogCompress::Zstd));
    let outcome = pack::pack(dir, &from, &to, LogCompress::Zstd, &mut |_| true);
    assert!(outcome.unwrap_err().to_string().to_lowercase().contains("no space left"));
    assert_eq!(kept(&web), [5]);
    assert!(!dir.join("web.log.000005.zst.new").exists());
}
