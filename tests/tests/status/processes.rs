//! What is said of each process beside its counts.

use std::process::Command;

use lightfoot_tests::go::toolchain::run;
use lightfoot_tests::go::{GoToolchain, GoVersion, Program};
use lightfoot_tests::live::{Folder, Target, text};

use crate::{command, printed, start, status, until};

/// The toolchain that [`Folder`] has programs of.
fn go() -> GoToolchain {
    GoToolchain::find(GoVersion::of_minor(26).unwrap()).unwrap()
}

#[test]
fn versions_are_those_that_go_itself_tells() {
    let Some(folder) = Folder::for_test("versions of what is watched") else { return };
    let gin = folder.copy_of(Program::Gin, "gin").unwrap();
    let plain = folder.server().unwrap();
    let mut with_truth = Command::new(&gin);
    with_truth.arg("-truth").arg(folder.path().join("truth")).arg("-unix").arg(folder.path().join("unix"));
    let targets = [Target::spawn(&mut with_truth).unwrap(), Target::start(&plain).unwrap()];
    let (agent, socket) = start(&folder.path().join("state"), &["--exe", text(&gin), "--exe", text(&plain)]);
    for (target, path) in targets.iter().zip([&gin, &plain]) {
        let process = until(&socket, target.pid(), "a process that is watched", |one| one.go.is_some());
        let told = run(go().command().args(["version", "-m"]).arg(path)).unwrap();
        let own = process.go.unwrap();
        assert!(told.starts_with(&format!("{}: {own}\n", text(path))), "{own}: {told}");
        // Of many modules that it was built from, that whose router is looked for.
        let modules: Vec<_> = process.modules.iter().collect();
        if path == &plain {
            assert_eq!(modules, []);
            continue;
        }
        let [(module, version)] = modules[..] else { panic!("{modules:?}") };
        assert_eq!(module, "github.com/gin-gonic/gin");
        assert!(told.contains(&format!("\tdep\t{module}\t{version}\t")), "{version}: {told}");
        let page = printed(&command(&["--socket", text(&socket)]));
        assert!(page.contains(&format!("\n    {own}, {module} {version}\n    0 spans, ")), "{page}");
    }
    assert_eq!(status(&socket).processes.len(), 2);
    agent.stop().unwrap();
}
