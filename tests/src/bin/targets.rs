//! `targets [WORD…]`: builds the test matrix into the cache, or those builds whose description holds every word, and
//! prints each binary's path, its description and the seconds it took.

use lightfoot_tests::go::{Mode, Program, matrix};
use std::env;
use std::process::ExitCode;
use std::time::Instant;

/// Those that write down what really happened, without the routers, which take minutes.
const TRUTHFUL: [Program; 7] = [
    Program::Truth,
    Program::Clients,
    Program::Parents,
    Program::Bundled,
    Program::XNet,
    Program::Rpc,
    Program::OldRpc,
];

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let all = Instant::now();
    let mut failures = 0;
    let builds = matrix::general(Program::Http)
        .chain(matrix::special())
        .chain(matrix::versions(Program::Layouts, Mode::Plain))
        .chain(matrix::versions(Program::Grpc, Mode::Plain))
        .chain(TRUTHFUL.into_iter().flat_map(|program| matrix::versions(program, Mode::Plain)));
    for build in builds.filter(|build| words.iter().all(|word| build.to_string().contains(word))) {
        let started = Instant::now();
        match build.path() {
            Ok(path) => println!("{} ({build}, {:.1} s)", path.display(), started.elapsed().as_secs_f64()),
            Err(error) => {
                failures += 1;
                eprintln!("{build}: {error}");
            }
        }
    }
    println!("{:.0} s in all, {failures} failures", all.elapsed().as_secs_f64());
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
