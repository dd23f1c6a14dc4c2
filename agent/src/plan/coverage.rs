//! What a program's own instrumentation covers.

use std::collections::BTreeSet;

use lightfoot_symbolizer::build_info::BuildInfo;

use crate::catalog::Operation;
use crate::catalog::own_instrumentation::{INSTRUMENTATIONS, Subject};

/// The instrumentation that covers an operation, with its version. `has` tells whether a function is linked.
pub(super) fn covered_by(
    build_info: &BuildInfo,
    has: impl Fn(&str) -> bool,
    operation: &Operation,
) -> Option<String> {
    let subject = Subject::of(operation)?;
    let has_any = |functions: &[&str]| functions.iter().any(|function| has(function));
    let all: BTreeSet<_> = INSTRUMENTATIONS
        .iter()
        .filter_map(|instrumentation| {
            let version = match (build_info.module(instrumentation.module), instrumentation.woven_by) {
                (Some(module), _) => module.compiled().version.clone(),
                (None, by) => format!("({})", by?),
            };
            let functions = instrumentation.covers.iter().find(|(covered, _)| *covered == subject)?.1;
            let is_used = functions.is_empty() || has_any(functions);
            (is_used && has_any(instrumentation.sdk)).then(|| format!("{} {version}", instrumentation.name))
        })
        .collect();
    (!all.is_empty()).then(|| all.into_iter().collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use lightfoot_symbolizer::build_info::Module;

    use super::*;
    use crate::catalog::own_instrumentation::SDK;
    use crate::catalog::{grpc, http2, net_http};

    const OTELHTTP: &str = "go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp";
    const OTELGRPC: &str = "go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc";
    const OTELGIN: &str = "go.opentelemetry.io/contrib/instrumentation/github.com/gin-gonic/gin/otelgin";

    #[test]
    fn tracers_of_datadog_are_told_by_their_functions_also_where_no_module_is_named() {
        let [two, one] = ["github.com/DataDog/dd-trace-go", "gopkg.in/DataDog/dd-trace-go.v1"];
        let module = format!("{two}/v2");
        let tracer = format!("{two}/v2/ddtrace/tracer.newUnstartedTracer");
        let handler = format!("{two}/v2/instrumentation/httptrace.BeforeHandle");
        let transport = format!("{two}/contrib/net/http/v2/internal/wrap.ObserveRoundTrip");
        let calls = format!("{two}/contrib/google.golang.org/grpc/v2.UnaryServerInterceptor.func1");
        let by = |version: &str| Some(format!("dd-trace-go {version}"));
        for (operation, function) in
            [(&net_http::SERVER_1, &handler), (&net_http::CLIENT, &transport), (&grpc::SERVER, &calls)]
        {
            let linked = [tracer.as_str(), function];
            assert_eq!(covered(&[&module], &linked, operation), by("v1.0.0"));
            assert_eq!(covered(&[], &linked, operation), by("(orchestrion)"));
            assert_eq!(covered(&[&module], &[function], operation), None, "no tracer is started");
            assert_eq!(covered(&[&module], &[SDK, function], operation), None, "nor by another SDK");
            assert_eq!(covered(&[&module], &[&tracer], operation), None);
        }
        let tracer = format!("{one}/ddtrace/tracer.newUnstartedTracer");
        let handler = format!("{one}/contrib/internal/httptrace.StartRequestSpan");
        assert_eq!(covered(&[one], &[&tracer, &handler], &net_http::SERVER_1), by("v1.0.0"));
        assert_eq!(covered(&[one], &[&tracer, &handler], &net_http::CLIENT), None);
    }

    fn covered(modules: &[&str], functions: &[&str], operation: &Operation) -> Option<String> {
        let module =
            |path: &&str| Module { path: (*path).into(), version: "v1.0.0".into(), replaced_by: None };
        let info = BuildInfo { dependencies: modules.iter().map(module).collect(), ..BuildInfo::default() };
        covered_by(&info, |name| functions.contains(&name), operation)
    }

    #[test]
    fn each_library_is_covered_by_what_is_linked_of_its_instrumentation() {
        let handler = format!("{OTELHTTP}.(*middleware).serveHTTP");
        let transport = format!("{OTELHTTP}.(*Transport).RoundTrip");
        let calls = format!("{OTELGRPC}.(*clientHandler).TagRPC");
        let interceptor = format!("{OTELGRPC}.UnaryServerInterceptor.func1");
        let by = |name: &str| Some(format!("{name} v1.0.0"));
        let http = [&net_http::SERVER_1, &net_http::CLIENT, &http2::X_CLIENT];
        let rpc = [&grpc::SERVER, &grpc::UNARY_CLIENT, &grpc::STREAM_CLIENT];
        for (modules, functions, of_http, of_rpc) in [
            (&[OTELHTTP][..], &[SDK, handler.as_str()][..], [by("otelhttp"), None, None], [None, None, None]),
            (
                &[OTELHTTP],
                &[SDK, transport.as_str()],
                [None, by("otelhttp"), by("otelhttp")],
                [None, None, None],
            ),
            (&[OTELGRPC], &[SDK, calls.as_str()], [None, None, None], [None, by("otelgrpc"), by("otelgrpc")]),
            (&[OTELGRPC], &[SDK, interceptor.as_str()], [None, None, None], [by("otelgrpc"), None, None]),
            // A module that brings others along, and uses nothing of them.
            (&[OTELHTTP, OTELGRPC], &[SDK], [None, None, None], [None, None, None]),
            // No SDK: nothing is recorded.
            (&[OTELHTTP], &[handler.as_str(), transport.as_str()], [None, None, None], [None, None, None]),
            (&[OTELGIN], &[SDK], [by("otelgin"), None, None], [None, None, None]),
            (&[OTELGIN], &[], [None, None, None], [None, None, None]),
            (&[], &[SDK, handler.as_str()], [None, None, None], [None, None, None]),
            (
                &[OTELGIN, OTELHTTP],
                &[SDK, handler.as_str()],
                [Some("otelgin v1.0.0, otelhttp v1.0.0".to_owned()), None, None],
                [None, None, None],
            ),
        ] {
            assert_eq!(http.map(|operation| covered(modules, functions, operation)), of_http, "{modules:?}");
            assert_eq!(rpc.map(|operation| covered(modules, functions, operation)), of_rpc, "{modules:?}");
        }
    }
}
