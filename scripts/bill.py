"""bill.py SOURCES FOLDER: joins the bills of the agent and of the kernel's programs, which are in it, and collects the licences of what they list.
Standard input has what `cargo metadata` says of both."""

import json
import pathlib
import re
import sys

sources, folder = map(pathlib.Path, sys.argv[1:])
LICENCE = re.compile(r"(LICEN[CS]E|COPYING|COPYRIGHT|NOTICE)", re.IGNORECASE)

bill, programs = (
    json.loads(re.sub(re.escape(str(sources)), "/lightfoot", (sources / part / "bill.json").read_text()))
    for part in ("agent", "probes/ebpf")
)
listed = {component["bom-ref"] for component in bill["components"]}
programs["metadata"]["component"].pop("components", None)
for component in [programs["metadata"]["component"], *programs["components"]]:
    if component["bom-ref"] not in listed:
        bill["components"].append(component)
bill["components"].sort(key=lambda component: (component["name"], component["version"]))
known = {dependency["ref"] for dependency in bill["dependencies"]}
bill["dependencies"] += [each for each in programs["dependencies"] if each["ref"] not in known]
(folder / "bill.cdx.json").write_text(json.dumps(bill, indent=1) + "\n")

packages = {(package["name"], package["version"]): package for line in sys.stdin for package in json.loads(line)["packages"]}
rows, texts = [], {}
for name, version in sorted({(component["name"], component["version"]) for component in bill["components"]}):
    package = packages[name, version]
    rows.append(f"{name} {version}: {package['license']}")
    if package["source"]:
        for file in sorted(pathlib.Path(package["manifest_path"]).parent.iterdir()):
            if file.is_file() and LICENCE.match(file.name):
                texts.setdefault(file.read_text(errors="replace").strip(), []).append(f"{name} {version}")
with (folder / "licences.txt").open("w") as output:
    print("What is linked into Lightfoot, each with its licence, and their texts.\n", *rows, sep="\n", file=output)
    for text, owners in texts.items():
        print("", "-" * 80, ", ".join(owners), "", text, sep="\n", file=output)
