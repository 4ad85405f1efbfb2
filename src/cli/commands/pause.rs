//! `opm pause`: answered when the kernel says that everything in them stands still.

use super::super::context::Context;
use super::super::exit::Failure;
use super::Targets;
use crate::api::TargetRequest;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    targets: Targets,
}

pub(in crate::cli) fn run(args: Args, context: &Context<'_>) -> Result<(), Failure> {
    let Targets { select, json } = args.targets;
    super::order(context, "pause", &TargetRequest { select, ..TargetRequest::default() }, json, None)
}
