//! How full the ring buffer and the kernel's maps are said to be.

use std::path::Path;
use std::thread;

use lightfoot::status::{MapFill, Memory};
use lightfoot_tests::live::{Folder, Target, map_bytes, text, wait_for};
use rustix::process::Signal;

use crate::{command, printed, start, status, until};

fn map(socket: &Path, name: &str) -> MapFill {
    status(socket).maps.into_iter().find(|map| map.name == name).unwrap()
}

#[test]
fn the_ring_and_maps_are_as_full_as_they_are() {
    const SPANS: u64 = 50;
    let Some(folder) = Folder::for_test("how full ring and maps are") else { return };
    let path = folder.server().unwrap();
    let target = Target::start(&path).unwrap();
    let config = folder.say("config.yaml", "watching:\n  max_open_spans: 32\n").unwrap();
    let (agent, socket) = start(
        &folder.path().join("state"),
        &["--exe", text(&path), "--config", text(&config), "--ring-size", "64", "--max-processes", "9"],
    );
    agent.watches(target.pid()).unwrap();
    let ring = status(&socket).ring;
    assert_eq!((ring.size_bytes, ring.last_bytes, ring.most_bytes), (64 << 10, 0, 0));
    let page = printed(&command(&["--socket", text(&socket)]));
    let expected = "ring buffer: at most 0 of 65536 bytes, 0 at the last read, for no span has come yet\n";
    assert!(page.contains(expected), "{page}");
    for (name, entries, limit) in
        [("processes", 1, 9), ("binaries", 1, 256), ("open_spans", 0, 32), ("connections", 0, 16)]
    {
        assert_eq!(map(&socket, name), MapFill { name: name.to_owned(), entries, limit }, "{name}");
        assert!(page.contains(&format!("{name} {entries}/{limit}")), "{page}");
    }
    memory_is_what_the_kernel_says(&socket, agent.pid(), &page);

    assert_eq!(target.get("/ring").unwrap(), 200);
    until(&socket, target.pid(), "a span", |one| one.spans == 1);
    let one =
        wait_for("a record", || Some(status(&socket).ring.most_bytes).filter(|most| *most != 0)).unwrap();
    assert!((64..4096).contains(&one), "{one}");
    // While nobody reads, they wait.
    agent.signal(Signal::STOP);
    for _ in 0..SPANS {
        assert_eq!(target.get("/ring").unwrap(), 200);
    }
    agent.signal(Signal::CONT);
    until(&socket, target.pid(), "all spans", |one| one.spans == 1 + SPANS);
    let most = wait_for("all records", || Some(status(&socket).ring.most_bytes).filter(|most| *most != one));
    assert_eq!(most.unwrap(), SPANS * one);
    wait_for("a read that finds nothing", || (status(&socket).ring.last_bytes == 0).then_some(())).unwrap();
    assert_eq!(status(&socket).ring.most_bytes, SPANS * one);

    // One that hangs is open, and its entry goes with its process.
    thread::scope(|scope| {
        scope.spawn(|| target.get("/hang").unwrap_err());
        let is_open = || (map(&socket, "open_spans").entries == 1).then_some(());
        wait_for("an open span", is_open).unwrap();
        target.signal(Signal::KILL);
    });
    let is_left = || map(&socket, "processes").entries == 0 && map(&socket, "open_spans").entries == 0;
    wait_for("the process to be left", || is_left().then_some(())).unwrap();
    agent.stop().unwrap();
}

fn memory_is_what_the_kernel_says(socket: &Path, pid: u32, page: &str) {
    let said: Memory = status(socket).memory;
    let (resident, maps) = (said.resident_bytes.unwrap() / 1024, said.map_bytes.unwrap());
    let told: u64 = map_bytes(pid).unwrap().values().sum();
    assert_eq!(maps, told);
    // It takes a little more or less with each answer.
    let now: u64 = lightfoot_tests::live::resident(pid).unwrap().values().sum();
    assert!(resident.abs_diff(now) < 2048, "{resident} {now}");
    assert!(page.contains(&format!(" KiB resident, {} KiB of BPF maps\n", maps / 1024)), "{page}");
}
