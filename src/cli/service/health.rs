//! How opm stands with systemd, for `opm doctor`. Facts first, judged apart.
//!
//! It asks, and changes nothing.

use super::linger;
use super::manager::{Reach, reach, version};
use super::state::{Active, Load, State};
use super::unit::Unit;
use crate::api::Check;
use crate::config::Paths;
use std::path::{Path, PathBuf};

/// The oldest systemd that opm is made for (Ubuntu 22.04).
const OLDEST: u32 = 249;
/// The first that knows DelegateSubgroup=.
const SUBGROUP: u32 = 254;

/// What there is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Facts {
    version: Option<u32>,
    reach: Reach,
    unit: String,
    /// How the unit stands, or why that is not known.
    state: Option<Result<State, String>>,
    /// The program of the unit is there.
    program_there: bool,
    /// Where a unit is that is gone after a reboot.
    fleeting: Option<PathBuf>,
    /// Who asks, and whether they linger; none: root, or it is the system's opm that they ask about.
    user: Option<(String, bool)>,
    /// A daemon answers.
    daemon: bool,
}

/// Looks, and judges.
pub(in crate::cli) fn examine(paths: &Paths, daemon: bool) -> Vec<Check> {
    judge(&look(paths, daemon))
}

fn look(paths: &Paths, daemon: bool) -> Facts {
    let reach = reach(paths.system && paths.home.is_none());
    let manager = match &reach {
        Reach::Here(manager) => Some(manager),
        Reach::NotRunning | Reach::OnlyRoot | Reach::NoSystemd => None,
    };
    let unit = manager.and_then(|manager| Unit::of(paths, manager.runtime_dir.as_deref()).ok());
    let state = manager.zip(unit.as_ref()).map(|(manager, unit)| manager.show(&unit.name));
    let program = state.as_ref().and_then(|state| state.as_ref().ok()?.program.clone());
    let root = rustix::process::geteuid().is_root();
    Facts {
        version: (reach != Reach::NoSystemd).then(|| version(manager)).flatten(),
        program_there: program.is_none_or(|program| program.exists()),
        fleeting: unit.as_ref().map(Unit::fleeting_file),
        unit: unit.map_or_else(|| "opm.service".to_owned(), |unit| unit.name),
        state,
        user: if root || reach == Reach::OnlyRoot {
            None
        } else {
            linger::own_name().ok().map(|name| (name.clone(), linger::is_on(&name)))
        },
        reach,
        daemon,
    }
}

fn judge(facts: &Facts) -> Vec<Check> {
    let mut checks = vec![manager(facts)];
    if facts.reach == Reach::NoSystemd {
        return checks;
    }
    if let Some(version) = facts.version {
        checks.push(age(version));
    }
    match &facts.state {
        Some(Ok(state)) => checks.extend([unit(facts, state), enabled(facts, state)]),
        Some(Err(why)) => checks.push(Check::bad(
            "systemd.unit",
            format!("systemd does not answer: {why}"),
            "no daemon can be started",
            "'systemctl [--user] status' says more",
        )),
        None => {}
    }
    if let Some((name, lingers)) = &facts.user {
        checks.push(if *lingers {
            Check::ok("systemd.linger", format!("on for {name}"))
        } else {
            Check::note(
                "systemd.linger",
                format!("off for {name}"),
                "apps end when you log out, and do not start at boot",
                format!("opm startup, or: {}", linger::command_for(name)),
            )
        });
    }
    checks
}

fn manager(facts: &Facts) -> Check {
    let id = "systemd.manager";
    match &facts.reach {
        Reach::Here(manager) if manager.is_users() => Check::ok(id, "this user's own"),
        Reach::Here(_) => Check::ok(id, "the system's"),
        Reach::OnlyRoot => Check::ok(id, "the system's, which only root may ask about opm"),
        Reach::NoSystemd => Check::note(
            id,
            "systemd does not run this machine",
            "nothing starts opm at boot, or again if its keeper is killed",
            "have what starts services here run 'opm daemon run'",
        ),
        Reach::NotRunning => {
            let name = facts.user.as_ref().map_or("USER", |(name, _)| name);
            Check::bad(
                id,
                format!("none runs for {name}: no session of systemd's, and no lingering"),
                "there is no place for a daemon",
                format!("opm startup, or: {}", linger::command_for(name)),
            )
        }
    }
}

fn age(version: u32) -> Check {
    let id = "systemd.version";
    if version < OLDEST {
        return Check::note(id, version.to_string(), "opm is not tried on it", "systemd 249 or later");
    }
    if version < SUBGROUP {
        return Check::note(
            id,
            format!("{version}, without DelegateSubgroup="),
            "if the keeper is killed, limits of apps are off until the next one has set them again",
            "systemd 254 or later; nothing has to be done",
        );
    }
    Check::ok(id, version.to_string())
}

fn unit(facts: &Facts, state: &State) -> Check {
    let (id, name) = ("systemd.unit", &facts.unit);
    let systemctl = facts.systemctl();
    let file = state.fragment.as_deref().unwrap_or(Path::new("no file")).display();
    match &state.load {
        Load::Masked => {
            Check::bad(id, format!("{name} is masked"), "opm cannot start here", format!("{systemctl} unmask {name}"))
        }
        Load::Unusable(how) => Check::bad(
            id,
            format!("{file} cannot be used ({how})"),
            "opm cannot start here",
            format!("'{systemctl} status {name}' says why"),
        ),
        Load::Loaded if !facts.program_there => Check::bad(
            id,
            format!("{file} starts a program that is not there"),
            "opm cannot start here",
            "opm startup (if opm wrote it), or install opm there",
        ),
        Load::Loaded if state.active == Active::Failed => Check::bad(
            id,
            format!("{name} has failed"),
            "no daemon runs under it",
            format!("'{systemctl} status {name}' says why; {systemctl} restart {name}"),
        ),
        Load::Loaded if state.transient => Check::note(
            id,
            format!("{name} is a transient unit (systemd-run)"),
            "it may lack what the installed one says",
            "opm startup; from the next boot on it is the installed one",
        ),
        Load::Loaded if !state.lacks.is_empty() => {
            let lines = state.lacks.join(", ");
            Check::bad(
                id,
                format!("{file} or a drop-in of it does not say {lines}"),
                "apps have no limits, or end with opm, from its next start on",
                format!("put it in: {systemctl} edit {name}, [Service], {lines}"),
            )
        }
        // The keeper alone is killed: apps go on, and its successor makes the socket anew. A restart would stop them.
        Load::Loaded if state.active == Active::Yes && !facts.daemon => Check::bad(
            id,
            format!("{file}, runs, and nobody answers at its socket"),
            "no order gets through; apps go on",
            format!("if that lasts: {systemctl} kill --kill-who=main -s KILL {name}; no app is touched by it"),
        ),
        Load::Loaded | Load::NotFound if facts.daemon && state.active != Active::Yes => Check::note(
            id,
            format!("a daemon runs, and not as {name}"),
            "systemd does not start it again if it is killed, and may end it with a session",
            format!("'opm kill', then {systemctl} start {name}"),
        ),
        Load::Loaded => {
            let runs = if state.active == Active::Yes { "runs" } else { "does not run" };
            Check::ok(id, format!("{file}, {runs}"))
        }
        Load::NotFound => Check::ok(id, "none installed; the first order to opm makes one for this boot"),
    }
}

fn enabled(facts: &Facts, state: &State) -> Check {
    let id = "systemd.enabled";
    if state.is_enabled() && state.fragment != facts.fleeting {
        return Check::ok(id, "starts at boot");
    }
    Check::note(id, "no", "apps do not come back after a reboot", "opm startup")
}

impl Facts {
    fn systemctl(&self) -> &'static str {
        if self.user.is_some() { "systemctl --user" } else { "systemctl" }
    }
}

#[cfg(test)]
mod tests {
    use super::super::manager::Manager;
    use super::*;
    use crate::api::Verdict;

    fn healthy() -> Facts {
        let state = State {
            load: Load::Loaded,
            active: Active::Yes,
            file: "enabled".to_owned(),
            fragment: Some("/usr/lib/systemd/user/opm.service".into()),
            transient: false,
            stale: false,
            program: Some("/usr/bin/opm".into()),
            lacks: vec![],
        };
        Facts {
            version: Some(257),
            reach: Reach::Here(Manager { runtime_dir: Some("/run/user/1000".into()) }),
            unit: "opm.service".to_owned(),
            state: Some(Ok(state)),
            program_there: true,
            fleeting: Some("/run/user/1000/systemd/user/opm.service".into()),
            user: Some(("ann".to_owned(), true)),
            daemon: true,
        }
    }

    fn wrong(change: impl FnOnce(&mut Facts, &mut State)) -> Vec<(String, Verdict)> {
        let mut facts = healthy();
        let mut state = match facts.state.take() {
            Some(Ok(state)) => state,
            Some(Err(_)) | None => unreachable!("it is healthy"),
        };
        change(&mut facts, &mut state);
        facts.state = matches!(facts.reach, Reach::Here(_)).then_some(Ok(state));
        let checks = judge(&facts);
        let wrong = checks.into_iter().filter(|check| check.verdict != Verdict::Ok);
        wrong.map(|check| (check.id, check.verdict)).collect()
    }

    fn one(id: &str, verdict: Verdict) -> Vec<(String, Verdict)> {
        vec![(id.to_owned(), verdict)]
    }

    #[test]
    fn each_fact_has_its_line() {
        assert_eq!(wrong(|_, _| ()), []);
        assert_eq!(wrong(|f, _| f.version = Some(252)), one("systemd.version", Verdict::Note));
        assert_eq!(wrong(|f, _| f.version = Some(245)), one("systemd.version", Verdict::Note));
        assert_eq!(wrong(|f, _| f.user = Some(("ann".to_owned(), false))), one("systemd.linger", Verdict::Note));
        assert_eq!(wrong(|_, s| s.file = "disabled".to_owned()), one("systemd.enabled", Verdict::Note));
        assert_eq!(wrong(|_, s| s.lacks = vec!["Delegate=yes"]), one("systemd.unit", Verdict::Bad));
        assert_eq!(wrong(|f, _| f.daemon = false), one("systemd.unit", Verdict::Bad), "its socket is gone");
        assert_eq!(wrong(|_, s| s.load = Load::Masked), one("systemd.unit", Verdict::Bad));
        assert_eq!(wrong(|f, _| f.program_there = false), one("systemd.unit", Verdict::Bad));
        assert_eq!(wrong(|_, s| s.active = Active::Failed), one("systemd.unit", Verdict::Bad));
        assert_eq!(wrong(|_, s| s.active = Active::No), one("systemd.unit", Verdict::Note), "a daemon beside it");
        assert_eq!(wrong(|_, s| s.transient = true), one("systemd.unit", Verdict::Note));
        assert_eq!(wrong(|f, _| f.reach = Reach::NotRunning), one("systemd.manager", Verdict::Bad));
        let none = |f: &mut Facts, _: &mut State| (f.reach, f.user) = (Reach::NoSystemd, None);
        assert_eq!(wrong(none), one("systemd.manager", Verdict::Note));
    }

    #[test]
    fn without_a_unit_nothing_is_wrong_but_that_it_does_not_come_back() {
        let absent = |f: &mut Facts, s: &mut State| {
            (s.load, s.active, s.file, s.fragment) = (Load::NotFound, Active::No, String::new(), None);
            f.daemon = false;
        };
        assert_eq!(wrong(absent), one("systemd.enabled", Verdict::Note));
    }
}
