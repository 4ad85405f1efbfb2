//! `opm daemon logs`: the last that daemon and keeper had to say themselves.
//!
//! What a reader would get wrong: the daemon is not asked. Whoever looks here may be looking for why it does not answer.

use super::super::super::context::Context;
use super::super::super::exit::{Exit, Failure};
use super::super::super::render::harmless::harmless;
use crate::config::cause;
use std::io;

pub(super) fn run(lines: usize, context: &Context<'_>) -> Result<(), Failure> {
    let paths = context.paths()?;
    let file = paths.daemon_log();
    let mut all = Vec::new();
    let mut any = false;
    // Oldest first. They are small.
    for end in [".2", ".1", ""] {
        let mut name = file.clone().into_os_string();
        name.push(end);
        match std::fs::read(&name) {
            Ok(bytes) => {
                any = true;
                all.extend_from_slice(&bytes);
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => {
                let name = std::path::Path::new(&name).display().to_string();
                return Err(Failure::new(Exit::Failed, format!("failed to read {name}: {}", cause(&e))));
            }
        }
    }
    if !any {
        let journal = if paths.system { "journalctl -u opm" } else { "journalctl --user -u opm" };
        return Err(Failure::new(Exit::Failed, format!("there is no {}", file.display()))
            .hint(format!("under systemd the daemon speaks to the journal: '{journal}'")));
    }
    let mut out = Vec::new();
    for line in last(&all, lines) {
        harmless(line, false, None, &mut out);
        out.push(b'\n');
    }
    context.ui.data(out)
}

/// The last lines.
fn last(text: &[u8], count: usize) -> impl Iterator<Item = &[u8]> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let all = || text.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    all().skip(all().count().saturating_sub(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_the_last() {
        let of = |count| last(b"1\n2\n3\n", count).map(<[u8]>::to_vec).collect::<Vec<_>>();
        assert_eq!(of(2), [b"2", b"3"]);
        assert_eq!(of(9).len(), 3);
        assert!(of(0).is_empty());
        assert_eq!(last(b"", 5).count(), 0);
    }
}
