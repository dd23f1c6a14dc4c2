//! The bill of materials of each static build, and the licences of what it lists: in its package as beside it.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::{extracted, has, package, printed, root};

/// The crates that make up Rust's own library, which is listed as one.
const OF_LIBRARY: [&str; 8] = [
    "std",
    "core",
    "alloc",
    "panic_unwind",
    "unwind",
    "std_detect",
    "rustc_std_workspace_alloc",
    "rustc_std_workspace_core",
];

/// All crates but those that macros are made of, which run in the compiler alone.
fn crates(machine: &str) -> BTreeSet<String> {
    let mut tree = Command::new(env!("CARGO"));
    tree.args(["tree", "--package", "lightfoot", "--edges", "normal,no-proc-macro", "--prefix", "none"]);
    tree.args(["--format", "{p}", "--target", &format!("{machine}-unknown-linux-musl")]);
    let tree = printed(tree.current_dir(root()));
    tree.lines().map(|line| line.split(" (").next().unwrap().to_owned()).collect()
}

/// What the compiler hands to the linker of each static program: names of components, but for crates as their libraries are called.
fn linked(machine: &str) -> BTreeSet<String> {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("empty.rs");
    fs::write(&source, "fn main() {}").unwrap();
    let mut compiler = Command::new("rustc");
    compiler.args(["--print", "link-args", "-C", "linker=rust-lld", "--target"]);
    compiler
        .arg(format!("{machine}-unknown-linux-musl"))
        .arg(&source)
        .arg("-o")
        .arg(folder.path().join("empty"));
    let arguments = printed(&mut compiler).replace('"', "");
    let of_toolchain = |argument: &str| {
        let name = argument.rsplit('/').next().unwrap();
        let name = name
            .strip_prefix("-l")
            .or_else(|| name.strip_suffix(".rlib"))
            .or_else(|| name.strip_suffix(".o"))?;
        Some(match name {
            "c" | "crt1" | "rcrt1" | "crti" | "crtn" => "musl".to_owned(),
            "unwind" => "llvm-libunwind".to_owned(),
            "crtbegin" | "crtbeginS" | "crtend" | "crtendS" => "gcc-crt".to_owned(),
            library => library.strip_prefix("lib")?.rsplit_once('-')?.0.to_owned(),
        })
    };
    let names = arguments.split_whitespace().filter_map(of_toolchain);
    names.map(|name| if OF_LIBRARY.contains(&&*name) { "rust-std".to_owned() } else { name }).collect()
}

/// The agent is told of by Cargo itself, the kernel's programs by what nobody else links, the rest by the compiler.
#[test]
fn the_bill_lists_all_that_is_linked_with_its_licences() {
    for machine in ["x86_64", "aarch64"] {
        let Some(package) = package(machine, "deb") else { continue };
        if !has("dpkg-deb") {
            return;
        }
        let folder = extracted(&package);
        let text = |name: &str, beside: &str| {
            let text = fs::read_to_string(folder.path().join("usr/share/doc/lightfoot").join(name)).unwrap();
            let beside = root().join(format!("dist/lightfoot-{machine}.{beside}"));
            assert!(text == fs::read_to_string(&beside).unwrap(), "{}", beside.display());
            text
        };
        let bill: Value = serde_json::from_str(&text("bill.cdx.json", "cdx.json")).unwrap();
        let components = bill["components"].as_array().unwrap();
        let version_of = |each: &Value| {
            (each["name"].as_str().unwrap().to_owned(), each["version"].as_str().unwrap().to_owned())
        };
        let components: BTreeSet<_> = components.iter().map(version_of).collect();
        let listed: BTreeSet<_> =
            components.iter().map(|(name, version)| format!("{name} v{version}")).collect();
        let own = format!("lightfoot v{}", env!("CARGO_PKG_VERSION"));
        let missing: Vec<_> =
            crates(machine).into_iter().filter(|each| *each != own && !listed.contains(each)).collect();
        assert!(missing.is_empty(), "{machine}: {missing:?}");
        assert!(listed.iter().any(|each| each.starts_with("aya-ebpf v")), "{listed:?}");
        let names: BTreeSet<_> = components.iter().map(|(name, _)| name.replace('-', "_")).collect();
        let linked = linked(machine);
        assert!(linked.len() > 8 && linked.contains("musl") && linked.contains("rust-std"), "{linked:?}");
        let missing: Vec<_> =
            linked.into_iter().filter(|each| !names.contains(&each.replace('-', "_"))).collect();
        assert!(missing.is_empty(), "{machine}: {missing:?}");

        // The versions of what has none in any lock file.
        let rust = printed(Command::new("rustc").arg("--version"));
        assert!(listed.contains(&format!("rust-std v{}", rust.split(' ').nth(1).unwrap())), "{rust}");
        let libraries = printed(Command::new("rustc").args(["--print", "sysroot"]));
        let musl = format!(
            "{}/lib/rustlib/{machine}-unknown-linux-musl/lib/self-contained/libc.a",
            libraries.trim()
        );
        let (_, version) = components.iter().find(|(name, _)| name == "musl").unwrap();
        let musl = fs::read(musl).unwrap();
        assert!(memchr::memmem::find(&musl, format!("\0{version}\0").as_bytes()).is_some(), "{version}");

        let licences = text("licences.txt", "licences.txt");
        for (name, version) in &components {
            assert!(licences.contains(&format!("\n{name} {version}: ")), "{name} {version}");
        }
        for text in [
            "Permission is hereby granted, free of charge",
            "TERMS AND CONDITIONS FOR USE",
            "Copyright: The Rust Project Developers",
            "Copyright © 2005-2020 Rich Felker, et al.",
            "The libunwind library is dual licensed",
            "GCC RUNTIME LIBRARY EXCEPTION",
        ] {
            assert!(licences.contains(text), "{text}");
        }
    }
}
