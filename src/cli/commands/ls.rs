//! `opm ls`: one line for each instance; `--json` is the rows as they are.

use super::super::client::select_query;
use super::super::context::{Context, Reader};
use super::super::exit::Failure;
use super::super::render::ls;
use crate::api::{AppInfo, Row};

#[derive(Debug, Default, clap::Args)]
pub(in crate::cli) struct Args {
    /// Only these
    #[arg(value_name = "APP")]
    select: Vec<String>,
    /// Print an array with one row for each instance
    #[arg(long)]
    json: bool,
    /// Where no memory controller counts, add up the processes
    #[arg(long)]
    memory: bool,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct JlistArgs {
    /// Only these
    #[arg(value_name = "APP")]
    select: Vec<String>,
}

impl From<JlistArgs> for Args {
    fn from(args: JlistArgs) -> Self {
        Self { select: args.select, json: true, memory: false }
    }
}

pub(in crate::cli) fn run(args: &Args, context: &Context<'_>) -> Result<(), Failure> {
    let rows = rows(args, context)?;
    if args.json {
        return context.ui.json(&rows);
    }
    if rows.is_empty() {
        context.ui.news("no apps yet; 'opm start app.js' starts one");
        return Ok(());
    }
    context.ui.data(ls::table(&rows, &context.ui.screen()))
}

fn rows(args: &Args, context: &Context<'_>) -> Result<Vec<Row>, Failure> {
    let mut client = match context.reader_with_note()? {
        Reader::Daemon(client) => client,
        Reader::Saved(saved) => return Ok(saved.rows(&super::joined(&args.select))?),
    };
    let query = select_query(&args.select);
    // The sums are dear (every process of every app is looked at), so they come with the details only.
    let rows = if args.memory {
        client
            .get::<Vec<AppInfo>>(&format!("/v1/apps?{query}"))
            .map(|apps| apps.into_iter().flat_map(|app| app.instances).collect())
    } else {
        client.get(&format!("/v1/instances?{query}"))
    };
    rows.map_err(|failure| super::suggesting(failure, &mut client, &args.select))
}
