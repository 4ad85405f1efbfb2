//! The kinds of app, from the tame to the vile, and what must hold of each once everything is quiet.

/// One kind. The program is `chaos.c`.
#[derive(Debug)]
pub struct Kind {
    /// What `chaos.c` calls it.
    pub name: &'static str,
    /// Wanted up, it is online whenever nobody disturbs it. Others end by themselves.
    pub steady: bool,
    pub flags: &'static [&'static str],
}

/// Comes back fast however often it is killed, so that it is online again at the next quiet moment.
const STEADY: &[&str] = &["--max-restarts", "1000000", "--backoff", "1ms..20ms"];
/// Ends all the time: slowly enough for two processors.
const LOOP: &[&str] = &["--max-restarts", "1000000", "--backoff", "30ms..600ms"];
/// Soon errored, and tried again all the time.
const ERRORED: &[&str] = &["--max-restarts", "4", "--backoff", "10ms..100ms", "--errored-retry", "700ms"];

const fn steady(name: &'static str) -> Kind {
    Kind { name, steady: true, flags: STEADY }
}

const fn ends(name: &'static str, flags: &'static [&'static str]) -> Kind {
    Kind { name, steady: false, flags }
}

pub const KINDS: &[Kind] = &[
    steady("pause"),
    ends("crash", LOOP),
    steady("ignore"),
    ends("zero", &["--restart", "on-failure"]),
    ends("segv", ERRORED),
    steady("slowterm"),
    ends("later", LOOP),
    steady("tree"),
    ends("laterzero", LOOP),
    ends("outlived", LOOP),
    steady("nanny"),
    ends("leaves", &["--max-restarts", "1000000", "--restart-delay", "50ms"]),
    steady("oddterm"),
    steady("storm"),
    ends("crash", ERRORED),
    steady("title"),
    steady("closed"),
    steady("exec"),
    ends("later", &["--restart", "never"]),
    steady("halted"),
    steady("talk"),
    ends("zero", &["--max-restarts", "1000000", "--restart-delay", "100ms"]),
    Kind {
        name: "nanny",
        steady: true,
        flags: &["--kill-mode", "cgroup", "--max-restarts", "1000000", "--backoff", "1ms..20ms"],
    },
    steady("pause"),
];
