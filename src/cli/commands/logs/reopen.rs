//! `opm logs reopen`: for the `postrotate` of an external logrotate.

use super::super::super::context::Context;
use super::super::super::exit::Failure;
use crate::api::ReopenAnswer;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
}

pub(in crate::cli) fn run(args: &Args, context: &Context<'_>) -> Result<(), Failure> {
    let answer: ReopenAnswer = context.living_daemon()?.order("/v1/logs/reopen", &serde_json::json!({}), None)?;
    if args.json {
        return context.ui.json(&answer);
    }
    context.ui.news("log files are opened anew");
    Ok(())
}
