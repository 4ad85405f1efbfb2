//! The same command as another user, for root: `opm startup -u alice`.
//!
//! Owns who that is and what their process gets to see. What a reader would get wrong: that process is theirs from its first
//! instruction on. They may read its environment and trace it, so it has nothing of root's: no variable, no terminal.

use super::manager::said;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What of our environment is about the screen, and no secret.
const SHOWN: [&str; 3] = ["LANG", "TERM", "NO_COLOR"];

/// Who is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Account {
    pub(in crate::cli) name: String,
    pub(in crate::cli) uid: u32,
    home: PathBuf,
}

impl Account {
    /// By name, or by number as long as nobody is called so.
    ///
    /// # Errors
    /// There is none.
    pub(in crate::cli) fn find(who: &str) -> Result<Self, String> {
        // Nothing that getent could take for a flag, or for a question about everybody.
        if who.is_empty() || who.starts_with('-') {
            return Err(format!("'{}' is not the name of a user", who.escape_debug()));
        }
        let mut getent = Command::new("getent");
        getent.args(["passwd", who]);
        let none = || format!("there is no user '{}'", who.escape_debug());
        let line = said(getent).map_err(|why| if why.starts_with("exit status") { none() } else { why })?;
        Self::parse(&line).ok_or_else(none)
    }

    /// A line of passwd(5).
    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.trim_end().split(':').collect();
        let [name, _, uid, _, _, home, _] = fields[..] else { return None };
        Some(Self { name: name.to_owned(), uid: uid.parse().ok()?, home: home.into() })
    }

    /// The home, where their units stand.
    ///
    /// # Errors
    /// There is none, as with `nobody`.
    pub(in crate::cli) fn home(&self) -> Result<&Path, String> {
        if self.home.is_absolute() && self.home.is_dir() {
            return Ok(&self.home);
        }
        Err(format!("{} has no home directory ({} is not there)", self.name, self.home.display()))
    }

    /// `program` as that user, in a session of its own and with nothing of our environment.
    pub(in crate::cli) fn command(&self, home: &Path, program: &Path) -> Command {
        let mut command = self.clean("setsid", home);
        // A login shell would read their profile, which may do anything; runuser(1) without one runs the program itself.
        command.args(["--wait", "runuser", "-u", &self.name, "--"]).arg(program);
        command
    }

    fn clean(&self, program: &str, home: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().current_dir("/").stdin(Stdio::null());
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("HOME", home).env("USER", &self.name).env("LOGNAME", &self.name);
        command.env("XDG_RUNTIME_DIR", format!("/run/user/{}", self.uid));
        command.envs(SHOWN.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_read_from_its_line() {
        let ann = Account::parse("ann:x:1000:1000:Ann, of 3:/home/ann:/bin/bash\n").unwrap();
        assert_eq!((&*ann.name, ann.uid, &*ann.home), ("ann", 1000, Path::new("/home/ann")));
        assert_eq!(Account::parse(""), None);
        assert_eq!(Account::parse("ann:x:many:1000::/home/ann:/bin/bash"), None);
    }

    #[test]
    fn who_is_nobody_and_who_has_no_home_is_told() {
        assert_eq!(Account::find("").unwrap_err(), "'' is not the name of a user");
        assert_eq!(Account::find("--help").unwrap_err(), "'--help' is not the name of a user");
        let nobody = Account { name: "nobody".to_owned(), uid: 65534, home: "/nonexistent".into() };
        assert_eq!(nobody.home().unwrap_err(), "nobody has no home directory (/nonexistent is not there)");
    }

    /// Asked of a child, with `env` where setsid(1) would be: the type does not tell.
    #[test]
    fn nothing_of_our_environment_is_theirs() {
        let ann = Account { name: "ann".to_owned(), uid: 1000, home: "/".into() };
        let mut child = ann.clean("env", Path::new("/home/ann"));
        let told = String::from_utf8(child.output().unwrap().stdout).unwrap();
        let mut names: Vec<&str> = told.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
        names.retain(|name| !SHOWN.contains(name));
        names.sort_unstable();
        assert_eq!(names, ["HOME", "LOGNAME", "PATH", "USER", "XDG_RUNTIME_DIR"]);
        assert!(std::env::vars_os().count() > 8, "there is something to hand on");
    }
}
