use std::collections::BTreeMap;

use super::*;

type Variables<'a> = &'a [(&'a str, &'a str)];

/// Settings from variables and flags; `Err` holds what is refused.
fn read(variables: Variables<'_>, flags: &Flags) -> Result<Settings, Vec<Refused>> {
    let variables: BTreeMap<_, _> = variables.iter().copied().collect();
    let variable = |name: &str| variables.get(name).map(OsString::from);
    Settings::from_env_and_flags(variable, flags).map_err(|error| error.0)
}

fn flags(endpoint: &str, protocol: &str) -> Flags {
    let said = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    Flags { endpoint: said(endpoint), protocol: said(protocol), format: None }
}

#[test]
fn with_nothing_said_spans_are_printed() {
    let settings = read(&[], &Flags::default()).unwrap();
    assert_eq!((settings.otlp, settings.format), (None, Some(Format::Tree)));
    assert_eq!((settings.queue_spans, settings.queue_bytes, settings.batch_spans), (8_192, 16 << 20, 512));
    assert_eq!(settings.schedule_delay, Duration::from_millis(500));
}

#[test]
fn where_spans_go() {
    const BASE: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");
    let json = Flags { format: Some(Format::Json), ..Flags::default() };
    let cases: [(Variables, &Flags, bool, Option<Format>); 9] = [
        (&[BASE], &Flags::default(), true, None),
        (&[BASE], &json, true, Some(Format::Json)),
        (&[], &json, false, Some(Format::Json)),
        (&[BASE, ("OTEL_TRACES_EXPORTER", "none")], &Flags::default(), false, None),
        (&[BASE, ("OTEL_TRACES_EXPORTER", "console")], &Flags::default(), false, Some(Format::Tree)),
        (&[("OTEL_TRACES_EXPORTER", "otlp")], &Flags::default(), true, None),
        (&[("OTEL_TRACES_EXPORTER", "otlp, console")], &Flags::default(), true, Some(Format::Tree)),
        (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")], &Flags::default(), false, Some(Format::Tree)),
        (&[("OTEL_TRACES_EXPORTER", "none")], &json, false, Some(Format::Json)),
    ];
    for (variables, flags, exports, format) in cases {
        let settings = read(variables, flags).unwrap();
        assert_eq!((settings.otlp.is_some(), settings.format), (exports, format), "{variables:?}");
    }
}

#[test]
fn endpoints_and_protocols() {
    const GENERAL: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    const TRACES: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    const GRPC: (&str, &str) = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let none = flags("", "");
    let cases: [(Variables, Flags, &str); 12] = [
        (&[(GENERAL, "http://c:4318")], none.clone(), "http://c:4318/v1/traces"),
        (&[(GENERAL, "http://c:4318/otlp/")], none.clone(), "http://c:4318/otlp/v1/traces"),
        (&[(TRACES, "http://c:4318/in"), (GENERAL, "http://no")], none.clone(), "http://c:4318/in"),
        (&[(GENERAL, "http://c:4317"), GRPC], none.clone(), "http://c:4317"),
        (
            &[(GENERAL, "c:4317"), GRPC, ("OTEL_EXPORTER_OTLP_INSECURE", "True")],
            none.clone(),
            "http://c:4317",
        ),
        (
            &[(GENERAL, "http://c"), GRPC, ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf")],
            none.clone(),
            "http://c/v1/traces",
        ),
        (&[("OTEL_TRACES_EXPORTER", "otlp")], none.clone(), "http://localhost:4318/v1/traces"),
        (&[("OTEL_TRACES_EXPORTER", "otlp"), GRPC], none.clone(), "http://localhost:4317"),
        (&[(TRACES, "http://no"), GRPC], flags("http://c:1", "http/protobuf"), "http://c:1/v1/traces"),
        (&[], flags("http://c:1", "grpc"), "http://c:1"),
        (&[], flags("http://[::1]:1", ""), "http://[::1]:1/v1/traces"),
        (&[(GENERAL, " http://c ")], none, "http://c/v1/traces"),
    ];
    for (variables, flags, endpoint) in cases {
        let otlp = read(variables, &flags).unwrap().otlp.unwrap();
        assert_eq!(otlp.endpoint, endpoint, "{variables:?}");
        assert_eq!(
            otlp.protocol == Protocol::Grpc,
            !endpoint.contains("/v1/traces") && !endpoint.ends_with("/in")
        );
    }
}

#[test]
fn how_it_is_sent() {
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "no=1"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "Authorization=Bearer%20x%3D, tenant = a,"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "50"),
        ("OTEL_BSP_SCHEDULE_DELAY", "200"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "4000"),
    ];
    let settings = read(&variables, &Flags::default()).unwrap();
    let otlp = settings.otlp.unwrap();
    let headers: Vec<_> = otlp.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(headers, [("authorization", "Bearer x="), ("tenant", "a")]);
    assert_eq!((otlp.timeout, otlp.is_compressed), (Duration::from_millis(2_500), true));
    assert_eq!(
        (settings.queue_spans, settings.queue_bytes, settings.batch_spans),
        (100, 100 * BYTES_PER_SPAN, 50)
    );
    let delays = (settings.schedule_delay, settings.export_timeout);
    assert_eq!(delays, (Duration::from_millis(200), Duration::from_secs(4)));
}

#[test]
fn all_bad_settings_are_refused_at_once_by_name_and_without_secrets() {
    let variables = [
        ("OTEL_TRACES_EXPORTER", "otlp,zipkin"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://c"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "a=1,s3cret"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "10s"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "-1"),
        ("OTEL_BSP_SCHEDULE_DELAY", "0"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "99999999999"),
    ];
    let refused = read(&variables, &Flags::default()).unwrap_err();
    let mut names: Vec<_> = refused.iter().map(|refused| refused.setting).collect();
    names.sort_unstable();
    let mut expected = variables.map(|(name, _)| name);
    expected.sort_unstable();
    assert_eq!(names, expected);
    let message = SettingsError(refused).to_string();
    assert_eq!(message.lines().count(), 11);
    assert!(!message.contains("s3cret"), "{message}");
}

#[test]
fn endpoints_that_cannot_be_used_are_refused() {
    let cases = [
        ("https://c", "grpc"),
        ("c:4317", "grpc"),
        ("c:4318", "http/protobuf"),
        ("unix:///run/otlp", "grpc"),
        ("http://", "grpc"),
        ("http://a b", "grpc"),
        ("", "grpc"),
    ];
    for (endpoint, protocol) in cases {
        let flags = Flags { endpoint: Some(endpoint.into()), ..flags("", protocol) };
        let refused = read(&[], &flags).unwrap_err();
        assert_eq!(
            refused.iter().map(|refused| refused.setting).collect::<Vec<_>>(),
            ["--endpoint"],
            "{endpoint}"
        );
    }
    let refused = read(&[("OTEL_BSP_MAX_QUEUE_SIZE", "10")], &Flags::default()).unwrap_err();
    assert_eq!(refused[0].setting, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE");
}

#[test]
fn a_value_that_is_no_text_is_refused() {
    use std::os::unix::ffi::OsStringExt as _;
    let variable =
        |name: &str| (name == "OTEL_EXPORTER_OTLP_ENDPOINT").then(|| OsString::from_vec(vec![0xff]));
    let error = Settings::from_env_and_flags(variable, &Flags::default()).unwrap_err();
    assert_eq!(error.0[0].setting, "OTEL_EXPORTER_OTLP_ENDPOINT");
}

#[test]
fn whoever_listens_at_the_endpoint_is_known() {
    let cases = [
        ("http://127.0.0.1:4317", "127.0.0.1:4317"),
        ("http://[::1]:4317/v1/traces", "[::1]:4317"),
        ("http://127.0.0.1/v1/traces", "127.0.0.1:80"),
    ];
    for (endpoint, address) in cases {
        let otlp = read(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", endpoint)], &Flags::default()).unwrap().otlp;
        assert_eq!(otlp.unwrap().addresses().unwrap(), [address.parse().unwrap()], "{endpoint}");
    }
}
