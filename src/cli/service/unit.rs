//! The unit: its name, its places, and its text, which is that of the packaged one with other paths.
//!
//! Owns what opm writes into unit files. It must not write them. What a reader would get wrong: a unit file is not a shell script.
//! `%` and, in commands, `$` mean something in it; words are quoted as systemd.syntax(7) says.

use crate::config::Paths;
use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const SYSTEM: &str = include_str!("../../../packaging/systemd/system/opm.service");
const USER: &str = include_str!("../../../packaging/systemd/user/opm.service");

/// Where the packaged unit's program is.
const PACKAGED_PROGRAM: &str = "/usr/bin/opm";

/// How the first line of every unit file begins that opm writes. Others are never changed or removed.
const MARK: &str = "# Written by opm";

/// One daemon's unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Unit {
    /// `opm.service`, or one of its own for each `OPM_HOME`.
    pub(in crate::cli) name: String,
    /// The system manager's, rather than a user's.
    pub(super) system: bool,
    /// Where units stand that an administrator, or the user, installs.
    pub(super) lasting: PathBuf,
    /// Where units stand that are gone after a reboot.
    pub(super) fleeting: PathBuf,
    /// Where units stand that others install: packages above all.
    pub(super) foreign: Vec<PathBuf>,
    /// What the daemon must find in its environment: the manager's is not the caller's.
    environment: Vec<(&'static str, OsString)>,
}

impl Unit {
    /// The unit of the daemon with these places. `runtime_dir`: the user manager's; none: the system's.
    ///
    /// # Errors
    /// Where a user's units stand is not known.
    pub(in crate::cli) fn of(paths: &Paths, runtime_dir: Option<&Path>) -> Result<Self, String> {
        let name = match &paths.home {
            Some(home) => {
                let hash: String =
                    Sha256::digest(home.as_os_str().as_bytes()).iter().take(4).map(|b| format!("{b:02x}")).collect();
                format!("opm-{hash}.service")
            }
            None => "opm.service".to_owned(),
        };
        // The system's places do not depend on whose environment it is.
        let told = if runtime_dir.is_some() { 4 } else { 2 };
        let environment = ["OPM_HOME", "OPM_CGROUP", "XDG_STATE_HOME", "XDG_CONFIG_HOME"]
            .into_iter()
            .take(told)
            .filter_map(|variable| match (&paths.home, variable) {
                (Some(home), "OPM_HOME") => Some((variable, home.clone().into_os_string())),
                (Some(_) | None, _) => std::env::var_os(variable).filter(|v| !v.is_empty()).map(|v| (variable, v)),
            })
            .collect();
        let (system, lasting, fleeting, foreign): (_, PathBuf, PathBuf, &[&str]) = match runtime_dir {
            None => (
                true,
                "/etc/systemd/system".into(),
                "/run/systemd/system".into(),
                &["/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"],
            ),
            Some(dir) => {
                let home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
                let home = home.ok_or("HOME is not set, and a user's units stand below it")?;
                let foreign = &["/etc/systemd/user", "/usr/local/lib/systemd/user", "/usr/lib/systemd/user"];
                (false, home.join(".config/systemd/user"), dir.join("systemd/user"), foreign)
            }
        };
        let foreign = foreign.iter().map(PathBuf::from).collect();
        Ok(Self { name, system, lasting, fleeting, foreign, environment })
    }

    /// The file that outlives a reboot.
    pub(super) fn lasting_file(&self) -> PathBuf {
        self.lasting.join(&self.name)
    }

    /// The file that does not.
    pub(super) fn fleeting_file(&self) -> PathBuf {
        self.fleeting.join(&self.name)
    }

    /// A file that somebody else installed.
    pub(super) fn foreign_file(&self) -> Option<PathBuf> {
        self.foreign.iter().map(|dir| dir.join(&self.name)).find(|file| file.exists())
    }

    /// What wants it when it is enabled: its section `[Install]` says so.
    pub(super) fn wanted_by(&self) -> &'static str {
        let text = if self.system { SYSTEM } else { USER };
        text.lines().find_map(|line| line.strip_prefix("WantedBy=")).unwrap_or("default.target")
    }

    /// The text of its file, for that program.
    ///
    /// # Errors
    /// The path cannot be said in a unit file, with the mend.
    pub(super) fn text(&self, program: &Path) -> Result<String, String> {
        let program = command_word(program)?;
        let undo = if self.system { "opm unstartup (as root)" } else { "opm unstartup" };
        let mut text = format!("{MARK} for {program}; '{undo}' takes it away.\n");
        for line in if self.system { SYSTEM } else { USER }.lines() {
            let is_command = line.starts_with("Exec") && line.contains(PACKAGED_PROGRAM);
            text.push_str(&if is_command { line.replacen(PACKAGED_PROGRAM, &program, 1) } else { line.to_owned() });
            text.push('\n');
            if line == "[Service]" {
                for (name, value) in &self.environment {
                    text.push_str(&format!("Environment=\"{name}={}\"\n", quoted(value.as_bytes())));
                }
            }
        }
        Ok(text)
    }
}

/// Whether opm wrote that text.
pub(super) fn is_ours(text: &str) -> bool {
    text.starts_with(MARK)
}

/// The path as the first word of a command. Quoted only where it must be.
fn command_word(program: &Path) -> Result<String, String> {
    let unspeakable = || {
        format!(
            "the path {} cannot be written into a unit file; install opm where its path is plain, such as /usr/local/bin/opm",
            program.display()
        )
    };
    let text = program.to_str().filter(|text| text.starts_with('/')).ok_or_else(unspeakable)?;
    if text.chars().any(|c| c.is_control() || matches!(c, '"' | '\'' | '\\' | '$')) {
        return Err(unspeakable());
    }
    let text = text.replace('%', "%%");
    Ok(if text.contains(char::is_whitespace) || text.contains(';') { format!("\"{text}\"") } else { text })
}

/// A value between double quotes: C escapes, and no specifiers.
fn quoted(value: &[u8]) -> String {
    value.iter().fold(String::new(), |mut out, byte| {
        match byte {
            b'%' => out.push_str("%%"),
            b'"' | b'\\' => out.extend(['\\', char::from(*byte)]),
            b' '..=b'~' => out.push(char::from(*byte)),
            other => out.push_str(&format!("\\x{other:02x}")),
        }
        out
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn paths(home: Option<&str>) -> Paths {
        Paths {
            state: "/s".into(),
            logs: "/l".into(),
            runtime: "/r".into(),
            config: "/c".into(),
            home: home.map(PathBuf::from),
            system: true,
        }
    }

    fn unit(home: Option<&str>) -> Unit {
        Unit { environment: vec![], ..Unit::of(&paths(home), None).unwrap() }
    }

    /// Held against the packaged file, line by line: nothing of it may be lost or changed but the program.
    #[test]
    fn what_opm_writes_says_all_that_the_packaged_unit_says() {
        for (packaged, system) in [(SYSTEM, true), (USER, false)] {
            let written = Unit { system, ..unit(None) }.text(Path::new("/opt/my opm/100%/opm")).unwrap();
            let (mark, rest) = written.split_once('\n').unwrap();
            assert!(is_ours(mark) && !is_ours(packaged), "{mark}");
            assert_eq!(rest.replace("\"/opt/my opm/100%%/opm\"", PACKAGED_PROGRAM), packaged);
            assert!(!rest.lines().any(|line| line.starts_with("Exec") && line.contains(PACKAGED_PROGRAM)), "{rest}");
            assert!(rest.contains("\nExecStart=\"/opt/my opm/100%%/opm\" daemon run\n"), "{rest}");
        }
    }

    /// What a unit must say for the laws to hold: a delegated cgroup, only the main process stopped, never given up on, and not
    /// started again after an order to end.
    #[test]
    fn both_units_say_what_the_laws_need() {
        for text in [SYSTEM, USER] {
            for needed in [
                "Type=notify",
                "NotifyAccess=main",
                "Delegate=yes",
                "DelegateSubgroup=supervisor",
                "KillMode=process",
                "Restart=always",
                "StartLimitIntervalSec=0",
                "OOMPolicy=continue",
                "TasksMax=infinity",
                &format!("RestartPreventExitStatus={} 77", crate::cli::KEPT_APPS),
                &format!("SuccessExitStatus={} 77", crate::cli::KEPT_APPS),
            ] {
                assert!(text.lines().any(|line| line == needed), "{needed}");
            }
        }
    }

    #[test]
    fn each_home_has_a_unit_of_its_own_and_is_told_its_home() {
        let (one, other) =
            (Unit::of(&paths(Some("/one")), None).unwrap(), Unit::of(&paths(Some("/two")), None).unwrap());
        assert_ne!(one.name, other.name);
        assert_eq!(one.name.len(), "opm-12345678.service".len());
        assert!(one.text(Path::new("/usr/bin/opm")).unwrap().contains("[Service]\nEnvironment=\"OPM_HOME=/one\"\n"));
        assert_eq!(unit(None).name, "opm.service");
    }

    #[test]
    fn what_a_unit_file_cannot_say_is_refused_or_quoted() {
        assert!(command_word(Path::new("/a$b/opm")).unwrap_err().contains("cannot be written"));
        assert!(command_word(Path::new("/a\nExecStartPre=/bin/evil/opm")).is_err());
        assert!(command_word(Path::new("opm")).is_err());
        assert_eq!(quoted(b"/a \"b\" 5%\n\xff"), "/a \\\"b\\\" 5%%\\x0a\\xff");
    }

    #[test]
    fn what_wants_the_unit_is_read_from_it() {
        assert_eq!(unit(None).wanted_by(), "multi-user.target");
        assert_eq!(Unit { system: false, ..unit(None) }.wanted_by(), "default.target");
    }
}
