//! `make demo`: what it shows.
//!
//! Needs root and a kernel that attaches probes; elsewhere it says why it does nothing, and fails where `CI` is `true`.

use std::path::Path;
use std::process::{Command, Stdio};

use lightfoot_tests::extent::Extent;
use lightfoot_tests::go::Program;
use lightfoot_tests::live::{Folder, lightfoot, lockdown, slowness};

/// How long customers come, in seconds: some twenty requests, of which every fifth is an order; a machine that is slow has more time.
const SECONDS: u32 = 8;

/// A request of the shop, its call by gRPC, the stock that serves it, its request by HTTP, and the prices that answer: one trace,
/// whether Lightfoot passes it on, as in a virtual machine, or may not.
#[test]
fn a_request_goes_through_http_and_grpc_and_http() {
    let Some(folder) = Folder::for_test("the demo") else { return };
    let mut command = Command::new("bash");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/demo.sh")).stdin(Stdio::null());
    let seconds = SECONDS + slowness();
    command.env("DEMO_SECONDS", seconds.to_string()).env("DEMO_LIGHTFOOT", lightfoot());
    command.env("DEMO_FOLDER", folder.path());
    if Extent::of_environment() == Extent::Least {
        // A virtual machine has no Go to build them with.
        command.env("DEMO_SERVICES", folder.copy_of(Program::Demo, "demo").unwrap());
    }
    let output = command.output().unwrap();
    let [text, messages] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(output.status.success(), "{}: {messages}", output.status);
    let passes_on = messages.contains("trace contexts can be passed on");
    assert_eq!(passes_on, lockdown().unwrap() == "none", "{messages}");
    let whole = if passes_on { trees_of_all(&text) } else { traces_of_trees(&text) };
    let whole = whole.unwrap_or_else(|| panic!("a tree has other spans:\n{text}"));
    assert!(whole > 0, "{text}\n{messages}");
    let traces = format!("{whole} traces go through shop, stock and prices, for ");
    let (who, said) = if passes_on {
        ("Lightfoot passes the trace contexts on", "can be passed on")
    } else {
        ("these pass on the traceparent that they get", "cannot be passed on (`run --propagate`): ")
    };
    for part in [&format!("{traces}{who}"), &format!("trace contexts {said}")] {
        assert!(messages.contains(part), "{text}\n{messages}");
    }
}

/// A tree as it is printed. It begins with the time.
struct Tree<'a> {
    first: &'a str,
    rest: Vec<&'a str>,
}

impl<'a> Tree<'a> {
    fn all(text: &'a str) -> Vec<Self> {
        let lines: Vec<&str> = text.lines().collect();
        let trees = lines.chunk_by(|_, next| next.starts_with(' '));
        trees.filter_map(|tree| Some(Self { first: tree.first()?, rest: tree.get(1..)?.to_vec() })).collect()
    }

    fn is_of_product(&self) -> bool {
        self.first.contains(" shop  GET /products/{id}  200 ")
    }

    fn is_of(&self, service: &str, trace: &str) -> bool {
        self.first.split_whitespace().nth(1) == Some(service) && value(self.first, "trace") == trace
    }

    /// The path that the shop's stock asks the prices for.
    fn asked(&self) -> String {
        format!("/prices/{}", value(self.first, "url.path").rsplit('/').next().unwrap_or_default())
    }
}

/// Where Lightfoot passes trace contexts on: a request is one tree, of five spans, each the parent of the next. Returns how many there
/// are; nothing if one has other spans.
fn trees_of_all(text: &str) -> Option<usize> {
    let mut trees = Tree::all(text);
    trees.retain(Tree::is_of_product);
    for tree in &trees {
        let &[call, served, request, prices] = &tree.rest[..] else { return None };
        assert_eq!(value(tree.first, "parent"), "", "no customer sends one: {text}");
        assert_eq!(value(tree.first, "trace").len(), 32, "{text}");
        for (line, begins) in [
            (call, "└─ shop  shop.Stock/Item  OK "),
            (served, "└─ stock  shop.Stock/Item  OK "),
            (request, "└─ stock  GET  200 "),
            (prices, "└─ prices  GET /prices/{id}  200 "),
        ] {
            assert!(line.trim_start().starts_with(begins), "{text}");
        }
        let indented = |line: &str| line.len() - line.trim_start().len();
        assert!(tree.rest.is_sorted_by(|line, next| indented(line) < indented(next)), "{text}");
        assert!(value(request, "url.full").ends_with(&tree.asked()), "{text}");
        assert_eq!(value(prices, "url.path"), tree.asked());
    }
    Some(trees.len())
}

/// Where services pass on the `traceparent` that they get: the same spans are a tree for each service, with one parent, as no service
/// has an instrumentation that would pass on another than the one which came from outside. Returns how many traces there are;
/// nothing if one has other spans.
fn traces_of_trees(text: &str) -> Option<usize> {
    let trees = Tree::all(text);
    let mut found = 0;
    for shop in trees.iter().filter(|tree| tree.is_of_product()) {
        let of = |service: &str| -> Vec<&Tree<'_>> {
            trees.iter().filter(|tree| tree.is_of(service, value(shop.first, "trace"))).collect()
        };
        let ([stock], [prices]) = (&of("stock")[..], &of("prices")[..]) else { return None };
        let ([call], [request], []) = (&shop.rest[..], &stock.rest[..], &prices.rest[..]) else {
            return None;
        };
        assert!(call.contains("└─ shop  shop.Stock/Item  OK "), "{call}");
        assert!(stock.first.contains(" stock  shop.Stock/Item  OK "), "{}", stock.first);
        assert!(request.contains("└─ stock  GET  200 "), "{request}");
        assert!(value(request, "url.full").ends_with(&shop.asked()), "{request}");
        assert!(prices.first.contains(" prices  GET /prices/{id}  200 "), "{}", prices.first);
        assert_eq!(value(prices.first, "url.path"), shop.asked());
        let [first, second, third] = [shop, *stock, *prices].map(|tree| value(tree.first, "parent"));
        assert!(first.len() == 16 && [second, third] == [first; 2], "{text}");
        found += 1;
    }
    Some(found)
}

/// The value of `key=` in a line.
fn value<'a>(line: &'a str, key: &str) -> &'a str {
    let of_key = |word: &'a str| word.strip_prefix(key)?.strip_prefix('=');
    line.split_whitespace().find_map(of_key).unwrap_or_default()
}
