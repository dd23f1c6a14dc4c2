//! Users of few rights.

use std::ffi::OsStr;
use std::process::Command;

/// What is enough, as README.md says; the last one for the processes of other users.
pub const DOCUMENTED: &str = "-all,+bpf,+perfmon,+sys_ptrace,+dac_read_search";

/// A user of no name who has these capabilities.
pub fn as_nobody(capabilities: &str, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    command.args(["--inh-caps", capabilities, "--ambient-caps", capabilities]).arg(program);
    command
}
