"""What a static build takes from the toolchain: Rust's library with the crates that it is made of, and what both are linked with."""

import dataclasses
import html
import json
import pathlib
import re
import subprocess

LICENCE = re.compile(r"(LICEN[CS]E|COPYING|COPYRIGHT|NOTICE)", re.IGNORECASE)


@dataclasses.dataclass
class Part:
    """A component of CycloneDX, and the texts of its licence."""

    component: dict
    texts: list


def part(name, version, licence, purl, texts, reference=None, **more):
    component = {"type": "library", "bom-ref": reference or purl, "name": name, "version": version, "scope": "required"}
    return Part(component | more | {"licenses": [{"expression": licence}], "purl": purl}, texts)


def texts_of(folder):
    files = (file for file in sorted(folder.iterdir()) if file.is_file() and LICENCE.match(file.name))
    return [file.read_text(errors="replace") for file in files]


def crates_of(library, libraries):
    """The crates that `std` takes in, of which the toolchain has a library for the machine."""
    packages = {package["id"]: package for package in library["packages"]}
    nodes = {node["id"]: node for node in library["resolve"]["nodes"]}
    crates, rest = [], [next(id for id, package in packages.items() if package["name"] == "std")]
    while rest:
        package = packages[rest.pop()]
        if package in crates or not any(libraries.glob(f"lib{package['name'].replace('-', '_')}-*.rlib")):
            continue
        crates.append(package)
        rest += [each["pkg"] for each in nodes[package["id"]]["deps"] if any(kind["kind"] is None for kind in each["dep_kinds"])]
    return crates


def crate(package):
    name, version, folder = package["name"], package["version"], pathlib.Path(package["manifest_path"]).parent
    purl, licence = f"pkg:cargo/{name}@{version}", package["license"].replace("/", " OR ")
    if package["source"] is None:
        return part(name, version, licence, purl, texts_of(folder.parent))
    checksum = json.loads((folder / ".cargo-checksum.json").read_text())["package"]
    return part(name, version, licence, purl, texts_of(folder), package["id"], hashes=[{"alg": "SHA-256", "content": checksum}])


def member(archive, name):
    """A file of an archive of `ar`, in whose header its name has room."""
    data, at = archive.read_bytes(), len(b"!<arch>\n")
    while data[at : at + 16].split(b"/")[0] != name:
        length = int(data[at + 48 : at + 58])
        at += 60 + length + length % 2
    return data[at + 60 :]


def library_texts(documents):
    """Who wrote what is in Rust's own repository, and the licences that are named there."""
    notice = (documents / "COPYRIGHT-library.html").read_text()
    notice = notice[notice.index('<h2 id="in-tree-files">') : notice.index('<h2 id="out-of-tree-dependencies">')]
    notice = html.unescape(re.sub(r"<[^>]*>", "", notice))
    notice = "\n".join(line.strip() for line in notice.splitlines() if line.strip())
    named = [file for file in sorted((documents / "licenses").iterdir()) if file.stem in notice]
    return [notice, *(file.read_text() for file in named)]


def parts(sysroot, machine, library, musl):
    """Rust's library is the first. `library` is what `cargo metadata` says of that, and `musl` the file with musl's licence."""
    libraries = sysroot / f"lib/rustlib/{machine}-unknown-linux-musl/lib"
    linked, documents = libraries / "self-contained", sysroot / "share/doc/rust"
    crates = crates_of(library, libraries)
    told = subprocess.run([sysroot / "bin/rustc", "-vV"], check=True, stdout=subprocess.PIPE, text=True).stdout
    rust, llvm = (re.search(f"^{name}: (.*)$", told, re.MULTILINE)[1] for name in ("release", "LLVM version"))
    licence = crates[0]["license"]
    # By the version's own object, and by what the compiler says of itself.
    of_musl = re.search(rb"\0([0-9.]+)\0", member(linked / "libc.a", b"version.lo"))[1].decode()
    of_gcc = re.search(rb"GCC: \(GNU\) ([0-9.]+)\0", (linked / "crtbegin.o").read_bytes())[1].decode()
    gcc = [(documents / "licenses" / f"{name}.txt").read_text() for name in ("GPL-3.0-or-later", "GCC-exception-3.1")]
    unwind = sysroot / "lib/rustlib/src/rust/src/llvm-project/libunwind"
    return [
        part("rust-std", rust, licence, f"pkg:github/rust-lang/rust@{rust}", library_texts(documents),
             cpe=f"cpe:2.3:a:rust-lang:rust:{rust}:*:*:*:*:*:*:*"),
        *(crate(package) for package in crates if package["source"] or package["license"] != licence),
        part("gcc-crt", of_gcc, "GPL-3.0-or-later WITH GCC-exception-3.1", f"pkg:generic/gcc@{of_gcc}", gcc),
        part("llvm-libunwind", llvm, "Apache-2.0 WITH LLVM-exception", f"pkg:github/llvm/llvm-project@llvmorg-{llvm}#libunwind",
             texts_of(unwind)),
        part("musl", of_musl, "MIT", f"pkg:generic/musl@{of_musl}", [musl.read_text()],
             cpe=f"cpe:2.3:a:musl-libc:musl:{of_musl}:*:*:*:*:*:*:*"),
    ]
