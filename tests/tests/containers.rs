//! Containers: the cgroups and namespaces that engines give them, without an engine.
//!
//! Needs root and a kernel that attaches probes; elsewhere each test says why it does nothing, and fails where `CI` is
//! `true`.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lightfoot_tests::live::{Agent, Folder, Target, skip, text, wait_for};
use rustix::process::Signal;

#[test]
fn a_container_is_told_by_its_cgroup() {
    let Some(folder) = Folder::for_test("containers") else { return };
    let path = folder.server().unwrap();
    let mut tried = 0;
    // Version 1, then 2 beside it or alone.
    for (number, mount) in ["freezer", "unified", ""].into_iter().enumerate() {
        let id = format!("{:08x}{number:056x}", std::process::id());
        let cgroup = Path::new("/sys/fs/cgroup").join(mount).join(format!("docker-{id}.scope"));
        if fs::create_dir(&cgroup).is_err() || !cgroup.join("cgroup.procs").exists() {
            let _ = fs::remove_dir(&cgroup);
            continue;
        }
        let script = format!("echo $$ > {}/cgroup.procs && exec {}", text(&cgroup), text(&path));
        let mut target = Target::spawn(Command::new("sh").args(["-c", &script])).unwrap();
        target.address().unwrap();
        let agent = Agent::start(["--pid", &target.pid().to_string()], &[]).unwrap();
        agent.watches(target.pid()).unwrap();
        assert_eq!(target.get("/contained").unwrap(), 200);
        let span = agent.span("/contained").unwrap();
        assert_eq!(
            span.resource.get("container.id").and_then(|id| id.as_str()),
            Some(id.as_str()),
            "{mount}"
        );
        agent.stop().unwrap();
        target.signal(Signal::KILL);
        target.wait().unwrap();
        wait_for("an empty cgroup", || fs::remove_dir(&cgroup).ok()).unwrap();
        tried += 1;
    }
    if tried == 0 {
        skip("containers", "there are no cgroups to be made here");
    }
}

/// A server in namespaces of its own, in a cgroup as an engine names it.
struct Contained {
    cgroup: PathBuf,
    target: Target,
}

impl Contained {
    /// `None` where no cgroups can be made.
    fn start(server: &Path, name: &str) -> Option<Self> {
        let is_cgroup = |folder: &Path| folder.join("cgroup.procs").exists();
        let cgroup = ["freezer", "unified", ""].into_iter().find_map(|mount| {
            let cgroup = Path::new("/sys/fs/cgroup").join(mount).join(name);
            fs::create_dir(&cgroup).ok()?;
            if is_cgroup(&cgroup) {
                return Some(cgroup);
            }
            let _ = fs::remove_dir(&cgroup);
            None
        })?;
        let script = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", text(&cgroup));
        let mut command = Command::new("sh");
        command.args(["-c", &script, "sh", "unshare", "--mount", "--uts", "--ipc", "--pid", "--fork"]);
        command.args(["--kill-child", "--mount-proc", text(server)]);
        let target = Target::spawn(&mut command).unwrap();
        target.address().unwrap();
        Some(Self { cgroup, target })
    }
}

impl Drop for Contained {
    fn drop(&mut self) {
        self.target.signal(Signal::KILL);
        let _ = self.target.wait();
        wait_for("an empty cgroup", || fs::remove_dir(&self.cgroup).ok()).unwrap();
    }
}

#[test]
fn a_rule_chooses_containers_in_namespaces_of_their_own() {
    let Some(folder) = Folder::for_test("containers in namespaces of their own") else { return };
    let path = folder.server().unwrap();
    let id = |number: u32| format!("{:08x}{number:056x}", std::process::id());
    let names = [
        format!("cri-containerd-{}.scope", id(1)),
        format!("crio-{}.scope", id(2)),
        format!("docker-{}.scope", id(3)),
        format!("libpod-{}.scope", id(4)),
    ];
    let containers: Vec<_> = names.iter().filter_map(|name| Contained::start(&path, name)).collect();
    if containers.is_empty() {
        return skip("containers in namespaces of their own", "there are no cgroups to be made here");
    }
    assert_eq!(containers.len(), names.len());
    let config = folder.path().join("config.yaml");
    let wanted: Vec<_> = [1, 2, 3].map(|number| format!("{}*{number}", &id(number)[..8])).into();
    let rule = format!("rules: [{{match: {{container: [{}]}}, action: watch}}]", wanted.join(", "));
    fs::write(&config, rule).unwrap();
    let agent = Agent::start(["--config", text(&config)], &[]).unwrap();
    agent.says_times(" INFO watching  service=", wanted.len()).unwrap();
    agent.counts().unwrap();
    for (number, container) in (1..).zip(&containers) {
        assert_eq!(container.target.get(&format!("/{number}")).unwrap(), 200);
    }
    for number in [1, 2, 3] {
        let span = agent.span(&format!("/{number}")).unwrap();
        let of = |name: &str| span.resource.get(name).cloned().unwrap_or_default();
        assert_eq!(of("container.id").as_str(), Some(id(number).as_str()));
        assert_eq!(of("process.vpid"), 1, "it is the first of its namespace");
        assert_ne!(span.pid(), 1);
    }
    assert_eq!(agent.stop().unwrap().paths(), ["/1", "/2", "/3"], "the fourth was not asked for");
}
