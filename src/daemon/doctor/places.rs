//! opm's folders and files, judged: whose they are, who may reach them, how much room there is. Pure.

use super::bytes;
use crate::api::Check;
use crate::config::{Mistake, Settings};
use crate::kernel::probe::{Place, Seen, Trial};

/// So little is as good as nothing: the next record may not fit.
const NONE_LEFT: u64 = 16 << 20;
/// With less, and less than a twentieth, it is time to do something.
const LITTLE: u64 = 512 << 20;

/// `owner`: whose opm it is; `asker`: who looks, and may be kept from seeing what is not theirs.
pub(super) fn judge(
    places: &[(&'static str, Place)],
    settings: &Result<Settings, Mistake>,
    owner: u32,
    asker: u32,
) -> Vec<Check> {
    let group = settings.as_ref().ok().and_then(|settings| settings.socket_group.as_deref());
    let mut checks: Vec<Check> =
        places.iter().flat_map(|(name, place)| one(name, place, group, owner, asker)).collect();
    checks.extend(settings.as_ref().err().map(|mistake| {
        let mend = mistake.hint.clone().unwrap_or_else(|| "mend it, then: opm daemon reload".to_owned());
        Check::bad("places.config.content", mistake.message.clone(), "the defaults hold instead", mend)
    }));
    checks
}

fn one(name: &str, place: &Place, group: Option<&str>, owner: u32, asker: u32) -> Vec<Check> {
    let id = format!("places.{name}");
    let path = place.path.display();
    let seen = match &place.seen {
        Err(why) if asker != owner && asker != 0 => {
            let whose = if owner == 0 { "root".to_owned() } else { format!("user {owner}") };
            let found = format!("{path}: {why}; it is {whose}'s, and was not looked at");
            return vec![Check::note(&id, found, "nothing, but the look", "ask as root (sudo)")];
        }
        Err(why) => {
            let mend = format!("ls -ld {path} and the folders above it");
            return vec![Check::bad(&id, format!("{path}: {why}"), "opm cannot use it", mend)];
        }
        Ok(None) => return vec![Check::ok(&id, format!("{path}: {}", absent(name)))],
        Ok(Some(seen)) => seen,
    };
    let mut checks = vec![reach(name, &id, place, seen, group, owner)];
    if matches!(name, "state" | "logs") {
        checks.push(room(name, place, seen));
    }
    if let Some(Trial::Fails(_) | Trial::Refused(_)) = &seen.splice {
        checks.push(Check::note(
            "places.logs.splice",
            format!("the filesystem of {path} takes no splices"),
            "log lines can be lost or doubled when the daemon is killed in the middle of one",
            "logs on a filesystem that does (ext4, xfs, btrfs, tmpfs)",
        ));
    }
    checks
}

fn absent(name: &str) -> &'static str {
    match name {
        "config" => "none, so defaults hold",
        "socket" => "none, no daemon runs",
        _ => "not made yet",
    }
}

fn reach(name: &str, id: &str, place: &Place, seen: &Seen, group: Option<&str>, owner: u32) -> Check {
    let path = place.path.display();
    let found = format!("{path}: mode {:04o}, owner {}", seen.mode, seen.uid);
    let private = if seen.folder { "700" } else { "600" };
    // Root's own configuration is also what others of root's may have put there.
    if seen.uid != owner && seen.uid != 0 {
        return Check::bad(
            id,
            found,
            format!("another user than {owner} owns it, and can change it"),
            format!("chown {owner} {path}"),
        );
    }
    if seen.uid != owner && name != "config" {
        return Check::bad(id, found, format!("user {owner} does not own it"), format!("sudo chown {owner} {path}"));
    }
    if seen.mode & 0o002 != 0 {
        return Check::bad(
            id,
            found,
            "everybody can change it, and so make opm run anything",
            format!("chmod {private} {path}"),
        );
    }
    if seen.mode & 0o020 != 0 {
        return match group.filter(|_| name == "socket") {
            Some(group) => {
                Check::ok(id, format!("{found}, for the group {group}: whoever is in it is as good as its owner"))
            }
            None => {
                let lost = format!("group {} can change it, and so make opm run anything", seen.gid);
                Check::bad(id, found, lost, format!("chmod g-w {path}"))
            }
        };
    }
    if seen.mode & 0o004 != 0 && matches!(name, "state" | "logs") {
        return Check::note(
            id,
            found,
            "everybody can read it: environments and logs hold secrets",
            format!("chmod {private} {path}"),
        );
    }
    Check::ok(id, found)
}

fn room(name: &str, place: &Place, seen: &Seen) -> Check {
    let id = format!("places.{name}.room");
    let path = place.path.display();
    let inodes = seen.free_inodes.map(|n| format!(", {n} inodes")).unwrap_or_default();
    let found = format!("{} of {} free{inodes}", bytes(seen.free), bytes(seen.size));
    let lost = if name == "logs" {
        "when it is full, the oldest rotated logs go first, then new lines are dropped, with a visible gap"
    } else {
        "when it is full, changes are refused, and what ends or stops is not recorded"
    };
    let mend = if name == "logs" {
        format!("make room on the filesystem of {path}; 'opm flush' empties logs")
    } else {
        format!("make room on the filesystem of {path}")
    };
    if seen.free < NONE_LEFT || seen.free_inodes == Some(0) {
        return Check::bad(&id, found, lost, mend);
    }
    if (seen.free < LITTLE && seen.free < seen.size / 20) || seen.free_inodes.is_some_and(|n| n < 1000) {
        return Check::note(&id, found, lost, mend);
    }
    Check::ok(&id, found)
}
