//! How a unit stands, as `systemctl show` tells it. Parsed here, and nowhere else; nothing is decided.

use std::path::PathBuf;

/// Whether the manager has a file for the unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) enum Load {
    Loaded,
    /// An administrator, or the user, does not want it to start.
    Masked,
    NotFound,
    /// It has one that it cannot use: `bad-setting`, `error`.
    Unusable(String),
}

/// Whether it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Active {
    /// Or is on its way up or down.
    Yes,
    No,
    /// It ended in a way that systemd calls a failure.
    Failed,
}

/// How a unit stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct State {
    pub(in crate::cli) load: Load,
    pub(in crate::cli) active: Active,
    /// enabled, disabled, static, masked, transient, ...; empty where there is no file.
    pub(in crate::cli) file: String,
    /// The file it was read from.
    pub(in crate::cli) fragment: Option<PathBuf>,
    /// Made with `systemd-run`.
    pub(in crate::cli) transient: bool,
    /// The files have changed since they were read.
    pub(in crate::cli) stale: bool,
    /// The program that it starts.
    pub(in crate::cli) program: Option<PathBuf>,
    /// What the unit does not say of what opm's laws need, as lines of a unit file.
    pub(in crate::cli) lacks: Vec<&'static str>,
}

/// What a unit must say so that apps have cgroups of their own and outlive the keeper: the property, its value there, and the line.
const NEEDED: [(&str, &str, &str); 2] =
    [("Delegate", "yes", "Delegate=yes"), ("KillMode", "process", "KillMode=process")];

impl State {
    /// What has to be asked for.
    pub(super) const PROPERTIES: [&str; 9] = [
        "LoadState",
        "ActiveState",
        "UnitFileState",
        "FragmentPath",
        "Transient",
        "NeedDaemonReload",
        "ExecStart",
        "Delegate",
        "KillMode",
    ];

    /// From `Name=value` lines.
    pub(super) fn parse(text: &str) -> Self {
        let value = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default().trim()
        };
        let load = match value("LoadState") {
            "loaded" => Load::Loaded,
            "masked" => Load::Masked,
            "not-found" | "" => Load::NotFound,
            other => Load::Unusable(other.to_owned()),
        };
        let active = match value("ActiveState") {
            "active" | "activating" | "deactivating" | "reloading" | "refreshing" => Active::Yes,
            "failed" => Active::Failed,
            _ => Active::No,
        };
        let path = |text: &str| Some(PathBuf::from(text)).filter(|path| path.is_absolute());
        // `{ path=/usr/bin/opm ; argv[]=/usr/bin/opm daemon run ; ...`
        let program = value("ExecStart").split_once("path=").and_then(|(_, rest)| path(rest.split(" ; ").next()?));
        Self {
            load,
            active,
            file: value("UnitFileState").to_owned(),
            fragment: path(value("FragmentPath")),
            transient: value("Transient") == "yes",
            stale: value("NeedDaemonReload") == "yes",
            program,
            // One that is not there says nothing; nor does a systemd that does not tell.
            lacks: NEEDED
                .iter()
                .filter(|(name, needed, _)| !["", needed].contains(&value(name)))
                .map(|(_, _, line)| *line)
                .collect(),
        }
    }

    /// Whether it starts with the machine, or with its user's manager.
    pub(in crate::cli) fn is_enabled(&self) -> bool {
        self.file == "enabled"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemctl_shows_is_understood() {
        let text = "LoadState=loaded\nActiveState=active\nFragmentPath=/usr/lib/systemd/user/opm.service\n\
            UnitFileState=enabled\nNeedDaemonReload=no\nTransient=no\n\
            ExecStart={ path=/usr/bin/opm ; argv[]=/usr/bin/opm daemon run ; ignore_errors=no ; pid=119 ; status=0/0 }\n";
        let state = State::parse(text);
        assert_eq!((state.load.clone(), state.active), (Load::Loaded, Active::Yes));
        assert_eq!(state.program.as_deref(), Some("/usr/bin/opm".as_ref()));
        assert_eq!(state.fragment.as_deref(), Some("/usr/lib/systemd/user/opm.service".as_ref()));
        assert!(state.is_enabled() && !state.stale && !state.transient);

        let none = State::parse("LoadState=not-found\nActiveState=inactive\nFragmentPath=\nUnitFileState=\n");
        assert_eq!((none.load.clone(), none.active, none.fragment.clone()), (Load::NotFound, Active::No, None));
        assert!(!none.is_enabled());

        let edited = State::parse("LoadState=loaded\nActiveState=active\nDelegate=no\nKillMode=control-group\n");
        assert_eq!(edited.lacks, ["Delegate=yes", "KillMode=process"]);
        assert_eq!(State::parse("LoadState=loaded\nDelegate=yes\nKillMode=process\n").lacks, [""; 0]);

        let odd = State::parse("LoadState=bad-setting\nActiveState=failed\nUnitFileState=enabled-runtime\n");
        assert_eq!((odd.load.clone(), odd.active), (Load::Unusable("bad-setting".to_owned()), Active::Failed));
        assert!(!odd.is_enabled(), "for this boot only");
    }
}
