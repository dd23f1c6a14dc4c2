use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;

use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};

use super::*;
use crate::variables::{Refused, SettingsError};

type Said<'a> = &'a [(&'a str, &'a str)];

/// Settings from variables and flags; `Err` holds what is refused.
fn read(said: Said<'_>, flags: &Flags) -> Result<Settings, Vec<Refused>> {
    let said: BTreeMap<_, _> = said.iter().copied().collect();
    let mut variables = Variables::new(|name| said.get(name).map(OsString::from));
    let settings = Settings::read(&mut variables, flags);
    variables.finish(settings).map_err(|error| error.0)
}

/// The names of the settings that are refused.
fn refused(said: Said<'_>, flags: &Flags) -> Vec<&'static str> {
    read(said, flags).unwrap_err().iter().map(|refused| refused.setting).collect()
}

fn said(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

fn flags(endpoint: &str, protocol: &str) -> Flags {
    Flags { endpoint: said(endpoint), protocol: said(protocol), ..Flags::default() }
}

#[test]
fn with_nothing_said_spans_are_printed() {
    let settings = read(&[], &Flags::default()).unwrap();
    assert_eq!((settings.otlp.is_none(), settings.format), (true, Some(Format::Tree)));
    assert_eq!((settings.queue_spans, settings.queue_bytes, settings.batch_spans), (8_192, 16 << 20, 512));
    assert_eq!(settings.schedule_delay, Duration::from_millis(500));
    assert_eq!((settings.export_timeout, settings.flush_timeout), (None, Duration::from_secs(5)));
    assert_eq!(settings.limits, Limits { attributes: 128, value_length: None });
    assert!(!settings.is_disabled);
}

#[test]
fn where_spans_go() {
    const BASE: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");
    let json = Flags { format: Some(Format::Json), ..Flags::default() };
    let cases: [(Said, &Flags, bool, Option<Format>); 9] = [
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
    const JSON: (&str, &str) = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json");
    let none = flags("", "");
    let cases: [(Said, Flags, &str); 16] = [
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
        (&[(GENERAL, " http://c ")], none.clone(), "http://c/v1/traces"),
        (&[(TRACES, "http://c:4318")], none.clone(), "http://c:4318/"),
        (&[(TRACES, "http://c/in?tenant=1")], none.clone(), "http://c/in?tenant=1"),
        (&[(GENERAL, "http://c:4318"), JSON], none.clone(), "http://c:4318/v1/traces"),
        (&[(GENERAL, "http://c:4317/ignored"), GRPC], none, "http://c:4317/ignored"),
    ];
    for (variables, flags, endpoint) in cases {
        let otlp = read(variables, &flags).unwrap().otlp.unwrap();
        assert_eq!(
            otlp.endpoint.to_string().trim_end_matches('/'),
            endpoint.trim_end_matches('/'),
            "{variables:?}"
        );
        let is_grpc =
            variables.contains(&GRPC) && !endpoint.ends_with("/v1/traces") || flags.protocol == said("grpc");
        let is_json = variables.contains(&JSON);
        let protocol = match () {
            () if is_json => Protocol::HttpJson,
            () if is_grpc => Protocol::Grpc,
            () => Protocol::HttpProtobuf,
        };
        assert_eq!(otlp.protocol, protocol, "{variables:?}");
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
    let mut headers: Vec<_> =
        otlp.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    headers.sort_unstable();
    assert_eq!(headers, [("authorization", "Bearer x="), ("tenant", "a")]);
    assert!(!format!("{otlp:?}").contains("Bearer"));
    assert_eq!((otlp.timeout, otlp.is_compressed), (Duration::from_millis(2_500), true));
    assert_eq!((settings.queue_spans, settings.batch_spans), (100, 50));
    assert_eq!(settings.schedule_delay, Duration::from_millis(200));
    // The end is an export too, unless a flag says otherwise.
    let timeout = Duration::from_secs(4);
    assert_eq!((settings.export_timeout, settings.flush_timeout), (Some(timeout), timeout));
    let flags = Flags { queue_size: Some(1), flush_timeout: Some(Duration::ZERO), ..Flags::default() };
    let settings = read(&variables, &flags).unwrap();
    assert_eq!((settings.queue_bytes, settings.flush_timeout), (1 << 20, Duration::ZERO));
}

#[test]
fn a_variable_for_traces_wins_over_the_one_for_all_signals() {
    let with = |name: &str, general: &str, own: &str| {
        let names = [name.to_owned(), name.replace("OTLP_", "OTLP_TRACES_")];
        let said = [(&*names[0], general), (&*names[1], own)];
        read(&said, &flags("http://c", "")).unwrap().otlp.unwrap()
    };
    let timeout = with("OTEL_EXPORTER_OTLP_TIMEOUT", "1000", "2000").timeout;
    assert_eq!(timeout, Duration::from_secs(2));
    assert!(with("OTEL_EXPORTER_OTLP_COMPRESSION", "none", "gzip").is_compressed);
    assert!(!with("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip", "none").is_compressed);
    for (general, own, scheme) in [("false", "true", "http"), ("true", "false", "https")] {
        let said = [("OTEL_EXPORTER_OTLP_INSECURE", general), ("OTEL_EXPORTER_OTLP_TRACES_INSECURE", own)];
        let otlp = read(&said, &flags("c:4317", "grpc")).unwrap().otlp.unwrap();
        assert_eq!(otlp.endpoint.scheme_str(), Some(scheme));
    }
}

#[test]
fn all_bad_settings_are_refused_at_once_by_name_and_without_secrets() {
    let variables = [
        ("OTEL_TRACES_EXPORTER", "otlp,zipkin"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://c"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/xml"),
        ("OTEL_EXPORTER_OTLP_INSECURE", "yes"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "a=1,s3cret"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "10s"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "-1"),
        ("OTEL_SDK_DISABLED", "1"),
        ("OTEL_PROPAGATORS", "tracecontext,b3"),
        ("OTEL_ATTRIBUTE_COUNT_LIMIT", "many"),
        ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "-1"),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "x"),
        ("OTEL_SPAN_LINK_COUNT_LIMIT", "-1"),
        ("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "x"),
        ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "1.5"),
        ("OTEL_BSP_SCHEDULE_DELAY", "0"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "86400001"),
    ];
    let refused = read(&variables, &Flags::default()).unwrap_err();
    let mut names: Vec<_> = refused.iter().map(|refused| refused.setting).collect();
    names.sort_unstable();
    let mut expected = variables.map(|(name, _)| name);
    expected.sort_unstable();
    assert_eq!(names, expected);
    let message = SettingsError(refused).to_string();
    assert_eq!(message.lines().count(), variables.len() + 1);
    assert!(!message.contains("s3cret"), "{message}");
}

#[test]
fn endpoints_that_cannot_be_used_are_refused() {
    let cases = [
        ("c:4318", "http/protobuf"),
        ("unix:///run/otlp", "grpc"),
        ("http://", "grpc"),
        ("http://a b", "grpc"),
        ("http://c/?tenant=1", "http/protobuf"),
        ("http://user:s3cret@c", "http/protobuf"),
        ("ftp://user:s3cret@c", "grpc"),
        ("", "grpc"),
    ];
    for (endpoint, protocol) in cases {
        let flags = Flags { endpoint: Some(endpoint.into()), ..flags("", protocol) };
        let refused = read(&[], &flags).unwrap_err();
        let names: Vec<_> = refused.iter().map(|refused| refused.setting).collect();
        assert_eq!(names, ["--endpoint"], "{endpoint}");
        assert!(!refused[0].reason.contains("s3cret"), "{}", refused[0].reason);
    }
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let batch = [("OTEL_BSP_MAX_QUEUE_SIZE", "10"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "11")];
    assert_eq!(refused(&batch, &Flags::default()), ["OTEL_BSP_MAX_EXPORT_BATCH_SIZE"]);
    // A size that nobody named follows.
    let settings = read(&batch[..1], &Flags::default()).unwrap();
    assert_eq!((settings.queue_spans, settings.batch_spans), (10, 10));
    for exporters in ["none", "console"] {
        let refused = refused(&[("OTEL_TRACES_EXPORTER", exporters)], &flags("http://c", ""));
        assert_eq!(refused, ["--endpoint"], "{exporters}");
    }
    for header in ["content-length=7", "Transfer-Encoding=chunked", "TE=x", "trace-bin=x"] {
        let said = [("OTEL_EXPORTER_OTLP_HEADERS", header)];
        assert_eq!(refused(&said, &flags("http://c", "")), ["OTEL_EXPORTER_OTLP_HEADERS"], "{header}");
    }
}

#[test]
fn case_says_nothing_blanks_are_nothing_and_no_time_is_no_limit() {
    let variables = [
        ("OTEL_TRACES_EXPORTER", "OTLP,Console"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "  "),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "GRPC"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "GZip"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "0"),
        ("OTEL_PROPAGATORS", "TraceContext"),
    ];
    let settings = read(&variables, &Flags::default()).unwrap();
    assert_eq!(settings.format, Some(Format::Tree));
    // At the end there is a limit all the same.
    assert_eq!((settings.export_timeout, settings.flush_timeout), (None, Duration::from_secs(5)));
    let otlp = settings.otlp.unwrap();
    assert_eq!((otlp.protocol, otlp.is_compressed), (Protocol::Grpc, true));
    assert_eq!((otlp.endpoint.host(), otlp.timeout), (Some("c"), Duration::from_hours(24)));
}

#[test]
fn propagators_are_those_that_we_speak() {
    let propagators = |list| read(&[("OTEL_PROPAGATORS", list)], &Flags::default());
    for fine in ["tracecontext,baggage", "tracecontext", "baggage, tracecontext", ""] {
        assert!(propagators(fine).is_ok(), "{fine}");
    }
    for (list, why) in [("b3", "b3"), ("none", "none"), ("baggage", "missing"), ("tracecontext,xray", "xray")]
    {
        let refused = propagators(list).unwrap_err();
        assert!(refused[0].setting == "OTEL_PROPAGATORS" && refused[0].reason.contains(why), "{refused:?}");
    }
}

#[test]
fn limits_for_spans_win_over_those_for_all() {
    let both = [
        ("OTEL_ATTRIBUTE_COUNT_LIMIT", "1"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "2"),
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "3"),
        ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "0"),
        ("OTEL_SDK_DISABLED", "TRUE"),
    ];
    let settings = read(&both, &Flags::default()).unwrap();
    assert_eq!(settings.limits, Limits { attributes: 2, value_length: Some(3) });
    assert!(settings.is_disabled);
    let general = [("OTEL_ATTRIBUTE_COUNT_LIMIT", "1"), ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "2")];
    let limits = read(&general, &Flags::default()).unwrap().limits;
    assert_eq!(limits, Limits { attributes: 1, value_length: Some(2) });
}

const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c:4318");
const CERTIFICATE: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";
const CLIENT_CERTIFICATE: &str = "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE";
const CLIENT_KEY: &str = "OTEL_EXPORTER_OTLP_CLIENT_KEY";

#[test]
fn certificates_and_keys_are_read_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["c".to_owned()]).unwrap();
    let certificate = file("certificate", &cert.pem());
    let key = file("key", &signing_key.serialize_pem());
    let other_key = file("other", &KeyPair::generate().unwrap().serialize_pem());
    let missing = folder.path().join("missing").to_str().unwrap().to_owned();
    let garbage = file("garbage", "-----BEGIN CERTIFICATE-----\n!\n");
    let empty = file("empty", "");
    let broken = file("broken", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let no_flags = Flags::default();
    let own = [ENDPOINT, (CERTIFICATE, &certificate)];
    assert!(read(&own, &no_flags).is_ok());
    let grpc = flags("c:4317", "grpc");
    assert_eq!(read(&own, &grpc).unwrap().otlp.unwrap().endpoint.scheme_str(), Some("https"));
    let both =
        [ENDPOINT, (CERTIFICATE, &certificate), (CLIENT_CERTIFICATE, &certificate), (CLIENT_KEY, &key)];
    assert!(read(&both, &no_flags).is_ok());
    // They are for https alone.
    assert!(read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c"), (CERTIFICATE, &missing)], &no_flags).is_ok());

    for bad in [&missing, &garbage, &empty, &broken] {
        assert_eq!(refused(&[ENDPOINT, (CERTIFICATE, bad)], &no_flags), [CERTIFICATE], "{bad}");
        // All at once.
        let all = [ENDPOINT, (CERTIFICATE, bad), (CLIENT_CERTIFICATE, &empty), (CLIENT_KEY, &certificate)];
        assert_eq!(refused(&all, &no_flags), [CERTIFICATE, CLIENT_CERTIFICATE, CLIENT_KEY], "{bad}");
    }
    let half = |name, file| refused(&[ENDPOINT, (CERTIFICATE, &certificate), (name, file)], &no_flags);
    assert_eq!(half(CLIENT_CERTIFICATE, &certificate), [CLIENT_CERTIFICATE]);
    assert_eq!(half(CLIENT_KEY, &key), [CLIENT_KEY]);
    let unequal = [own[0], own[1], (CLIENT_CERTIFICATE, &certificate), (CLIENT_KEY, &other_key)];
    assert_eq!(refused(&unequal, &no_flags), [CLIENT_KEY]);
    // Those for traces win.
    for (of_traces, bad) in [
        ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", &missing),
        ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", &missing),
        ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", &other_key),
    ] {
        let said = [&both[..], &[(of_traces, bad)]].concat();
        assert_eq!(refused(&said, &no_flags), [of_traces]);
    }
}

#[test]
fn proxies_are_taken_from_the_usual_variables() {
    const PROXY: &str = "http://proxy:3128";
    let proxy = |endpoint: &str, said: Said<'_>| {
        let flags = flags(endpoint, "");
        let otlp = read(said, &flags).map(|settings| settings.otlp.unwrap());
        otlp.map(|otlp| otlp.proxy.map(|proxy| proxy.uri().to_string()))
    };
    let found = Ok(Some("http://proxy:3128/".to_owned()));
    assert_eq!(proxy("http://c", &[("HTTP_PROXY", PROXY)]), found);
    assert_eq!(proxy("http://c", &[("http_proxy", "proxy:3128")]), found);
    assert_eq!(proxy("http://c", &[("ALL_PROXY", PROXY), ("NO_PROXY", "d")]), found);
    assert_eq!(proxy("http://c", &[("all_proxy", PROXY)]), found);
    for own in ["HTTPS_PROXY", "https_proxy"] {
        assert_eq!(proxy("https://c", &[(own, PROXY), ("HTTP_PROXY", "http://other")]), found, "{own}");
    }
    for said in [
        &[("HTTPS_PROXY", PROXY)] as Said,
        &[("HTTP_PROXY", PROXY), ("NO_PROXY", "c")],
        &[("HTTP_PROXY", "socks5://s"), ("no_proxy", "*")],
    ] {
        assert_eq!(proxy("http://c", said), Ok(None), "{said:?}");
    }
    for (endpoint, exceptions, is_used) in [
        ("http://10.0.0.1:4318", "*", false),
        ("http://10.0.0.1:4318", "10.0.0.0/8", false),
        ("http://c:4318", "d, C:4318", false),
        ("http://c:4318", "c:4317", true),
        ("http://c", "c:80", false),
        ("http://sub.c", ".c", false),
        ("http://[fd00::1]:4318", "[fd00::1]:4318", false),
        ("http://[fd00::1]:4318", "fd00::1", false),
        ("http://[fd00::1]:4318", "fd00::2,[fd00::1]:1", true),
    ] {
        let found = proxy(endpoint, &[("HTTP_PROXY", PROXY), ("NO_PROXY", exceptions)]).unwrap();
        assert_eq!(found.is_some(), is_used, "{endpoint} {exceptions}");
    }
    for own in ["http://localhost:4318", "http://127.0.0.2", "http://[::1]"] {
        assert_eq!(proxy(own, &[("HTTP_PROXY", PROXY)]), Ok(None), "{own}");
    }
    for bad in ["socks5://s3cret:1@p", "https://p", "http://", "http://a b"] {
        let refused = proxy("http://c", &[("ALL_PROXY", bad)]).unwrap_err();
        assert!(refused[0].setting == "ALL_PROXY" && !refused[0].reason.contains("s3cret"), "{refused:?}");
    }
}

#[test]
fn a_value_that_is_no_text_is_refused() {
    use std::os::unix::ffi::OsStringExt as _;
    let variable =
        |name: &str| (name == "OTEL_EXPORTER_OTLP_ENDPOINT").then(|| OsString::from_vec(vec![0xff]));
    let mut variables = Variables::new(variable);
    Settings::read(&mut variables, &Flags::default());
    assert_eq!(variables.finish(()).unwrap_err().0[0].setting, "OTEL_EXPORTER_OTLP_ENDPOINT");
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
