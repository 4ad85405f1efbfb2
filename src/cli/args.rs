//! The command line as a whole: global flags, and the commands by name and alias. What each command takes stands in its own
//! file under `commands`.

use super::commands::*;
use super::ui::Color;
use clap::{Parser, Subcommand};

/// A Linux-native process supervisor: every app in its own cgroup, tracked through a pidfd.
#[derive(Debug, Parser)]
#[command(
    name = "opm",
    version,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = "Apps are selected by name, namespace, id, instance (web:0), /regex/, a comma list of these, or 'all'."
)]
pub(super) struct Cli {
    /// Speak to the system's daemon rather than to one's own
    #[arg(long, global = true)]
    pub(super) system: bool,

    /// When to colour; auto: on a terminal, unless NO_COLOR is set
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "auto|always|never",
        default_value = "auto",
        hide_default_value = true,
        hide_possible_values = true
    )]
    pub(super) color: Color,

    #[command(subcommand)]
    pub(super) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Start apps: a script, a command, a file that lists apps, or apps that exist
    Start(Box<start::Args>),
    /// Stop apps, with everything they started, and want them down
    Stop(stop::Args),
    /// Restart apps, or start them if they are down
    Restart(restart::Args),
    /// Stop apps and forget them
    #[command(visible_aliases = ["remove", "rm", "del"])]
    Delete(delete::Args),
    /// Show all apps
    #[command(visible_aliases = ["list", "l", "ps", "status"])]
    Ls(ls::Args),
    /// Show everything about apps
    #[command(visible_aliases = ["details", "show", "describe"], alias = "desc")]
    Info(info::Args),
    /// Print what apps wrote, and go on with what they write
    #[command(alias = "log")]
    Logs(logs::Args),
    /// Empty log files, and remove those set aside
    Flush(flush::Args),
    /// Same as 'logs reopen'
    #[command(hide = true, name = "reloadLogs", alias = "reload-logs")]
    ReloadLogs(logs::reopen::Args),
    /// Say why apps are as they are: who started or stopped them, how they ended, what comes next
    Why(why::Args),
    /// Print what happened, and go on with what happens
    Events(events::Args),
    /// Show the environment that the next run of apps gets
    Env(env::Args),
    /// Send a signal to the main process of apps
    #[command(alias = "sendSignal")]
    Signal(signal::Args),
    /// Hold apps still, with everything they started, until 'resume'
    Pause(pause::Args),
    /// Let paused apps go on
    Resume(resume::Args),
    /// Change what apps may use (memory, processors, processes, disks), without a restart
    Limit(limit::Args),
    /// Set restart counters to zero; what waits after failures is tried at once
    Reset(reset::Args),
    /// Write a snapshot of all apps, for 'restore' (they are kept without it, too)
    #[command(visible_alias = "store", alias = "dump")]
    Save(save::Args),
    /// Add and start what the snapshot holds; nothing is deleted
    #[command(visible_alias = "resurrect")]
    Restore(restore::Args),
    /// Wait until apps are online, or stopped
    Wait(wait::Args),
    /// Ask whether the daemon is there
    Ping(ping::Args),
    /// Look at, start and stop the daemon itself
    #[command(alias = "bgd")]
    Daemon(daemon::Args),
    /// Stop everything and the daemon; the apps come back with the next daemon
    Kill(kill::Args),
    /// Check what opm needs of this machine: what is lost, and how to mend it
    Doctor(doctor::Args),
    /// Have opm start with the machine: install and enable its systemd unit
    Startup(startup::Args),
    /// Undo 'startup'; apps that run go on
    Unstartup(unstartup::Args),
    /// Print the process ids of apps
    #[command(hide = true)]
    Pid(pid::Args),
    /// Same as 'ls --json'
    #[command(hide = true)]
    Jlist(ls::JlistArgs),
    /// Print completions for a shell
    #[command(alias = "completion")]
    Completions(completions::Args),
    /// Print the version
    Version,
}
