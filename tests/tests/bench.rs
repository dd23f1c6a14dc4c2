//! The benchmark: its harness works, and the page in `docs/bench` is what its data say. What it measures is not judged here.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail by panicking, too")]

use std::fs;
use std::path::Path;
use std::process::Command;

use lightfoot_tests::live::is_privileged;
use serde_json::Value;
use tempfile::tempdir;

const FILES: [&str; 4] = ["README.md", "added.svg", "throughput.svg", "p99.svg"];
const SCENARIOS: [(&str, u64); 4] = [("bare", 1), ("headers", 1), ("chain", 3), ("many", 1)];
const WAYS: [&str; 4] = ["nothing", "traps", "lightfoot", "otelhttp"];

fn bench(command: &str, folder: &Path) {
    let output = Command::new(env!("CARGO_BIN_EXE_bench")).arg(command).arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn list<'a>(results: &'a Value, name: &str) -> &'a Vec<Value> {
    results.get(name).and_then(Value::as_array).unwrap()
}

fn text<'a>(entry: &'a Value, name: &str) -> &'a str {
    entry.get(name).and_then(Value::as_str).unwrap()
}

fn number(entry: &Value, name: &str) -> f64 {
    entry.get(name).and_then(Value::as_f64).unwrap()
}

fn count(entry: &Value, name: &str) -> u64 {
    entry.get(name).and_then(Value::as_u64).unwrap()
}

/// Every way in every scenario: requests are answered, each span takes two traps, and spans arrive.
#[test]
fn a_short_run_measures_everything() {
    if !is_privileged("a short run of the benchmark") {
        return;
    }
    let folder = tempdir().unwrap();
    bench("quick", folder.path());
    let results: Value =
        serde_json::from_str(&fs::read_to_string(folder.path().join("results.json")).unwrap()).unwrap();
    let samples = list(&results, "samples");
    for (scenario, spans) in SCENARIOS {
        for way in WAYS {
            let of =
                samples.iter().filter(|one| text(one, "scenario") == scenario && text(one, "way") == way);
            let of: Vec<_> = of.collect();
            assert_eq!(of.len(), 2, "one at each pace: {scenario} {way}");
            for sample in of {
                assert!(count(sample, "requests") > 0, "{sample}");
                assert!(
                    number(sample, "service") > 0.0 && number(sample, "p99") >= number(sample, "p50"),
                    "{sample}"
                );
                assert_eq!(number(sample, "agent") > 0.0, way == "lightfoot", "{sample}");
            }
        }
        let programs = list(&results, "programs");
        let program = programs.iter().find(|one| text(one, "scenario") == scenario).unwrap();
        assert_eq!(count(program, "runs"), 2 * spans * count(program, "requests"), "{program}");
        let reads = list(&results, "reads").iter().find(|one| text(one, "scenario") == scenario).unwrap();
        assert!(count(reads, "all") > spans * count(reads, "requests"), "{reads}");
    }
    let delivered = list(&results, "delivered");
    let ways: Vec<_> = delivered.iter().map(|one| text(one, "way")).collect();
    assert_eq!(ways, ["lightfoot", "otelhttp"]);
    for one in delivered {
        // On a busy machine either may drop some, and the page tells how many.
        let arrived = count(one, "arrived");
        assert!(arrived > 0 && arrived <= count(one, "expected"), "{one}");
    }
    for file in FILES {
        assert!(folder.path().join(file).metadata().unwrap().len() > 1000, "{file}");
    }
    check_calls(
        &serde_json::from_str(&fs::read_to_string(folder.path().join("grpc.json")).unwrap()).unwrap(),
    );
}

/// Every way on both sides of gRPC calls: each span takes two traps, and spans arrive.
fn check_calls(results: &Value) {
    let calls = count(results, "each");
    for name in ["server", "client"] {
        let side = results.get(name).unwrap();
        for way in ["nothing", "lightfoot", "by_hand"] {
            let costs = list(side, way);
            assert_eq!(costs.len(), 1, "{name} {way}");
            assert!(costs.iter().all(|cost| cost.as_f64().unwrap() > 0.0), "{name} {way}: {costs:?}");
        }
        let programs = list(side, "programs");
        assert_eq!(programs.len(), 1, "{name}");
        for program in programs {
            assert_eq!(count(program, "runs"), 2 * calls, "{name}: {program}");
            assert!(count(program, "nanoseconds") > 0, "{name}: {program}");
        }
        assert!(count(side, "reads") > calls, "{name}: {side}");
    }
    for way in ["lightfoot", "by_hand"] {
        let one = results.get(way).unwrap();
        let arrived = count(one, "arrived");
        assert!(arrived > 0 && arrived <= count(one, "expected"), "{way}: {one}");
    }
}

#[test]
fn the_page_is_what_its_data_say() {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/bench");
    let folder = tempdir().unwrap();
    fs::copy(committed.join("results.json"), folder.path().join("results.json")).unwrap();
    bench("render", folder.path());
    for file in FILES {
        let rendered = fs::read_to_string(folder.path().join(file)).unwrap();
        assert_eq!(
            fs::read_to_string(committed.join(file)).unwrap(),
            rendered,
            "{file}: `bench render docs/bench`"
        );
    }
}
