//! Users and groups by name or number.
//!
//! Looks them up with the C library, which may ask the network (NSS). So this must never be called on the event loop.

use super::plan::Identity;
use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use std::ffi::CString;

/// Who an app runs as, and what the environment should say about it.
#[derive(Debug, Clone)]
pub struct Account {
    /// The ids.
    pub identity: Identity,
    /// Login name, if the user has one.
    pub name: Option<String>,
    /// Home directory.
    pub home: Option<String>,
    /// Login shell.
    pub shell: Option<String>,
}

/// The account of `user` (name or number), with `group` instead of its own group if given.
///
/// # Errors
/// No such user or group; a number without an entry needs a group as well.
pub fn account(user: Option<&str>, group: Option<&str>) -> Result<Account, String> {
    let entry = match user {
        None => User::from_uid(Uid::effective()),
        Some(text) => match text.parse::<u32>() {
            Ok(uid) => User::from_uid(Uid::from_raw(uid)),
            Err(_) => User::from_name(text),
        },
    }
    .map_err(|e| format!("failed to look up user '{}': {}", user.unwrap_or("(own)"), e.desc()))?;
    let uid = match (&entry, user.map(str::parse::<u32>)) {
        (Some(entry), _) => entry.uid.as_raw(),
        (None, Some(Ok(uid))) => uid,
        (None, None) => Uid::effective().as_raw(),
        (None, Some(Err(_))) => return Err(format!("no such user: '{}'", user.unwrap_or_default())),
    };
    let gid = match group {
        None => entry.as_ref().map(|e| e.gid.as_raw()).ok_or_else(|| {
            format!("user {uid} has no entry in the user database, so its group is not known; give --group too")
        })?,
        Some(text) => self::group(text)?,
    };
    let groups = entry
        .as_ref()
        .and_then(|e| CString::new(e.name.as_str()).ok())
        .and_then(|name| getgrouplist(&name, Gid::from_raw(gid)).ok())
        .map_or_else(|| vec![gid], |list| list.into_iter().map(Gid::as_raw).collect());
    Ok(Account {
        identity: Identity { uid, gid, groups },
        name: entry.as_ref().map(|e| e.name.clone()),
        home: entry.as_ref().map(|e| e.dir.to_string_lossy().into_owned()),
        shell: entry.as_ref().map(|e| e.shell.to_string_lossy().into_owned()),
    })
}

/// The number of a group, given by name or number.
///
/// # Errors
/// No such group.
pub fn group(text: &str) -> Result<u32, String> {
    if let Ok(gid) = text.parse() {
        return Ok(gid);
    }
    let entry = Group::from_name(text).map_err(|e| format!("failed to look up group '{text}': {}", e.desc()))?;
    entry.map(|group| group.gid.as_raw()).ok_or_else(|| format!("no such group: '{text}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_number_and_missing_ones_named() {
        let root = account(Some("root"), None).map(|a| (a.identity.uid, a.identity.gid));
        assert_eq!(root, Ok((0, 0)));
        assert_eq!(account(Some("0"), Some("0")).map(|a| a.name), Ok(Some("root".into())));
        assert!(account(Some("no-such-user-here"), None).is_err_and(|e| e.contains("'no-such-user-here'")));
        assert!(account(Some("root"), Some("no-such-group")).is_err_and(|e| e.contains("'no-such-group'")));
        assert!(account(Some("4000000001"), None).is_err_and(|e| e.contains("--group")));
    }
}
