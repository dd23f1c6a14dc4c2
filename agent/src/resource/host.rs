//! What all processes of a host share.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// At most so many bytes of a file about the host are read.
const MAX_FILE: u64 = 64 << 10;

/// The host, and its operating system.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// The host's own, also where the agent's container has another.
    pub name: String,
    /// What machine-id(5) says, if anything.
    pub id: Option<String>,
    /// The processor, as Go calls it, which is what the conventions have: `amd64`, `arm64`.
    pub architecture: &'static str,
    /// What os-release(5) says of the system.
    pub os: Os,
    /// Random, from each boot; without it process start times would repeat. Empty if unknown.
    pub boot_id: String,
    /// Clock ticks a second, the unit of start times.
    pub ticks_per_second: u64,
}

/// An operating system by its own words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Os {
    /// `NAME`.
    pub name: Option<String>,
    /// `VERSION_ID`.
    pub version: Option<String>,
    /// `PRETTY_NAME`.
    pub description: Option<String>,
}

impl Host {
    /// Finds out about this host, with procfs at `procfs`.
    pub fn detect(procfs: &Path) -> Self {
        let boot_id = fs::read_to_string(procfs.join("sys/kernel/random/boot_id")).unwrap_or_default();
        // The first process has the host's files where we run in a container, and see the host's processes.
        let first = procfs.join("1/root");
        let roots = [first.clone(), "/".into()];
        let read = |path: &str| roots.iter().find_map(|root| bounded(&root.join(path)));
        // A container has a name of its own, a pod its pod's. A UTS namespace alone says nothing: systemd's `ProtectHostname=` makes one.
        let [of_first, own] = ["1/ns/uts", "self/ns/uts"].map(|namespace| procfs.join(namespace));
        let is_hosts = is_same_file(&first, Path::new("/")) || is_same_file(&of_first, &own);
        let name_of_first = || bounded(&first.join("etc/hostname")).as_deref().and_then(hostname);
        let name = if is_hosts { None } else { name_of_first() };
        let os = read("etc/os-release").or_else(|| read("usr/lib/os-release"));
        Self {
            name: name.unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned()),
            id: read("etc/machine-id").as_deref().and_then(machine_id),
            architecture: match std::env::consts::ARCH {
                "x86_64" => "amd64",
                "aarch64" => "arm64",
                other => other,
            },
            os: os.as_deref().map(Os::parse).unwrap_or_default(),
            boot_id: boot_id.trim().to_owned(),
            ticks_per_second: rustix::param::clock_ticks_per_second().max(1),
        }
    }
}

impl Os {
    /// Reads assignments as a shell does, of values that are plain or quoted; what is escaped stays so.
    fn parse(text: &str) -> Self {
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='))?;
            let quoted = ['"', '\''].iter().find_map(|quote| line.strip_prefix(*quote)?.strip_suffix(*quote));
            Some(quoted.unwrap_or(line).to_owned()).filter(|value| !value.is_empty())
        };
        Self { name: value("NAME"), version: value("VERSION_ID"), description: value("PRETTY_NAME") }
    }
}

/// 32 hexadecimal digits; `uninitialized` while a system boots for the first time.
fn machine_id(text: &str) -> Option<String> {
    let id = text.trim();
    (id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| id.to_owned())
}

/// What hostname(5) says: the first line that is no comment, unless that stands for none.
fn hostname(text: &str) -> Option<String> {
    // As Linux has it: `__NEW_UTS_LEN` (include/uapi/linux/utsname.h).
    const LONGEST: usize = 64;
    let name = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'))?;
    let is_none = matches!(name, "localhost" | "localhost.localdomain");
    (!is_none && name.len() <= LONGEST && name.bytes().all(|byte| byte.is_ascii_graphic()))
        .then(|| name.to_owned())
}

/// Whether both are there and the same; not if one cannot be looked at.
fn is_same_file(one: &Path, other: &Path) -> bool {
    let identity = |path| fs::metadata(path).map(|found| (found.dev(), found.ino()));
    matches!((identity(one), identity(other)), (Ok(one), Ok(other)) if one == other)
}

fn bounded(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MAX_FILE).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_of_the_first_process_is_the_hosts() {
        let procfs = tempfile::tempdir().unwrap();
        let etc = procfs.path().join("1/root/etc");
        fs::create_dir_all(&etc).unwrap();
        fs::write(etc.join("machine-id"), "0123456789abcdef0123456789ABCDEF\n").unwrap();
        let release = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME='Debian GNU/Linux'\nVERSION_ID=12\nID=debian\n";
        fs::write(etc.join("os-release"), release).unwrap();
        fs::write(etc.join("hostname"), "# made by an installer\n\n node-7.example\n").unwrap();
        let host = Host::detect(procfs.path());
        assert_eq!(host.id.as_deref(), Some("0123456789abcdef0123456789ABCDEF"));
        assert_eq!(host.name, "node-7.example");
        let text = |text: &str| Some(text.to_owned());
        let description = text("Debian GNU/Linux 12 (bookworm)");
        assert_eq!(host.os, Os { name: text("Debian GNU/Linux"), version: text("12"), description });
    }

    #[test]
    fn a_name_is_the_kernels_where_the_first_process_has_none_of_its_own() {
        let of_kernel = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let procfs = tempfile::tempdir().unwrap();
        assert_eq!(Host::detect(procfs.path()).name, of_kernel);
        fs::create_dir(procfs.path().join("1")).unwrap();
        std::os::unix::fs::symlink("/", procfs.path().join("1/root")).unwrap();
        assert_eq!(Host::detect(procfs.path()).name, of_kernel);
    }

    #[test]
    fn what_makes_no_sense_is_left_out() {
        for text in ["", "\n", "#a\n", "localhost\n", "a b", "a\u{1b}[2J", "b\u{e9}", &"a".repeat(65)] {
            assert_eq!(hostname(text), None, "{text}");
        }
        assert_eq!(hostname(&"a".repeat(64)), Some("a".repeat(64)));
        for id in
            ["", "uninitialized", "0123456789abcdef0123456789abcdeg", "0123456789abcdef0123456789abcdef0"]
        {
            assert_eq!(machine_id(id), None, "{id}");
        }
        for text in ["", "NAME", "NAME=", "NAME=\"\"", "#NAME=x", "XNAME=x", "=", "NAMES=x"] {
            assert_eq!(Os::parse(text), Os::default(), "{text}");
        }
        assert_eq!(Os::parse("NAME=\"a").name.as_deref(), Some("\"a"));
        let endless = tempfile::NamedTempFile::new().unwrap();
        let most = usize::try_from(MAX_FILE).unwrap();
        for (length, kept) in [(most, most), (most + 1, most)] {
            fs::write(endless.path(), vec![0xff; length]).unwrap();
            assert_eq!(bounded(endless.path()).map(|text| text.chars().count()), Some(kept));
        }
    }
}
