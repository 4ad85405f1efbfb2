//! `opm startup`: opm starts with the machine, and with it the apps that are wanted up.
//!
//! What a reader would get wrong: there is nothing to save and no list of apps in the unit. What is wanted up comes back by itself.

use super::super::client::Client;
use super::super::context::Context;
use super::super::exit::{Exit, Failure};
use super::super::service::another::Account;
use super::super::service::install::{Site, no_systemd};
use super::super::service::manager::{Reach, reach};
use super::super::service::{linger, plan, runtime::own_program};
use super::usage;
use crate::config::Paths;
use std::path::Path;
use std::process::Command;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    pub(super) who: Who,
    /// Only show what would be done
    #[arg(long)]
    pub(super) print: bool,
}

/// Whose opm. What PM2 takes here is understood: `startup systemd -u alice --hp /home/alice`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Who {
    #[arg(hide = true, value_name = "systemd")]
    platform: Option<String>,
    /// As root: for that user's own opm instead of the system's
    #[arg(short, long, value_name = "USER")]
    user: Option<String>,
    #[arg(long, hide = true, value_name = "HOME")]
    hp: Option<String>,
    #[arg(long, hide = true, value_name = "NAME")]
    service_name: Option<String>,
    #[arg(long, hide = true)]
    wait_ip: bool,
}

impl Who {
    /// Refuses what PM2 can do here and opm does not. Some: it is somebody else whom this is for.
    pub(super) fn check(&self) -> Result<Option<Account>, Failure> {
        if let Some(platform) = self.platform.as_deref().filter(|platform| *platform != "systemd") {
            return Err(usage(format!("opm starts with the machine through systemd only, not through '{platform}'"))
                .hint("other service managers can run 'opm daemon run' in the foreground"));
        }
        if self.service_name.is_some() {
            return Err(usage("the unit is always called opm.service; --service-name is PM2's").hint(
                "a second opm on the same account gets a unit of its own by OPM_HOME: OPM_HOME=~/other opm startup",
            ));
        }
        if self.wait_ip {
            return Err(usage("--wait-ip is PM2's; systemd has it for every service").hint(
                "'systemctl edit opm', and there: [Unit], Wants=network-online.target, After=network-online.target",
            ));
        }
        // The home is the user's, whatever is said here.
        let Some(user) = self.user.as_deref() else { return Ok(None) };
        let user = Account::find(user).map_err(|why| usage(why).hint("-u takes the name of a user of this machine"))?;
        let own = rustix::process::geteuid();
        if own.as_raw() == user.uid {
            return Ok(None);
        }
        if own.is_root() {
            return Ok(Some(user));
        }
        let user = user.name;
        Err(usage(format!("only root may do this for {user}"))
            .hint(format!("run it as {user}, or: sudo opm startup -u {user}")))
    }
}

pub(in crate::cli) fn run(args: &Args, context: &Context<'_>) -> Result<(), Failure> {
    if let Some(user) = args.who.check()? {
        let flags: &[&str] = if args.print { &["--print"] } else { &[] };
        return for_another(&user, "startup", flags, context);
    }
    if reach(false) == Reach::NoSystemd {
        return Err(no_systemd());
    }
    let paths = context.paths()?;
    let program = own_program()?;
    let look = || Site::look(&paths, reach(paths.system && paths.home.is_none()), &program, answers(&paths));
    let decide =
        |site: &Site| plan::startup(&site.facts).map_err(|(why, mend)| Failure::new(Exit::Failed, why).hint(mend));
    let mut site = look()?;
    let mut todo = decide(&site)?;
    if let Some(doubt) = doubt(&program, site.user.is_none()) {
        context.ui.note(&doubt);
    }
    if args.print {
        context.ui.data(site.preview(&todo))?;
        return said_to_the_end(context, &site, &todo, None);
    }
    let mut refused = None;
    if todo.needs_linger() {
        match site.enable_linger() {
            Ok(()) => {
                context.ui.news(&format!(
                    "lingering of {} is on: your opm starts at boot, and stays when you log out",
                    site.user.as_deref().unwrap_or_default()
                ));
                site = look()?;
                todo = decide(&site)?;
            }
            Err(why) => refused = Some(why),
        }
    }
    site.carry_out(&todo, &mut |line| context.ui.news(line))?;
    if let Some(other) = site.starts_another(&program) {
        context.ui.note(&format!("the unit starts {}, which is not this {}", other.display(), program.display()));
    }
    if refused.is_none() && !todo.steps.is_empty() {
        context.ui.news("from now on opm, and the apps that are wanted up, start at boot");
    }
    said_to_the_end(context, &site, &todo, refused)
}

/// What there is to know after it, or instead of it. `refused`: why lingering could not be switched on.
fn said_to_the_end(
    context: &Context<'_>,
    site: &Site,
    todo: &plan::Plan,
    refused: Option<String>,
) -> Result<(), Failure> {
    for note in &todo.notes {
        context.ui.note(note);
    }
    if todo.steps.is_empty() && todo.notes.is_empty() {
        let linger = if site.user.is_some() { ", and lingering is on" } else { "" };
        context.ui.news(&format!("{} is installed, enabled and running already{linger}", site.facts.unit));
    }
    if site.user.is_none()
        && let Some(name) = sudo_user_with_an_opm()
    {
        context.ui.note(&format!(
            "this is the system's opm; {name} has an opm of their own, which it does not start ('opm startup' without sudo does)"
        ));
    }
    let Some(why) = refused else { return Ok(()) };
    let name = site.user.as_deref().unwrap_or_default();
    Err(Failure::new(
        Exit::Failed,
        format!("everything else is done, but lingering of {name} is off and could not be switched on: {why}"),
    )
    .hint(format!(
        "until then opm ends when {name} logs out, and does not start at boot; an administrator runs: {}",
        linger::command_for(name)
    )))
}

/// Whether a daemon answers.
pub(super) fn answers(paths: &Paths) -> bool {
    Client::connect(paths).is_ok()
}

/// Runs the same command as that user, with their manager up.
pub(super) fn for_another(user: &Account, verb: &str, flags: &[&str], context: &Context<'_>) -> Result<(), Failure> {
    let failed = |why: String| Failure::new(Exit::Failed, why);
    let print = flags.contains(&"--print");
    let run = |program: &str, arguments: &[&str]| {
        let status = Command::new(program).args(arguments).status();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(failed(format!("{program} {}: {status}", arguments.join(" ")))),
            Err(e) => Err(failed(format!("failed to run {program}: {}", crate::config::cause(&e)))),
        }
    };
    let home = user.home().map_err(|why| {
        failed(why)
            .hint("a user's units stand in their home; --user NAME runs an app of the system's opm as somebody else")
    })?;
    let own = own_program()?;
    if verb == "startup" && !linger::is_on(&user.name) {
        if print {
            context.ui.data(format!("loginctl enable-linger {}\n", user.name))?;
        } else {
            run("loginctl", &["enable-linger", &user.name])?;
        }
    }
    if verb == "startup" && !print {
        run("systemctl", &["start", &format!("user@{}.service", user.uid)])?;
    }
    match user.command(home, &own).arg(verb).args(flags).status() {
        Ok(status) if status.success() => Ok(()),
        // It has said why.
        Ok(_) => Err(Failure::Told(Exit::Failed)),
        Err(e) => Err(failed(format!("failed to run setsid: {}", crate::config::cause(&e)))
            .hint(format!("run 'opm {verb}' as {}", user.name))),
    }
}

/// Whoever called `sudo`, if they have an opm of their own.
fn sudo_user_with_an_opm() -> Option<String> {
    let name = std::env::var("SUDO_USER").ok().filter(|name| name != "root")?;
    let uid = std::env::var("SUDO_UID").ok()?;
    let saved = || Some(Account::find(&name).ok()?.home().ok()?.join(".local/state/opm/index.json"));
    let socket = Path::new("/run/user").join(uid).join("opm/opm.sock");
    (socket.exists() || saved().is_some_and(|saved| saved.exists())).then_some(name)
}

/// Why that program is none to start with the machine, if it is none.
fn doubt(program: &Path, system: bool) -> Option<String> {
    let text = program.to_string_lossy();
    let below = |dirs: &[&str]| dirs.iter().any(|dir| program.starts_with(dir));
    let because = if text.contains("/target/debug/") || text.contains("/target/release/") {
        "is in a build folder, where the next build replaces it"
    } else if below(&["/tmp", "/var/tmp", "/dev/shm", "/run"]) {
        "is where files do not stay"
    } else if !program.exists() {
        "is not there any more"
    } else if system && below(&["/home"]) {
        "belongs to a user, who could have root run anything by it"
    } else {
        return None;
    };
    Some(format!(
        "{text} {because}; a unit that starts it is only as good: install opm, or copy it to /usr/local/bin, and do this again"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_will_not_stay_is_told() {
        let said = |path: &str, system| doubt(Path::new(path), system).unwrap_or_default();
        assert!(said("/home/a/opm/target/release/opm", false).contains("build folder"));
        assert!(said("/tmp/opm", false).contains("do not stay"));
        assert!(said("/nowhere/opm", false).contains("not there any more"));
        assert_eq!(said("/bin/sh", true), "");
    }
}
