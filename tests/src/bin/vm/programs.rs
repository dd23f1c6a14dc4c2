//! The Go programs that tests start. A virtual machine has no Go: they are built before.

use lightfoot_symbolizer::Architecture;
use lightfoot_tests::go::{Build, GoVersion, Mode, Program, matrix};

use crate::trials::Trial;

/// Those that a trial starts, in all of its tests that are in [`crate::trials`].
pub(crate) fn of(trial: &Trial, architecture: Architecture) -> Vec<Build> {
    let Trial::Tests { program, .. } = trial else { return Vec::new() };
    let of = |program, list: &[(u32, Mode)]| {
        let build = |&(minor, mode)| {
            let version = GoVersion::of_minor(minor)?;
            Some(Build { program, version, mode, architecture })
        };
        list.iter().filter_map(build).collect::<Vec<_>>()
    };
    let plain = |program, minors: &[u32]| {
        of(program, &minors.iter().map(|&minor| (minor, Mode::Plain)).collect::<Vec<_>>())
    };
    let programs = match program.as_str() {
        "http_server" | "http_server_traps" => vec![of(Program::Truth, &matrix::SERVERS)],
        "http_client" => {
            vec![plain(Program::Clients, &[21, 24, 26, 27]), plain(Program::XNet, &[21, 24, 26, 27])]
        }
        "http_client_traps" => vec![
            plain(Program::Clients, &[21, 24, 26, 27]),
            plain(Program::Truth, &[21, 24, 26, 27]),
            plain(Program::Bundled, &[21, 26, 27]),
        ],
        "grpc" | "grpc_traps" => vec![
            of(Program::OldRpc, &[(21, Mode::Plain), (25, Mode::Plain), (25, Mode::PieStripped)]),
            of(Program::Rpc, &[(21, Mode::Stripped), (27, Mode::Stripped), (27, Mode::Plain)]),
        ],
        "propagate" => vec![
            plain(Program::Propagation, &[21, 26, 27]),
            of(Program::Propagation, &[(25, Mode::PieStripped)]),
            plain(Program::PropagationHttp2, &[21, 26, 27]),
            of(Program::PropagationHttp2, &[(24, Mode::PieStripped)]),
            plain(Program::PropagationGrpc, &[21, 26, 27]),
            of(Program::PropagationGrpc, &[(24, Mode::PieStripped)]),
            plain(Program::TraceContext, &[26]),
            plain(Program::TraceContextSdk, &[26]),
        ],
        "join" => vec![plain(Program::Join, &[21, 26, 27])],
        "demo" => vec![of(Program::Demo, &[(26, Mode::Plain)])],
        "headers" => vec![
            plain(Program::Truth, &[21, 26, 27]),
            plain(Program::Http2Batch, &[21, 27]),
            plain(Program::Lifecycle, &[26]),
        ],
        "privileges" => vec![
            plain(Program::Lifecycle, &[26]),
            plain(Program::Truth, &[26]),
            plain(Program::Clients, &[26]),
            plain(Program::Rpc, &[26]),
        ],
        "equation" => vec![plain(Program::Truth, &[26])],
        "matrix" => vec![of(Program::Truth, &[(26, Mode::Plain)]), plain(Program::Clients, &[26])],
        "attach_methods" => vec![of(Program::Lifecycle, &[(26, Mode::Pie), (26, Mode::Plain)])],
        _ => Vec::new(),
    };
    programs.into_iter().flatten().collect()
}
