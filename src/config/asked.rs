//! An app as a person asks for it, by flags or in a file, before defaults and files on disk have made a spec of it.
//!
//! Flags and files go through this one shape, so that they cannot come to mean different things.

pub mod logs;

use super::command::{self, absolute};
use super::env::is_name;
use super::{Mistake, suggest};
use crate::model::policy::{Backoff, ErroredRetry, KillMode, RestartPolicy, Rlimit};
use crate::model::{AppName, AppSpec, Limits, Namespace, RawText, Signal, Span};
use logs::AskedLogs;
use serde::de::DeserializeOwned;
use serde::de::value::StrDeserializer;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Where something was asked: what relative paths and bare names are looked up in.
#[derive(Debug, Clone)]
pub struct Place {
    /// The logical directory that relative paths start from.
    pub cwd: PathBuf,
    /// The caller's PATH.
    pub path: Option<OsString>,
}

/// What is asked for. Absent means "the default".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of AppSpec, documented there")]
pub struct Asked {
    /// A path, a program, or a command line.
    pub script: RawText,
    /// Have `/bin/sh -c` run the script.
    pub shell: bool,
    pub args: Vec<RawText>,
    /// `none`: the script itself.
    pub interpreter: Option<RawText>,
    pub interpreter_args: Vec<RawText>,
    pub name: Option<String>,
    pub namespace: Option<Namespace>,
    pub cwd: Option<RawText>,
    pub env: BTreeMap<RawText, RawText>,
    pub env_file: Vec<RawText>,
    pub env_clean: bool,
    pub instances: Option<u32>,
    pub user: Option<String>,
    pub group: Option<String>,
    pub umask: Option<u32>,
    pub nice: Option<i32>,
    pub rlimit: BTreeMap<String, Rlimit>,
    pub restart: Option<RestartPolicy>,
    pub max_restarts: Option<u32>,
    pub min_uptime: Option<Span>,
    pub restart_delay: Option<Span>,
    pub backoff: Option<Backoff>,
    pub errored_retry: Option<ErroredRetry>,
    pub stop_signal: Option<Signal>,
    pub stop_timeout: Option<Span>,
    pub kill_mode: Option<KillMode>,
    pub stop_exit_codes: Vec<i32>,
    pub autostart: Option<bool>,
    pub transient: bool,
    pub limits: Limits,
    pub logs: AskedLogs,
}

impl Asked {
    /// The complete spec, with every path made absolute and everything that can be checked from here checked.
    ///
    /// # Errors
    /// What is asked for does not exist or cannot be meant.
    pub fn into_spec(self, place: &Place) -> Result<AppSpec, Mistake> {
        let cwd = match &self.cwd {
            Some(cwd) => absolute(&place.cwd, Path::new(cwd.as_os_str())),
            None => place.cwd.clone(),
        };
        if !cwd.is_dir() {
            return Err(Mistake::new(format!("working directory {} does not exist", cwd.display())));
        }
        // An app whose PATH is declared is looked up there, since that is what its spawns will see.
        let declared = self.env.get(&RawText::from("PATH")).map(|p| p.as_os_str().to_owned());
        let place = Place { cwd: place.cwd.clone(), path: declared.or_else(|| place.path.clone()) };
        let command = command::resolve(&self, &cwd, &place)?;
        let given = self.name.is_some();
        let name: AppName = self.name.unwrap_or(command.name).parse().map_err(|why: String| {
            let mistake = Mistake::new(why);
            if given { mistake } else { mistake.hint("give another with --name") }
        })?;
        if let Some(name) = self.env.keys().find(|name| !is_name(name.as_bytes())) {
            return Err(Mistake::new(format!("'{name}' cannot be the name of a variable")));
        }
        let mut spec = AppSpec::new(name, command.script, cwd.into_os_string().into());
        spec.interpreter = command.interpreter;
        spec.interpreter_args = self.interpreter_args;
        if spec.interpreter.is_none() && !spec.interpreter_args.is_empty() {
            return Err(Mistake::new("there are arguments for an interpreter, but the script runs by itself")
                .hint("name the interpreter with --interpreter, or give the arguments to the script"));
        }
        spec.args = command.args;
        for file in self.env_file {
            let file = absolute(&place.cwd, Path::new(file.as_os_str()));
            if !file.is_file() && !file.exists() {
                return Err(Mistake::new(format!("env file {} does not exist", file.display())));
            }
            spec.env_file.push(file.into_os_string().into());
        }
        spec.env = self.env;
        spec.env_clean = self.env_clean;
        spec.user = self.user;
        spec.group = self.group;
        spec.umask = self.umask;
        spec.nice = self.nice;
        spec.rlimit = self.rlimit;
        spec.restart_delay = self.restart_delay;
        spec.stop_exit_codes = self.stop_exit_codes;
        spec.transient = self.transient;
        self.limits.check()?;
        self.limits.put_into(&mut spec);
        set(&mut spec.namespace, self.namespace);
        set(&mut spec.instances, self.instances);
        set(&mut spec.restart, self.restart);
        set(&mut spec.max_restarts, self.max_restarts);
        set(&mut spec.min_uptime, self.min_uptime);
        set(&mut spec.backoff, self.backoff);
        set(&mut spec.errored_retry, self.errored_retry);
        set(&mut spec.stop_signal, self.stop_signal);
        set(&mut spec.stop_timeout, self.stop_timeout);
        set(&mut spec.kill_mode, self.kill_mode);
        set(&mut spec.autostart, self.autostart);
        self.logs.apply(&mut spec)?;
        Ok(spec)
    }
}

fn set<T>(field: &mut T, asked: Option<T>) {
    if let Some(asked) = asked {
        *field = asked;
    }
}

/// Reads a file mode creation mask, octal as everywhere: `022`, `0o027`.
///
/// # Errors
/// Anything else.
pub fn umask(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    u32::from_str_radix(digits, 8)
        .ok()
        .filter(|mask| *mask <= 0o777)
        .ok_or_else(|| format!("'{text}' is not a umask; write octal digits such as 022"))
}

/// Reads a scheduling priority.
///
/// # Errors
/// Not a number from -20 to 19.
pub fn nice(text: &str) -> Result<i32, String> {
    text.parse()
        .ok()
        .filter(|n| (-20..=19).contains(n))
        .ok_or_else(|| format!("'{text}' is not a priority; write a number from -20 (first) to 19 (last)"))
}

/// The limits that setrlimit(2) knows on Linux.
const RLIMITS: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Reads a resource limit. The name may be written as C does, `RLIMIT_NOFILE`.
///
/// # Errors
/// An unknown name, or a limit that is none.
pub fn rlimit(name: &str, limit: &str) -> Result<(String, Rlimit), Mistake> {
    let lower = name.trim().to_ascii_lowercase();
    let lower = lower.strip_prefix("rlimit_").unwrap_or(&lower);
    if !RLIMITS.contains(&lower) {
        let mistake = Mistake::new(format!("'{name}' is not a resource limit"));
        return Err(match suggest::nearest(lower, RLIMITS) {
            Some(near) => mistake.hint(format!("did you mean '{near}'?")),
            None => mistake.hint(format!("there are {}", RLIMITS.join(", "))),
        });
    }
    Ok((lower.to_owned(), limit.parse::<Rlimit>()?))
}

/// Reads one of the words of a policy, as flags and files spell it: `on-failure`.
///
/// # Errors
/// Any other word, with those that there are.
pub fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    T::deserialize(StrDeserializer::<serde::de::value::Error>::new(text)).map_err(|e| e.to_string())
}
