//! What a rig stands on: the machine with its cgroup mount, the compiler, names and ports that nobody else uses.
//!
//! Refuses with what is missing and how to get it. It must not start opm.

use super::observe;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

/// Unique beside the tests of other processes, other PID namespaces and earlier runs.
pub fn unique() -> String {
    static TAG: OnceLock<String> = OnceLock::new();
    TAG.get_or_init(|| {
        let mut random = [0_u8; 4];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty()).unwrap();
        format!("{:x}", u32::from_ne_bytes(random))
    })
    .clone()
}

/// The cgroup2 mount, or a panic that says what is missing and how to get it.
#[track_caller]
pub fn insist_on_a_host() -> PathBuf {
    assert!(
        rustix::process::geteuid().is_root(),
        "host tests need root: run them by 'sudo -E integration/check.sh', or as root in a VM"
    );
    let mount = observe::cgroup2_mount().expect(
        "host tests need a cgroup2 mount, and /proc/self/mountinfo has none: 'mount -t cgroup2 none /sys/fs/cgroup'",
    );
    let probe = mount.join(format!("opm-test-probe-{}-{:?}", unique(), std::thread::current().id()));
    fs::create_dir(&probe).unwrap_or_else(|e| {
        panic!("host tests make cgroups under {}, and cannot ({e}): run them on the host or in a VM, or with a writable cgroup mount", mount.display())
    });
    let _ = fs::remove_dir(&probe);
    mount
}

/// The program under supervision, compiled once per version of its source.
#[track_caller]
pub fn compiled() -> PathBuf {
    compile("prog", include_str!("prog.c"))
}

/// An opm that is installed and does not serve.
#[track_caller]
pub fn impostor() -> PathBuf {
    compile("impostor", include_str!("impostor.c"))
}

fn compile(name: &str, source: &str) -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock();
    let hash = source.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("opm-{name}-{hash:x}"));
    if target.exists() {
        return target;
    }
    // Test processes race here (nextest): each compiles under a name of its own, and the rename is atomic.
    let draft = target.with_extension(unique());
    let file = draft.with_extension("c");
    fs::write(&file, source).unwrap();
    let gcc = Command::new("gcc").args(["-O1", "-Wall", "-o"]).arg(&draft).arg(&file).output();
    let gcc = gcc.unwrap_or_else(|e| panic!("host tests need gcc ({e}): apt-get install gcc libc6-dev"));
    assert!(gcc.status.success(), "failed to compile {name}.c: {}", String::from_utf8_lossy(&gcc.stderr));
    fs::rename(&draft, &target).unwrap();
    let _ = fs::remove_file(&file);
    target
}

/// A loopback port that nobody holds now, outside the range that the kernel hands out by itself.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..1000 {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) * 37 + std::process::id();
        let port = 12_000 + (step % 18_000) as u16;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port on loopback");
}
