//! Starts the daemon's unit: the installed one, else one for as long as the machine, or the user's manager, is up.
//!
//! It must not enable anything: whoever merely uses opm has not asked for it to come back after a reboot. What a reader would get
//! wrong: a unit file that appears needs no daemon-reload; one that changes does.

use super::install::{file, remove, write};
use super::manager::Manager;
use super::plan::Content;
use super::state::{Load, State};
use super::unit::Unit;
use crate::cli::exit::{Exit, Failure};
use crate::config::Paths;
use std::path::{Path, PathBuf};

/// Has the manager start the daemon with these places, and returns when it serves.
pub(in crate::cli) fn start(paths: &Paths, manager: &Manager) -> Result<(), Failure> {
    let say = |why: String| Failure::new(Exit::NoDaemon, why);
    let unit = Unit::of(paths, manager.runtime_dir.as_deref()).map_err(say)?;
    let show = || manager.show(&unit.name).map_err(|why| say(format!("systemd does not answer: {why}")));
    let mut state = show()?;
    if is_ours_to_write(&unit, &state) {
        let changed = match unit.foreign_file() {
            Some(_) => remove(&unit.fleeting_file()),
            None => provide(&unit, &own_program()?),
        };
        changed.map_err(|why| say(format!("failed to write {}: {why}", unit.fleeting_file().display())))?;
        state = show()?;
    }
    if state.stale || state.load == Load::NotFound {
        manager.reload().map_err(|why| say(format!("failed to have systemd read its units anew: {why}")))?;
        state = show()?;
    }
    match obstacle(&unit.name, &state, manager.systemctl(), Path::exists) {
        Some((why, mend)) => Err(say(why).hint(mend)),
        None => manager.start(&unit.name),
    }
}

/// Whether the unit comes from nowhere, or from a file of ours that is gone after a reboot.
fn is_ours_to_write(unit: &Unit, state: &State) -> bool {
    let fleeting = unit.fleeting_file();
    match state.load {
        Load::NotFound => true,
        Load::Loaded | Load::Unusable(_) => {
            state.fragment.as_ref() == Some(&fleeting) && matches!(file(fleeting).content, Content::Ours(_))
        }
        Load::Masked => false,
    }
}

fn provide(unit: &Unit, program: &Path) -> Result<(), String> {
    let text = unit.text(program)?;
    match file(unit.fleeting_file()).content {
        Content::Ours(now) if now == text => Ok(()),
        Content::Ours(_) | Content::Absent => write(&unit.fleeting_file(), &text),
        Content::Theirs => Err("there is one already that opm did not write".to_owned()),
    }
}

/// What keeps the unit from starting, and the mend.
fn obstacle(unit: &str, state: &State, systemctl: &str, exists: impl Fn(&Path) -> bool) -> Option<(String, String)> {
    let fragment = || state.fragment.as_deref().map_or_else(|| unit.to_owned(), |path| path.display().to_string());
    match &state.load {
        Load::Masked => Some((
            format!("{unit} is masked: somebody does not want opm to run here"),
            format!("'{systemctl} unmask {unit}' allows it again"),
        )),
        Load::Unusable(how) => Some((
            format!("systemd cannot use {} ({how})", fragment()),
            format!(
                "'{systemctl} status {unit}' says why; 'opm startup' writes the unit that opm needs, once it is out of the way"
            ),
        )),
        Load::NotFound => Some((
            format!("systemd does not find {unit}, which was written for it"),
            format!("'{systemctl} show -p UnitPath' says where it looks"),
        )),
        Load::Loaded => {
            let gone = state.program.as_deref().filter(|program| !exists(program))?;
            Some((
                format!("{} starts {}, which is not there", fragment(), gone.display()),
                "'opm startup' writes the unit anew, if opm wrote it; else mend the path in it, or install opm there"
                    .to_owned(),
            ))
        }
    }
}

/// The path of the program that runs, as it was installed: it may have been replaced since.
pub(in crate::cli) fn own_program() -> Result<PathBuf, Failure> {
    let path = std::env::current_exe().map_err(|e| {
        Failure::new(Exit::NoDaemon, format!("failed to find the opm binary: {}", crate::config::cause(&e)))
    })?;
    let text = path.to_string_lossy();
    Ok(text.strip_suffix(" (deleted)").map_or_else(|| path.clone(), PathBuf::from))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::state::Active;
    use super::*;

    fn state(load: Load) -> State {
        State {
            load,
            active: Active::No,
            file: String::new(),
            fragment: Some("/usr/lib/systemd/user/opm.service".into()),
            transient: false,
            stale: false,
            program: Some("/usr/bin/opm".into()),
            lacks: vec![],
        }
    }

    #[test]
    fn what_keeps_a_unit_from_starting_is_told_with_its_mend() {
        let told = |load, exists: bool| obstacle("opm.service", &state(load), "systemctl --user", |_| exists);
        assert_eq!(told(Load::Loaded, true), None);
        let (why, _) = told(Load::Loaded, false).unwrap();
        assert_eq!(why, "/usr/lib/systemd/user/opm.service starts /usr/bin/opm, which is not there");
        let (why, mend) = told(Load::Masked, true).unwrap();
        assert!(why.contains("is masked") && mend.contains("systemctl --user unmask opm.service"), "{why} {mend}");
        assert!(told(Load::NotFound, true).is_some());
        assert!(told(Load::Unusable("bad-setting".to_owned()), true).unwrap().0.contains("(bad-setting)"));
    }
}
