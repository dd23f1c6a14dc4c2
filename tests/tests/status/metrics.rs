//! Metrics of the agent: at its socket, by OTLP, and in their document.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use lightfoot::status::metrics::{Kind, Metric, table};
use lightfoot::status::openmetrics;
use lightfoot_tests::live::{Agent, Folder, PATIENCE, Target, slowness, text, wait_for};
use serde_json::Value;

use crate::{command, get, printed, start, status};

/// The name of a metric in the text, and of its values there.
fn plain(metric: &Metric) -> (String, String) {
    let unit = match metric.unit {
        "s" => "_seconds",
        "By" => "_bytes",
        _ => "",
    };
    let name = metric.plain_name() + unit;
    let of_values = if metric.kind == Kind::Counter { format!("{name}_total") } else { name.clone() };
    (name, of_values)
}

fn row(metric: &Metric) -> String {
    let attributes: Vec<_> = metric.attributes.iter().map(|attribute| format!("`{attribute}`")).collect();
    let Metric { name, kind, unit, help, .. } = metric;
    format!("| `{name}` | `{}` | {kind} | `{unit}` | {} | {help} |", plain(metric).1, attributes.join(", "))
}

/// `UPDATE=1` writes the table.
#[test]
fn each_metric_is_in_the_document() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let page = fs::read_to_string(&path).unwrap();
    let head =
        "| name | in OpenMetrics | kind | unit | attributes | what it says |\n|---|---|---|---|---|---|\n";
    let (before, rest) = page.split_once(head).unwrap();
    let (rows, after) = rest.split_once("\n\n").unwrap_or(("", rest));
    let expected = table().iter().map(row).collect::<Vec<_>>().join("\n");
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, format!("{before}{head}{expected}\n\n{}", after.trim_start())).unwrap();
    } else {
        assert_eq!(rows, expected, "UPDATE=1 writes it");
    }
}

#[test]
fn a_running_agent_tells_each_metric_and_no_other() {
    let Some(folder) = Folder::for_test("metrics") else { return };
    let path = folder.server().unwrap();
    let target = Target::start(&path).unwrap();
    // An endpoint that is not there: only then there is something to say of it.
    let endpoint = ["--endpoint", "http://127.0.0.1:9", "--flush-timeout", "0"];
    let (agent, socket) =
        start(&folder.path().join("state"), &[&["--exe", text(&path)], &endpoint[..]].concat());
    agent.watches(target.pid()).unwrap();
    for _ in 0..3 {
        assert_eq!(target.get("/three").unwrap(), 200);
    }
    let scrape = || {
        let response = get(&socket, "/metrics");
        assert_eq!(response.status, 200);
        assert!(response.headers.contains(&("content-type".to_owned(), openmetrics::KIND.to_owned())));
        String::from_utf8(response.body).unwrap()
    };
    let value = |text: &str, series: &str| -> Option<f64> {
        text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    };
    let text = wait_for("all spans to wait for the endpoint, which is down", || {
        let text = scrape();
        let waits = value(&text, "lightfoot_queue_spans") == Some(3.0);
        (waits && value(&text, "lightfoot_endpoint_up") == Some(0.0)).then_some(text)
    })
    .unwrap();
    assert_eq!(value(&text, "lightfoot_spans_recorded_total"), Some(3.0));
    assert_eq!(value(&text, "lightfoot_processes_watched"), Some(1.0));
    assert_eq!(value(&text, "lightfoot_spans_lost_total{cause=\"ring_full\"}"), Some(0.0));
    let of_service = "lightfoot_service_spans_total{service_name=\"server\",outcome=\"pushed\"}";
    let service = &status(&socket).processes[0].service.clone().unwrap();
    assert_eq!(value(&text, &of_service.replace("server", service)), Some(3.0), "{text}");

    // The same in the page.
    let delivery = status(&socket).delivery;
    assert_eq!(delivery.endpoint.as_deref(), Some("http://127.0.0.1:9/v1/traces"));
    assert!(delivery.down && delivery.printed && delivery.because.is_none(), "{delivery:?}");
    assert!(delivery.last_error.as_ref().is_some_and(|error| error.contains("refused")), "{delivery:?}");
    assert_eq!(delivery.waiting_spans, 3, "{delivery:?}");
    assert!(0 < delivery.waiting_bytes && delivery.waiting_bytes < delivery.max_bytes, "{delivery:?}");

    let mut told = BTreeMap::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        assert!(told.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} is told twice");
    }
    let expected: BTreeMap<_, _> =
        table().iter().map(|metric| (plain(metric).0, metric.kind.to_string())).collect();
    assert_eq!(told, expected);
    for metric in table() {
        let name = plain(&metric).1;
        let has_value =
            |line: &str| line.starts_with(&format!("{name} ")) || line.starts_with(&format!("{name}{{"));
        assert!(text.lines().any(has_value), "{name} has no value");
    }
    assert!(text.ends_with("# EOF\n"));

    // Nothing goes back when a process ends.
    drop(target);
    wait_for("the process to be left", || {
        let text = scrape();
        assert_eq!(value(&text, "lightfoot_spans_recorded_total"), Some(3.0), "{text}");
        (value(&text, "lightfoot_processes_watched") == Some(0.0)).then_some(())
    })
    .unwrap();
    agent.stop().unwrap();
}

/// The bodies of the requests that are posted to a path of an endpoint of its own, which answers with `state`.
fn endpoint(
    state: impl Fn() -> &'static str + Clone + Send + 'static,
) -> (SocketAddr, Receiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (tell, state, mut stream) = (tell.clone(), state.clone(), BufReader::new(stream.unwrap()));
            thread::spawn(move || {
                loop {
                    let (mut path, mut length) = (String::new(), 0);
                    for line in
                        stream.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty())
                    {
                        if let Some(rest) = line.strip_prefix("POST ") {
                            rest.split(' ').next().unwrap().clone_into(&mut path);
                        } else if let Some(rest) = line.to_lowercase().strip_prefix("content-length: ") {
                            length = rest.parse().unwrap();
                        }
                    }
                    if path.is_empty() {
                        return;
                    }
                    let mut body = vec![0; length];
                    stream.read_exact(&mut body).unwrap();
                    // Whoever has its answer finds it told.
                    let is_heard = tell.send((path, serde_json::from_slice(&body).unwrap())).is_ok();
                    let answer = format!("HTTP/1.1 {}\r\nContent-Length: 2\r\n\r\n{{}}", state());
                    stream.get_mut().write_all(answer.as_bytes()).unwrap();
                    if !is_heard {
                        return;
                    }
                }
            });
        }
    });
    (address, told)
}

#[test]
fn that_an_endpoint_refuses_spans_is_told_until_it_takes_some() {
    let Some(folder) = Folder::for_test("an endpoint that refuses spans") else { return };
    let path = folder.server().unwrap();
    let target = Target::start(&path).unwrap();
    let is_token_valid = Arc::new(AtomicBool::new(false));
    let is_valid = Arc::clone(&is_token_valid);
    let (address, told) =
        endpoint(move || if is_valid.load(Ordering::SeqCst) { "200 OK" } else { "401 Unauthorized" });
    let url = format!("http://{address}");
    let words = ["--exe", text(&path), "--endpoint", &url, "--protocol", "http/json"];
    let (agent, socket) = start(&folder.path().join("state"), &words);
    agent.watches(target.pid()).unwrap();
    let says = |what: &str, is_down: bool, refuses: bool| {
        let is_so = || {
            let delivery = status(&socket).delivery;
            (delivery.down, delivery.refuses) == (is_down, refuses)
        };
        wait_for(what, || is_so().then_some(())).unwrap();
        let up = if is_down { "lightfoot_endpoint_up 0.0" } else { "lightfoot_endpoint_up 1.0" };
        let metrics = String::from_utf8(get(&socket, "/metrics").body).unwrap();
        assert!(metrics.lines().any(|line| line == up), "{up} is not in\n{metrics}");
        let page = printed(&command(&["--socket", text(&socket)]));
        assert!(page.contains(&format!("{url}/v1/traces {what}: ")), "{page}");
    };
    says("takes spans", false, false);
    assert_eq!(target.get("/refused").unwrap(), 200);
    says("refuses what it is sent (HTTP 401 Unauthorized: {})", true, true);
    let lost = || status(&socket).counts.get("spans_lost_refused").copied();
    wait_for("the loss", || (lost() == Some(1)).then_some(())).unwrap();
    is_token_valid.store(true, Ordering::SeqCst);
    assert_eq!(target.get("/taken").unwrap(), 200);
    says("takes spans", false, false);
    agent.stop().unwrap();
    let paths: Vec<_> = told.try_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["/v1/traces"; 2]);
}

#[test]
fn metrics_are_sent_where_that_is_asked_for_and_a_last_time_at_the_end() {
    let Some(folder) = Folder::for_test("metrics by OTLP") else { return };
    let path = folder.server().unwrap();
    let target = Target::start(&path).unwrap();
    let (address, told) = endpoint(|| "200 OK");
    let base = format!("http://{address}/base");
    let variables = [
        ("OTEL_METRICS_EXPORTER", "otlp"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "100"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", &base),
    ];
    let agent = Agent::start(["--exe", text(&path), "--status-socket", "none"], &variables).unwrap();
    agent.watches(target.pid()).unwrap();
    let value = |(path, request): (String, Value), name: &str| {
        assert_eq!(path, "/base");
        let metrics = request["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].as_array().unwrap().clone();
        let metric = metrics.into_iter().find(|one| one["name"] == name)?;
        let data = metric.get("sum").or_else(|| metric.get("gauge"))?;
        let point = &data["dataPoints"][0];
        point["asDouble"].as_f64().or_else(|| point["asInt"].as_str()?.parse().ok())
    };
    let watched = |request| value(request, "lightfoot.processes.watched");
    while watched(told.recv_timeout(PATIENCE * slowness()).unwrap()) != Some(1.0) {}
    for _ in 0..3 {
        assert_eq!(target.get("/three").unwrap(), 200);
    }
    let outcome = agent.stop().unwrap();
    assert_eq!(outcome.count("ended"), 3);
    let last = told.try_iter().last().unwrap();
    assert_eq!(value(last.clone(), "lightfoot.spans.printed"), Some(3.0), "{last:?}");
    assert_eq!(value(last, "lightfoot.endpoint.up"), None);
}

#[test]
fn an_exporter_of_metrics_that_is_not_known_is_refused() {
    let variables = [("OTEL_METRICS_EXPORTER", "prometheus")];
    let outcome = Agent::start(["--exe", "nothing"], &variables).unwrap().wait().unwrap();
    assert_eq!(outcome.status.code(), Some(1));
    let expected =
        "OTEL_METRICS_EXPORTER: \"prometheus\" is neither otlp nor none; /metrics at the status socket";
    assert!(outcome.messages.contains(expected), "{}", outcome.messages);
}
