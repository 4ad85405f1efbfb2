//! `opm signal`: a signal to main processes, through their pidfds.

use super::super::context::Context;
use super::super::exit::Failure;
use super::Targets;
use crate::api::TargetRequest;
use crate::model::Signal;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// A name (SIGHUP, usr1) or a number
    #[arg(value_name = "SIGNAL")]
    signal: Signal,
    #[command(flatten)]
    targets: Targets,
}

pub(in crate::cli) fn run(args: Args, context: &Context<'_>) -> Result<(), Failure> {
    let Targets { select, json } = args.targets;
    let request = TargetRequest { select, signal: Some(args.signal), ..TargetRequest::default() };
    super::order(context, "signal", &request, json, None)
}
