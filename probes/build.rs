//! Builds the BPF programs of `ebpf/`, checks the object and hands it to `src/lib.rs`.
//!
//! Without the BPF toolchain the build succeeds with a warning and without programs, unless `LIGHTFOOT_REQUIRE_BPF=1`.

use std::env;
use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use lightfoot_probes_verify::{Exemption, Permissions};

/// The functions whose frames may exceed the limit. A reason is an argument why the private stack can't hurt them.
const EXEMPTIONS: &[Exemption] = &[];

const TARGET: &str = "bpfel-unknown-none";

/// An object of `ebpf/`.
struct Object {
    /// The name of the file that is embedded.
    name: &'static str,
    /// The binary of the crate, and its feature.
    binary: &'static str,
    feature: Option<&'static str>,
    /// A part of the names of functions that may write to the watched process.
    writer: Option<&'static str>,
}

/// The programs of the agent, the same with those that write, and those that tests count hits with.
const OBJECTS: [Object; 3] = [
    Object { name: "lightfoot-ebpf", binary: "lightfoot-ebpf", feature: None, writer: None },
    Object { name: "hits", binary: "hits", feature: None, writer: None },
    Object {
        name: "propagate",
        binary: "lightfoot-ebpf",
        feature: Some("propagate"),
        writer: Some("propagate10write_user"),
    },
];

/// Only these warn that programs are missing; all else that goes wrong ends the build.
enum Outcome {
    Built,
    NoToolchain(String),
}

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    if let Some(compiler) = arguments.next() {
        return rustc(&compiler, arguments);
    }
    match build() {
        Ok(Outcome::Built) => ExitCode::SUCCESS,
        Ok(Outcome::NoToolchain(reason))
            if env::var_os("LIGHTFOOT_REQUIRE_BPF").is_none_or(|value| value != "1") =>
        {
            println!("cargo::warning=the BPF programs are left out: {reason}");
            println!("cargo::rustc-env=LIGHTFOOT_NO_BPF_OBJECT={reason}");
            ExitCode::SUCCESS
        }
        Ok(Outcome::NoToolchain(reason)) => fail(&format!("the BPF programs can't be built: {reason}")),
        Err(error) => fail(&error.to_string()),
    }
}

/// Calls the compiler for the cargo that [`compile`] runs, whose wrapper this program is.
///
/// Cargo makes the hash of a crate, which all names in the object carry, from the path of a package that lies outside of its
/// workspace, as `abi` does. So that one commit gives the same bytes wherever it is built, it is made from name and version here.
fn rustc(compiler: &OsStr, arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let name = |variable| env::var(variable).unwrap_or_default();
    let metadata = ["CARGO_PKG_NAME", "CARGO_PKG_VERSION", "CARGO_CRATE_NAME"].map(name).join("-");
    let arguments = arguments.map(|argument| match argument.to_str() {
        Some(known) if known.starts_with("metadata=") => format!("metadata={metadata}").into(),
        _ => argument,
    });
    match Command::new(compiler).args(arguments).status() {
        Ok(status) => {
            status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
        }
        Err(error) => {
            eprintln!("starting {}: {error}", compiler.display());
            ExitCode::FAILURE
        }
    }
}

fn fail(message: &str) -> ExitCode {
    for line in message.lines() {
        println!("cargo::error={line}");
    }
    ExitCode::FAILURE
}

fn build() -> Result<Outcome, Box<dyn Error>> {
    let probes = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(variable("OUT_DIR")?);
    for object in &OBJECTS {
        fs::write(out.join(object.name).with_extension("o"), [])?;
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=LIGHTFOOT_BPF_LINKER");

    let sysroot = sysroot()?;
    let library = sysroot.join("lib/rustlib/src/rust/library");
    if !library.join("Cargo.lock").is_file() {
        watch_for_toolchain(&sysroot);
        return Ok(Outcome::NoToolchain(
            "the component rust-src is not installed (`make setup` does it)".into(),
        ));
    }
    let linker = match linker(&probes)? {
        Ok(linker) => linker,
        Err(reason) => {
            watch_for_toolchain(&sysroot);
            return Ok(Outcome::NoToolchain(reason));
        }
    };
    for input in [
        "../scripts/versions.env",
        "ebpf/src",
        "ebpf/Cargo.toml",
        "ebpf/Cargo.lock",
        "ebpf/build.rs",
        "ebpf/.cargo",
        "abi",
    ] {
        println!("cargo::rerun-if-changed={}", probes.join(input).display());
    }
    println!("cargo::rerun-if-changed={}", linker.display());

    // Cargo gives each set of features an output folder of its own; the programs are the same for all of them.
    let target = out.ancestors().nth(3).unwrap_or(&out).join("lightfoot-ebpf");
    let mut largest = 0;
    for object in &OBJECTS {
        let built = compile(object, &probes, &target, &linker, &sysroot)?;
        let (bytes, frame) = checked(&built.join(object.binary), object.writer)?;
        fs::write(out.join(object.name).with_extension("o"), bytes)?;
        largest = largest.max(frame);
    }
    println!("cargo::rustc-env=LIGHTFOOT_LARGEST_FRAME={largest}");
    Ok(Outcome::Built)
}

/// The bytes of an object that fulfils what it must, and its largest frame.
fn checked(built: &Path, writer: Option<&'static str>) -> Result<(Vec<u8>, u32), Box<dyn Error>> {
    let bytes = fs::read(built).map_err(|error| format!("reading {}: {error}", built.display()))?;
    let violations = match lightfoot_probes_verify::check(&bytes, Permissions { frames: EXEMPTIONS, writer })
    {
        Ok(functions) => {
            let largest = functions.iter().map(|function| function.frame).max().unwrap_or(0);
            return Ok((bytes, largest));
        }
        Err(violations) => violations,
    };
    let describe = |violation: &dyn Error| match violation.source() {
        Some(source) => format!("{violation}: {source}"),
        None => violation.to_string(),
    };
    let lines: Vec<_> = violations.iter().map(|violation| describe(violation)).collect();
    Err(format!("the BPF object is refused ({}):\n{}", built.display(), lines.join("\n")).into())
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error| format!("{name}: {error}"))
}

fn sysroot() -> Result<PathBuf, Box<dyn Error>> {
    let output = Command::new(variable("RUSTC")?).args(["--print", "sysroot"]).output()?;
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}

/// The cache that `make` installs tools into, as `scripts/lib.sh` computes it.
fn cache() -> Option<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let user_cache = || set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    set("LIGHTFOOT_CACHE").or_else(|| Some(user_cache()?.join("lightfoot")))
}

/// The path of bpf-linker, or the reason why there is none to be used.
fn linker(probes: &Path) -> Result<Result<PathBuf, String>, Box<dyn Error>> {
    if let Some(named) = env::var_os("LIGHTFOOT_BPF_LINKER").map(PathBuf::from) {
        let problem = format!("LIGHTFOOT_BPF_LINKER names {}, which is no file", named.display());
        return Ok(if named.is_file() { Ok(named) } else { Err(problem) });
    }
    let versions = fs::read_to_string(probes.join("../scripts/versions.env"))?;
    let version = versions.lines().find_map(|line| line.strip_prefix("BPF_LINKER_VERSION="));
    let version = version.ok_or("scripts/versions.env does not name BPF_LINKER_VERSION")?;
    let cached = cache().map(|cache| cache.join(format!("tools/bpf-linker-{version}/bin")));
    let path = env::var_os("PATH").unwrap_or_default();
    let candidates =
        cached.into_iter().chain(env::split_paths(&path)).map(|folder| folder.join("bpf-linker"));
    // Another version may be linked against another LLVM than this rustc's and fail in ways that puzzle.
    let fits = |linker: &PathBuf| {
        let output = Command::new(linker).arg("--version").output();
        output.is_ok_and(|output| output.stdout.trim_ascii() == format!("bpf-linker {version}").as_bytes())
    };
    let found = candidates.filter(|linker| linker.is_file()).find(fits);
    Ok(found.ok_or_else(|| format!("bpf-linker {version} is not installed (`make setup` does it)")))
}

/// Runs this script again when something happened that may have brought the toolchain.
fn watch_for_toolchain(sysroot: &Path) {
    for name in ["PATH", "LIGHTFOOT_CACHE", "LIGHTFOOT_REQUIRE_BPF"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    let tools = cache().map(|cache| cache.join("tools"));
    let installed = env::var_os("CARGO_HOME").map(|home| PathBuf::from(home).join("bin"));
    let components = Some(sysroot.join("lib/rustlib/components"));
    for place in [tools, installed, components].into_iter().flatten().filter(|place| place.exists()) {
        println!("cargo::rerun-if-changed={}", place.display());
    }
}

/// Compiles an object with a cargo of its own and returns the folder that it is in, until another is compiled.
fn compile(
    object: &Object,
    probes: &Path,
    target: &Path,
    linker: &Path,
    sysroot: &Path,
) -> Result<PathBuf, Box<dyn Error>> {
    // Debug information names source files; where they lie on the building machine is nobody's business.
    let registry = env::var_os("CARGO_HOME").map(PathBuf::from).unwrap_or_default().join("registry/src");
    let prefixes = [(probes, "/lightfoot/probes"), (&registry, "/registry"), (sysroot, "/rust")];
    let flags: Vec<_> =
        prefixes.iter().map(|(from, to)| format!("'--remap-path-prefix={}={to}'", from.display())).collect();
    let mut cargo = Command::new(variable("CARGO")?);
    cargo
        .current_dir(probes.join("ebpf")) // for its .cargo/config.toml
        .args(["build", "--release", "--locked", "--bin", object.binary, "--target", TARGET, "--target-dir"])
        .arg(target)
        .args(object.feature.into_iter().flat_map(|feature| ["--features", feature]))
        .arg("--config")
        .arg(format!("build.rustflags=[{}]", flags.join(",")))
        .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", linker)
        .env("RUSTC_WRAPPER", env::current_exe()?)
        // The programs read the registers of the machine that the agent is built for.
        .env("AYA_BPF_TARGET_ARCH", variable("CARGO_CFG_TARGET_ARCH")?)
        .env("RUSTC_BOOTSTRAP", "1"); // build-std on the stable toolchain that is pinned
    // What the cargo that runs this script was told holds for its own target.
    for name in ["CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS", "RUSTC_WORKSPACE_WRAPPER"] {
        cargo.env_remove(name);
    }
    let status = cargo.status().map_err(|error| format!("starting cargo for the BPF programs: {error}"))?;
    if !status.success() {
        return Err("compiling the BPF programs failed; the compiler's messages are above or below".into());
    }
    Ok(target.join(TARGET).join("release"))
}
