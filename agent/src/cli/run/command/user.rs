//! Whom a command runs as: whoever called sudo.

use std::env;
use std::ffi::CString;
use std::io;
use std::process::Command;

use nix::unistd::{Gid, Uid, User, getuid, initgroups, setgid, setgroups, setuid};

/// Makes this process the user who called sudo, with all groups of theirs, and tells the command so; does nothing if
/// nobody did. Whatever happens, the process is of no other use afterwards.
pub(super) fn return_to_caller(command: &mut Command) -> io::Result<()> {
    let id = |name| env::var(name).ok().and_then(|text| text.parse().ok());
    let Some((user, group)) = id("SUDO_UID").zip(id("SUDO_GID")).filter(|_| getuid().is_root()) else {
        return Ok(());
    };
    let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
    // Where accounts cannot be asked for, a number is all there is.
    let account = User::from_uid(user).ok().flatten();
    match &account {
        Some(account) => initgroups(&CString::new(account.name.as_str())?, group)?,
        None => setgroups(&[group])?,
    }
    setgid(group)?;
    setuid(user)?;
    if let Some(account) = account {
        command.env("USER", &account.name).env("LOGNAME", &account.name).env("HOME", &account.dir);
    }
    Ok(())
}
