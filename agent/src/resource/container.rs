//! In which container and which pod a process runs, by the names that container engines and Kubernetes give to cgroups.
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
/// The lengths of the groups of a UID.
const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];
/// The digits of a static pod's UID: the kubelet's own hash of its file (pkg/kubelet/config: `applyDefaults`).
const STATIC_DIGITS: usize = 32;

/// What the cgroups of a process say of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// The id of the container.
    pub id: Option<String>,
    /// The UID of the pod, with hyphens; that of a static pod is the kubelet's, which the API server calls otherwise.
    pub pod_uid: Option<String>,
}

impl Container {
    /// From a file as in cgroups(7); nothing if it cannot be read.
    pub(crate) fn read(cgroups: &Path) -> Self {
        let mut bytes = Vec::new();
        let read = File::open(cgroups).and_then(|file| file.take(MAX_CGROUPS).read_to_end(&mut bytes));
        if read.is_ok() { Self::parse(&String::from_utf8_lossy(&bytes)) } else { Self::default() }
    }

    /// Of one line for each hierarchy: `4:memory:/docker/ID` of version 1, `0::/system.slice/docker-ID.scope` of version 2. Of a
    /// container within another the inner one.
    pub fn parse(text: &str) -> Self {
        let paths = || text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
        Self {
            id: paths().find_map(|path| path.rsplit('/').find_map(id)).map(str::to_owned),
            pod_uid: paths().find_map(|path| path.rsplit('/').find_map(pod_uid)),
        }
    }
}

/// Of the name of one cgroup:
/// - `ID`: docker and containerd with the driver `cgroupfs`;
/// - `docker-ID.scope`, `cri-containerd-ID.scope`, `crio-ID.scope`, `libpod-ID.scope`: by systemd;
/// - `crio-ID`, `libpod-ID`: CRI-O and podman with `cgroupfs`;
/// - `kubepods-….slice:cri-containerd:ID`: containerd that takes systemd's names for `cgroupfs`.
///
/// `crio-conmon-ID.scope` and the like hold what watches a container, not the container.
fn id(name: &str) -> Option<&str> {
    let name = name.strip_suffix(".scope").unwrap_or(name);
    let (engine, id) = match name.rfind([':', '-']) {
        Some(end) => (name.get(..end)?, name.get(end + 1..)?),
        None => ("", name),
    };
    (has_digits(id, DIGITS) && !engine.ends_with("conmon")).then_some(id)
}

/// Of the name of one cgroup (pkg/kubelet/cm of Kubernetes):
/// - `podUID`: by the driver `cgroupfs`;
/// - `kubepods-burstable-podUID.slice`, with `_` for `-`: by systemd, and `kubelet-kubepods-…` below a root of the kubelet's own;
/// - the same before `:cri-containerd:ID`: containerd that takes systemd's names for `cgroupfs`.
///
/// What stands before is not asked for: a path that is seen from the cgroup namespace of another container has not all of it.
fn pod_uid(name: &str) -> Option<String> {
    let slice = name.split_once(".slice").filter(|(_, rest)| rest.is_empty() || rest.starts_with(':'));
    let uid = match slice {
        Some((slice, _)) => slice.rsplit_once("-pod")?.1.replace('_', "-"),
        None => name.strip_prefix("pod")?.to_owned(),
    };
    let groups: Vec<_> = uid.splitn(GROUPS.len() + 1, '-').collect();
    let is_uid = groups.len() == GROUPS.len()
        && groups.iter().zip(GROUPS).all(|(group, length)| has_digits(group, length));
    (is_uid || has_digits(&uid, STATIC_DIGITS)).then_some(uid)
}

/// Whether it is so many hexadecimal digits, in lower case.
fn has_digits(text: &str, count: usize) -> bool {
    text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
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
            assert_eq!(Container::parse(&text).id.as_deref(), Some(ID), "{text}");
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
            assert_eq!(Container::parse(&text), Container::default(), "{text}");
        }
    }

    #[test]
    fn a_list_without_end_is_cut_and_bytes_that_are_no_text_do_no_harm() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cgroup");
        let id = |path: &Path| Container::read(path).id;
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

    const UID: &str = "0f3a1b2c-1111-2222-3333-444455556666";

    #[test]
    fn pods_are_told_by_both_drivers_of_cgroups() {
        let below = UID.replace('-', "_");
        let hash = "0f3a1b2c111122223333444455556666";
        for (text, uid) in [
            (
                format!(
                    "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{below}.slice/cri-containerd-{ID}.scope"
                ),
                UID,
            ),
            (format!("0::/kubepods.slice/kubepods-pod{below}.slice/crio-{ID}.scope/container"), UID),
            (format!("0::/kubepods/burstable/pod{UID}/{ID}"), UID),
            (format!("0::/kubepods/pod{UID}/{ID}"), UID),
            (format!("11:cpu,cpuacct:/kubepods/besteffort/pod{UID}/{ID}\n0::/system.slice"), UID),
            (
                format!(
                    "0::/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{below}.slice/cri-containerd-{ID}.scope"
                ),
                UID,
            ),
            (format!("0::/kubelet/kubepods/besteffort/pod{UID}/{ID}"), UID),
            (
                format!(
                    "0::/system.slice/containerd.service/kubepods-burstable-pod{below}.slice:cri-containerd:{ID}"
                ),
                UID,
            ),
            // Seen from the cgroup namespace of another container.
            (format!("0::/../../kubepods-besteffort-pod{below}.slice/cri-containerd-{ID}.scope"), UID),
            (format!("0::/../../pod{UID}/{ID}"), UID),
            // Static pods.
            (format!("0::/kubepods/burstable/pod{hash}/{ID}"), hash),
            (format!("0::/kubepods.slice/kubepods-burstable-pod{hash}.slice/crio-{ID}.scope"), hash),
            // A node that is a container of another.
            (format!("0::/kubepods/pod{}/{ID}/kubelet/kubepods/pod{UID}/{ID}", UID.replace('1', "9")), UID),
        ] {
            let found = Container::parse(&text);
            assert_eq!((found.id.as_deref(), found.pod_uid.as_deref()), (Some(ID), Some(uid)), "{text}");
        }
    }

    #[test]
    fn what_is_no_uid_is_no_pod() {
        let below = UID.replace('-', "_");
        for text in [
            "0::/kubepods/pod".to_owned(),
            format!("0::/kubepods/pod{below}/x"),
            format!("0::/kubepods/pod{}/x", UID.to_uppercase()),
            format!("0::/kubepods/pod{UID}0/x"),
            format!("0::/kubepods/pod{UID}-0/x"),
            format!("0::/kubepods/pod0{UID}/x"),
            format!("0::/kubepods/pods{UID}/x"),
            format!("0::/kubepods/{UID}/x"),
            format!("0::/kubepods-pod{below}.slices/x"),
            format!("0::/kubepods-pod{below}.scope/x"),
            format!("0::/kubepodspod{below}.slice/x"),
            format!("0::/machine.slice/libpod_pod_{ID}/x"),
            format!("0::/pod{ID}/x"),
        ] {
            assert_eq!(Container::parse(&text), Container::default(), "{text}");
        }
    }

    #[test]
    fn text_that_ends_anywhere_says_nothing_wrong() {
        let below = UID.replace('-', "_");
        for text in [
            format!("0::/kubepods.slice/kubepods-burstable-pod{below}.slice/cri-containerd-{ID}.scope"),
            format!("11:pids:/kubepods/burstable/pod{UID}/{ID}\n0::/"),
            format!("0::/system.slice/containerd.service/kubepods-pod{below}.slice:cri-containerd:{ID}"),
        ] {
            for end in 0..text.len() {
                let Container { id, pod_uid } = Container::parse(&text[..end]);
                assert!(id.is_none_or(|id| id == ID), "{end}");
                // Of `pod0f3a1b2c_1111…` what is left is no UID at any place.
                assert!(pod_uid.is_none_or(|uid| uid == UID), "{end}");
            }
        }
    }
}
