//! Whether programs that write may be loaded here: found by trying.

use std::fs;

use crate::attach::{AttachError, Kernel, Loaded, Method, Sizes};
use crate::capabilities;

/// Loads the object that writes, by the first method that works, or says why not.
pub(crate) fn load(methods: &[Method], sizes: Sizes) -> Result<Loaded, String> {
    let object = lightfoot_probes::PROPAGATE.map_err(|absent| absent.to_string())?;
    Kernel::load(object, methods, sizes).map_err(|error| {
        let lockdown = fs::read_to_string("/sys/kernel/security/lockdown").ok();
        reason(error, capabilities::effective(), lockdown.as_deref())
    })
}

/// Why the kernel refuses. `lockdown` is as `[none] integrity confidentiality`, if it is told.
fn reason(error: AttachError, capabilities: Option<u64>, lockdown: Option<&str>) -> String {
    let level = lockdown.and_then(|text| text.split_once('[')?.1.split_once(']')).map(|(level, _)| level);
    match (capabilities, level) {
        (Some(effective), _) if !capabilities::has_sys_admin(effective) => {
            "to write to other processes takes CAP_SYS_ADMIN".to_owned()
        }
        (_, Some(level @ ("integrity" | "confidentiality"))) => {
            format!("this kernel is in lockdown ({level}), which lets no program write to other processes")
        }
        (_, Some("none")) => format!("{:#}", anyhow::Error::from(error)),
        _ => "the kernel refuses programs that write to other processes, as one in lockdown does".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let reason = |capabilities, lockdown| reason(AttachError::Missing("program"), capabilities, lockdown);
        let all = Some(u64::MAX);
        assert_eq!(
            reason(Some(!(1 << 21)), Some("[none] integrity")),
            "to write to other processes takes CAP_SYS_ADMIN"
        );
        assert_eq!(
            reason(all, Some("none [integrity] confidentiality\n")),
            "this kernel is in lockdown (integrity), which lets no program write to other processes"
        );
        let refused = "the kernel refuses programs that write to other processes, as one in lockdown does";
        for unknown in [None, Some(""), Some("[new]")] {
            assert_eq!(reason(all, unknown), refused);
        }
        assert_eq!(reason(None, Some("[none] integrity")), "the BPF object has no program");
    }
}
