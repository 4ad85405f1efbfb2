//! opm as systemd's unit: who manages the caller's services, what the unit says, how it is installed and started.
//!
//! Owns everything that is asked of `systemctl` and `loginctl`, and every unit file that opm writes. It must not touch an app:
//! a daemon that runs goes on running whatever is installed around it.
//!
//! What a reader would get wrong: where no unit is installed, the daemon is started as a *runtime* unit, a file in
//! `/run/systemd/system` or `$XDG_RUNTIME_DIR/systemd/user` that is gone after a reboot, and not with `systemd-run`. Such a file has
//! the very text of the installed unit, so the two cannot drift; one in `~/.config` or `/etc` takes over from it at a daemon-reload,
//! with keeper, daemon and apps as they are; and `systemctl enable` works. A transient unit of `systemd-run` lies before all others,
//! refuses to be enabled, and takes the installed file with it when it is forgotten (seen with 252 and 257).

pub(super) mod another;
pub(super) mod health;
pub(super) mod install;
pub(super) mod linger;
pub(super) mod manager;
pub(super) mod plan;
pub(super) mod runtime;
pub(super) mod state;
pub(super) mod unit;
