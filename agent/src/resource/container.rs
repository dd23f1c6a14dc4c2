//! In which container a process runs, by the names that container engines give to cgroups.
//!
//! Such names are no proof: whoever may make cgroups can choose them, a container those below its own. What is said so is said of
//! oneself alone, as with environment variables.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// At most so many bytes of a process's list of cgroups are read. A path has 4096 at most, and there are some 15 hierarchies.
const MAX_CGROUPS: u64 = 64 << 10;
/// The digits of an id.
const DIGITS: usize = 64;

/// The id of the container, from a file as in cgroups(7).
pub(super) fn id(cgroups: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(cgroups).ok()?.take(MAX_CGROUPS).read_to_end(&mut bytes).ok()?;
    of_cgroups(&String::from_utf8_lossy(&bytes)).map(str::to_owned)
}

/// Of one line for each hierarchy: `4:memory:/docker/ID` of version 1, `0::/system.slice/docker-ID.scope` of version 2. Of a
/// container within another the inner one.
fn of_cgroups(text: &str) -> Option<&str> {
    let mut paths = text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    paths.find_map(|path| path.rsplit('/').find_map(of_name))
}

/// Of the name of one cgroup:
/// - `ID`: docker and containerd with the driver `cgroupfs`;
/// - `docker-ID.scope`, `cri-containerd-ID.scope`, `crio-ID.scope`, `libpod-ID.scope`: by systemd;
/// - `crio-ID`, `libpod-ID`: CRI-O and podman with `cgroupfs`;
/// - `kubepods-….slice:cri-containerd:ID`: containerd that takes systemd's names for `cgroupfs`.
///
/// `crio-conmon-ID.scope` and the like hold what watches a container, not the container.
fn of_name(name: &str) -> Option<&str> {
    let name = name.strip_suffix(".scope").unwrap_or(name);
    let (engine, id) = match name.rfind([':', '-']) {
        Some(end) => (name.get(..end)?, name.get(end + 1..)?),
        None => ("", name),
    };
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let is_id = id.len() == DIGITS && id.bytes().all(is_digit);
    (is_id && !engine.ends_with("conmon")).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f1b0d8c5a7e92460d8c5a7e92463f1b8c5a7e9246d03f1b5a7e92463f1b0d8c";

    #[test]
    fn containers_of_all_engines_are_told_in_both_versions_of_cgroups() {
        let pod = "pod0f3a1b2c_1111_2222_3333_444455556666";
        for text in [
            format!("0::/docker/{ID}"),
            format!("0::/system.slice/docker-{ID}.scope"),
            format!(
                "0::/kubepods.slice/kubepods-burstable.slice/kubepods-{pod}.slice/cri-containerd-{ID}.scope"
            ),
            format!("0::/kubepods/besteffort/pod0f3a1b2c-1111-2222-3333-444455556666/{ID}"),
            format!("0::/system.slice/containerd.service/kubepods-burstable-{pod}.slice:cri-containerd:{ID}"),
            format!("0::/kubepods.slice/kubepods-{pod}.slice/crio-{ID}.scope"),
            format!("0::/kubepods.slice/kubepods-{pod}.slice/crio-{ID}.scope/container"),
            format!("0::/kubepods/besteffort/{pod}/crio-{ID}"),
            format!("0::/machine.slice/libpod-{ID}.scope/container"),
            format!("0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope"),
            // Seen from the cgroup namespace of another container.
            format!("0::/../../{pod}/cri-containerd-{ID}.scope"),
            // What the container itself made below.
            format!("0::/docker/{ID}/init.scope"),
            format!("12:pids:/user.slice\n4:memory:/docker/{ID}\n1:name=systemd:/docker/{ID}\n0::/\n"),
            format!("11:cpu,cpuacct:/kubepods/burstable/{pod}/{ID}\n0::/system.slice/containerd.service"),
            format!("3:cpuset:/system.slice/docker-{ID}.scope"),
            // A container within another.
            format!("0::/docker/{}/docker/{ID}", "0".repeat(64)),
        ] {
            assert_eq!(of_cgroups(&text), Some(ID), "{text}");
        }
    }

    #[test]
    fn whatever_else_is_no_container() {
        let upper = ID.to_uppercase();
        let short = &ID[1..];
        for text in [
            String::new(),
            "0::/".to_owned(),
            "0::/user.slice/user-1000.slice/session-3.scope".to_owned(),
            "0::/system.slice/ssh.service".to_owned(),
            format!("0::/machine.slice/libpod-conmon-{ID}.scope"),
            format!("0::/kubepods.slice/crio-conmon-{ID}.scope"),
            format!("0::/docker/{upper}"),
            format!("0::/docker/{short}"),
            format!("0::/docker/{ID}0"),
            format!("0::/docker/{short}\u{e9}"),
            format!("0::/docker/{short}\u{fffd}"),
            format!("0::/docker/{ID} "),
            format!("/docker/{ID}"),
            format!("0:/docker/{ID}"),
            format!("0::/a-{ID}-"),
            "-:-:-".to_owned(),
            ":".repeat(100),
            "/".repeat(5000),
        ] {
            assert_eq!(of_cgroups(&text), None, "{text}");
        }
    }

    #[test]
    fn a_list_without_end_is_cut_and_bytes_that_are_no_text_do_no_harm() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cgroup");
        assert_eq!(id(&path), None, "it is not there");
        let tail = format!("\n0::/docker/{ID}\n");
        let mut bytes = vec![0xff; usize::try_from(MAX_CGROUPS).unwrap() - tail.len()];
        bytes.extend(tail.as_bytes());
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(id(&path).as_deref(), Some(ID));
        bytes.insert(0, 0xff);
        std::fs::write(&path, &bytes[..]).unwrap();
        assert_eq!(id(&path).as_deref(), Some(ID), "the line feed alone is beyond");
        bytes.splice(0..0, [0xff; 2]);
        std::fs::write(&path, &bytes[..]).unwrap();
        assert_eq!(id(&path), None);
    }
}
