//! `make demo`: what it shows.
//!
//! Needs root and a kernel that attaches probes; elsewhere it says why it does nothing, and fails where `CI` is `true`.

use std::path::Path;
use std::process::{Command, Stdio};

use lightfoot_tests::extent::Extent;
use lightfoot_tests::go::Program;
use lightfoot_tests::live::{Folder, lightfoot, slowness};

/// How long customers come, in seconds: some twenty requests, of which every fifth is an order. Emulated machines need more than that
/// to see the first one.
const SECONDS: u32 = 8;

/// A request of the shop, its call by gRPC, the stock that serves it, its request by HTTP, and the prices that answer: one trace,
/// whether Lightfoot passes it on, as in a virtual machine, or may not.
#[test]
fn a_request_goes_through_http_and_grpc_and_http() {
    let Some(folder) = Folder::for_test("the demo") else { return };
    let mut command = Command::new("bash");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/demo.sh")).stdin(Stdio::null());
    let seconds = SECONDS.max(SECONDS / 2 * slowness());
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
    let whole = if passes_on { trees_of_all(&text) } else { traces_of_trees(&text) };
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

/// Where Lightfoot passes trace contexts on: a request is one tree, of five spans, each the parent of the next. Returns how many there
/// are.
fn trees_of_all(text: &str) -> usize {
    let trees = trees(text);
    let of_products = trees.iter().filter(|tree| tree[0].contains(" shop  GET /products/{id}  200 "));
    for tree in of_products.clone() {
        let &[shop, call, served, request, prices] = &tree[..] else { panic!("{tree:?}") };
        assert_eq!(value(shop, "parent"), "", "no customer sends one: {shop}");
        assert_eq!(value(shop, "trace").len(), 32, "{shop}");
        let product = value(shop, "url.path").rsplit('/').next().unwrap();
        let asked = format!("/prices/{product}");
        for (line, begins) in [
            (call, "└─ shop  shop.Stock/Item  OK "),
            (served, "└─ stock  shop.Stock/Item  OK "),
            (request, "└─ stock  GET  200 "),
            (prices, "└─ prices  GET /prices/{id}  200 "),
        ] {
            assert!(line.trim_start().starts_with(begins), "{tree:?}");
        }
        let indented = |line: &str| line.len() - line.trim_start().len();
        assert!(tree[1..].is_sorted_by(|line, next| indented(line) < indented(next)), "{tree:?}");
        assert!(value(request, "url.full").ends_with(&asked), "{request}");
        assert_eq!(value(prices, "url.path"), asked);
    }
    of_products.count()
}

/// Where services pass on the `traceparent` that they get: the same spans are a tree for each service, with one parent, as no service
/// has an instrumentation that would pass on another than the one which came from outside. Returns how many traces there are.
fn traces_of_trees(text: &str) -> usize {
    let trees = trees(text);
    let of = |service: &str, trace: &str| -> Vec<&[&str]> {
        let is_of = |tree: &&Vec<&str>| {
            tree[0].split_whitespace().nth(1) == Some(service) && value(tree[0], "trace") == trace
        };
        trees.iter().filter(is_of).map(Vec::as_slice).collect()
    };
    let of_products = trees.iter().filter(|tree| tree[0].contains(" shop  GET /products/{id}  200 "));
    for tree in of_products.clone() {
        let trace = value(tree[0], "trace");
        let ([stock], [prices]) = (&of("stock", trace)[..], &of("prices", trace)[..]) else {
            panic!("{text}")
        };
        let product = value(tree[0], "url.path").rsplit('/').next().unwrap();
        assert!(matches!(&tree[..], [_, call] if call.contains("└─ shop  shop.Stock/Item  OK ")), "{tree:?}");
        assert!(stock[0].contains(" stock  shop.Stock/Item  OK "), "{stock:?}");
        let asked = format!("/prices/{product}");
        assert!(matches!(stock, [_, call] if call.contains("└─ stock  GET  200 ")), "{stock:?}");
        assert!(value(stock[1], "url.full").ends_with(&asked), "{stock:?}");
        assert!(prices[0].contains(" prices  GET /prices/{id}  200 "), "{prices:?}");
        assert_eq!((prices.len(), value(prices[0], "url.path")), (1, asked.as_str()));
        let [first, second, third] =
            [tree.as_slice(), stock, prices].map(|served| value(served[0], "parent"));
        assert!(first.len() == 16 && [second, third] == [first; 2], "{text}");
    }
    of_products.count()
}

/// The lines of each tree, which begins with the time.
fn trees(text: &str) -> Vec<Vec<&str>> {
    let lines: Vec<&str> = text.lines().collect();
    lines.chunk_by(|_, next| next.starts_with(' ')).map(<[_]>::to_vec).collect()
}

/// The value of `key=` in a line.
fn value<'a>(line: &'a str, key: &str) -> &'a str {
    let of_key = |word: &'a str| word.strip_prefix(key)?.strip_prefix('=');
    line.split_whitespace().find_map(of_key).unwrap_or_default()
}
