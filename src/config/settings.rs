//! The daemon's own configuration, `config.toml`: what concerns no single app.
//!
//! Owns its keys. What a reader would get wrong: hardly anything belongs here. What is about apps stands in their specs, what is
//! about the service in its unit; a key here is one that only the daemon can act upon. A file with a mistake is not half believed:
//! the daemon goes on with the defaults and says so.

use super::{Mistake, cause, suggest};
use rustix::fs::OFlags;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// What can be configured.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// Members of this group may give orders to the system daemon. That makes them root: they may have any program run as root.
    pub socket_group: Option<String>,
}

/// More than this is no configuration.
const LONGEST: u64 = 1 << 20;

/// Every key there is.
const KEYS: [&str; 1] = ["socket_group"];

/// Reads the file; the defaults if there is none. `owner`: who may have written it, besides root.
///
/// # Errors
/// It cannot be read, or not be meant, or somebody else could have written it; naming the file.
pub fn read(file: &Path, owner: u32) -> Result<Settings, Mistake> {
    let shown = file.display().to_string();
    let failed = |e: &std::io::Error| Mistake::new(format!("failed to read {shown}: {}", cause(e)));
    // A fifo without a writer would hold the daemon's start for ever.
    let opened = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(file);
    let opened = match opened {
        Ok(opened) => opened,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Settings::default()),
        Err(e) => return Err(failed(&e)),
    };
    let about = opened.metadata().map_err(|e| failed(&e))?;
    if !about.is_file() {
        return Err(Mistake::new(format!("{shown} is not a regular file")));
    }
    let mut text = String::new();
    opened.take(LONGEST).read_to_string(&mut text).map_err(|e| failed(&e))?;
    if about.mode() & 0o022 != 0 || ![0, owner].contains(&about.uid()) {
        return Err(Mistake::new(format!("{shown} is not believed, since others than its owner may write it"))
            .hint(format!("chown {owner} {shown} && chmod go-w {shown}")));
    }
    parse(&text).map_err(|mistake| mistake.within(&shown))
}

fn parse(text: &str) -> Result<Settings, Mistake> {
    let table: toml::Table = toml::from_str(text).map_err(|e| {
        let line = e.span().map(|span| text.bytes().take(span.start).filter(|b| *b == b'\n').count() + 1);
        Mistake::new(format!("not TOML: {}{}", e.message(), line.map(|n| format!(" at line {n}")).unwrap_or_default()))
    })?;
    let mut settings = Settings::default();
    for (key, value) in table {
        match (key.as_str(), value) {
            ("socket_group", toml::Value::String(group)) if !group.is_empty() => settings.socket_group = Some(group),
            ("socket_group", other) => {
                let is = if other.is_str() { "empty" } else { other.type_str() };
                return Err(Mistake::new(format!("socket_group is {is}")).hint("write the name of a group: \"opm\""));
            }
            (unknown, _) => {
                let mistake = Mistake::new(format!("there is no key '{}'", unknown.escape_debug()));
                return Err(match suggest::nearest(unknown, KEYS) {
                    Some(near) => mistake.hint(format!("did you mean '{near}'?")),
                    None => {
                        mistake.hint(format!("it may hold {}; what is about apps stands with them", KEYS.join(", ")))
                    }
                });
            }
        }
    }
    Ok(settings)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_is_packaged_changes_nothing() {
        assert_eq!(parse(include_str!("../../packaging/config.toml")), Ok(Settings::default()));
    }

    #[test]
    fn what_cannot_be_meant_is_named_with_the_mend() {
        let told = |text: &str| parse(text).map_err(|m| (m.message, m.hint.unwrap_or_default())).unwrap_err();
        assert_eq!(parse("socket_group = \"opm\"").unwrap().socket_group.as_deref(), Some("opm"));
        assert!(told("socket_grup = \"opm\"").1.contains("'socket_group'"));
        assert!(told("socket_group = true").0.contains("boolean"));
        assert!(told("\n\nsocket_group").0.contains("line 3"));
    }

    #[test]
    fn a_file_that_others_may_write_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.toml");
        let own = rustix::process::geteuid().as_raw();
        assert_eq!(read(&file, own), Ok(Settings::default()), "none is as good as an empty one");
        rustix::fs::mkfifoat(rustix::fs::CWD, &file, 0o600.into()).unwrap();
        assert!(read(&file, own).unwrap_err().message.contains("not a regular file"));
        std::fs::remove_file(&file).unwrap();
        std::fs::write(&file, "socket_group = \"opm\"").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(read(&file, own).unwrap().socket_group.is_some());
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o664)).unwrap();
        assert!(read(&file, own).unwrap_err().message.contains("not believed"));
    }
}
