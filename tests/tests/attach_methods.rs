//! Each way to place probes that older kernels need, with spans of several processes to show for it.
//!
//! Needs root and a kernel that attaches probes; elsewhere each test says why it does nothing, and fails where `CI` is
//! `true`.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use aya::maps::{HashMap, Map, MapData, loaded_maps};
use lightfoot_probes_abi::Site;
use lightfoot_tests::go::{Build, GoVersion, Mode, Program};
use lightfoot_tests::live::code::{address_in, probes};
use lightfoot_tests::live::target::addresses;
use lightfoot_tests::live::{Agent, Target, get, is_privileged, lightfoot, wait_for, watching};

const PERF_EVENTS: [&str; 2] = ["perf-event", "perf-event-by-address"];

/// A copy of the server in a folder, loaded wherever the kernel likes.
fn copy_of(folder: &Path, mode: Mode) -> PathBuf {
    let build = Build::here(Program::Lifecycle, GoVersion::of_minor(26).unwrap(), mode);
    let path = folder.join("server");
    fs::copy(build.path().unwrap(), &path).unwrap();
    path
}

/// What the agent has told its programs of addresses.
fn sites(agent: &Agent) -> BTreeSet<(u32, u64)> {
    let descriptors = fs::read_dir(format!("/proc/{}/fdinfo", agent.pid())).unwrap();
    let ids: BTreeSet<u32> = descriptors
        .filter_map(|entry| fs::read_to_string(entry.unwrap().path()).ok())
        .filter_map(|text| text.lines().find_map(|line| line.strip_prefix("map_id:")?.trim().parse().ok()))
        .collect();
    let of_agent = |map: &aya::maps::MapInfo| ids.contains(&map.id()) && map.name_as_str() == Some("SITES");
    let info = loaded_maps().filter_map(Result::ok).find(of_agent).unwrap();
    let map = Map::HashMap(MapData::from_id(info.id()).unwrap());
    let map: HashMap<MapData, Site, u64> = map.try_into().unwrap();
    map.keys().map(|site| site.unwrap()).map(|site| (site.tgid, site.address)).collect()
}

#[test]
fn processes_of_one_file_at_different_addresses_are_told_apart() {
    if !is_privileged("processes of one file") {
        return;
    }
    for mode in [Mode::Pie, Mode::Plain] {
        let folder = tempfile::tempdir().unwrap();
        let path = copy_of(folder.path(), mode);
        let offsets = probes(&path).unwrap();
        for method in PERF_EVENTS {
            let mut targets: Vec<_> = (0..3).map(|_| Target::start(&path).unwrap()).collect();
            let addresses: BTreeSet<_> = targets
                .iter()
                .map(|target| {
                    target.address().unwrap();
                    address_in(target.pid(), offsets[0]).unwrap()
                })
                .collect();
            assert_eq!(addresses.len(), if mode == Mode::Pie { 3 } else { 1 });
            let agent =
                Agent::start(["--exe", path.to_str().unwrap(), "--attach-method", method], &[]).unwrap();
            for target in &targets {
                agent.watches(target.pid()).unwrap();
            }
            // One that comes later, and one that executes its own file again: elsewhere, if the kernel may choose.
            targets.push(Target::start(&path).unwrap());
            let newest = targets.last().unwrap();
            agent.watches(newest.pid()).unwrap();
            let first = &targets[0];
            let again = format!("/exec?path={}", path.display());
            assert!(get(first.address().unwrap(), &again).is_err(), "the request that does it has no end");
            agent.says_times(&watching(first.pid()), 2).unwrap();
            agent.counts().unwrap();
            for (number, target) in targets.iter().enumerate() {
                let path = format!("/{number}");
                let address = target.address_of(usize::from(number == 0)).unwrap();
                assert_eq!(get(address, &path).unwrap(), 200);
                assert_eq!(agent.span(&path).unwrap().pid(), u64::from(target.pid()));
            }
            if method == "perf-event-by-address" {
                let known: BTreeSet<_> = targets
                    .iter()
                    .flat_map(|target| {
                        offsets
                            .iter()
                            .map(|offset| (target.pid(), address_in(target.pid(), *offset).unwrap()))
                    })
                    .collect();
                assert_eq!(sites(&agent), known);
                targets.truncate(1);
                let left = targets[0].pid();
                let is_one = || sites(&agent).iter().all(|(pid, _)| *pid == left).then_some(());
                wait_for("the others to be forgotten", is_one).unwrap();
                assert_eq!(sites(&agent).len(), offsets.len());
            }
            let outcome = agent.stop().unwrap();
            assert_eq!(outcome.paths(), ["/0", "/1", "/2", "/3"], "{method} {mode:?}");
            for loss in ["end_without_start", "unselected_process", "foreign_binary", "abandoned"] {
                assert_eq!(outcome.count(loss), 0, "{method} {mode:?}: {}", outcome.messages);
            }
        }
    }
}

#[test]
fn a_command_is_watched_from_its_start() {
    if !is_privileged("a command") {
        return;
    }
    for method in PERF_EVENTS {
        let folder = tempfile::tempdir().unwrap();
        let path = copy_of(folder.path(), Mode::Pie);
        let mut command = Command::new(lightfoot());
        command.args(["run", "--format", "otlp-json", "--attach-method", method, "--"]).arg(&path);
        let agent = Agent::spawn(command, &[]).unwrap();
        let address = wait_for("its address", || addresses(&agent.other_output()).first().copied());
        assert_eq!(get(address.unwrap(), "/first").unwrap(), 200);
        agent.span("/first").unwrap();
        assert_eq!(agent.stop().unwrap().paths(), ["/first"], "{method}");
    }
}
