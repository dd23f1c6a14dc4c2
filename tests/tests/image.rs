//! The container image of `make image`: its layout, and what it sees of the processes outside of its container.
//!
//! `make test` makes it first. What cannot be tried says why, and fails where `CI` is `true`.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use lightfoot_tests::live::{Agent, Folder, Target, skip, wait_for, watching};
use serde_json::{Value, json};
use tempfile::TempDir;

/// As README.md says, and no more.
const CAPABILITIES: [&str; 4] = ["CAP_BPF", "CAP_PERFMON", "CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"];
const MACHINES: [(&str, &str); 2] = [("x86_64", "amd64"), ("aarch64", "arm64")];

/// Its files, and which of `dist/` each is.
const FILES: [(&str, &str, &str); 4] = [
    ("-rwxr-xr-x 0/0", "lightfoot", "lightfoot-MACHINE"),
    ("-rw-r--r-- 0/0", "usr/share/doc/lightfoot/bill.cdx.json", "lightfoot-MACHINE.cdx.json"),
    ("-rw-r--r-- 0/0", "usr/share/doc/lightfoot/copyright", "../LICENSE"),
    ("-rw-r--r-- 0/0", "usr/share/doc/lightfoot/licences.txt", "lightfoot-MACHINE.licences.txt"),
];

fn dist() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist")
}

/// The unpacked layout of an image.
struct Layout {
    folder: TempDir,
}

impl Layout {
    fn unpacked() -> Option<Self> {
        let file = dist().join(format!("lightfoot-{}-oci.tar", env!("CARGO_PKG_VERSION")));
        if !file.is_file() {
            skip("the container image", &format!("{} is not made (`make image` does it)", file.display()));
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        run(Command::new("tar")
            .arg("--extract")
            .arg("--file")
            .arg(&file)
            .arg("--directory")
            .arg(folder.path()));
        Some(Self { folder })
    }

    fn json(&self, name: impl AsRef<Path>) -> Value {
        serde_json::from_slice(&fs::read(self.folder.path().join(name)).unwrap()).unwrap()
    }

    /// Where the blob of a descriptor is, which has its size and its sum.
    fn blob(&self, descriptor: &Value) -> PathBuf {
        let digest = string(descriptor, "/digest").strip_prefix("sha256:").unwrap();
        let path = self.folder.path().join("blobs/sha256").join(digest);
        assert_eq!(fs::metadata(&path).unwrap().len(), descriptor["size"].as_u64().unwrap());
        assert_eq!(sum(Command::new("sha256sum").arg(&path)), digest);
        path
    }

    /// The manifest for a machine.
    fn manifest(&self, architecture: &str) -> Value {
        let index = self.json("index.json");
        let all = self.json(self.blob(&index["manifests"][0]));
        let of =
            |manifest: &&Value| manifest["platform"] == json!({"architecture": architecture, "os": "linux"});
        let manifest = all["manifests"].as_array().unwrap().iter().find(of);
        self.json(self.blob(manifest.unwrap()))
    }
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The sum that a command prints first.
fn sum(command: &mut Command) -> String {
    run(command).split(' ').next().unwrap().to_owned()
}

fn string<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).unwrap().as_str().unwrap()
}

#[test]
fn it_has_nothing_but_the_static_build_of_each_machine_and_what_that_is_made_of() {
    let Some(layout) = Layout::unpacked() else { return };
    assert_eq!(layout.json("oci-layout"), json!({"imageLayoutVersion": "1.0.0"}));
    for (machine, architecture) in MACHINES {
        let manifest = layout.manifest(architecture);
        let layers = manifest["layers"].as_array().unwrap();
        assert_eq!(layers.len(), 1);
        let layer = layout.blob(&layers[0]);
        let list = run(Command::new("tar").args(["--list", "--verbose", "--gzip", "--file"]).arg(&layer));
        let files = list.lines().filter(|line| !line.starts_with("drwxr-xr-x 0/0 "));
        let files: Vec<_> = files.map(|line| (&line[..14], line.rsplit(' ').next().unwrap())).collect();
        let expected = FILES.map(|(mode, path, _)| (mode, path));
        assert_eq!(files, expected, "{list}");
        let folder = tempfile::tempdir().unwrap();
        run(Command::new("tar")
            .args(["--extract", "--gzip", "--file"])
            .arg(&layer)
            .arg("--directory")
            .arg(folder.path()));
        for (_, path, built) in FILES {
            let built = dist().join(built.replace("MACHINE", machine));
            assert!(
                fs::read(folder.path().join(path)).unwrap() == fs::read(&built).unwrap(),
                "{}",
                built.display()
            );
        }
        let config = layout.json(layout.blob(&manifest["config"]));
        assert_eq!((string(&config, "/architecture"), string(&config, "/os")), (architecture, "linux"));
        assert_eq!(config["config"]["Entrypoint"], json!(["/lightfoot"]));
        assert_eq!(config["config"]["Cmd"], json!(["run"]));
        // Root, as without a name of a user Kubernetes gives no capabilities.
        assert!(config["config"].get("User").is_none(), "{config}");
        let plain = folder.path().join("layer.tar");
        fs::copy(&layer, plain.with_extension("tar.gz")).unwrap();
        run(Command::new("gunzip").arg(plain.with_extension("tar.gz")));
        let difference = format!("sha256:{}", sum(Command::new("sha256sum").arg(&plain)));
        assert_eq!(config["rootfs"]["diff_ids"], json!([difference]));
    }
}

/// Made anew, with the time that stands in the first, for the commit may be another by now.
#[test]
fn the_same_commit_makes_the_same_image() {
    let Some(layout) = Layout::unpacked() else { return };
    let again = layout.folder.path().join("again.tar");
    let time = fs::metadata(layout.folder.path().join("index.json")).unwrap().mtime();
    let script = dist().join("../scripts/image.sh");
    run(Command::new(script).arg(&again).env("SOURCE_DATE_EPOCH", time.to_string()));
    let first = dist().join(format!("lightfoot-{}-oci.tar", env!("CARGO_PKG_VERSION")));
    assert!(fs::read(first).unwrap() == fs::read(again).unwrap(), "they differ");
}

/// A bundle for runc, and its state; the container is removed in the end.
struct Container {
    folder: TempDir,
}

impl Container {
    fn new(layout: &Layout, process: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("rootfs");
        fs::create_dir(&root).unwrap();
        let (_, architecture) =
            MACHINES.into_iter().find(|(machine, _)| *machine == env::consts::ARCH).unwrap();
        let layer = layout.blob(&layout.manifest(architecture)["layers"][0]);
        run(Command::new("tar")
            .args(["--extract", "--gzip", "--file"])
            .arg(layer)
            .arg("--directory")
            .arg(&root));
        // Where runc mounts something; a root that is read-only gets no folders later.
        for name in ["proc", "dev", "sys"] {
            fs::create_dir(root.join(name)).unwrap();
        }
        let mount = |to: &str, kind: &str, options: &[&str]| json!({"destination": to, "type": kind, "source": kind, "options": options});
        let config = json!({
            "ociVersion": "1.0.2",
            "process": process,
            "root": {"path": "rootfs", "readonly": true},
            "hostname": HOSTNAME,
            "mounts": [
                mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
                mount("/dev", "tmpfs", &["nosuid", "mode=755", "size=64k"]),
                mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=64k"]),
                json!({"destination": "/sys", "type": "bind", "source": "/sys", "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]}),
            ],
            // No namespace of processes: it is the host's.
            "linux": {"namespaces": [{"type": "mount"}, {"type": "ipc"}, {"type": "uts"}], "resources": {}},
        });
        fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        Self { folder }
    }

    fn name(&self) -> String {
        format!(
            "lightfoot-{}",
            self.folder.path().file_name().unwrap().to_string_lossy().trim_start_matches('.')
        )
    }

    fn runc(&self) -> Command {
        let mut command = Command::new("runc");
        command.arg("--root").arg(self.folder.path().join("state"));
        command
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.runc().args(["delete", "--force", &self.name()]).output();
    }
}

/// What a container calls itself, as a pod does by its pod's name.
const HOSTNAME: &str = "a-container";

/// What an image is started with, by a user with the documented capabilities.
fn process(user: u32, pid: u32) -> Value {
    let arguments =
        ["/lightfoot", "run", "--format", "otlp-json", "--pid", &pid.to_string()].map(str::to_owned);
    // Whoever is not root has them only if they are ambient.
    let inherited = if user == 0 { &[][..] } else { &CAPABILITIES };
    json!({
        "terminal": false,
        "user": {"uid": user, "gid": user},
        "args": arguments,
        "env": ["PATH=/"],
        "cwd": "/",
        "noNewPrivileges": true,
        "capabilities": {
            "bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES,
            "inheritable": inherited, "ambient": inherited,
        },
    })
}

#[test]
fn in_a_container_it_watches_what_is_outside_as_root_and_as_another_user() {
    let Some(folder) = Folder::for_test("the container image") else { return };
    let Some(layout) = Layout::unpacked() else { return };
    if Command::new("runc").arg("--version").output().is_err() {
        skip("the container image", "runc is not here");
        return;
    }
    let target = Target::start(&folder.server().unwrap()).unwrap();
    target.address().unwrap();
    for user in [0, 65534] {
        let container = Container::new(&layout, &process(user, target.pid()));
        let mut command = container.runc();
        command.args(["run", "--bundle"]).arg(container.folder.path()).arg(container.name());
        let agent = Agent::spawn(command, &[]).unwrap();
        agent.says(&watching(target.pid())).unwrap();
        // It says so just before the kernel is told.
        let path = format!("/user-{user}");
        wait_for("a span", || {
            assert_eq!(target.get(&path).unwrap(), 200);
            (agent.count_spans(|span| span.path() == path) > 0).then_some(())
        })
        .unwrap();
        // As the probes of the chart do it.
        for state in ["live", "ready"] {
            let check = ["/lightfoot", "status", "--check", state];
            // Programs of the host may still be looked at.
            wait_for(state, || {
                let mut command = container.runc();
                command.args(["exec", &container.name()]).args(check);
                command.output().unwrap().status.success().then_some(())
            })
            .unwrap();
        }
        let outcome = agent.stop().unwrap();
        assert!(outcome.paths().iter().all(|seen| *seen == path), "{:?}", outcome.paths());
        // A machine that has no such file leaves it at the container's.
        let of_host = fs::read_to_string("/proc/1/root/etc/hostname").unwrap_or_default();
        let name = of_host.lines().find(|line| !line.is_empty() && !line.starts_with('#'));
        let name = name.filter(|name| *name != "localhost").unwrap_or(HOSTNAME);
        assert!(outcome.spans.iter().all(|span| span.resource("host.name") == name), "{:?}", outcome.spans);
        assert!(!outcome.messages.contains("WARN"), "{}", outcome.messages);
    }
}
