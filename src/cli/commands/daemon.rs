//! `opm daemon`: the daemon itself.

mod after_stop;
mod logs;

use super::super::RunDaemon;
use super::super::context::{Context, Reader};
use super::super::exit::{Exit, Failure};
use super::super::launch::launch;
use super::super::render::{printable, time};
use super::kill::shut_down;
use crate::api::{DaemonStatus, ReloadAnswer, ReloadRequest};
use crate::model::Span;
use clap::Subcommand;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Shorter, and a daemon that is merely busy would be taken for hung.
const SHORTEST: Duration = Duration::from_millis(100);
/// Enough for a slow disk and thousands of apps.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(subcommand)]
    command: Command,
}

impl Args {
    /// What opm says to itself, and its unit; see `shortcut`.
    pub(in crate::cli) fn by_heart(words: &[&str]) -> Option<Self> {
        let (detach, resume) = match words {
            ["serve"] => return Some(Self { command: Command::Serve }),
            ["run"] => (false, None),
            ["run", "--detach"] => (true, None),
            ["run", "--resume", fd] => (false, Some(fd.parse().ok()?)),
            _ => return None,
        };
        Some(Self { command: Command::Run { detach, watchdog: None, ready_timeout: Span(READY_TIMEOUT), resume } })
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show how the daemon stands
    #[command(aliases = ["health", "info"])]
    Status {
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the last that the daemon and its keeper had to say themselves
    #[command(alias = "log")]
    Logs {
        /// So many lines
        #[arg(short = 'n', long, value_name = "N", default_value_t = 30)]
        lines: usize,
    },
    /// Start the daemon if none runs (any order does so, too)
    Start,
    /// End the daemon and stop its apps; they come back with the next one
    #[command(alias = "kill")]
    Stop {
        /// Leave the apps running for the next daemon
        #[arg(long)]
        keep_apps: bool,
        /// Print the outcome as JSON
        #[arg(long)]
        json: bool,
    },
    /// Be the daemon, in the foreground
    ///
    /// For service managers and containers. It needs a cgroup of its own to work in: under systemd a unit with Delegate=yes;
    /// as root elsewhere a writable cgroup2 mount (in a container: a private cgroup namespace with cgroupfs mounted
    /// read-write).
    Run {
        /// Leave the terminal, and say 'ready' or 'error: ...' on stdout
        #[arg(long, hide = true)]
        detach: bool,
        /// End and replace a daemon that does not answer for so long (e.g. 30s); as systemd's WatchdogSec= asks for
        #[arg(long, value_name = "DURATION")]
        watchdog: Option<Span>,
        /// How long a newly installed opm may take until it serves, before the one that served last is started again
        #[arg(long, value_name = "DURATION", default_value_t = Span(READY_TIMEOUT))]
        ready_timeout: Span,
        /// Go on as the keeper that this process was before an upgrade
        #[arg(long, hide = true, value_name = "FD")]
        resume: Option<i32>,
    },
    /// Let the installed opm take over from the one that runs, without touching any app
    ///
    /// What a package upgrade does. The installed opm says first whether it can read everything; if it does not get ready, the
    /// one that served last is started again, and you are told why. The keeper is renewed in place.
    #[command(alias = "upgrade")]
    Reload {
        /// Only say whether it could
        #[arg(long)]
        check: bool,
        /// Print the outcome as JSON
        #[arg(long)]
        json: bool,
    },
    /// Say whether this opm could take over
    #[command(hide = true)]
    Check,
    /// Tidy up after the unit's main process
    #[command(hide = true)]
    AfterStop,
    /// Serve under a keeper
    #[command(hide = true)]
    Serve,
}

pub(in crate::cli) fn run(args: &Args, context: &Context<'_>) -> Result<ExitCode, Failure> {
    match &args.command {
        Command::Status { json } => status(*json, context)?,
        Command::Logs { lines } => logs::run(*lines, context)?,
        Command::Start => {
            let pong = context.daemon()?.ping()?;
            context.ui.news(&format!("the daemon runs (opm {}, pid {})", printable(&pong.version), pong.pid));
        }
        Command::Stop { keep_apps, json } => shut_down(context, *keep_apps, *json)?,
        Command::Run { detach, watchdog, ready_timeout, resume } => {
            for (flag, span) in [("watchdog", *watchdog), ("ready-timeout", Some(*ready_timeout))] {
                if span.is_some_and(|span| span.0 < SHORTEST) {
                    return Err(super::usage(format!("--{flag} is at least {}", Span(SHORTEST))));
                }
            }
            let how = RunDaemon {
                detach: *detach,
                watchdog: watchdog.map(|span| span.0),
                ready_timeout: ready_timeout.0,
                resume: *resume,
            };
            return Ok(context.hooks.run_daemon(&context.paths()?, &how));
        }
        Command::Reload { check, json } => reload(*check, *json, context)?,
        Command::Check => {
            let report = context.hooks.check(&context.paths()?);
            context.ui.json(&report)?;
            if report.failure.is_some() {
                return Err(Failure::Told(Exit::Failed));
            }
        }
        Command::AfterStop => after_stop::run(context)?,
        Command::Serve => return Ok(context.hooks.serve(&context.paths()?)),
    }
    Ok(ExitCode::SUCCESS)
}

fn reload(check: bool, json: bool, context: &Context<'_>) -> Result<(), Failure> {
    let begun = Instant::now();
    let Reader::Daemon(client) = context.reader()? else {
        return Err(Failure::new(Exit::NoDaemon, "no daemon runs that could make room")
            .hint("'opm daemon start' starts the installed opm"));
    };
    // If the keeper dies over it, this order goes to the next pair.
    let mut client = client.starting_with(launch);
    let answer: ReloadAnswer = client.order("/v1/daemon/reload", &ReloadRequest { check }, None)?;
    if json {
        return context.ui.json(&answer);
    }
    let ReloadAnswer { from, version, pid, apps, troubles } = answer;
    let s = if apps == 1 { "" } else { "s" };
    let (from, version) = (printable(&from), printable(&version));
    context.ui.news(&if check {
        format!("the installed opm {version} can take over from {from}: it reads all {apps} app{s}")
    } else {
        format!("opm {version} (pid {pid}) took over from {from} in {}; {apps} app{s}", time::took(begun.elapsed()))
    });
    for trouble in &troubles {
        context.ui.note(&printable(trouble));
    }
    Ok(())
}

fn status(json: bool, context: &Context<'_>) -> Result<(), Failure> {
    let status: DaemonStatus = context.living_daemon()?.get("/v1/daemon")?;
    if json {
        return context.ui.json(&status);
    }
    let controllers = if status.controllers.is_empty() { "none".to_owned() } else { status.controllers.join(" ") };
    let screen = context.ui.screen();
    let mut lines = vec![
        ("version", status.version.clone()),
        ("pid", status.pid.to_string()),
        ("keeper pid", status.keeper_pid.to_string()),
        ("since", format!("{} ({})", status.since, time::since(&status.since, screen.now))),
        ("cgroup", status.cgroup_root.clone()),
        ("controllers", controllers),
        ("apps", status.apps.to_string()),
        ("instances", status.instances.to_string()),
    ];
    if let Some(before) = &status.before {
        lines.insert(4, ("the one before", before.clone()));
    }
    if let Some(log) = &status.log {
        lines.push(("log", if log == "journal" { "the journal".to_owned() } else { log.clone() }));
    }
    let text: String = lines
        .iter()
        .map(|(label, value)| format!("{}  {}\n", screen.paint.dim(&format!("{label:14}")), printable(value)))
        .collect();
    context.ui.data(text)?;
    for trouble in &status.troubles {
        context.ui.note(&printable(trouble));
    }
    Ok(())
}
