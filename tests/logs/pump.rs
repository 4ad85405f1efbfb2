//! The pump: every byte once, whoever dies, however full the disk is, however noisy the neighbour.

use crate::rig::{App, Pump, pipe, small, whole};
use opm::daemon::logs::follow::Filter;
use opm::daemon::logs::pump::PumpEvent;
use opm::model::{AppSpec, ByteSize, Cap, LogDrop};
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;

#[test]
fn both_streams_reach_their_own_files_which_are_made_by_the_first_byte() {
    let home = tempfile::tempdir().unwrap();
    let pump = Pump::start(home.path());
    let mut app = pump.app(1, "web");
    pump.flush();
    assert!(!pump.logs.exists(), "nothing was said, nothing is made");
    app.out.write_all(b"hello\n").unwrap();
    app.err.write_all(b"\xff\0half a line").unwrap();
    pump.flush();
    assert_eq!(pump.text("web-0-out.log"), "hello\n");
    assert_eq!(fs::read(pump.logs.join("web-0-err.log")).unwrap(), b"\xff\0half a line");
    app.out.write_all(b"last words\n").unwrap();
    pump.finish(1);
    assert_eq!(pump.text("web-0-out.log"), "hello\nlast words\n");
    assert!(app.out.write_all(b"x").is_err(), "the pump has let go of the pipe");
    pump.end();
}

#[test]
fn what_the_next_run_of_an_instance_says_does_not_wait_for_the_end_of_the_one_before() {
    let home = tempfile::tempdir().unwrap();
    let pump = Pump::start(home.path());
    let (mut old, mut new) = (pump.app(1, "web"), pump.app(2, "web"));
    old.out.write_all(b"old\n").unwrap();
    pump.flush();
    new.out.write_all(b"new\n").unwrap();
    pump.flush();
    old.out.write_all(b"old again\n").unwrap();
    pump.flush();
    assert_eq!(pump.text("web-0-out.log"), "old\nnew\nold again\n");
    pump.end();
}

#[test]
fn a_stream_that_ends_without_a_word_makes_no_file_and_no_busy_loop() {
    let home = tempfile::tempdir().unwrap();
    let pump = Pump::start(home.path());
    drop(pump.app(1, "quiet"));
    let mut app = pump.app(2, "last");
    app.out.write_all(b"end").unwrap();
    drop(app);
    pump.flush();
    pump.finish(1);
    pump.finish(2);
    assert!(!pump.logs.join("quiet-0-out.log").exists());
    assert_eq!(pump.text("last-0-out.log"), "end");
    pump.end();
}

#[test]
fn numbered_lines_are_exact_across_pumps_that_come_and_go() {
    const LINES: u64 = 200_000;
    let home = tempfile::tempdir().unwrap();
    let ((out, mut writer), (err, _err)) = (pipe(), pipe());
    let writing = std::thread::spawn(move || {
        for n in 0..LINES {
            writeln!(writer, "line {n} of an app that outlives its daemons").unwrap();
        }
    });
    // As the keeper does: the pipes are held elsewhere, each pump gets copies.
    let mut lives = 0;
    while !writing.is_finished() {
        let pump = Pump::start(home.path());
        pump.add_as(1, pump.plan("web", small), [out.try_clone().unwrap(), err.try_clone().unwrap()]);
        pump.flush();
        pump.end();
        lives += 1;
    }
    writing.join().unwrap();
    let pump = Pump::start(home.path());
    pump.add_as(1, pump.plan("web", small), [out, err]);
    pump.finish(1);
    let text = pump.whole("web-0-out.log");
    assert!(lives > 1, "one pump saw it all");
    assert_eq!(text.lines().count() as u64, LINES);
    for (n, line) in text.lines().enumerate() {
        assert_eq!(line, format!("line {n} of an app that outlives its daemons"));
    }
    pump.end();
}

#[test]
fn numbered_lines_are_exact_although_the_daemon_is_killed_again_and_again() {
    let home = tempfile::tempdir().unwrap();
    let (out, mut writer) = pipe();
    let (stop, stopped) = channel::<()>();
    let writing = std::thread::spawn(move || {
        let mut n = 0_u64;
        while stopped.try_recv().is_err() {
            writeln!(writer, "line {n} of an app that outlives its daemons").unwrap();
            n += 1;
        }
        n
    });
    let logs = home.path().join("logs");
    let size = || if logs.exists() { whole(&logs, "web-0-out.log").len() } else { 0 };
    for _ in 0..30 {
        let before = size();
        let mut daemon = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "pump::as_a_daemon", "--ignored"])
            .env("OPM_TEST_HOME", home.path())
            .stdin(out.try_clone().unwrap())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // Killed in the middle of its work, which shows in the file.
        while size() < before + 300_000 {
            std::thread::yield_now();
        }
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }
    stop.send(()).unwrap();
    let pump = Pump::start(home.path());
    let ((err, _err), kept) = (pipe(), out.try_clone().unwrap());
    pump.add_as(1, pump.plan("web", small), [kept, err]);
    let lines = writing.join().unwrap();
    pump.finish(1);
    let text = pump.whole("web-0-out.log");
    assert_eq!(text.lines().count() as u64, lines);
    for (n, line) in text.lines().enumerate() {
        assert_eq!(line, format!("line {n} of an app that outlives its daemons"));
    }
    pump.end();
}

#[test]
#[ignore = "run and killed by the test above"]
fn as_a_daemon() {
    let pump = Pump::start(Path::new(&std::env::var_os("OPM_TEST_HOME").unwrap()));
    let out = rustix::io::dup(std::io::stdin()).unwrap();
    let (err, _err) = pipe();
    pump.add_as(1, pump.plan("web", small), [out, err]);
    loop {
        std::thread::park();
    }
}

#[test]
fn a_hundred_apps_with_few_open_files_keep_their_lines_apart() {
    let home = tempfile::tempdir().unwrap();
    let pump = Pump::start(home.path());
    let mut apps: Vec<App> = (0..100).map(|n| pump.app(n, &format!("a{n}"))).collect();
    for round in 0..5 {
        for (n, app) in apps.iter_mut().enumerate() {
            writeln!(app.out, "{n} {round}").unwrap();
        }
        pump.flush();
    }
    for n in 0..100 {
        let expected: String = (0..5).map(|round| format!("{n} {round}\n")).collect();
        assert_eq!(pump.text(&format!("a{n}-0-out.log")), expected);
    }
    pump.end();
}

#[test]
fn an_emptied_file_is_filled_from_its_start_and_a_removed_or_renamed_one_is_made_again() {
    let home = tempfile::tempdir().unwrap();
    let pump = Pump::start(home.path());
    let mut app = pump.app(1, "web");
    let path = pump.logs.join("web-0-out.log");
    let mut say = |text: &str| {
        app.out.write_all(text.as_bytes()).unwrap();
        pump.flush();
    };
    say("one\n");
    File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
    say("two\n");
    assert_eq!(pump.text("web-0-out.log"), "two\n", "no hole");
    fs::remove_file(&path).unwrap();
    say("three\n");
    assert_eq!(pump.text("web-0-out.log"), "three\n");
    fs::rename(&path, pump.logs.join("web.1")).unwrap();
    pump.flush();
    say("four\n");
    assert_eq!((pump.text("web.1"), pump.text("web-0-out.log")), ("three\n".into(), "four\n".into()));
    fs::remove_dir_all(&pump.logs).unwrap();
    say("five\n");
    assert_eq!(pump.text("web-0-out.log"), "five\n");
    pump.end();
}

#[test]
fn what_a_file_cannot_take_stays_in_the_pipe_until_it_can() {
    let home = tempfile::tempdir().unwrap();
    let pump = Pump::start(home.path());
    let outside = home.path().join("outside");
    fs::write(&outside, "untouched").unwrap();
    fs::create_dir(&pump.logs).unwrap();
    fs::set_permissions(&pump.logs, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    // A symlink in the file's place is as good as a full disk: refused, not followed.
    let path = pump.logs.join("web-0-out.log");
    std::os::unix::fs::symlink(&outside, &path).unwrap();
    let (mut app, mut other) = (pump.app(1, "web"), pump.app(2, "other"));
    app.out.write_all(b"kept\n").unwrap();
    let event = pump.events.recv().unwrap();
    assert!(matches!(&event, PumpEvent::Trouble(why) if why.contains("symlink")), "{event:?}");
    app.out.write_all(b"also kept\n").unwrap();
    other.out.write_all(b"not hindered\n").unwrap();
    pump.flush();
    assert_eq!(pump.text("other-0-out.log"), "not hindered\n");
    // The run ends meanwhile: that does not wait for the file, and its bytes still wait for it.
    drop(app);
    pump.finish(1);
    fs::remove_file(&path).unwrap();
    assert_eq!(pump.events.recv().unwrap(), PumpEvent::TroubleOver);
    assert_eq!(pump.text("web-0-out.log"), "kept\nalso kept\n");
    assert_eq!(fs::read(&outside).unwrap(), b"untouched");
    pump.end();
}

#[test]
fn a_follower_hears_of_its_files_once_however_much_is_written() {
    let home = tempfile::tempdir().unwrap();
    let pump = Pump::start(home.path());
    let (mut web, mut api) = (pump.app(1, "web"), pump.app(2, "api"));
    let only: Filter = Filter::Logs(["web-0-out.log".into()].into());
    let (some, all) = (pump.handle.as_ref().unwrap().follow(only), pump.handle.as_ref().unwrap().follow(Filter::All));
    pump.flush();
    assert_eq!(some.grown_so_far().len(), 1, "told at the beginning, lest something fell in between");
    assert_eq!(all.grown_so_far().len(), 4);
    for _ in 0..100 {
        web.out.write_all(b"w\n").unwrap();
        api.err.write_all(b"a\n").unwrap();
        pump.flush();
    }
    let heard = |follow: &opm::daemon::logs::follow::Follow| {
        follow.grown_so_far().into_iter().map(|f| f.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(heard(&some), ["web-0-out.log"]);
    assert_eq!(heard(&all), ["api-0-err.log", "web-0-out.log"]);
    assert!(heard(&all).is_empty());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    web.out.write_all(b"w\n").unwrap();
    assert_eq!(runtime.block_on(some.grown()).len(), 1);
    pump.end();
}

#[test]
fn a_busy_pipe_grows_and_a_noisy_app_does_not_keep_others_waiting() {
    let home = tempfile::tempdir().unwrap();
    let pump = Pump::start(home.path());
    let ((out, mut noisy), (err, _err)) = (pipe(), pipe());
    let probe = out.try_clone().unwrap();
    let large = |spec: &mut AppSpec| (small(spec), spec.log_max_size = Cap::At(ByteSize(10 << 20))).1;
    pump.add_as(1, pump.plan("noisy", large), [out, err]);
    let mut quiet = pump.app(2, "quiet");
    let writing = std::thread::spawn(move || {
        let block = vec![b'x'; 256 << 10];
        for _ in 0..400 {
            noisy.write_all(&block).unwrap();
        }
    });
    // Each of these is answered while the other writes without a pause: a flush moves what was there, not what comes.
    for n in 0..20 {
        writeln!(quiet.out, "{n}").unwrap();
        pump.flush();
        assert_eq!(pump.text("quiet-0-out.log").lines().count(), n + 1);
    }
    writing.join().unwrap();
    pump.flush();
    assert_eq!(pump.whole("noisy-0-out.log").len(), 400 * (256 << 10));
    assert_eq!(rustix::pipe::fcntl_getpipe_size(&probe).unwrap(), 1 << 20, "in two steps");
    pump.end();
}

#[test]
fn a_busy_pipe_is_not_watched_and_a_flush_a_pause_and_its_end_are_seen_all_the_same() {
    const LINE: usize = 400;
    let home = tempfile::tempdir().unwrap();
    let pump = Pump::start(home.path());
    let ((out, mut writer), (err, _err)) = (pipe(), pipe());
    let probe = out.try_clone().unwrap();
    let read_end = out.as_raw_fd();
    pump.add_as(1, pump.plan("web", |spec| spec.log_max_size = Cap::None), [out, err]);
    let (written, pause) = (AtomicUsize::new(1), AtomicBool::new(false));
    // The file and the stream are there.
    writer.write_all(format!("{:0width$}\n", 0, width = LINE - 1).as_bytes()).unwrap();
    pump.flush();
    let mut passed_over = 0;
    for _ in 0..3 {
        pause.store(false, Ordering::SeqCst);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !pause.load(Ordering::SeqCst) {
                    let line = format!("{:0width$}\n", written.load(Ordering::SeqCst), width = LINE - 1);
                    writer.write_all(line.as_bytes()).unwrap();
                    written.fetch_add(1, Ordering::SeqCst);
                }
            });
            for _ in 0..10 {
                while is_watched(read_end) {
                    std::thread::yield_now();
                }
                let before = written.load(Ordering::SeqCst) * LINE;
                pump.flush();
                let after = fs::metadata(pump.logs.join("web-0-out.log")).unwrap().len();
                passed_over += usize::from(after < before as u64);
            }
            pause.store(true, Ordering::SeqCst);
        });
        // Nobody asks for what is left, nor for the pipe to be watched again.
        while rustix::io::ioctl_fionread(&probe).unwrap() > 0 || !is_watched(read_end) {
            std::thread::yield_now();
        }
    }
    drop(writer);
    while is_watched(read_end) {
        std::thread::yield_now();
    }
    assert_eq!(passed_over, 0, "of 30 flushes that ought to have moved all there was");
    let text = pump.text("web-0-out.log");
    assert_eq!(text.len(), written.load(Ordering::SeqCst) * LINE);
    assert!(text.lines().enumerate().all(|(n, line)| line.parse() == Ok(n)), "each line once, in its place");
    pump.end();
}

/// Whether this pipe is in somebody's epoll set (proc_pid_fdinfo(5)).
fn is_watched(fd: RawFd) -> bool {
    let sets =
        fs::read_dir("/proc/self/fdinfo").unwrap().filter_map(|entry| fs::read_to_string(entry.unwrap().path()).ok());
    let is_it = |line: &str| {
        line.strip_prefix("tfd:").is_some_and(|rest| rest.split_whitespace().next() == Some(&fd.to_string()))
    };
    sets.flat_map(|set| set.lines().map(is_it).collect::<Vec<_>>()).any(|is_it| is_it)
}

#[test]
fn where_splice_is_refused_bytes_are_copied_and_wait_while_they_cannot_be_written() {
    use opm::kernel::pump::{Moved, copy, splice};
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("log");
    let ((read, mut write), mut rest) = (pipe(), Vec::new());
    write.write_all(b"hello").unwrap();
    let appending = File::options().create(true).append(true).open(&path).unwrap();
    assert_eq!(splice(&read, &appending, 0, 100), Ok(Moved::NotSpliceable), "as files opened for appending do");
    let unwritable = File::open(&path).unwrap();
    copy(&read, &unwritable, 0, &mut rest).unwrap_err();
    let file = File::options().write(true).open(&path).unwrap();
    write.write_all(b" world").unwrap();
    assert_eq!(copy(&read, &file, 0, &mut rest), Ok(Moved::Bytes(5)));
    assert_eq!(copy(&read, &file, 5, &mut rest), Ok(Moved::Bytes(6)));
    assert_eq!(copy(&read, &file, 11, &mut rest), Ok(Moved::Nothing));
    drop(write);
    assert_eq!(copy(&read, &file, 11, &mut rest), Ok(Moved::End));
    assert_eq!(fs::read(&path).unwrap(), b"hello world");
}

#[test]
fn a_full_disk_loses_no_line_of_an_app_that_waits() {
    let dir = tempfile::tempdir().unwrap();
    let script = format!(
        "mount -t tmpfs -o size=256k,mode=700 none {0} && OPM_TEST_TINY={0} exec {1} --exact pump::on_a_tiny_disk --ignored",
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
    let home = PathBuf::from(std::env::var_os("OPM_TEST_TINY").unwrap());
    let pump = Pump::start(&home);
    let mut app = pump.app_as(1, pump.plan("web", |spec| spec.log_drop = LogDrop::Never));
    app.out.write_all(b"before\n").unwrap();
    pump.flush();
    fs::write(home.join("filler"), vec![0; 1 << 20]).unwrap_err();
    // More than what is left of the file's last page, and maybe than a pipe: where others have many, a new one has two pages.
    let lines: String = (0..2000).map(|n| format!("line {n}\n")).collect();
    let text = lines.clone();
    let writing = std::thread::spawn(move || app.out.write_all(text.as_bytes()).map(|()| app));
    let event = pump.events.recv().unwrap();
    assert!(matches!(&event, PumpEvent::Trouble(why) if why.to_lowercase().contains("no space left")), "{event:?}");
    fs::remove_file(home.join("filler")).unwrap();
    assert_eq!(pump.events.recv().unwrap(), PumpEvent::TroubleOver);
    let _app = writing.join().unwrap().unwrap();
    pump.flush();
    assert_eq!(pump.text("web-0-out.log"), format!("before\n{lines}"));
    pump.end();
}
