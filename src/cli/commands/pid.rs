//! `opm pid`: main processes, one number a line, for scripts written for PM2.

use super::super::client::select_query;
use super::super::context::{Context, Reader};
use super::super::exit::Failure;
use crate::api::Row;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Of these apps only
    #[arg(value_name = "APP")]
    select: Vec<String>,
}

pub(in crate::cli) fn run(args: &Args, context: &Context<'_>) -> Result<(), Failure> {
    let rows: Vec<Row> = match context.reader()? {
        Reader::Daemon(mut client) => client.get(&format!("/v1/instances?{}", select_query(&args.select)))?,
        Reader::Saved(saved) => saved.rows(&super::joined(&args.select))?,
    };
    let pids: String = rows.iter().filter_map(|row| row.pid).map(|pid| format!("{pid}\n")).collect();
    context.ui.data(pids)
}
