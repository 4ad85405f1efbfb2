//! `opm limit`: what apps may use, changed at once. The runs that live go on under the new limits.

use super::super::context::Context;
use super::super::exit::Failure;
use super::limit_flags::LimitFlags;
use super::{Targets, usage};
use crate::api::TargetRequest;
use crate::model::LimitChange;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "What runs is not restarted. A memory limit below what the app uses now makes the kernel take memory back, and \
                  kill the app if that is not enough."
)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    targets: Targets,
    #[command(flatten)]
    limits: LimitFlags,
}

pub(in crate::cli) fn run(args: Args, context: &Context<'_>) -> Result<(), Failure> {
    let Targets { select, json } = args.targets;
    let change = args.limits.into_change();
    if change == LimitChange::default() {
        return Err(usage("which limit is to change is not said")
            .hint("for example --memory-max 1G, or --cpus none; 'opm info' shows what there is"));
    }
    let request = TargetRequest { select, limits: Some(Box::new(change)), ..TargetRequest::default() };
    super::order(context, "limit", &request, json, None)
}
