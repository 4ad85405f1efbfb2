//! `opm restore`: adds and starts what the snapshot holds. Running it twice does nothing the second time.

use super::super::context::Context;
use super::super::exit::Failure;
use std::time::Instant;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
}

pub(in crate::cli) fn run(args: &Args, context: &Context<'_>) -> Result<(), Failure> {
    let mut client = context.daemon()?;
    let begun = Instant::now();
    let answer = client.order_outcomes("/v1/restore", &serde_json::json!({}))?;
    super::tell(context, "restore", &answer, begun.elapsed(), args.json)
}
