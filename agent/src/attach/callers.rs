//! Where clients were called from, as the programs noted it.

use std::collections::BTreeSet;

use lightfoot_probes_abi::Site;
use lightfoot_symbolizer::VirtualAddress;

use super::Kernel;

/// At most so many return addresses are known of all processes: the size of `CALLERS`.
pub const MAX_CALLERS: usize = 4096;

impl Kernel {
    /// What calls of clients return to, by the numbers of their binaries, and how many elements were read for it. A process
    /// whose bias is not known is passed over.
    pub fn callers(&mut self) -> (BTreeSet<(u32, VirtualAddress)>, usize) {
        let noted = self.noted();
        let of_known = noted.iter().filter_map(|site| {
            let selected = self.by_process.get(&site.tgid).filter(|selected| selected.is_located)?;
            let address = site.address.wrapping_sub(selected.process.bias);
            Some((selected.process.binary, VirtualAddress(address)))
        });
        (of_known.collect(), noted.len())
    }

    /// Removes what processes have left behind that are watched no more.
    pub(super) fn forget_callers(&mut self) {
        for site in self.noted() {
            if !self.by_process.contains_key(&site.tgid) {
                // Already gone is as good as removed.
                let _ = self.callers.remove(&site);
            }
        }
    }

    fn noted(&self) -> Vec<Site> {
        // The iteration starts again where an element goes under its hands; nobody but this thread removes any.
        self.callers.keys().filter_map(Result::ok).take(MAX_CALLERS).collect()
    }
}
