//! `opm kill`: stops every app and the daemon. The apps stay wanted up, as over a shutdown of the machine: the next daemon
//! starts them again.

use super::super::context::{Context, Reader};
use super::super::exit::Failure;
use super::super::service::manager;
use crate::api::{DaemonStatus, OrderAnswer, ShutdownRequest};
use std::time::{Duration, Instant};

/// How long a daemon that has answered its last order may take to be gone.
const LAST_BREATH: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
}

pub(in crate::cli) fn run(args: &Args, context: &Context<'_>) -> Result<(), Failure> {
    shut_down(context, false, args.json)
}

/// Ends the daemon, with its apps or without. No daemon and nothing alive: done already.
pub(super) fn shut_down(context: &Context<'_>, keep_apps: bool, json: bool) -> Result<(), Failure> {
    let Reader::Daemon(mut client) = context.reader()? else {
        if json {
            return context.ui.json(&OrderAnswer::default());
        }
        context.ui.news("no daemon runs");
        return Ok(());
    };
    let status: Option<DaemonStatus> = client.get("/v1/daemon").ok();
    let begun = Instant::now();
    let answer = client.end(&ShutdownRequest { keep_apps })?.unwrap_or_default();
    if !keep_apps {
        end_unit(context, status.as_ref())?;
    }
    // So that whoever comes next meets the next daemon, and not the end of this one.
    client.wait_gone(LAST_BREATH);
    if !json && answer.outcomes.is_empty() {
        context.ui.news(if keep_apps { "the daemon ended; its apps live on" } else { "the daemon ended" });
        return Ok(());
    }
    super::tell(context, "stop", &answer, begun.elapsed(), json)?;
    if !json {
        context.ui.news("the daemon ended");
    }
    Ok(())
}

/// Under a unit, ending the daemon is stopping the unit: else systemd might start it again. Not done when apps are to live
/// on, since a successor that systemd had started already would take the stop for an order to stop them.
fn end_unit(context: &Context<'_>, status: Option<&DaemonStatus>) -> Result<(), Failure> {
    let root = status.map(|status| status.cgroup_root.as_str()).unwrap_or_default();
    let Some(unit) = root.rsplit('/').next().filter(|last| last.ends_with(".service")) else { return Ok(()) };
    match manager::of(&context.paths()?) {
        Some(manager) => manager.stop(unit),
        None => Ok(()),
    }
}
