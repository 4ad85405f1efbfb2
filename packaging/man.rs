//! Writes what the packages carry and the command line itself says best: man pages and shell completions.
//!
//! `cargo run --example man -- DIRECTORY`. A program of the build, not of the product: the shipped binary holds no man pages.
//! What a reader would get wrong: only what stands in `--help` gets into the pages; sections that clap cannot know (files,
//! exit status, environment) are the roff text beside this file, put at the end of opm(1).

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// Sections of opm(1) that people write.
const MORE: &str = include_str!("man/more.roff");

/// The end of every other page.
const SEE: &[u8] = b".SH \"SEE ALSO\"\n\\fBopm\\fR(1)\n";

fn main() -> Result<(), Box<dyn Error>> {
    let into = PathBuf::from(std::env::args_os().nth(1).ok_or("give the directory to write into")?);
    fs::create_dir_all(&into)?;
    for (shell, file) in [(Shell::Bash, "opm.bash"), (Shell::Zsh, "_opm"), (Shell::Fish, "opm.fish")] {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut opm::cli::command(), "opm", &mut script);
        fs::write(into.join(file), script)?;
    }
    let mut root = opm::cli::command().disable_help_subcommand(true);
    root.build();
    pages(&root, &into)
}

/// The page of a command, and those of the commands below it: opm-daemon(1), opm-daemon-reload(1).
fn pages(command: &Command, into: &Path) -> Result<(), Box<dyn Error>> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        pages(below, into)?;
    }
    let source = concat!("opm ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).section("1").manual("opm").date("").source(source);
    let mut page = Vec::new();
    man.render(&mut page)?;
    let name = command.get_display_name().unwrap_or("opm");
    page.extend_from_slice(if name == "opm" { MORE.as_bytes() } else { SEE });
    // What clap prints below the options; clap_mangen has no better name for it.
    let page = String::from_utf8(page)?.replace(".SH EXTRA\n", ".SH NOTES\n");
    fs::write(into.join(man.get_filename()), page)?;
    Ok(())
}
