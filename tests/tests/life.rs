//! What happens to processes while the agent runs: they start, end, execute other programs, change.
//!
//! Needs root and a kernel that attaches probes; elsewhere each test says why it does nothing, and fails where `CI` is
//! `true`.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use lightfoot_tests::go::Program;
use lightfoot_tests::live::code::{BREAKPOINT, address_in, code_at, probes};
use lightfoot_tests::live::{
    Agent, Client, Folder, Overlays, Said, Target, get, skip, text, wait_for, watching,
};
use rustix::process::Signal;

#[test]
fn processes_and_connections_from_before_the_agent_are_watched() {
    let Some(folder) = Folder::for_test("processes and connections from before the agent") else { return };
    let path = folder.server().unwrap();
    let target = Target::start(&path).unwrap();
    let mut client = Client::tcp(target.address().unwrap());
    assert_eq!(client.status("/before", "").unwrap(), 200);
    let agent = Agent::start(["--pid", &target.pid().to_string()], &[]).unwrap();
    agent.watches(target.pid()).unwrap();
    assert_eq!(client.status("/after", "").unwrap(), 200);
    agent.span("/after").unwrap();
    assert_eq!(client.connections, 1);
    assert_eq!(agent.stop().unwrap().paths(), ["/after"]);
}

#[test]
fn a_restarted_process_is_watched_again_and_a_deleted_file_still_is() {
    let Some(folder) = Folder::for_test("restarts") else { return };
    let path = folder.server().unwrap();
    let agent = Agent::watching(&path).unwrap();
    let mut expected = Vec::new();
    for round in 0..3 {
        let target = Target::start(&path).unwrap();
        if round == 2 {
            fs::remove_file(&path).unwrap();
        }
        agent.watches(target.pid()).unwrap();
        let path = format!("/round/{round}");
        assert_eq!(target.get(&path).unwrap(), 200);
        assert_eq!(agent.span(&path).unwrap().pid(), u64::from(target.pid()));
        expected.push(path);
    }
    assert_eq!(agent.stop().unwrap().paths(), expected);
}

#[test]
fn a_file_replaced_on_disk_is_right_for_the_old_process_and_the_new_one() {
    let Some(folder) = Folder::for_test("a file replaced on disk") else { return };
    let path = folder.server().unwrap();
    let agent = Agent::watching(&path).unwrap();
    let old = Target::start(&path).unwrap();
    agent.watches(old.pid()).unwrap();
    // Another program, whose probes stand elsewhere.
    let other = folder.copy_of(Program::Backend, "new").unwrap();
    assert_ne!(probes(&path).unwrap(), probes(&other).unwrap());
    fs::rename(&other, &path).unwrap();
    let new = Target::start(&path).unwrap();
    agent.watches(new.pid()).unwrap();
    for (target, path) in [(&old, "/old"), (&new, "/new"), (&old, "/old/again")] {
        assert_eq!(target.get(path).unwrap(), 200);
        assert_eq!(agent.span(path).unwrap().pid(), u64::from(target.pid()));
    }
    assert_eq!(agent.stop().unwrap().paths(), ["/new", "/old", "/old/again"]);
}

#[test]
fn a_process_that_executes_another_program_is_watched_as_that() {
    let Some(folder) = Folder::for_test("exec in place") else { return };
    let first = folder.copy_of(Program::Lifecycle, "first").unwrap();
    let second = folder.copy_of(Program::Backend, "second").unwrap();
    let target = Target::start(&first).unwrap();
    let pid = target.pid();
    let agent = Agent::start(["--pid", &pid.to_string()], &[]).unwrap();
    agent.watches(pid).unwrap();
    assert_eq!(target.get("/first").unwrap(), 200);
    // Its own file again, then another one; in both cases the request that does it has no end.
    for (round, next) in [&first, &second].into_iter().enumerate() {
        let address = target.address_of(round).unwrap();
        assert!(get(address, &format!("/exec?path={}", text(next))).is_err());
        agent.says_times(&watching(pid), round + 2).unwrap();
        agent.counts().unwrap();
        let path = format!("/after/{round}");
        assert_eq!(get(target.address_of(round + 1).unwrap(), &path).unwrap(), 200);
        let span = agent.span(&path).unwrap();
        assert_eq!(span.service(), ["lifecycle", "lookalike"][round]);
    }
    let outcome = agent.stop().unwrap();
    assert_eq!(outcome.paths(), ["/after/0", "/after/1", "/first"]);
    assert_eq!(outcome.count("spans_open_at_end"), 2, "{}", outcome.messages);
    assert_eq!(outcome.count("records_without_process"), 0, "{}", outcome.messages);
}

#[test]
fn of_two_processes_of_one_file_only_the_selected_one_is_watched() {
    let Some(folder) = Folder::for_test("two processes of one file") else { return };
    let path = folder.server().unwrap();
    let (selected, other) = (Target::start(&path).unwrap(), Target::start(&path).unwrap());
    let agent = Agent::start(["--pid", &selected.pid().to_string()], &[]).unwrap();
    agent.watches(selected.pid()).unwrap();
    for number in 0..10 {
        assert_eq!(selected.get(&format!("/selected/{number}")).unwrap(), 200);
        assert_eq!(other.get(&format!("/other/{number}")).unwrap(), 200);
    }
    agent.span("/selected/9").unwrap();
    // A server notices the end of its last connection a moment later.
    agent.counts_to("unselected_process", 30).unwrap();
    let outcome = agent.stop().unwrap();
    assert_eq!(outcome.paths(), (0..10).map(|number| format!("/selected/{number}")).collect::<Vec<_>>());
    // The start and the end of each, and the connection's.
    assert_eq!(outcome.count("unselected_process"), 30, "{}", outcome.messages);
}

#[test]
fn processes_in_other_mount_and_pid_namespaces_are_watched() {
    let Some(folder) = Folder::for_test("namespaces") else { return };
    let path = folder.server().unwrap();
    let agent = Agent::watching(&path).unwrap();
    let mut target = Target::spawn(
        Command::new("unshare").args(["--pid", "--mount", "--fork", "--kill-child"]).arg(&path),
    )
    .unwrap();
    let address = target.address().unwrap();
    agent.says(text(&path)).unwrap();
    agent.counts().unwrap();
    assert_eq!(get(address, "/namespace").unwrap(), 200);
    let span = agent.span("/namespace").unwrap();
    assert_ne!(span.pid(), u64::from(target.pid()), "that is unshare's");
    target.signal(Signal::KILL);
    target.wait().unwrap();
    assert_eq!(agent.stop().unwrap().paths(), ["/namespace"]);
}

#[test]
fn one_file_in_two_overlay_mounts_gives_each_span_once() {
    let Some(folder) = Folder::for_test("overlay mounts") else { return };
    let overlays = Overlays::of(folder).unwrap();
    let targets = ["one", "two"].map(|name| overlays.start(name).unwrap());
    let Ok(addresses) = targets.iter().map(Target::address).collect::<Result<Vec<_>, _>>() else {
        return skip("overlay mounts", "this kernel or file system has none");
    };
    let agent = Agent::start(["--exe", &overlays.pattern()], &[]).unwrap();
    for target in &targets {
        agent.watches(target.pid()).unwrap();
    }
    for (address, path) in addresses.iter().zip(["/one", "/two"]) {
        assert_eq!(get(*address, path).unwrap(), 200);
        agent.span(path).unwrap();
    }
    let [one, two] = targets;
    // What is shared stays while one of them runs.
    drop(one);
    thread::sleep(Duration::from_millis(1500));
    assert_eq!(two.get("/two/alone").unwrap(), 200);
    agent.span("/two/alone").unwrap();
    let outcome = agent.stop().unwrap();
    assert_eq!(outcome.paths(), ["/one", "/two", "/two/alone"]);
    assert_eq!(
        outcome.count("foreign_binary"),
        0,
        "each request costs two traps, not four: {}",
        outcome.messages
    );
}

#[test]
fn a_hundred_short_lived_processes_leave_nothing_behind() {
    let Some(folder) = Folder::for_test("short-lived processes") else { return };
    let path = folder.server().unwrap();
    let agent = Agent::watching(&path).unwrap();
    // It looks at the host's processes meanwhile, and has a file open for that: the fewest of many looks count.
    let descriptors = || {
        let look = |_| {
            thread::sleep(Duration::from_millis(10));
            fs::read_dir(format!("/proc/{}/fd", agent.pid())).unwrap().count()
        };
        (0..20).map(look).min()
    };
    let first = Target::start(&path).unwrap();
    agent.watches(first.pid()).unwrap();
    drop(first);
    let is_watching =
        |number: usize| agent.messages().ends_with(&format!("which watches {number} processes now\n"));
    let nothing_watched = || agent.counts().is_ok_and(|_| is_watching(0)).then_some(());
    wait_for("the first one to be left", nothing_watched).unwrap();
    let before = descriptors();
    for _ in 0..20 {
        let processes: Vec<_> = (0..5).map(|_| Target::start(&path).unwrap()).collect();
        for process in &processes {
            assert_eq!(process.get("/short").unwrap(), 200);
        }
    }
    wait_for("all of them to be left", nothing_watched).unwrap();
    assert_eq!(descriptors(), before, "links are open");
    let last = Target::start(&path).unwrap();
    agent.watches(last.pid()).unwrap();
    assert_eq!(last.get("/last").unwrap(), 200);
    agent.span("/last").unwrap();
    let outcome = agent.stop().unwrap();
    let spans = outcome.spans.len() as u64;
    assert_eq!(
        outcome.count("ended"),
        spans + outcome.count("records_without_process"),
        "{}",
        outcome.messages
    );
}

#[test]
fn a_process_that_changed_its_code_is_refused_and_others_go_on() {
    let Some(folder) = Folder::for_test("changed code") else { return };
    let path = folder.copy_of(Program::Lifecycle, "changed").unwrap();
    let other = folder.copy_of(Program::Lifecycle, "other").unwrap();
    let (changed, same_file, other) =
        (Target::start(&path).unwrap(), Target::start(&path).unwrap(), Target::start(&other).unwrap());
    let offsets = probes(&path).unwrap();
    // The start of a request: this one is past it, and there is no other.
    let site = offsets[0];
    let address = address_in(changed.pid(), site).unwrap();
    assert_eq!(changed.get(&format!("/patch?address={address:x}")).unwrap(), 200);
    assert_eq!(code_at(changed.pid(), &[site]).unwrap(), [0x90]);
    let agent = Agent::start(["--exe", &format!("{}/*", text(folder.path()))], &[]).unwrap();
    agent.watches(other.pid()).unwrap();
    agent.says_times("was changed after loading", 2).unwrap();
    assert_eq!(other.get("/other").unwrap(), 200);
    agent.span("/other").unwrap();
    // A breakpoint for the sake of one would act on the other.
    assert_eq!(code_at(changed.pid(), &[site]).unwrap(), [0x90]);
    assert!(!code_at(same_file.pid(), &offsets).unwrap().contains(&BREAKPOINT));
    let outcome = agent.stop().unwrap();
    assert_eq!(outcome.paths(), ["/other"]);
    let refusals: Vec<_> =
        Said::lines(&outcome.messages).filter(|said| said.message == "not watching").collect();
    assert_eq!(refusals.len(), 2, "{}", outcome.messages);
    let reason = format!("process {} has other code", changed.pid());
    assert!(
        refusals.iter().all(|said| said.level == "WARN" && said.fields.contains(&reason)),
        "{refusals:?}"
    );
}
