//! `opm completions`: a script for the shell, made from the arguments themselves.

use super::super::args::Cli;
use super::super::context::Context;
use super::super::exit::Failure;
use clap::CommandFactory;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::cli) enum Shell {
    Bash,
    Zsh,
    Fish,
}

pub(in crate::cli) fn run(args: &Args, context: &Context<'_>) -> Result<(), Failure> {
    let shell = match args.shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "opm", &mut script);
    context.ui.data(script)
}
