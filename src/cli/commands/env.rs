//! `opm env`: the variables that the next run gets, with `--why` also where each comes from.

use super::super::client::select_query;
use super::super::context::{Context, Reader};
use super::super::exit::{Exit, Failure};
use super::super::render::printable;
use super::Targets;
use crate::api::{AppEnv, EnvSource, EnvVar};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    targets: Targets,
    /// Say where each value comes from
    #[arg(long)]
    why: bool,
}

pub(in crate::cli) fn run(args: &Args, context: &Context<'_>) -> Result<(), Failure> {
    let Targets { select, json } = &args.targets;
    let apps: Vec<AppEnv> = match context.reader_with_note()? {
        Reader::Daemon(mut client) => client
            .get(&format!("/v1/env?{}", select_query(select)))
            .map_err(|failure| super::suggesting(failure, &mut client, select))?,
        Reader::Saved(saved) => saved.env(&super::joined(select))?,
    };
    if *json {
        context.ui.json(&apps)?;
    } else {
        let several = apps.len() > 1;
        for app in &apps {
            if several {
                context.ui.data(format!("# {}\n", printable(&app.name)))?;
            }
            for variable in &app.variables {
                context.ui.data(line(variable, args.why, context.ui.is_terminal()))?;
            }
        }
    }
    let problems: Vec<&String> = apps.iter().flat_map(|app| &app.problems).collect();
    for problem in &problems {
        context.ui.note(&printable(problem));
    }
    // What is missing here would be missing in the app: the next run could not start.
    if problems.is_empty() { Ok(()) } else { Err(Failure::Told(Exit::Failed)) }
}

/// `NAME=value`: as it is for a program, harmless on a terminal.
fn line(variable: &EnvVar, why: bool, terminal: bool) -> Vec<u8> {
    let mut line = [variable.name.as_bytes(), b"=", variable.value.as_bytes()].concat();
    if terminal || why {
        line = printable(&String::from_utf8_lossy(&line)).into_owned().into_bytes();
    }
    if why {
        let source = match (variable.source, &variable.file) {
            (EnvSource::EnvFile, Some(file)) => format!("env file {file}"),
            (EnvSource::EnvFile, None) => "env file".to_owned(),
            (EnvSource::Captured, _) => "captured by opm start".to_owned(),
            (EnvSource::Declared, _) => "declared with --env".to_owned(),
            (EnvSource::Opm, _) => "from opm".to_owned(),
        };
        line.extend_from_slice(format!("  ({})", printable(&source)).as_bytes());
    }
    line.push(b'\n');
    line
}
