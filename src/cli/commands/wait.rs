//! `opm wait`: returns when apps are online (and ready, where that is asked for) or stopped; 5 if not in time.

use super::super::context::Context;
use super::super::exit::Failure;
use super::Targets;
use crate::api::{TargetRequest, Until};
use crate::model::Span;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    targets: Targets,
    /// Wait until what
    #[arg(long, value_enum, default_value = "online")]
    until: Goal,
    /// Not longer than this (10s, 500ms, 2m); a bare number is milliseconds
    #[arg(long, value_name = "TIME")]
    timeout: Option<Span>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::cli) enum Goal {
    /// Online, and ready where readiness is asked for
    Online,
    /// Nothing lives
    Stopped,
}

pub(in crate::cli) fn run(args: Args, context: &Context<'_>) -> Result<(), Failure> {
    let Targets { select, json } = args.targets;
    let until = match args.until {
        Goal::Online => Until::Online,
        Goal::Stopped => Until::Stopped,
    };
    let request = TargetRequest { select, until: Some(until), ..TargetRequest::default() };
    super::order(context, "wait", &request, json, args.timeout.map(|timeout| timeout.0))
}
