//! `lightfoot config`, and the configuration file of the other commands.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::process::{Command, Output};
use std::{env, fs};

use lightfoot_tests::live::lightfoot;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Runs `lightfoot` in a folder, with nothing of the environment but PATH and `variables`.
fn run(folder: &TempDir, words: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(lightfoot());
    command.args(words).env_clear().envs(env::var_os("PATH").map(|path| ("PATH", path)));
    command.envs(variables.iter().copied()).current_dir(folder.path()).output().unwrap()
}

/// A folder with a `config.yaml` that says so.
fn saying(file: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.yaml"), file).unwrap();
    folder
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn check_names_every_mistake_with_its_line() {
    let folder = saying("exprot: {}\nexport:\n  protocol: gprc\nlog:\n  level: loud\n");
    let output = run(&folder, &["config", "check", "config.yaml"], &[]);
    assert_eq!(output.status.code(), Some(1));
    let errors = said(&output.stderr);
    for line in [
        "config.yaml:1: exprot is no known key; did you mean export?",
        "config.yaml:3: export.protocol \"gprc\" is none of grpc, http/protobuf, http/json; did you mean grpc?",
        "config.yaml:5: log.level \"loud\" is none of error, warn, info, debug, trace",
    ] {
        assert!(errors.contains(line), "{line} is not in\n{errors}");
    }
    // The other commands refuse it in the same words, and before anything else.
    for words in [&["run", "--config", "config.yaml"][..], &["record", "x.lfrec", "--config", "config.yaml"]]
    {
        let other = run(&folder, words, &[]);
        assert_eq!((other.status.code(), said(&other.stderr)), (Some(1), errors.clone()), "{words:?}");
    }
}

#[test]
fn machines_are_told_the_same() {
    let folder = saying("export:\n  protocol: gprc\n");
    let words = ["config", "check", "--json", "config.yaml"];
    let output = run(&folder, &words, &[]);
    assert_eq!((output.status.code(), said(&output.stderr)), (Some(1), String::new()));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["mistakes"][0]["line"], 2, "{answer}");
    assert!(answer["mistakes"][0]["reason"].as_str().unwrap().contains("did you mean grpc?"), "{answer}");
    let folder = saying("export:\n  protocol: grpc\n");
    let output = run(&folder, &words, &[]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (output.status.code(), &answer["mistakes"], &answer["settings"]),
        (Some(0), &json!([]), &json!(1))
    );
}

#[test]
fn what_a_variable_could_not_say_is_refused_with_the_place() {
    let folder = saying("export:\n  endpoint: nowhere\n  batch_spans: 9000\n");
    for (words, variables) in [
        (&["config", "check"][..], &[("LIGHTFOOT_CONFIG", "config.yaml")][..]),
        (&["run", "--config", "config.yaml"], &[]),
    ] {
        let output = run(&folder, words, variables);
        let errors = said(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{errors}");
        for place in ["config.yaml:2: export.endpoint: ", "config.yaml:3: export.batch_spans: "] {
            assert!(errors.contains(place), "{place} is not in\n{errors}");
        }
    }
    // The environment wins, and is what is to blame then.
    let variables =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", "nowhere-else"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "7")];
    let errors = said(&run(&folder, &["run", "--config", "config.yaml"], &variables).stderr);
    assert!(errors.contains("\n  OTEL_EXPORTER_OTLP_ENDPOINT: \"nowhere-else\""), "{errors}");
    assert!(!errors.contains("config.yaml"), "{errors}");
}

#[test]
fn a_file_that_is_not_there_is_refused_and_none_need_be() {
    let folder = saying("");
    let output = run(&folder, &["config", "show", "--config", "other.yaml"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output.stderr).contains("cannot read other.yaml"), "{}", said(&output.stderr));
    assert!(run(&folder, &["config", "show"], &[]).status.success());
    let large = saying(&"# too much\n".repeat(100_000));
    let errors = said(&run(&large, &["config", "check", "config.yaml"], &[]).stderr);
    assert!(errors.contains("is larger than 1048576 bytes"), "{errors}");
}

/// Value and source of a setting.
fn row(rows: &Value, key: &str) -> (String, String) {
    let row = rows.as_array().unwrap().iter().find(|row| row["key"] == key).unwrap();
    (row["value"].as_str().unwrap_or_default().to_owned(), row["source"].as_str().unwrap().to_owned())
}

#[test]
fn flags_are_above_the_environment_which_is_above_the_file() {
    let folder = saying(
        "export:\n  endpoint: http://file:4318\n  timeout: 3s\n  headers: {authorization: hidden}\n\
         watching:\n  queries: true\n  copied_routes: false\n  segment_after: 1m\nlog:\n  level: warn\n",
    );
    let show = |flags: &[&str], variables: &[(&str, &str)]| -> Value {
        let words = [&["config", "show", "--json", "--config", "config.yaml"], flags].concat();
        let output = run(&folder, &words, variables);
        assert!(output.status.success(), "{}", said(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let found = |rows: &Value, key: &str, value: &str, source: &str| {
        assert_eq!(row(rows, key), (value.to_owned(), source.to_owned()), "{key}");
    };
    let rows = show(&[], &[]);
    found(&rows, "export.endpoint", "http://file:4318", "config.yaml:2");
    found(&rows, "export.timeout", "3s", "config.yaml:3");
    found(&rows, "export.headers", "(a secret)", "config.yaml:4");
    found(&rows, "export.protocol", "http/protobuf", "default");
    found(&rows, "export.certificate", "", "not set");
    found(&rows, "watching.segment_after", "1m", "config.yaml:8");
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://environment:4318"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "4000"),
        ("OTEL_LOG_LEVEL", "error"),
    ];
    let rows = show(&[], &variables);
    found(&rows, "export.endpoint", "http://environment:4318", "OTEL_EXPORTER_OTLP_ENDPOINT");
    found(&rows, "export.timeout", "4000", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT");
    found(&rows, "log.level", "error", "OTEL_LOG_LEVEL");
    let flags = ["--endpoint", "http://flag:4318", "--queries=false", "--no-copied-routes=false", "-v"];
    let rows = show(&flags, &variables);
    found(&rows, "export.endpoint", "http://flag:4318", "--endpoint");
    found(&rows, "watching.queries", "false", "--queries");
    found(&rows, "watching.copied_routes", "true", "--no-copied-routes");
    found(&rows, "log.level", "debug", "--log-level");
    let table = said(&run(&folder, &["config", "show", "--config", "config.yaml"], &[]).stdout);
    assert!(table.contains("export.endpoint") && !table.contains("hidden"), "{table}");
}

#[test]
fn what_chooses_processes_is_shown_in_the_order_in_which_it_is_asked() {
    let folder = saying(
        "export: {format: json}\nrules:\n- name: health\n  leave_out_paths: /health*\n-\n\
         - match: {exe: shop, port: [80, 8000-8100]}\n  action: watch\nothers: watch\n",
    );
    let words = ["config", "show", "--json", "--config", "config.yaml", "--exe", "/srv/*", "--pid", "7"];
    let shown = |variables: &[(&str, &str)]| -> Vec<[String; 3]> {
        let output = run(&folder, &words, variables);
        assert!(output.status.success(), "{}", said(&output.stderr));
        let rows: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        let text = |row: &Value, field: &str| row[field].as_str().unwrap_or_default().to_owned();
        rows.iter().map(|row| ["key", "value", "source"].map(|field| text(row, field))).collect()
    };
    let rows = shown(&[("OTEL_EBPF_OPEN_PORT", "99"), ("OTEL_EBPF_SERVICE_NAME", "front")]);
    let choosing = ["others", "pid", "exe", "rules", "rules[0]", "rules[1]"];
    let rows: Vec<_> = rows.iter().filter(|[key, ..]| choosing.contains(&&**key)).collect();
    let variables = "OTEL_EBPF_OPEN_PORT and OTEL_EBPF_SERVICE_NAME";
    for (row, expected) in rows.iter().zip([
        ["others", "watch", "config.yaml:8"],
        ["pid", "7", "--pid"],
        ["exe", "/srv/*", "--exe"],
        ["rules", r#"{"action":"watch","match":{"port":["99"]},"service_name":"front"}"#, variables],
        ["rules[0]", r#"{"leave_out_paths":["/health*"],"name":"health"}"#, "config.yaml:3"],
        [
            "rules[1]",
            r#"{"action":"watch","match":{"exe":["shop"],"port":["80","8000-8100"]}}"#,
            "config.yaml:6",
        ],
    ]) {
        assert_eq!(*row, &expected.map(str::to_owned));
    }
    assert_eq!(rows.len(), choosing.len());
    // A printer that is switched off says nothing.
    for (printer, format, source) in
        [("text", "tree", "OTEL_EBPF_TRACE_PRINTER"), ("disabled", "json", "config.yaml:1")]
    {
        let rows = shown(&[("OTEL_EBPF_TRACE_PRINTER", printer)]);
        assert!(rows.contains(&["export.format", format, source].map(str::to_owned)), "{printer}: {rows:?}");
    }
}

#[test]
fn the_example_can_be_followed_and_names_every_setting() {
    let folder = saying("");
    let example = run(&folder, &["config", "example"], &[]).stdout;
    fs::write(folder.path().join("config.yaml"), &example).unwrap();
    let checked = run(&folder, &["config", "check", "config.yaml"], &[]);
    assert_eq!(said(&checked.stdout), "config.yaml can be followed: it says 0 settings\n");
    let rows: Value =
        serde_json::from_slice(&run(&folder, &["config", "show", "--json"], &[]).stdout).unwrap();
    for key in rows.as_array().unwrap().iter().map(|row| row["key"].as_str().unwrap()) {
        let last = key.rsplit('.').next().unwrap();
        assert!(said(&example).contains(&format!(" {last}:")), "{key}");
    }
}

/// `UPDATE=1` writes it.
#[test]
fn the_published_schema_is_that_of_the_program() {
    let folder = saying("");
    let schema = said(&run(&folder, &["config", "schema"], &[]).stdout);
    let published = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/config.schema.json");
    if env::var_os("UPDATE").is_some() {
        fs::write(published, &schema).unwrap();
    }
    let is_published = fs::read_to_string(published).unwrap() == schema;
    assert!(is_published, "UPDATE=1 cargo test -p lightfoot-tests --test config published");
}
