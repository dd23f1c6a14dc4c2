//! What the programs are told of types that hold contexts.

use lightfoot_probes_abi::{Holder, HolderKey};

use super::Kernel;

/// At most so many types that hold contexts are known, of all binaries: the size of `HOLDERS`.
pub const MAX_HOLDERS: usize = 16_384;

impl Kernel {
    /// Describes a binary's holders, as far as there is room. Returns those that are known now.
    pub(super) fn describe_holders(&mut self, binary: u32, holders: &[(u64, Holder)]) -> Vec<HolderKey> {
        let mut known = Vec::with_capacity(holders.len());
        for (descriptor, holder) in holders {
            let key = HolderKey { binary, reserved: 0, descriptor: *descriptor };
            // It fails for lack of room, and then for all that follow.
            if self.holders.insert(&key, holder, 0).is_err() {
                break;
            }
            known.push(key);
        }
        known
    }

    pub(super) fn forget_holders(&mut self, known: &[HolderKey]) {
        for key in known {
            // It can only fail if it is not there.
            let _ = self.holders.remove(key);
        }
    }
}
