//! What a configuration file may say. What is not said is `None`, or follows from the variables.
//!
//! A field with `x-variables` is read as that variable; here it is only so that the schema has it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::Time;
use crate::attach::Method;
use crate::deliver::Format;
use crate::discover::rules::{Action, Rule};
use crate::kubernetes::Mode;
use crate::logs;
use crate::watch::Coexistence;

/// Configuration of Lightfoot
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "Lightfoot configuration")]
pub struct File {
    /// Where spans go
    pub export: Export,
    /// Which spans are recorded, and what they may have
    pub traces: Traces,
    /// Whether metrics of Lightfoot itself are sent
    pub metrics: Metrics,
    /// How services are watched
    pub watching: Watching,
    /// What Kubernetes is asked about
    pub kubernetes: Kubernetes,
    /// What is said on standard error
    pub log: Log,
    /// Which processes are watched, and how their spans are made: of the rules that match a process, the first that says something
    /// of a thing holds for that thing
    #[schemars(length(max = 256), extend("x-example" = [{"match": {"exe": "shop-*"}, "action": "watch", "service_name": "shop"}]))]
    pub rules: Vec<Rule>,
    /// What becomes of Go programs that no rule decides about: servers are watched if no rule asks to watch something, else left
    /// alone, if not said
    pub others: Option<Action>,
    /// The folder of the mark by which the next start tells that this one was killed; the first that can be written of some usual
    /// ones if not said
    #[schemars(extend("x-flag" = "--state-dir"))]
    pub state_dir: Option<PathBuf>,
    /// The unix socket at which Lightfoot says how it goes, or `none`; beside the mark if not said
    #[schemars(extend("x-flag" = "--status-socket"))]
    pub status_socket: Option<PathBuf>,
    /// The TCP port at which it does so, too; health to anybody, the rest to whoever knows the token
    #[schemars(with = "Option<String>", extend("x-flag" = "--status-listen", "x-example" = "127.0.0.1:4390"))]
    pub status_listen: Option<SocketAddr>,
    /// The file with that token, which others cannot read
    #[schemars(extend("x-flag" = "--status-token"))]
    pub status_token: Option<PathBuf>,
    /// The file that pauses everything while it is there; `pause` in the folder of the mark if not said
    #[schemars(extend("x-flag" = "--pause-file"))]
    pub pause_file: Option<PathBuf>,
}

/// Where spans go.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Export {
    /// The OTLP endpoint; without one spans are printed
    #[schemars(extend("x-flag" = "--endpoint", "x-example" = "http://127.0.0.1:4318",
        "x-variables" = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"]))]
    pub endpoint: Option<String>,
    /// How OTLP is spoken there
    #[schemars(extend("x-flag" = "--protocol", "default" = "http/protobuf", "enum" = ["grpc", "http/protobuf", "http/json"],
        "x-variables" = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"]))]
    pub protocol: Option<String>,
    /// Headers of each request to the endpoint, by name
    #[schemars(extend("x-secret" = true, "x-example" = {"x-tenant": "shop"},
        "x-variables" = ["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"]))]
    pub headers: Option<BTreeMap<String, String>>,
    /// How requests are compressed
    #[schemars(extend("default" = "none", "enum" = ["none", "gzip"],
        "x-variables" = ["OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"]))]
    pub compression: Option<String>,
    /// How long one request may take
    #[schemars(extend("default" = "10s",
        "x-variables" = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"]))]
    pub timeout: Option<Time>,
    /// The certificates to trust, a PEM file; those of the system if not said
    #[schemars(extend("x-variables" = ["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"]))]
    pub certificate: Option<PathBuf>,
    /// The certificate to present, a PEM file
    #[schemars(extend("x-variables" = ["OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"]))]
    pub client_certificate: Option<PathBuf>,
    /// The key of that, a PEM file
    #[schemars(extend("x-variables" = ["OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "OTEL_EXPORTER_OTLP_CLIENT_KEY"]))]
    pub client_key: Option<PathBuf>,
    /// Whether an endpoint of gRPC that is written without a scheme is spoken to without TLS
    #[schemars(extend("default" = false, "x-variables" = ["OTEL_EXPORTER_OTLP_TRACES_INSECURE", "OTEL_EXPORTER_OTLP_INSECURE"]))]
    pub insecure: Option<bool>,
    /// The form in which spans are printed; trees where they are not sent
    #[schemars(extend("x-flag" = "--format", "x-variables-of-others" = ["OTEL_EBPF_TRACE_PRINTER"]))]
    pub format: Option<Format>,
    /// Memory for spans that wait to be sent, of all services, in MiB
    #[schemars(range(min = 1, max = 4096), extend("x-flag" = "--queue-size", "default" = 16))]
    pub queue_size_mib: Option<u16>,
    /// How many spans of one service may wait
    #[schemars(range(min = 1), extend("default" = 8192, "x-variables" = ["OTEL_BSP_MAX_QUEUE_SIZE"]))]
    pub queue_spans: Option<u32>,
    /// How many spans one request has at most
    #[schemars(range(min = 1), extend("default" = 512, "x-variables" = ["OTEL_BSP_MAX_EXPORT_BATCH_SIZE"]))]
    pub batch_spans: Option<u32>,
    /// How long a span waits for others at most
    #[schemars(extend("default" = "500ms", "x-variables" = ["OTEL_BSP_SCHEDULE_DELAY"]))]
    pub schedule_delay: Option<Time>,
    /// How long a batch is tried to be sent; as long as there is room for it if not said
    #[schemars(extend("x-variables" = ["OTEL_BSP_EXPORT_TIMEOUT"]))]
    pub batch_timeout: Option<Time>,
    /// How long the last spans may take at the end
    #[schemars(extend("x-flag" = "--flush-timeout", "default" = "5s"))]
    pub flush_timeout: Option<Time>,
}

/// Which spans are recorded, and what they may have.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Traces {
    /// Which spans are recorded
    #[schemars(extend("default" = "parentbased_always_on", "x-variables" = ["OTEL_TRACES_SAMPLER"],
        "enum" = ["always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off",
            "parentbased_traceidratio"]))]
    pub sampler: Option<String>,
    /// The share of traces that the samplers by ratio keep
    #[schemars(range(min = 0.0, max = 1.0), extend("default" = 1.0, "x-variables" = ["OTEL_TRACES_SAMPLER_ARG"]))]
    pub ratio: Option<f64>,
    /// How many attributes a span has at most
    #[schemars(extend("default" = 128, "x-variables" = ["OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT"]))]
    pub attribute_count: Option<u32>,
    /// How many characters a value has at most; as many as it has if not said
    #[schemars(extend(
        "x-variables" = ["OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"]))]
    pub attribute_length: Option<u32>,
    /// The HTTP methods that have a name of their own in spans; those of the standards if not said
    #[schemars(extend("x-variables" = ["OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS"], "x-example" = ["GET", "POST"]))]
    pub known_methods: Option<Vec<String>>,
    /// Which names of attributes are asked for beside the usual ones: rpc/dup or rpc/old
    #[schemars(extend("x-variables" = ["OTEL_SEMCONV_STABILITY_OPT_IN"], "x-example" = ["rpc/dup"]))]
    pub stability: Option<Vec<String>>,
}

/// Whether metrics of Lightfoot itself are sent.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// Whether they are sent by OTLP, to where spans go
    #[schemars(extend("default" = "none", "enum" = ["none", "otlp"], "x-variables" = ["OTEL_METRICS_EXPORTER"]))]
    pub exporter: Option<String>,
    /// How often
    #[schemars(extend("default" = "1m", "x-variables" = ["OTEL_METRIC_EXPORT_INTERVAL"]))]
    pub interval: Option<Time>,
    /// How long that may take
    #[schemars(extend("default" = "30s", "x-variables" = ["OTEL_METRIC_EXPORT_TIMEOUT"]))]
    pub timeout: Option<Time>,
}

/// How services are watched.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Watching {
    /// Whether routes of requests that a middleware copied may take a third probe
    #[schemars(extend("x-flag" = "--no-copied-routes", "default" = true))]
    pub copied_routes: Option<bool>,
    /// Whether routes of gin, chi, echo and gorilla/mux may take a third probe
    #[schemars(extend("x-flag" = "--no-router-routes", "default" = true))]
    pub router_routes: Option<bool>,
    /// Whether a span may be linked to the goroutine that started its own
    #[schemars(extend("x-flag" = "--no-inferred-parents", "default" = true))]
    pub inferred_parents: Option<bool>,
    /// Whether queries of URLs are recorded
    #[schemars(extend("x-flag" = "--queries", "default" = false))]
    pub queries: Option<bool>,
    /// Whether messages of gRPC streams are counted, with a trap for each
    #[schemars(extend("x-flag" = "--count-messages", "default" = false))]
    pub count_messages: Option<bool>,
    /// What is done about programs that trace themselves by an OpenTelemetry SDK
    #[schemars(extend("x-flag" = "--sdk", "default" = "fill-gaps"))]
    pub sdk: Option<Coexistence>,
    /// Whether `traceparent` is added to what clients send, by writing to the memory of programs
    #[schemars(extend("x-flag" = "--propagate", "default" = false))]
    pub propagate: Option<bool>,
    /// Whether spans of calls are linked to those of the services that are called, with a trap for each request that is sent
    #[schemars(extend("x-flag" = "--join", "default" = false))]
    pub join: Option<bool>,
    /// After how long a call of gRPC that is open gets a span for what there was; 0s for never
    #[schemars(extend("x-flag" = "--segment-after", "default" = "10m"))]
    pub segment_after: Option<Time>,
    /// How long after the last new caller of a client the returns of it are probed
    #[schemars(extend("x-flag" = "--callers-settle", "default" = "5s"))]
    pub callers_settle: Option<Time>,
    /// Size of the ring buffer between kernel and agent, in KiB: a power of two
    #[schemars(extend("x-flag" = "--ring-size", "default" = 4096,
        "enum" = [4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131_072, 262_144, 524_288,
            1_048_576]))]
    pub ring_size_kib: Option<u32>,
    /// At most so many spans are open at once, of all processes; each takes 3 KiB of memory, open or not
    #[schemars(range(min = 1, max = 1_048_576), extend("x-flag" = "--max-open-spans", "default" = 4096))]
    pub max_open_spans: Option<u32>,
    /// How probes are placed: the first of these that works, or of all
    #[schemars(extend("x-flag" = "--attach-method", "maxItems" = 5, "x-example" = ["uprobe-multi"]))]
    pub attach_methods: Option<Vec<Method>>,
}

/// What Kubernetes is asked about.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Kubernetes {
    /// Whether it is asked about the pods of this node, so that spans have their names; auto is in a pod that was told its node's name
    #[schemars(extend("x-flag" = "--kubernetes", "default" = "auto"))]
    pub mode: Option<Mode>,
    /// The name that it has for this node; what the variable NODE_NAME says if not said
    #[schemars(extend("x-flag" = "--node-name", "x-example" = "node-1"))]
    pub node_name: Option<String>,
}

/// What is said on standard error.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// How much is said
    #[schemars(extend("x-flag" = "--log-level", "default" = "info", "x-variables" = ["OTEL_LOG_LEVEL"]))]
    pub level: Option<logs::Level>,
    /// How it looks
    #[schemars(extend("x-flag" = "--log-format", "default" = "text"))]
    pub format: Option<logs::Format>,
}
