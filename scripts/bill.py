"""bill.py SOURCES SYSROOT MUSL MACHINE FOLDER: joins the bills of the agent and of the kernel's programs, which are in it, adds what a
static build takes from the toolchain, and collects the licences of what is listed. MUSL is the file with musl's. Standard input has
what `cargo metadata` says of both, and then of Rust's library."""

import json
import pathlib
import re
import sys

import bill_toolchain

sources, sysroot, musl = map(pathlib.Path, sys.argv[1:4])
machine, folder = sys.argv[4], pathlib.Path(sys.argv[5])

bill, programs = (
    json.loads(re.sub(re.escape(str(sources)), "/lightfoot", (sources / part / "bill.json").read_text()))
    for part in ("agent", "probes/ebpf")
)
*metadata, library = map(json.loads, sys.stdin)
toolchain = bill_toolchain.parts(sysroot, machine, library, musl)
agent, kernel = bill["metadata"]["component"], programs["metadata"]["component"]
kernel.pop("components", None)
listed = {component["bom-ref"] for component in bill["components"]}
for component in [kernel, *programs["components"], *(part.component for part in toolchain)]:
    if component["bom-ref"] not in listed:
        bill["components"].append(component)
bill["components"].sort(key=lambda component: (component["name"], component["version"]))
known = {dependency["ref"] for dependency in bill["dependencies"]}
bill["dependencies"] += [each for each in programs["dependencies"] if each["ref"] not in known]
standard, *others = [part.component["bom-ref"] for part in toolchain]
for dependency in bill["dependencies"]:
    if dependency["ref"] in (agent["bom-ref"], kernel["bom-ref"]):
        dependency.setdefault("dependsOn", []).append(standard)
bill["dependencies"].append({"ref": standard, "dependsOn": others})
(folder / f"lightfoot-{machine}.cdx.json").write_text(json.dumps(bill, indent=1) + "\n")

owned = {(part.component["name"], part.component["version"]): part for part in toolchain}
packages = {(package["name"], package["version"]): package for each in metadata for package in each["packages"]}
rows, texts = [], {}
for key in sorted({(component["name"], component["version"]) for component in bill["components"]}):
    package, name = packages.get(key), " ".join(key)
    if package is None:
        licence, own = owned[key].component["licenses"][0]["expression"], owned[key].texts
    elif package["source"]:
        licence, own = package["license"], bill_toolchain.texts_of(pathlib.Path(package["manifest_path"]).parent)
    else:
        licence, own = package["license"], []
    rows.append(f"{name}: {licence}")
    for text in own:
        texts.setdefault(text.strip(), []).append(name)
with (folder / f"lightfoot-{machine}.licences.txt").open("w") as output:
    print("What is linked into Lightfoot, each with its licence, and their texts.\n", *rows, sep="\n", file=output)
    for text, owners in texts.items():
        print("", "-" * 80, ", ".join(owners), "", text, sep="\n", file=output)
