use super::*;
use crate::config::Config;

const OBI: &str = r#"
open_port: 8080,8443-8450
service_name: front
log_level: ${LEVEL}
trace_printer: text
shutdown_timeout: 7s
otel_traces_export:
  endpoint: http://collector:4318
  protocol: http/protobuf
  insecure_skip_verify: true
  sampler: {name: parentbased_traceidratio, arg: "0.1"}
otel_metrics_export: {endpoint: http://collector:4318}
routes:
  patterns: [/user/:id]
  ignored_patterns: [/healthz, "/user/{id}/ping"]
discovery:
  services:
  - name: shop
    namespace: web
    exe_path: ^/srv/shop-.*
    open_ports: 80
  - k8s_namespace: ^web$
    k8s_pod_labels: {app.kubernetes.io/name: "cart.*", "odd: {": x}
    exe_path: ^/srv/web$
  - k8s_deployment_name: (a|b)
  - k8s_pod_labels: web
  - k8s_unheard_of: web
  - exe_path: (a|b)
  instrument:
  - exe_path: "*cart*"
    languages: go
  exclude_instrument:
  - exe_path: /usr/bin/*
  - {k8s_namespace: kube-*, k8s_pod_annotations: {team: "{a,b}"}, k8s_owner_name: x, k8s_container_name: y}
ebpf:
  context_propagation: headers
  wakeup_len: 10
colour: blue
"#;

const INSTRUMENTATION: &str = r#"
apiVersion: opentelemetry.io/v1alpha1
kind: Instrumentation
metadata: {name: shop}
spec:
  exporter: {endpoint: http://collector:4317}
  propagators: [tracecontext, baggage]
  sampler: {type: parentbased_traceidratio, argument: "0.25"}
  go: {image: "example/go-auto:1"}
  java: {image: "example/java:1"}
"#;

#[test]
fn an_instrumentation_of_the_operator_comes_to_a_file_that_can_be_followed() {
    let imported = read(INSTRUMENTATION).unwrap();
    let text = imported.text();
    let file = Config::parse(text.as_bytes()).unwrap_or_else(|mistakes| panic!("{mistakes:?}\n{text}")).file;
    assert_eq!(file.export.endpoint.as_deref(), Some("http://collector:4317"), "{text}");
    let sampler = (file.traces.sampler.as_deref(), file.traces.ratio);
    assert_eq!(sampler, (Some("parentbased_traceidratio"), Some(0.25)), "{text}");
    let left: Vec<_> = imported.left.iter().map(|left| (left.line, left.key.as_str())).collect();
    let expected = [
        (2, "apiVersion"),
        (3, "kind"),
        (4, "metadata"),
        (7, "spec.propagators"),
        (9, "spec.go"),
        (10, "spec.java"),
    ];
    assert_eq!(left, expected);
    assert!(imported.left.iter().all(|left| left.reason != "it is not known here"), "{text}");
}

#[test]
fn a_file_of_obi_comes_to_one_that_can_be_followed() {
    let imported = read(OBI).unwrap();
    let text = imported.text();
    let config = Config::parse(text.as_bytes()).unwrap_or_else(|mistakes| panic!("{mistakes:?}\n{text}"));
    let file = config.file;
    assert_eq!(file.export.endpoint.as_deref(), Some("http://collector:4318"), "{text}");
    assert_eq!(
        (file.traces.sampler.as_deref(), file.traces.ratio),
        (Some("parentbased_traceidratio"), Some(0.1))
    );
    assert_eq!(file.watching.propagate, Some(true));
    let rules = serde_json::to_value(&file.rules).unwrap();
    let said = |rule: usize, path: &str| rules[rule].pointer(path).cloned().unwrap_or_default();
    // What is left alone is decided first.
    assert_eq!((said(0, "/match/exe"), said(0, "/action")), (json!(["/usr/bin/*"]), json!("leave")));
    let pod = |rule: usize, key: &str| said(rule, &format!("/match/kubernetes/{key}"));
    assert_eq!(
        (
            said(1, "/action"),
            pod(1, "namespace"),
            pod(1, "annotations"),
            pod(1, "owner"),
            pod(1, "container")
        ),
        (json!("leave"), json!(["kube-*"]), json!({"team": ["{a,b}"]}), json!(["x"]), json!(["y"])),
        "{text}"
    );
    assert_eq!(
        (said(2, "/match/exe"), said(2, "/match/port")),
        (json!(["/srv/shop-**"]), json!(["80"])),
        "{text}"
    );
    assert_eq!(
        (pod(3, "namespace"), pod(3, "labels"), said(3, "/match/exe")),
        (
            json!(["web"]),
            json!({"app.kubernetes.io/name": ["*cart**"], "odd: {": ["*x*"]}),
            json!(["/srv/web"])
        ),
        "{text}"
    );
    assert_eq!((said(2, "/service_name"), said(4, "/match/exe")), (json!("shop"), json!(["**/*cart*"])));
    assert_eq!(
        (said(5, "/match/port"), said(5, "/service_name")),
        (json!(["8080", "8443-8450"]), json!("front"))
    );
    assert_eq!(said(6, "/leave_out_paths"), json!(["/healthz", "/user/*/ping"]));
    assert_eq!(file.rules.len(), 7);
    let left: Vec<_> = imported.left.iter().map(|left| left.key.as_str()).collect();
    let expected = [
        "log_level",
        "otel_traces_export.insecure_skip_verify",
        "otel_metrics_export",
        "routes.patterns",
        "namespace",
        "discovery.services",
        "discovery.services",
        "discovery.services",
        "discovery.services",
        "ebpf.wakeup_len",
        "colour",
    ];
    assert_eq!(left, expected);
    assert!(
        text.contains("# line 27: \"discovery.services\" is not carried over: \"k8s_unheard_of\" is nothing"),
        "{text}"
    );
}

#[test]
fn variables_come_to_the_same() {
    let text = "# of the DaemonSet\nexport BEYLA_OPEN_PORT=80\nOTEL_EBPF_LOG_LEVEL=\"INFO\"\nOTEL_SERVICE_NAME='front'\n\
                OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318\nBEYLA_UNHEARD_OF=1\n";
    let imported = read(text).unwrap();
    let file = Config::parse(imported.text().as_bytes()).unwrap().file;
    assert_eq!(file.rules[0].service_name.as_deref(), Some("front"));
    assert_eq!(file.rules[0].matching.port.as_ref().unwrap()[0].0, "80");
    assert_eq!(file.export.endpoint, None, "the variable is followed");
    let left: Vec<_> = imported.left.iter().map(|left| (left.line, left.key.as_str())).collect();
    assert_eq!(left, [(5, "OTEL_EXPORTER_OTLP_ENDPOINT"), (6, "BEYLA_UNHEARD_OF")]);
    let go_auto = read("OTEL_GO_AUTO_TARGET_EXE=/srv/a[1]\n").unwrap();
    let file = Config::parse(go_auto.text().as_bytes()).unwrap().file;
    let pattern = &file.rules[0].matching.exe.as_ref().unwrap()[0].0;
    assert!(rules::executable(pattern).unwrap().is_match("/srv/a[1]"));
}

#[test]
fn obi_sends_by_grpc_to_its_usual_port_where_nothing_else_is_said() {
    let protocol = |text: &str| {
        let text = read(text).unwrap().text();
        Config::parse(text.as_bytes()).unwrap().file.export.protocol.map(|protocol| format!("{protocol:?}"))
    };
    let grpc = protocol("otel_traces_export: {endpoint: 'http://c:4317', protocol: grpc}");
    assert!(grpc.is_some());
    for text in [
        "otel_traces_export: {endpoint: 'http://c:4317'}",
        "otel_traces_export: {endpoint: 'https://c:14317/x'}",
        "BEYLA_OPEN_PORT=80\nOTEL_EXPORTER_OTLP_ENDPOINT=http://c:4317\n",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://c:4317\nOTEL_EBPF_OPEN_PORT=80\n",
    ] {
        assert_eq!(protocol(text), grpc, "{text}");
    }
    for text in [
        "otel_traces_export: {endpoint: 'http://c:4318'}",
        "otel_traces_export: {endpoint: 'http://c'}",
        "OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4317\nOTEL_GO_AUTO_TARGET_EXE=/a\n",
        "BEYLA_OPEN_PORT=80\nOTEL_EXPORTER_OTLP_ENDPOINT=http://c:4317\nOTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://c:4318\n",
        "BEYLA_OPEN_PORT=80\nOTEL_EXPORTER_OTLP_ENDPOINT=http://c:4317\nOTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318\n",
        "BEYLA_OPEN_PORT=80\nOTEL_EXPORTER_OTLP_ENDPOINT=http://c:4317\nOTEL_EXPORTER_OTLP_PROTOCOL=http/json\n",
        INSTRUMENTATION,
    ] {
        assert_eq!(protocol(text), None, "{text}");
    }
    let other = protocol("otel_traces_export: {endpoint: 'http://c:4317', protocol: http/protobuf}");
    assert!(other.is_some() && other != grpc);
}

#[test]
fn nothing_that_comes_makes_a_file_that_cannot_be_followed_or_breaks_out_of_a_comment() {
    assert_eq!(read("").unwrap().text(), "");
    assert!(read("a: [").is_err());
    for text in [
        "\"a\\nrules: [x]\": 1",
        "discovery: 7",
        "discovery: {services: {a: b}}",
        "discovery: {services: [7, {}, {open_ports: x}]}",
        "open_port: [80, 443]",
        "open_port: http",
        "auto_target_exe: '[a'",
        "service_name: {a: b}",
        "otel_traces_export: {sampler: {name: 7, arg: x}}",
        "routes: {ignored_patterns: '/x'}",
        "A=1\n=2",
        "A_B=\u{1b}[31m",
    ] {
        let Ok(imported) = read(text) else { continue };
        let made = imported.text();
        let parsed = Config::parse(made.as_bytes());
        let is_ours =
            |mistakes: &Vec<Mistake>| mistakes.iter().all(|mistake| mistake.reason.contains("sampler"));
        assert!(parsed.as_ref().err().is_none_or(is_ours), "{text}: {made}: {parsed:?}");
        assert!(!made.contains('\u{1b}'), "{made}");
    }
    // However it is cut.
    for end in (0..OBI.len()).filter(|end| OBI.is_char_boundary(*end)) {
        let _ = read(&OBI[..end]).map(|imported| imported.text());
    }
}
