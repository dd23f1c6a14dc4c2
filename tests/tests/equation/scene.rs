//! A server that writes down the truth, the agent that watches it, and where its spans go.

use std::process::Command;

use lightfoot_tests::go::Program;
use lightfoot_tests::live::{
    Agent, Outcome, Server, Span, Truth as Request, binary, lightfoot, unused_addresses,
};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span as Exported;

use crate::endpoint::Endpoint;

/// Where spans go.
pub(crate) enum Output {
    /// To standard output.
    Printed,
    /// To an endpoint, and whether it keeps the first span of its accepted requests, by their order.
    Sent(Endpoint, fn(usize) -> bool),
    /// To where nobody listens.
    Nowhere,
    /// To that URL; what comes there is the test's business.
    At(String),
}

pub(crate) struct Scene {
    pub(crate) server: Server,
    pub(crate) agent: Agent,
    output: Output,
}

impl Scene {
    pub(crate) fn set(output: Output, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let server = Server::start(&binary(Program::Truth).unwrap()).unwrap();
        let mut command = Command::new(lightfoot());
        command.args(["run", "--pid", &server.pid().to_string()]).args(arguments);
        let endpoint = match &output {
            Output::Printed => None,
            Output::Sent(endpoint, _) => Some(endpoint.address.clone()),
            Output::Nowhere => {
                let [nowhere] = unused_addresses();
                Some(format!("http://{nowhere}"))
            }
            Output::At(url) => Some(url.clone()),
        };
        match endpoint {
            Some(url) => command.args(["--protocol", "http/protobuf", "--endpoint", &url]),
            None => command.args(["--format", "otlp-json"]),
        };
        let agent = Agent::spawn(command, variables).unwrap();
        agent.watches(server.pid()).unwrap();
        Self { server, agent, output }
    }

    /// Ends the agent, then the server: the truth, the numbers that were delivered and what the agent made of it.
    pub(crate) fn end(self) -> (Vec<Request>, Vec<u64>, Outcome) {
        let outcome = self.agent.stop().unwrap();
        let delivered = match &self.output {
            Output::Printed => printed(&outcome.spans),
            Output::Sent(endpoint, keeps_first) => accepted(endpoint, *keeps_first),
            Output::Nowhere | Output::At(_) => Vec::new(),
        };
        (self.server.stop().unwrap(), delivered, outcome)
    }
}

/// The numbers of spans that were printed.
pub(crate) fn printed(spans: &[Span]) -> Vec<u64> {
    spans.iter().map(|span| number(span.path())).collect()
}

/// The numbers of spans that an endpoint took.
pub(crate) fn accepted(endpoint: &Endpoint, keeps_first: fn(usize) -> bool) -> Vec<u64> {
    taken(&endpoint.accepted.lock().unwrap(), keeps_first).map(|span| number(&path(span))).collect()
}

/// The spans of requests, without the first one where that is not kept.
pub(crate) fn taken(
    accepted: &[ExportTraceServiceRequest],
    keeps_first: fn(usize) -> bool,
) -> impl Iterator<Item = &Exported> {
    accepted.iter().enumerate().flat_map(move |(order, request)| {
        let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| &scope.spans).skip(usize::from(!keeps_first(order)))
    })
}

/// The path of a request.
pub(crate) fn path(span: &Exported) -> String {
    let path = span.attributes.iter().find(|attribute| attribute.key == "url.path").unwrap();
    match path.value.as_ref().unwrap().value.as_ref().unwrap() {
        Value::StringValue(text) => text.clone(),
        other => panic!("{other:?} is no path"),
    }
}

/// The number in `/KIND/NUMBER` or `/KIND/NUMBER/…`.
pub(crate) fn number(path: &str) -> u64 {
    path.split('/')
        .nth(2)
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("{path} has no number"))
}
