//! `opm ping`: whether the daemon answers. It starts none, unless some run lives without one.

use super::super::context::Context;
use super::super::exit::Failure;
use super::super::render::printable;

#[derive(Debug, Default, clap::Args)]
pub(in crate::cli) struct Args {
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

pub(in crate::cli) fn run(args: &Args, context: &Context<'_>) -> Result<(), Failure> {
    let pong = context.living_daemon()?.ping()?;
    if args.json {
        return context.ui.json(&pong);
    }
    context.ui.data(format!("pong (opm {}, pid {})\n", printable(&pong.version), pong.pid))
}
