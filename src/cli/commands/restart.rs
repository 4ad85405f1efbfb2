//! `opm restart`: the run is ended and another started. The environment stays what was captured, unless `--update-env`.

use super::super::context::Context;
use super::super::exit::Failure;
use super::Targets;
use crate::api::TargetRequest;
use crate::config::env::capture;
use std::sync::Arc;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    targets: Targets,
    /// Take the environment of this shell from now on
    #[arg(short = 'a', long)]
    update_env: bool,
}

pub(in crate::cli) fn run(args: Args, context: &Context<'_>) -> Result<(), Failure> {
    let Targets { select, json } = args.targets;
    let captured = args.update_env.then(|| Arc::new(capture(std::env::vars_os())));
    super::order(context, "restart", &TargetRequest { select, captured, ..TargetRequest::default() }, json, None)
}
