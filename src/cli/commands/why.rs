//! `opm why`: how apps came to be as they are, in words; `--json` is the facts.

use super::super::client::select_query;
use super::super::context::{Context, Reader};
use super::super::exit::Failure;
use super::super::render::why;
use super::Targets;
use crate::api::Why;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    targets: Targets,
}

pub(in crate::cli) fn run(args: &Args, context: &Context<'_>) -> Result<(), Failure> {
    let Targets { select, json } = &args.targets;
    let all: Vec<Why> = match context.reader_with_note()? {
        Reader::Daemon(mut client) => client
            .get(&format!("/v1/why?{}", select_query(select)))
            .map_err(|failure| super::suggesting(failure, &mut client, select))?,
        Reader::Saved(saved) => saved.why(&super::joined(select))?,
    };
    if *json {
        return context.ui.json(&all);
    }
    let screen = context.ui.screen();
    let text: Vec<String> = all.iter().map(|one| why::block(one, &screen)).collect();
    context.ui.data(text.join("\n"))
}
