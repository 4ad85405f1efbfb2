//! `opm save`: an explicit snapshot. Nobody loses an app by forgetting it; every accepted order is saved by itself.

use super::super::context::Context;
use super::super::exit::Failure;
use crate::api::SaveAnswer;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
    /// Taken from PM2, and of no effect
    #[arg(long, hide = true)]
    force: bool,
}

pub(in crate::cli) fn run(args: &Args, context: &Context<'_>) -> Result<(), Failure> {
    let saved: SaveAnswer = context.daemon()?.order("/v1/save", &serde_json::json!({}), None)?;
    if args.json {
        return context.ui.json(&saved);
    }
    let apps = if saved.apps == 1 { "app" } else { "apps" };
    context.ui.news(&format!("saved {} {apps} to {}", saved.apps, super::super::render::printable(&saved.path)));
    Ok(())
}
