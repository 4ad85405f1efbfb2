//! The files that people write: app files in TOML and JSON (PM2's too), env files.

use crate::config;
use crate::mutate::{apply, edits};
use opm::config::asked::Place;
use opm::config::{appfile, envfile};
use proptest::prelude::*;

const TOML: &str = r#"version = 1
[[apps]]
name = "web"
script = "/bin/sleep"
args = ["1", "2"]
instances = 2
env = { PORT = "8080", NAME = "x" }
env_file = ".env"
stop_timeout = "1500ms"
backoff = "50ms..5s"
rlimit = { nofile = "1024:4096" }
memory_max = "300M"
cpus = 0.5
umask = "027"
stop_exit_codes = [0, 143]
[[apps]]
name = "job"
script = "/bin/true"
restart = "on-failure"
transient = true
"#;

const JSON: &str = r#"{"version": 1, "apps": [
  {"name": "web", "script": "/bin/sleep", "args": ["1"], "instances": "max", "env": {"PORT": 8080}, "nice": -5,
   "errored_retry": "never", "kill_mode": "cgroup", "stop_signal": "SIGINT", "autostart": false},
  {"name": "job", "script": "/bin/true", "restart": "never"}]}"#;

const PM2: &str = r#"{"apps": [{"name": "api", "script": "/bin/sleep", "args": "1 'two words'", "instances": -1, "exec_mode": "fork",
   "kill_timeout": 1600, "autorestart": true, "env": {"NODE_ENV": "production"},
   "watch": false, "exp_backoff_restart_delay": 100, "cwd": "/"}], "deploy": {}}"#;

const ENV: &[u8] = b"# a comment\nexport PORT=8080\nNAME='single quoted'\nLONG=\"double \\\"quoted\\\"\nover lines\" # more\nEMPTY=\nPLAIN=a b c\n";

#[test]
fn app_files_are_refused_by_name_or_read() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place { cwd: dir.path().to_owned(), path: Some("/usr/bin:/bin".into()) };
    std::fs::write(dir.path().join(".env"), ENV).unwrap();
    let seeds = [("apps.toml", TOML), ("apps.json", JSON), ("ecosystem.json", PM2)];
    for (name, text) in seeds {
        std::fs::write(dir.path().join(name), text).unwrap();
        appfile::read(name.as_ref(), &place, 4).unwrap_or_else(|e| panic!("{name} is good: {e}"));
    }
    proptest!(config(400, 5), |(which in 0..seeds.len(), edits in edits())| {
        let (name, text) = seeds[which];
        std::fs::write(dir.path().join(name), apply(text.as_bytes(), &edits)).unwrap();
        match appfile::read(name.as_ref(), &place, 4) {
            Err(mistake) => prop_assert!(mistake.message.contains(name), "does not name the file: {mistake}"),
            Ok(list) => for app in &list.apps {
                prop_assert!(!app.name.as_str().is_empty() && app.instances <= 100_000, "{app:?}");
            },
        }
    });
}

#[test]
fn env_files_are_refused_by_line_or_read() {
    envfile::parse(ENV).unwrap();
    proptest!(config(1000, 1), |(edits in edits())| {
        let text = apply(ENV, &edits);
        match envfile::parse(&text) {
            Err(why) => prop_assert!(why.contains("line "), "{why}"),
            Ok(pairs) => for (name, value) in pairs {
                prop_assert!(!name.as_bytes().contains(&b'=') && !name.as_bytes().is_empty());
                prop_assert!(!value.as_bytes().contains(&0));
            },
        }
    });
}
