//! Where clients were called from, as the programs noted it.

use std::collections::BTreeMap;

use lightfoot_probes_abi::{Site, SiteKind};
use lightfoot_symbolizer::VirtualAddress;

use super::Kernel;

/// At most so many return addresses are known of all processes: the size of `CALLERS`.
pub const MAX_CALLERS: usize = 4096;

impl Kernel {
    /// What calls of clients return to, by the numbers of their binaries, with what probes there mark, and how many elements
    /// were read for it. A process whose bias is not known is passed over.
    pub fn callers(&mut self) -> (BTreeMap<(u32, VirtualAddress), SiteKind>, usize) {
        let noted = self.noted();
        let of_known = noted.iter().filter_map(|(site, kind)| {
            let selected = self.by_process.get(&site.tgid).filter(|selected| selected.is_located)?;
            let address = site.address.wrapping_sub(selected.process.bias);
            Some(((selected.process.binary, VirtualAddress(address)), SiteKind::of(*kind)?))
        });
        (of_known.collect(), noted.len())
    }

    /// Removes what processes have left behind that are watched no more.
    pub(super) fn forget_callers(&mut self) {
        for (site, _) in self.noted() {
            if !self.by_process.contains_key(&site.tgid) {
                // Already gone is as good as removed.
                let _ = self.callers.remove(&site);
            }
        }
    }

    fn noted(&self) -> Vec<(Site, u64)> {
        // The iteration starts again where an element goes under its hands; nobody but this thread removes any.
        self.callers.iter().filter_map(Result::ok).take(MAX_CALLERS).collect()
    }
}
