//! Whether probes can be placed here by a method, and our programs may run: that they load does not tell.

use std::fs::File;
use std::io::{self, Write as _};

use lightfoot_probes_abi::Cookie;
use rustix::fs::{MemfdFlags, memfd_create};

use super::{AttachError, Family, Kernel, Probe, has_program, links, load_program};
use crate::quirks::{PRIVATE_STACK, Release};

/// Instructions that do nothing.
const CODE: [u32; 16] = [if cfg!(target_arch = "aarch64") { 0xd503_201f } else { 0x9090_9090 }; 16];

impl Kernel {
    /// Loads the programs that no binary has needed so far, too.
    pub fn load_all(&mut self) -> Result<(), AttachError> {
        let families =
            Family::ALL.into_iter().filter(|family| has_program(&self.object, self.method, *family));
        let families: Vec<_> = families.collect();
        families
            .into_iter()
            .try_for_each(|family| load_program(&mut self.object, self.method, family).map(drop))
    }

    /// Places a probe in a file that nobody runs, and takes it away. Some kernels let nobody without CAP_SYS_ADMIN open a uprobe
    /// as a perf event (`perf_uprobe_event_init`, kernel/events/core.c); and Linux 6.1 loads programs for `uprobe_multi`, but has no
    /// such links.
    pub(super) fn try_out(&mut self) -> Result<(), AttachError> {
        // Where there is no such file, the first program that is to be watched shows it.
        let Ok(file) = code() else { return Ok(()) };
        links::close(self.place(&file, 0, &[Probe { offset: 0, cookie: Cookie(0) }])?.links);
        Ok(())
    }
}

/// Fails if programs with such a frame could run on a stack that they share. The build refuses them too.
pub(super) fn check_frames(largest: u32, release: Option<Release>) -> Result<(), AttachError> {
    // `BPF_PRIV_STACK_MIN_SIZE` (kernel/bpf/verifier.c), from which frames are rounded up by 16.
    const SHARED: u32 = 64;
    if largest.next_multiple_of(16) >= SHARED && PRIVATE_STACK.holds_on(release) {
        return Err(AttachError::Frame(largest));
    }
    Ok(())
}

fn code() -> io::Result<File> {
    let mut file = File::from(memfd_create("lightfoot", MemfdFlags::CLOEXEC)?);
    file.write_all(&CODE.map(u32::to_le_bytes).concat())?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_frames_are_refused_where_stacks_are_shared_and_ours_are_small() {
        for (largest, release, is_fine) in [
            (48, Some(Release(6, 18)), true),
            (49, Some(Release(6, 13)), false),
            (512, None, false),
            (512, Some(Release(6, 12)), true),
        ] {
            assert_eq!(check_frames(largest, release).is_ok(), is_fine, "{largest} {release:?}");
        }
        if lightfoot_probes::OBJECT.is_ok() {
            assert!(
                (1..=48).contains(&lightfoot_probes::LARGEST_FRAME),
                "{}",
                lightfoot_probes::LARGEST_FRAME
            );
        }
    }
}
