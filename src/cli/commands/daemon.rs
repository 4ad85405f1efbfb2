//! `opm daemon`: the daemon itself.

use super::super::context::Context;
use super::super::exit::Failure;
use super::super::render::{printable, time};
use super::kill::shut_down;
use crate::api::DaemonStatus;
use clap::Subcommand;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(subcommand)]
    command: Command,
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
    },
    /// Serve under a keeper
    #[command(hide = true)]
    Serve,
}

pub(in crate::cli) fn run(args: &Args, context: &Context<'_>) -> Result<ExitCode, Failure> {
    match &args.command {
        Command::Status { json } => status(*json, context)?,
        Command::Start => {
            let pong = context.daemon()?.ping()?;
            context.ui.news(&format!("the daemon runs (opm {}, pid {})", printable(&pong.version), pong.pid));
        }
        Command::Stop { keep_apps, json } => shut_down(context, *keep_apps, *json)?,
        Command::Run { detach } => return Ok(context.hooks.run_daemon(&context.paths()?, *detach)),
        Command::Serve => return Ok(context.hooks.serve(&context.paths()?)),
    }
    Ok(ExitCode::SUCCESS)
}

fn status(json: bool, context: &Context<'_>) -> Result<(), Failure> {
    let status: DaemonStatus = context.living_daemon()?.get("/v1/daemon")?;
    if json {
        return context.ui.json(&status);
    }
    let controllers = if status.controllers.is_empty() { "none".to_owned() } else { status.controllers.join(" ") };
    let screen = context.ui.screen();
    let lines = [
        ("version", status.version.clone()),
        ("pid", status.pid.to_string()),
        ("keeper pid", status.keeper_pid.to_string()),
        ("since", format!("{} ({})", status.since, time::since(&status.since, screen.now))),
        ("cgroup", status.cgroup_root.clone()),
        ("controllers", controllers),
        ("apps", status.apps.to_string()),
        ("instances", status.instances.to_string()),
    ];
    let text: String = lines
        .iter()
        .map(|(label, value)| format!("{}  {}\n", screen.paint.dim(&format!("{label:11}")), printable(value)))
        .collect();
    context.ui.data(text)?;
    for trouble in &status.troubles {
        context.ui.note(&printable(trouble));
    }
    Ok(())
}
