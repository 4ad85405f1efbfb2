//! `opm ls`: one line for each instance; `--json` is the rows as they are.

use super::super::client::{Client, select_query};
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
    let rows = match context.reader_with_note()? {
        Reader::Daemon(mut client) => {
            let asked = if args.json && !args.memory {
                // The rows are printed as they came: taking thousands apart to put them together again is most of what this would cost.
                client.get_text(&path(args)).map(|text| context.ui.data([&text[..], b"\n"].concat()))
            } else {
                rows(args, &mut client).map(|rows| tell(&rows, args, context))
            };
            return asked.map_err(|failure| super::suggesting(failure, &mut client, &args.select))?;
        }
        Reader::Saved(saved) => saved.rows(&super::joined(&args.select))?,
    };
    tell(&rows, args, context)
}

fn tell(rows: &[Row], args: &Args, context: &Context<'_>) -> Result<(), Failure> {
    if args.json {
        return context.ui.json(&rows);
    }
    if rows.is_empty() {
        context.ui.news("no apps yet; 'opm start app.js' starts one");
        return Ok(());
    }
    context.ui.data(ls::table(rows, &context.ui.screen()))
}

fn path(args: &Args) -> String {
    // The sums are dear (every process of every app is looked at), so they come with the details only.
    format!("/v1/{}?{}", if args.memory { "apps" } else { "instances" }, select_query(&args.select))
}

fn rows(args: &Args, client: &mut Client) -> Result<Vec<Row>, Failure> {
    if args.memory {
        let apps: Vec<AppInfo> = client.get(&path(args))?;
        return Ok(apps.into_iter().flat_map(|app| app.instances).collect());
    }
    client.get(&path(args))
}
