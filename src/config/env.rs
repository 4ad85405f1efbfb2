//! The environment policy: what is captured from whoever starts an app, and what its runs get.
//!
//! Pure: file contents come in as bytes, so that the daemon at every spawn and `opm env --why` compose the same thing.
//! Nothing is merged ahead of time: the parts are stored apart and composed anew for each run, so a variable that is
//! taken out of its source is gone at the next spawn.
//!
//! What a reader would get wrong: `LISTEN_*` and `TERM*` are not dropped by prefix. `LISTEN_PORT` and
//! `TERMINATION_GRACE` are an app's own; only the names that systemd and terminals really use go.

use super::envfile;
use crate::model::{EnvMap, RawText};
use std::collections::BTreeMap;
use std::ffi::OsString;

/// Variables that belong to the login session, the terminal or the service manager of whoever types, and would be wrong or
/// stale in an app that outlives them. A trailing `*` stands for any ending. This list is the documentation.
///
/// Not in it: `XDG_RUNTIME_DIR`. It belongs to the user, not to one of their sessions, the user's own daemon lives in it,
/// and rootless podman or `systemctl --user` in an app cannot do without.
pub const SESSION_VARIABLES: &[&str] = &[
    // Remote logins, their agents and forwardings.
    "SSH_*",
    // The desktop session and its bus.
    "DBUS_*",
    "XDG_SESSION_*",
    "XDG_SEAT",
    "XDG_SEAT_PATH",
    "XDG_VTNR",
    "XDG_CURRENT_DESKTOP",
    "DESKTOP_SESSION",
    "GDMSESSION",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "SESSION_MANAGER",
    "GPG_AGENT_INFO",
    // The terminal.
    "TERM",
    "TERMCAP",
    "TERMINFO",
    "TERM_PROGRAM",
    "TERM_PROGRAM_VERSION",
    "TERM_SESSION_ID",
    "COLORTERM",
    "COLORFGBG",
    "COLUMNS",
    "LINES",
    "LS_COLORS",
    "GPG_TTY",
    "TMUX",
    "TMUX_PANE",
    "STY",
    "VTE_VERSION",
    "WINDOWID",
    "WINDOWPATH",
    // The shell.
    "PWD",
    "OLDPWD",
    "SHLVL",
    "_",
    "SUDO_*",
    // The service manager, and opm itself.
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_PID",
    "LISTEN_PIDFDID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "SYSTEMD_EXEC_PID",
    "MANAGERPID",
    "MANAGERPIDFDID",
    "CREDENTIALS_DIRECTORY",
    "MEMORY_PRESSURE_WATCH",
    "MEMORY_PRESSURE_WRITE",
    "OPM_*",
];

/// What `--env-clean` keeps of the captured environment.
pub const CLEAN_VARIABLES: &[&str] = &["PATH", "HOME", "USER", "LANG", "SHELL", "TZ"];

/// The environment of whoever asks, less what belongs to their login session.
pub fn capture(vars: impl IntoIterator<Item = (OsString, OsString)>) -> EnvMap {
    EnvMap(
        vars.into_iter()
            .map(|(name, value)| (RawText::from(name), RawText::from(value)))
            .filter(|(name, _)| !belongs_to_session(name.as_bytes()))
            .collect(),
    )
}

fn belongs_to_session(name: &[u8]) -> bool {
    SESSION_VARIABLES.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix.as_bytes()),
        None => name == pattern.as_bytes(),
    })
}

/// Where a variable comes from; the later ones win.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// From the environment of whoever started the app.
    Captured,
    /// From an env file.
    EnvFile,
    /// From `--env`.
    Declared,
    /// From opm itself.
    Opm,
}

/// One variable of the composed environment.
#[derive(Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: RawText,
    /// Its value.
    pub value: RawText,
    /// Where it comes from.
    pub source: Source,
    /// The env file, where it comes from one.
    pub file: Option<RawText>,
}

/// What the next run gets.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Composed {
    /// The variables, sorted by name.
    pub variables: Vec<Variable>,
    /// Env files with mistakes, in words. A spawn must not go ahead with any: half an environment is worse than none.
    pub problems: Vec<String>,
}

/// Everything that an environment is made of.
#[derive(Clone, Copy)]
pub struct Parts<'a> {
    /// What was captured.
    pub captured: &'a EnvMap,
    /// Keep only [`CLEAN_VARIABLES`] of it.
    pub clean: bool,
    /// The env files in the order they were named, each with its contents or why it could not be read. Later ones win.
    pub files: &'a [(RawText, Result<Vec<u8>, String>)],
    /// What was declared for the app.
    pub declared: &'a BTreeMap<RawText, RawText>,
    /// opm's own documented few.
    pub own: &'a [(RawText, RawText)],
}

/// Puts an environment together: opm's own > declared > env files > captured.
#[must_use]
pub fn compose(parts: Parts<'_>) -> Composed {
    let mut by_name: BTreeMap<RawText, (RawText, Source, Option<RawText>)> = BTreeMap::new();
    let mut problems = Vec::new();
    let kept = |name: &RawText| !parts.clean || CLEAN_VARIABLES.iter().any(|k| k.as_bytes() == name.as_bytes());
    for (name, value) in parts.captured.0.iter().filter(|(name, _)| kept(name)) {
        by_name.insert(name.clone(), (value.clone(), Source::Captured, None));
    }
    for (path, contents) in parts.files {
        match contents.as_ref().map_err(Clone::clone).and_then(|bytes| envfile::parse(bytes)) {
            Ok(pairs) => {
                for (name, value) in pairs {
                    by_name.insert(name, (value, Source::EnvFile, Some(path.clone())));
                }
            }
            Err(why) => problems.push(format!("env file {path}: {why}")),
        }
    }
    for (pairs, source) in [
        (parts.declared.iter().map(|(n, v)| (n.clone(), v.clone())).collect::<Vec<_>>(), Source::Declared),
        (parts.own.to_vec(), Source::Opm),
    ] {
        by_name.extend(pairs.into_iter().map(|(name, value)| (name, (value, source, None))));
    }
    // execve(2) takes `NAME=value` strings: what cannot be written so does not exist for the app either.
    let variables = by_name
        .into_iter()
        .filter(|(name, (value, ..))| is_name(name.as_bytes()) && !value.as_bytes().contains(&0))
        .map(|(name, (value, source, file))| Variable { name, value, source, file })
        .collect();
    Composed { variables, problems }
}

/// Whether execve(2) can carry a variable of this name.
#[must_use]
pub fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && !name.iter().any(|b| matches!(b, b'=' | 0))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn os(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        pairs.iter().map(|(n, v)| (OsString::from(n), OsString::from(v))).collect()
    }

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<RawText, RawText> {
        pairs.iter().map(|(n, v)| (RawText::from(*n), RawText::from(*v))).collect()
    }

    #[test]
    fn the_login_session_stays_behind_and_the_rest_comes_along() {
        let captured = capture(os(&[
            ("PATH", "/bin"),
            ("PORT", "3000"),
            ("LISTEN_PORT", "80"),
            ("TERMINATION_GRACE", "5"),
            ("XDG_RUNTIME_DIR", "/run/user/1000"),
            ("SSH_AUTH_SOCK", "/tmp/a"),
            ("SUDO_USER", "me"),
            ("TERM", "xterm"),
            ("PWD", "/"),
            ("_", "/bin/opm"),
            ("NOTIFY_SOCKET", "/run/x"),
            ("LISTEN_FDS", "1"),
            ("OPM_HOME", "/x"),
        ]));
        let names: Vec<_> = captured.0.keys().map(ToString::to_string).collect();
        assert_eq!(names, ["LISTEN_PORT", "PATH", "PORT", "TERMINATION_GRACE", "XDG_RUNTIME_DIR"]);
    }

    #[test]
    fn declared_wins_over_files_which_win_over_captured() {
        let captured = EnvMap(map(&[("A", "captured"), ("B", "captured"), ("C", "captured"), ("D", "captured")]));
        let files = [
            (RawText::from("/one"), Ok(b"B=one\nC=one\nD=one".to_vec())),
            (RawText::from("/two"), Ok(b"C=two\nD=two".to_vec())),
        ];
        let declared = map(&[("D", "declared")]);
        let composed =
            compose(Parts { captured: &captured, clean: false, files: &files, declared: &declared, own: &[] });
        let seen: Vec<_> = composed
            .variables
            .iter()
            .map(|v| format!("{}={} {:?} {:?}", v.name, v.value, v.source, v.file.as_ref().map(ToString::to_string)))
            .collect();
        assert_eq!(
            seen,
            [
                "A=captured Captured None",
                "B=one EnvFile Some(\"/one\")",
                "C=two EnvFile Some(\"/two\")",
                "D=declared Declared None"
            ]
        );
    }

    #[test]
    fn clean_keeps_the_six_and_what_is_declared() {
        let captured = EnvMap(map(&[("PATH", "/bin"), ("TZ", "UTC"), ("AWS_SECRET", "x"), ("LC_ALL", "C")]));
        let declared = map(&[("MINE", "1")]);
        let composed = compose(Parts { captured: &captured, clean: true, files: &[], declared: &declared, own: &[] });
        let names: Vec<_> = composed.variables.iter().map(|v| v.name.to_string()).collect();
        assert_eq!(names, ["MINE", "PATH", "TZ"]);
    }

    #[test]
    fn what_execve_cannot_carry_is_left_out_and_bad_files_are_told() {
        let captured = EnvMap(map(&[("A=B", "x"), ("", "x"), ("NUL", "a\0b"), ("OK", "1")]));
        let files = [(RawText::from("/f"), Err("failed to open: no such file".to_owned()))];
        let none = BTreeMap::new();
        let composed = compose(Parts { captured: &captured, clean: false, files: &files, declared: &none, own: &[] });
        assert_eq!(composed.variables.len(), 1);
        assert_eq!(composed.variables.first().unwrap().name, "OK".into());
        assert_eq!(composed.problems, ["env file /f: failed to open: no such file"]);
    }
}
