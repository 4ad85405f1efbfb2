//! `opm info`: everything about apps.

use super::super::client::select_query;
use super::super::context::{Context, Reader};
use super::super::exit::Failure;
use super::super::render::info;
use super::Targets;
use crate::api::AppInfo;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    targets: Targets,
}

pub(in crate::cli) fn run(args: &Args, context: &Context<'_>) -> Result<(), Failure> {
    let Targets { select, json } = &args.targets;
    let apps: Vec<AppInfo> = match context.reader_with_note()? {
        Reader::Daemon(mut client) => client
            .get(&format!("/v1/apps?{}", select_query(select)))
            .map_err(|failure| super::suggesting(failure, &mut client, select))?,
        Reader::Saved(saved) => saved.apps(&super::joined(select))?,
    };
    if *json {
        return context.ui.json(&apps);
    }
    let screen = context.ui.screen();
    let text: Vec<String> = apps.iter().map(|app| info::app(app, &screen)).collect();
    context.ui.data(text.join("\n"))
}
