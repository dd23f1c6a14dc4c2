//! What the kernel is locked down for.

use std::ffi::OsStr;
use std::process::Command;

use super::LiveError;

/// `none`, `integrity` or `confidentiality`; `none`, too, where the kernel knows no lockdown.
pub fn lockdown() -> Result<String, LiveError> {
    let mut command = with_securityfs("cat");
    let output = command.arg("/sys/kernel/security/lockdown").output();
    let output = output.map_err(LiveError::io("asking", "/sys/kernel/security/lockdown".as_ref()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let chosen = text.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    Ok(chosen.map_or("none", |(chosen, _)| chosen).to_owned())
}

/// What becomes a program that sees in `/sys/kernel/security` what the kernel says.
pub fn with_securityfs(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("unshare");
    let script = "mount -t securityfs none /sys/kernel/security; exec \"$@\"";
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(program);
    command
}
