//! `opm unstartup`: opm no longer starts with the machine. A daemon that runs, and its apps, go on.

use super::super::context::Context;
use super::super::exit::{Exit, Failure};
use super::super::service::install::{Site, no_systemd};
use super::super::service::manager::{Reach, reach};
use super::super::service::{plan, runtime::own_program};
use super::kill::shut_down;
use super::startup::{Who, answers, for_another};
use crate::config::Paths;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    who: Who,
    /// Stop the daemon and its apps as well, as 'opm kill' does
    #[arg(long)]
    now: bool,
    /// Only show what would be done
    #[arg(long)]
    print: bool,
}

pub(in crate::cli) fn run(args: &Args, context: &Context<'_>) -> Result<(), Failure> {
    if let Some(user) = args.who.check()? {
        let flags = [("--now", args.now), ("--print", args.print)];
        let flags: Vec<&str> = flags.into_iter().filter_map(|(flag, given)| given.then_some(flag)).collect();
        return for_another(&user, "unstartup", &flags, context);
    }
    if reach(false) == Reach::NoSystemd {
        return Err(no_systemd());
    }
    let paths = context.paths()?;
    // Apps that outlived their daemon (--keep-apps): systemd knows of nothing to stop, and only a daemon stops them by their rules.
    if args.now && !args.print && !answers(&paths) && any_run_lives(&paths, context)? {
        shut_down(context, false, false)?;
    }
    let reach = reach(paths.system && paths.home.is_none());
    let site = Site::look(&paths, reach, &own_program()?, answers(&paths))?;
    let todo = plan::unstartup(&site.facts, args.now);
    if args.print {
        context.ui.data(site.preview(&todo))?;
    } else {
        site.carry_out(&todo, &mut |line| context.ui.news(line))?;
        if site.still_enabled() {
            context.ui.note(&format!(
                "an administrator enabled {unit} for all users; 'systemctl --user mask {unit}' keeps it from starting for you",
                unit = site.facts.unit
            ));
        }
    }
    if todo.steps.is_empty() {
        context.ui.news(&format!("{} does not start with the machine already", site.facts.unit));
        return Ok(());
    }
    for note in &todo.notes {
        context.ui.note(note);
    }
    Ok(())
}

fn any_run_lives(paths: &Paths, context: &Context<'_>) -> Result<bool, Failure> {
    let say = |why| Failure::new(Exit::Failed, why);
    context.hooks.offline(paths).map_err(say)?.any_run_lives().map_err(say)
}
