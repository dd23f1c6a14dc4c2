//! Whether probes can be placed by a method at all: that its programs load does not tell.

use std::fs::File;
use std::io::{self, Write as _};

use lightfoot_probes_abi::Cookie;
use rustix::fs::{MemfdFlags, memfd_create};

use super::{AttachError, Family, Kernel, Probe, links, load_program};

/// Instructions that do nothing.
const CODE: [u32; 16] = [if cfg!(target_arch = "aarch64") { 0xd503_201f } else { 0x9090_9090 }; 16];

impl Kernel {
    /// Loads the programs that no binary has needed so far, too.
    pub fn load_all(&mut self) -> Result<(), AttachError> {
        let load = |family| load_program(&mut self.object, self.method, family).map(drop);
        Family::ALL.into_iter().try_for_each(load)
    }

    /// Places a probe in a file that nobody runs, and takes it away. Some kernels let nobody without CAP_SYS_ADMIN open a uprobe
    /// as a perf event (`perf_uprobe_event_init`, kernel/events/core.c); and Linux 6.1 loads programs for `uprobe_multi`, but has no
    /// such links.
    pub(super) fn try_out(&mut self) -> Result<(), AttachError> {
        // Where there is no such file, the first program that is to be watched shows it.
        let Ok(file) = code() else { return Ok(()) };
        links::close(self.place(&file, 0, &[Probe { offset: 0, cookie: Cookie(0) }])?);
        Ok(())
    }
}

fn code() -> io::Result<File> {
    let mut file = File::from(memfd_create("lightfoot", MemfdFlags::CLOEXEC)?);
    file.write_all(&CODE.map(u32::to_le_bytes).concat())?;
    Ok(file)
}
