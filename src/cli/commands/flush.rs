//! `opm flush`: empty log files. The daemon does it, since it alone writes; without one there is nobody who could.

use super::super::context::Context;
use super::super::exit::Failure;
use super::super::render::ls::memory;
use crate::api::{FlushAnswer, FlushRequest};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Of which apps; all when none is named
    #[arg(value_name = "APP")]
    select: Vec<String>,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
}

pub(in crate::cli) fn run(args: &Args, context: &Context<'_>) -> Result<(), Failure> {
    let mut client = context.living_daemon()?;
    let request = FlushRequest { select: args.select.clone() };
    let answer: FlushAnswer = client
        .order("/v1/logs/flush", &request, None)
        .map_err(|failure| super::suggesting(failure, &mut client, &args.select))?;
    if args.json {
        return context.ui.json(&answer);
    }
    let FlushAnswer { files, bytes } = answer;
    let s = if files == 1 { "" } else { "s" };
    context.ui.news(&match files {
        0 => "no log file holds anything".to_owned(),
        files => format!("emptied {files} log file{s}; {} freed", memory(bytes)),
    });
    Ok(())
}
