//! The flags of `opm start` that describe an app, one for each field of a spec.

use super::super::limit_flags::LimitFlags;
use super::super::usage;
use super::log_flags::LogFlags;
use crate::cli::exit::Failure;
use crate::config::asked::{self, Asked};
use crate::config::{command, instances};
use crate::model::policy::{Backoff, ErroredRetry, KillMode, RestartPolicy, Rlimit};
use crate::model::{Limits, Namespace, RawText, Signal, Span};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// The flags that describe an app. In files the same fields have underscores.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "The app")]
pub(super) struct AppFlags {
    /// What to call it; the script's name without its extension if not given
    #[arg(short, long)]
    name: Option<String>,
    /// Its group
    #[arg(long)]
    namespace: Option<Namespace>,
    /// How many copies: a number, 'max' for one per CPU, -1 for one fewer
    #[arg(short, long, value_name = "N", allow_hyphen_values = true, value_parser = instances_of)]
    instances: Option<u32>,
    /// Its working directory; here if not given
    #[arg(long, value_name = "DIR")]
    cwd: Option<OsString>,
    /// Have /bin/sh run it as a command line
    #[arg(long, conflicts_with_all = ["interpreter", "interpreter_args"])]
    shell: bool,
    /// What runs the script; 'none' for the script itself
    #[arg(long, value_name = "PROGRAM", alias = "exec-interpreter")]
    interpreter: Option<OsString>,
    /// Arguments of the interpreter, split like a shell would
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true, alias = "node-args")]
    interpreter_args: Vec<OsString>,
    /// A variable; wins over env files and over what this shell has
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<OsString>,
    /// A file of NAME=value lines, read at every start and stored nowhere
    #[arg(long, value_name = "FILE")]
    env_file: Vec<OsString>,
    /// Of this shell's environment, keep only PATH, HOME, USER, LANG, SHELL and TZ
    #[arg(long)]
    env_clean: bool,
    /// Run as this user
    #[arg(long, alias = "uid")]
    user: Option<String>,
    /// Run as this group
    #[arg(long, alias = "gid")]
    group: Option<String>,
    /// When to start it again after it ended: always, on-failure, never
    #[arg(long, value_name = "POLICY", value_parser = asked::word::<RestartPolicy>)]
    restart: Option<RestartPolicy>,
    /// The same as --restart never, for PM2 users
    #[arg(long, hide = true, conflicts_with = "restart")]
    no_autorestart: bool,
    /// So many failures within a minute make it errored
    #[arg(long, value_name = "N")]
    max_restarts: Option<u32>,
    /// An end before this is a failure and backs off
    #[arg(long, value_name = "TIME")]
    min_uptime: Option<Span>,
    /// A fixed delay before each restart, instead of the backoff
    #[arg(long, value_name = "TIME")]
    restart_delay: Option<Span>,
    /// The growing delay after failures: 100ms..15s, or its beginning
    #[arg(long, value_name = "FROM..TO", alias = "exp-backoff-restart-delay")]
    backoff: Option<Backoff>,
    /// How often to try an errored one: a time, or 'never'
    #[arg(long, value_name = "TIME")]
    errored_retry: Option<ErroredRetry>,
    /// What asks it to end
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<Signal>,
    /// How long it may take to end before it is killed
    #[arg(short = 'k', long, value_name = "TIME", alias = "kill-timeout")]
    stop_timeout: Option<Span>,
    /// Whom a stop reaches first: mixed, cgroup, process
    #[arg(long, value_name = "MODE", value_parser = asked::word::<KillMode>)]
    kill_mode: Option<KillMode>,
    /// Exit codes that mean "done on purpose"
    #[arg(long, value_name = "CODES", value_delimiter = ',')]
    stop_exit_codes: Vec<i32>,
    /// Add it without starting it
    #[arg(long)]
    no_autostart: bool,
    /// Forget it at the next boot
    #[arg(long)]
    transient: bool,
    /// File mode creation mask, octal
    #[arg(long, value_name = "MASK", value_parser = asked::umask)]
    umask: Option<u32>,
    /// Scheduling priority, -20 to 19
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = asked::nice)]
    nice: Option<i32>,
    /// A resource limit: nofile=65536, core=0:unlimited
    #[arg(long, value_name = "NAME=LIMIT", value_parser = rlimit)]
    rlimit: Vec<(String, Rlimit)>,

    #[command(flatten)]
    limits: LimitFlags,

    #[command(flatten)]
    logs: LogFlags,
}

fn instances_of(text: &str) -> Result<u32, String> {
    instances::parse(text, instances::cpus())
}

fn rlimit(text: &str) -> Result<(String, Rlimit), String> {
    let (name, limit) = text.split_once('=').ok_or_else(|| format!("'{text}' has no '='; write nofile=65536"))?;
    asked::rlimit(name, limit).map_err(|mistake| match &mistake.hint {
        Some(hint) => format!("{mistake}; {hint}"),
        None => mistake.message.clone(),
    })
}

impl AppFlags {
    /// The same as one asks in a file; what is to be started is still to be said.
    pub(super) fn into_asked(self, args: Vec<OsString>) -> Result<Asked, Failure> {
        let mut env = BTreeMap::new();
        for pair in &self.env {
            let bytes = pair.as_bytes();
            let equals = bytes
                .iter()
                .position(|b| *b == b'=')
                .filter(|at| *at > 0)
                .ok_or_else(|| usage(format!("--env '{}' is not NAME=VALUE", pair.display())))?;
            env.insert(RawText::from(bytes[..equals].to_vec()), RawText::from(bytes[equals + 1..].to_vec()));
        }
        let mut interpreter_args = Vec::new();
        for words in &self.interpreter_args {
            interpreter_args.extend(command::words(words)?);
        }
        let mut limits = Limits::default();
        limits.change(&self.limits.into_change());
        Ok(Asked {
            script: RawText::default(),
            shell: self.shell,
            args: raw(args),
            interpreter: self.interpreter.map(RawText::from),
            interpreter_args,
            name: self.name,
            namespace: self.namespace,
            cwd: self.cwd.map(RawText::from),
            env,
            env_file: raw(self.env_file),
            env_clean: self.env_clean,
            instances: self.instances,
            user: self.user,
            group: self.group,
            umask: self.umask,
            nice: self.nice,
            rlimit: self.rlimit.into_iter().collect(),
            restart: self.restart.or(self.no_autorestart.then_some(RestartPolicy::Never)),
            max_restarts: self.max_restarts,
            min_uptime: self.min_uptime,
            restart_delay: self.restart_delay,
            backoff: self.backoff,
            errored_retry: self.errored_retry,
            stop_signal: self.stop_signal,
            stop_timeout: self.stop_timeout,
            kill_mode: self.kill_mode,
            stop_exit_codes: self.stop_exit_codes,
            autostart: self.no_autostart.then_some(false),
            transient: self.transient,
            limits,
            logs: self.logs.into_asked(),
        })
    }
}

fn raw(words: Vec<OsString>) -> Vec<RawText> {
    words.into_iter().map(RawText::from).collect()
}
