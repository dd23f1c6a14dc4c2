//! What rules look at in a process.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::Path;

use super::pods::OfPod;
use super::rules::{Needs, Treatment};
use super::{Decision, Listening, Proc, Selection};
use crate::kubernetes::Found;
use crate::resource::Container;

/// At most so many bytes of the arguments of a process are looked at.
pub const MAX_COMMAND_LINE: u64 = 64 << 10;
/// At most so many bytes of an environment are read: the kernel's own limit on arguments and environment (fs/exec.c: three
/// quarters of `_STK_LIM`). What lies beyond, in a process that rewrote its environment, is not seen.
pub const MAX_ENVIRONMENT: u64 = 6 << 20;
/// At most so many bytes of `/proc/PID/status` are read.
const MAX_FILE: u64 = 64 << 10;

/// What decides about a process, before its program is read.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Its number.
    pub pid: u32,
    /// The path of its program, as it sees it.
    pub path: &'a Path,
    /// Where it listens.
    pub listening: &'a Listening,
    /// Whether it was started by the command that was started under watch.
    pub descends: bool,
    /// What only some rules ask for.
    pub details: &'a Details,
}

/// What takes more reading; empty where no rule asks for it. All of it is the target's word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// Its arguments, joined by spaces.
    pub command_line: String,
    /// The id of its container.
    pub container: Option<String>,
    /// Its pod, if it is of one.
    pub pod: Option<OfPod>,
    /// The number of the user that it runs as, its effective one.
    pub user: Option<u32>,
    /// The variables that rules name, as it was started with them.
    pub environment: HashMap<String, String>,
}

/// What is seen of a process before its program is read.
#[derive(Debug)]
pub struct Looked {
    /// Whether to watch it; `None` if that takes more.
    pub decision: Option<Decision>,
    /// What rules say of its spans.
    pub treatment: Treatment,
    /// Whether rules might decide otherwise once it listens on another port.
    pub may_change: bool,
    /// Its pod, if it is of one and rules ask about pods.
    pub pod: Option<OfPod>,
    /// Whether it is not to be watched before more is known of its pod: a rule may be about it. The decision is then what it may come to at most.
    pub awaits_pod: bool,
}

impl Selection {
    /// Looks at a process, of whose pod that was `known` before: it may be no more.
    pub fn look(
        &self,
        proc: &Proc,
        pid: u32,
        path: &Path,
        listening: &Listening,
        known: Option<&Found>,
    ) -> Looked {
        let mut details = Details::read(proc, pid, &self.rules.needs());
        if let Some(pod) = &mut details.pod {
            let found = self.pods.as_ref().and_then(|pods| pods.find(&pod.container));
            pod.found = found.or_else(|| known.cloned());
        }
        let descends = self.ancestor.is_some_and(|ancestor| proc.descends(pid, ancestor));
        let facts = Facts { pid, path, listening, descends, details: &details };
        let decision = self.before_inspection(&facts);
        let is_left = matches!(decision, Some(Decision::Leave(_) | Decision::Wait(_)));
        let is_decided = self.is_explicit() || descends;
        Looked {
            awaits_pod: !is_left && self.rules.await_pod(&facts, is_decided),
            treatment: self.rules.treatment(&facts),
            may_change: self.may_change(&facts),
            decision,
            pod: details.pod,
        }
    }
}

impl Details {
    /// Reads what is needed. What cannot be read is as if it were not there.
    pub fn read(proc: &Proc, pid: u32, needs: &Needs) -> Self {
        let folder = proc.folder(pid);
        let asks = needs.container || needs.pod;
        let container = if asks { Container::read(&folder.join("cgroup")) } else { Container::default() };
        let is_of_pod = needs.pod && container.pod_uid.is_some();
        let read = |name: &str, most| bounded(&folder.join(name), most).unwrap_or_default();
        Self {
            command_line: if needs.command_line {
                let bytes = read("cmdline", MAX_COMMAND_LINE);
                String::from_utf8_lossy(&bytes).trim_end_matches('\0').replace('\0', " ")
            } else {
                String::new()
            },
            container: container.id.clone(),
            pod: is_of_pod.then_some(OfPod { container, found: None }),
            user: if needs.user { user(&String::from_utf8_lossy(&read("status", MAX_FILE))) } else { None },
            environment: if needs.variables.is_empty() {
                HashMap::new()
            } else {
                environment(&folder.join("environ"), &needs.variables).unwrap_or_default()
            },
        }
    }
}

fn bounded(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The second of the numbers in the line `Uid:` (proc_pid_status(5)).
fn user(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The first of several with one name holds, as in Go (syscall.copyenv).
fn environment(path: &Path, wanted: &HashSet<String>) -> io::Result<HashMap<String, String>> {
    let mut source = BufReader::new(File::open(path)?).take(MAX_ENVIRONMENT);
    let mut found = HashMap::new();
    let mut entry = Vec::new();
    while source.read_until(0, &mut entry)? > 0 {
        let text = String::from_utf8_lossy(entry.strip_suffix(&[0]).unwrap_or(&entry));
        if let Some((name, value)) = text.split_once('=').filter(|(name, _)| wanted.contains(*name)) {
            found.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        }
        entry.clear();
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn details_are_read_as_far_as_rules_ask_for_them() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("7");
        fs::create_dir(&folder).unwrap();
        let id = "4f5c".repeat(16);
        fs::write(folder.join("cmdline"), "server\0--port=80\0\0").unwrap();
        fs::write(folder.join("cgroup"), format!("0::/kubepods/pod1/cri-containerd-{id}.scope\n")).unwrap();
        fs::write(folder.join("status"), "Name:\tx\nUid:\t1\t33\t33\t33\n").unwrap();
        fs::write(folder.join("environ"), b"TIER=front\0OTHER=x\0TIER=back\0odd\xff\0").unwrap();
        let proc = Proc::at(root.path());
        assert_eq!(Details::read(&proc, 7, &Needs::default()), Details::default());
        let needs = Needs {
            command_line: true,
            container: true,
            pod: true,
            user: true,
            variables: ["TIER".to_owned()].into(),
        };
        let details = Details::read(&proc, 7, &needs);
        let environment = HashMap::from([("TIER".to_owned(), "front".to_owned())]);
        let command_line = "server --port=80".to_owned();
        let expected = Details { command_line, container: Some(id), pod: None, user: Some(33), environment };
        assert_eq!(details, expected, "`pod1` is no UID");
        let uid = "0f3a1b2c-1111-2222-3333-444455556666";
        fs::write(folder.join("cgroup"), format!("0::/kubepods/pod{uid}\n")).unwrap();
        let pod = Details::read(&proc, 7, &needs).pod.unwrap();
        assert_eq!((pod.container.pod_uid.as_deref(), pod.found), (Some(uid), None));
        let others = Needs { pod: false, ..needs.clone() };
        assert_eq!(Details::read(&proc, 7, &others).pod, None, "nobody asks");
        assert_eq!(Details::read(&proc, 8, &needs), Details::default());
    }

    #[test]
    fn arguments_and_variables_are_looked_at_up_to_their_bounds() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("7");
        fs::create_dir(&folder).unwrap();
        let needs = Needs { command_line: true, variables: ["TIER".to_owned()].into(), ..Needs::default() };
        for beyond in [0, 1] {
            let ends_at = |end: &str, most: u64| {
                let filler = usize::try_from(most).unwrap() - end.len() + beyond;
                ["x".repeat(filler), end.to_owned()].concat()
            };
            fs::write(folder.join("cmdline"), ends_at("end", MAX_COMMAND_LINE)).unwrap();
            fs::write(folder.join("environ"), ends_at("\0TIER=red", MAX_ENVIRONMENT)).unwrap();
            let Details { command_line, environment, .. } = Details::read(&Proc::at(root.path()), 7, &needs);
            let expected = if beyond == 0 { ("end", "red") } else { ("xen", "re") };
            assert_eq!(command_line.len() as u64, MAX_COMMAND_LINE);
            assert!(command_line.ends_with(expected.0));
            assert_eq!(environment["TIER"], expected.1);
        }
    }
}
