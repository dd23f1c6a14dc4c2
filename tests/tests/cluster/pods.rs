//! What an agent under the chart's service account learns of the pods of its node, and how it fares without.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use lightfoot_tests::go::Program;
use lightfoot_tests::live::{Agent, Folder, PodCgroup, Span, Target, lightfoot, resident, text, wait_within};
use serde_json::{Map, Value, json};

use crate::server::{ACCOUNT, Asked, Server};
use crate::{PATIENCE, is_possible, root};

pub(crate) const CONTAINER: &str = "3f1b0d8c5a7e92460d8c5a7e92463f1b8c5a7e9246d03f1b5a7e92463f1b0d8c";
pub(crate) const NODE: &str = "node-1";
/// What the agent has allocated, as `resident` calls it.
const OWN_MEMORY: [&str; 2] = ["[heap]", "memory"];
/// KiB of that with 500 pods: 4 MiB without any, and what is kept of labels and annotations.
const MOST_MEMORY: u64 = 20 << 10;

/// An API server with the chart, and an agent that has the chart's rights and no others.
pub(crate) struct Stage {
    pub(crate) server: Server,
    token: PathBuf,
}

impl Stage {
    pub(crate) fn set(test: &str) -> Option<Self> {
        let folder = is_possible(test)?;
        let token = folder.path().join("token");
        let server = Server::start(&root(), folder);
        let manifests = root().join("deploy/kubernetes/lightfoot.yaml");
        server.ask(&["apply", "--filename", text(&manifests)]);
        server.ask(&["create", "namespace", "shop"]);
        server.ask(&["create", "serviceaccount", "default", "--namespace", "shop"]);
        let stage = Self { server, token };
        stage.new_token();
        Some(stage)
    }

    /// As the kubelet writes it into the agent's pod.
    fn new_token(&self) {
        let token = self.server.ask(&[
            "create",
            "token",
            "lightfoot",
            "--namespace",
            "lightfoot",
            "--duration",
            "10m",
        ]);
        let new = self.token.with_extension("new");
        fs::write(&new, token.trim()).unwrap();
        fs::rename(new, &self.token).unwrap();
    }

    /// The account is made anew, so the token of before is worth nothing; the file has another.
    fn renew_account(&mut self) {
        self.server.stop();
        self.server.serve();
        self.server.ask(&["delete", "serviceaccount", "lightfoot", "--namespace", "lightfoot"]);
        self.server.ask(&["create", "serviceaccount", "lightfoot", "--namespace", "lightfoot"]);
        self.server.stop();
        self.server.serve();
        self.new_token();
    }

    /// An agent that has nothing but what a pod has: the variables of the kubelet, and the files of its account, where they always are.
    fn agent_in_pod(&self, pid: u32) -> Agent {
        let account = self.server.folder().path().join("serviceaccount");
        fs::create_dir(&account).unwrap();
        symlink(&self.token, account.join("token")).unwrap();
        symlink(self.server.certificate(), account.join("ca.crt")).unwrap();
        fs::write(account.join("namespace"), "lightfoot").unwrap();
        let script = "mount -t tmpfs tmpfs /run && mkdir -p /run/secrets/kubernetes.io && \
                      ln -s \"$0\" /run/secrets/kubernetes.io/serviceaccount && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script]).arg(account).arg(lightfoot());
        command.args(["run", "--format", "otlp-json", "--pid", &pid.to_string()]);
        let port = self.server.port().to_string();
        let variables = [
            ("KUBERNETES_SERVICE_HOST", "127.0.0.1"),
            ("KUBERNETES_SERVICE_PORT", port.as_str()),
            ("NODE_NAME", NODE),
        ];
        let agent = Agent::spawn(command, &variables).unwrap();
        agent.watches(pid).unwrap();
        agent
    }

    fn agent(&self, pid: u32) -> Agent {
        let agent = self.agent_with(&["--pid", &pid.to_string()]);
        agent.watches(pid).unwrap();
        agent
    }

    pub(crate) fn agent_with(&self, flags: &[&str]) -> Agent {
        let kubeconfig = self.server.kubeconfig(&self.token);
        let mut command = Command::new(lightfoot());
        command.args(["run", "--format", "otlp-json", "--kubernetes", "on"]).args(flags);
        Agent::spawn(command, &[("KUBECONFIG", text(&kubeconfig)), ("NODE_NAME", NODE)]).unwrap()
    }

    /// A pod of a node, by its name; its UID.
    pub(crate) fn pod(&self, name: &str, node: &str, metadata: &Value, containers: &Value) -> String {
        self.server.apply(name, &pod(name, node, metadata, containers));
        self.uid(name)
    }

    pub(crate) fn uid(&self, name: &str) -> String {
        self.server.ask(&["get", "pod", name, "--namespace", "shop", "--output", "jsonpath={.metadata.uid}"])
    }

    /// It is no more, whether its processes run or not.
    pub(crate) fn delete(&self, name: &str) {
        let arguments = ["delete", "pod", name, "--namespace", "shop", "--force", "--grace-period", "0"];
        self.server.ask(&arguments);
    }

    fn patch(&self, name: &str, patch: &Value, more: &[&str]) {
        let patch = patch.to_string();
        let arguments = ["patch", "pod", name, "--namespace", "shop", "--type", "merge", "--patch", &patch];
        self.server.ask(&[&arguments, more].concat());
    }
}

fn server(folder: &Folder) -> Target {
    let target = Target::start(&folder.copy_of(Program::Lifecycle, "cart").unwrap()).unwrap();
    target.address().unwrap();
    target
}

/// Asks until a span is as it is to be, within the time that news may take.
pub(crate) fn until(agent: &Agent, target: &Target, what: &str, is: impl Fn(&Span) -> bool) -> Span {
    let mut number = 0;
    wait_within(PATIENCE, what, || {
        number += 1;
        let path = format!("/{}/{number}", what.replace(' ', "-"));
        target.get(&path).unwrap();
        agent.span(&path).ok().filter(&is)
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", agent.messages()))
}

pub(crate) fn one() -> Value {
    json!([{"name": "cart", "image": "shop/cart:1.4"}])
}

fn with_proxy() -> Value {
    json!([{"name": "cart", "image": "shop/cart:1.4"}, {"name": "proxy", "image": "proxy"}])
}

/// A pod as it is applied.
fn pod(name: &str, node: &str, metadata: &Value, containers: &Value) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "shop"},
        "spec": {"nodeName": node, "containers": containers},
    });
    pod["metadata"].as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
    pod
}

#[test]
fn spans_follow_what_becomes_of_a_pod() {
    let Some(mut stage) = Stage::set("pods on an API server") else { return };
    let controlled = |name: &str| {
        json!({
            "labels": {"pod-template-hash": "5d8c7b9f6"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name, "uid": "r", "controller": true}],
        })
    };
    let uid = stage.pod("cart-1", NODE, &controlled("cart-5d8c7b9f6"), &with_proxy());
    stage.pod("elsewhere", "node-2", &json!({}), &with_proxy());
    let target = server(stage.server.folder());
    let _cgroup = PodCgroup::around(target.pid(), &uid, CONTAINER).unwrap();
    let agent = stage.agent(target.pid());
    agent.says("the pods of this node are known  pods=1").unwrap();

    // It was there: its first span has its names. Which container it is, the kubelet has not said.
    target.get("/first").unwrap();
    let first = agent.span("/first").unwrap();
    for (key, value) in [
        ("service.name", "cart"),
        ("service.namespace", "shop"),
        ("k8s.pod.name", "cart-1"),
        ("k8s.pod.uid", &uid),
        ("k8s.node.name", NODE),
        ("k8s.namespace.name", "shop"),
        ("k8s.deployment.name", "cart"),
        ("k8s.replicaset.name", "cart-5d8c7b9f6"),
        ("k8s.container.name", ""),
        ("container.id", CONTAINER),
    ] {
        assert_eq!(first.resource(key), value, "{key}");
    }
    let status = json!({"status": {"containerStatuses": [
        {"name": "cart", "containerID": format!("containerd://{CONTAINER}"), "image": "x", "imageID": "x", "ready": true, "restartCount": 0},
    ]}});
    stage.patch("cart-1", &status, &["--subresource", "status"]);
    let told = until(&agent, &target, "a container", |span| !span.resource("k8s.container.name").is_empty());
    assert_eq!(told.resource("k8s.container.name"), "cart");
    assert_eq!(
        (told.resource("service.version"), told.resource("container.image.name")),
        ("1.4", "shop/cart")
    );
    assert_eq!(told.resource("service.instance.id"), "shop.cart-1.cart");

    stage.patch("cart-1", &json!({"metadata": controlled("basket-5d8c7b9f6")}), &[]);
    until(&agent, &target, "another owner", |span| span.service() == "basket");
    let annotated = json!({"metadata": {"annotations": {
        "resource.opentelemetry.io/service.name": "named", "resource.opentelemetry.io/team": "blue",
    }}});
    stage.patch("cart-1", &annotated, &[]);
    let named = until(&agent, &target, "an annotation", |span| span.service() == "named");
    assert_eq!(named.resource("team"), "blue");

    // What happens while the server is gone is learned when it is back.
    stage.server.stop();
    agent.says("nothing new is known of the pods of this node").unwrap();
    target.get("/alone").unwrap();
    assert_eq!(agent.span("/alone").unwrap().service(), "named", "what was known");
    sleep(Duration::from_mins(1));
    stage.server.serve();
    let annotated = json!({"metadata": {"annotations": {"resource.opentelemetry.io/service.name": "back"}}});
    stage.patch("cart-1", &annotated, &[]);
    until(&agent, &target, "the server again", |span| span.service() == "back");
    agent.says("the pods of this node are known again").unwrap();

    // The last spans of a pod that is no more still have its names.
    stage.delete("cart-1");
    sleep(Duration::from_secs(1));
    target.get("/late").unwrap();
    assert_eq!(agent.span("/late").unwrap().service(), "back");
    let outcome = agent.stop().unwrap();
    // Its cgroup can be removed then.
    drop(target);
    assert!(outcome.count("kubernetes_failures") >= 1, "{:?}", outcome.counts);
    // Each right was used, of the own node's pods alone, and nothing else was asked for.
    let role =
        stage.server.ask(&["get", "clusterrole", "lightfoot-lightfoot", "--output", "jsonpath={.rules}"]);
    let rights = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}]);
    assert_eq!(serde_json::from_str::<Value>(&role).unwrap(), rights);
    let asked = |verb: &str| Asked {
        verb: verb.to_owned(),
        group: String::new(),
        resource: "pods".to_owned(),
        fields: format!("spec.nodeName%3D{NODE}"),
    };
    assert_eq!(stage.server.asked(), ["list", "watch"].map(asked).into());
    assert_eq!((outcome.count("processes_without_pod"), outcome.count("pods_left_out")), (0, 0));
}

/// More annotations than are kept, and the manifest that `kubectl apply` leaves in one: 30 KiB of each pod.
#[test]
fn a_node_has_five_hundred_pods() {
    let Some(stage) = Stage::set("500 pods on an API server") else { return };
    let texts = |prefix: &str, count, length: usize| {
        let text = |number| (format!("example.com/{prefix}-{number}"), json!("x".repeat(length)));
        (0..count).map(text).collect::<Map<_, _>>()
    };
    let mut annotations = texts("note", 10, 900);
    annotations.insert("kubectl.kubernetes.io/last-applied".to_owned(), json!("x".repeat(20 << 10)));
    let metadata = json!({"labels": texts("label", 16, 60), "annotations": annotations});
    let pods: Vec<_> =
        (0..500).map(|number| pod(&format!("pod-{number}"), NODE, &metadata, &one())).collect();
    stage.server.apply("many", &json!({"apiVersion": "v1", "kind": "List", "items": pods}));
    let uid = stage.uid("pod-499");
    let target = server(stage.server.folder());
    let _cgroup = PodCgroup::around(target.pid(), &uid, CONTAINER).unwrap();
    let agent = stage.agent(target.pid());
    agent.says("the pods of this node are known  pods=500").unwrap();
    target.get("/one").unwrap();
    let span = agent.span("/one").unwrap();
    assert_eq!((span.service(), span.resource("k8s.container.name")), ("pod-499", "cart"));
    let resident = resident(agent.pid()).unwrap();
    println!("resident with 500 pods: {resident:?}");
    let of_agent: u64 =
        resident.iter().filter(|(part, _)| OWN_MEMORY.contains(&part.as_str())).map(|(_, kib)| kib).sum();
    assert!(of_agent < MOST_MEMORY, "{resident:?}");
    let outcome = agent.stop().unwrap();
    // Its cgroup can be removed then.
    drop(target);
    assert_eq!(outcome.count("pods_left_out"), 0);
}

#[test]
fn rights_may_be_missing_and_tokens_change() {
    let Some(mut stage) = Stage::set("rights on an API server") else { return };
    let uid = stage.pod("cart-1", NODE, &json!({}), &one());
    let target = server(stage.server.folder());
    let _cgroup = PodCgroup::around(target.pid(), &uid, CONTAINER).unwrap();
    let binding = stage.server.ask(&["get", "clusterrolebinding", "lightfoot-lightfoot", "--output", "json"]);
    stage.server.ask(&["delete", "clusterrolebinding", "lightfoot-lightfoot"]);
    let agent = stage.agent(target.pid());
    agent.says("cannot list resource \\\"pods\\\"").unwrap();
    target.get("/denied").unwrap();
    let span = agent.span("/denied").unwrap();
    assert_eq!((span.resource("k8s.pod.uid"), span.resource("k8s.pod.name")), (&*uid, ""));

    let mut binding: Value = serde_json::from_str(&binding).unwrap();
    for field in ["uid", "resourceVersion", "creationTimestamp", "managedFields"] {
        binding["metadata"].as_object_mut().unwrap().remove(field);
    }
    stage.server.apply("binding", &binding);
    until(&agent, &target, "the right", |span| span.resource("k8s.pod.name") == "cart-1");

    stage.renew_account();
    let annotated =
        json!({"metadata": {"annotations": {"resource.opentelemetry.io/service.name": "rotated"}}});
    stage.patch("cart-1", &annotated, &[]);
    // The file is read again after a minute.
    let started = Instant::now();
    until(&agent, &target, "another token", |span| span.service() == "rotated");
    println!("another token was taken after {:?}", started.elapsed());
    let outcome = agent.stop().unwrap();
    // Its cgroup can be removed then.
    drop(target);
    let denied = outcome.messages.matches("nothing new is known of the pods of this node").count();
    assert!((1..=3).contains(&denied), "{}", outcome.messages);
    assert_eq!(outcome.count("processes_without_pod"), 1);
}

#[test]
fn in_a_pod_its_own_files_and_variables_are_enough() {
    let Some(mut stage) = Stage::set("a pod's own files") else { return };
    let uid = stage.pod("cart-1", NODE, &json!({}), &one());
    let target = server(stage.server.folder());
    let _cgroup = PodCgroup::around(target.pid(), &uid, CONTAINER).unwrap();
    let agent = stage.agent_in_pod(target.pid());
    agent.says("the pods of this node are known  pods=1").unwrap();
    target.get("/first").unwrap();
    assert_eq!(agent.span("/first").unwrap().resource("k8s.pod.name"), "cart-1");
    stage.renew_account();
    let annotated =
        json!({"metadata": {"annotations": {"resource.opentelemetry.io/service.name": "rotated"}}});
    stage.patch("cart-1", &annotated, &[]);
    until(&agent, &target, "another token", |span| span.service() == "rotated");
    agent.stop().unwrap();
    // Its cgroup can be removed then.
    drop(target);
}

/// Whether it is watched is told by what the agent says, and by what has spans.
#[test]
fn a_label_has_a_running_process_watched_and_left() {
    let Some(stage) = Stage::set("labels on an API server") else { return };
    let uid = stage.pod("cart-1", NODE, &json!({}), &one());
    let target = server(stage.server.folder());
    let _cgroup = PodCgroup::around(target.pid(), &uid, CONTAINER).unwrap();
    let program = stage.server.folder().path().join("cart");
    let rules = json!({"rules": [
        {"match": {"exe": text(&program), "kubernetes": {"namespace": "sh*", "labels": {"watched": "yes*"}}}, "action": "watch"},
    ]});
    let config = stage.server.folder().say("config.yaml", &rules.to_string()).unwrap();
    let agent = stage.agent_with(&["--config", text(&config), "--log-level", "debug"]);
    agent.says("the pods of this node are known  pods=1").unwrap();
    agent.says("nothing to watch yet").unwrap();
    target.get("/before").unwrap();

    let labelled = |value: Value| json!({"metadata": {"labels": {"watched": value}}});
    stage.patch("cart-1", &labelled(json!("yes-please")), &[]);
    agent.watches(target.pid()).unwrap();
    target.get("/watched").unwrap();
    agent.span("/watched").unwrap();

    stage.patch("cart-1", &labelled(Value::Null), &[]);
    agent.says("no longer watching").unwrap();
    target.get("/left").unwrap();

    stage.patch("cart-1", &labelled(json!("yes")), &[]);
    agent.says_times("watching  service=", 2).unwrap();
    target.get("/again").unwrap();
    agent.span("/again").unwrap();

    // What was known of a pod holds when it is no more.
    stage.delete("cart-1");
    sleep(Duration::from_secs(3));
    target.get("/late").unwrap();
    agent.span("/late").unwrap();
    let outcome = agent.stop().unwrap();
    // Its cgroup can be removed then.
    drop(target);
    assert_eq!(outcome.paths(), ["/again", "/late", "/watched"]);
    assert!(!outcome.messages.contains("not known of its pod"), "{}", outcome.messages);
}

/// A test of the rights themselves: they are those of the chart, and no others.
#[test]
fn the_service_account_may_do_nothing_else() {
    let Some(stage) = Stage::set("the chart's rights") else { return };
    let account = format!("--as={ACCOUNT}");
    let may = |verb: &str, what: &str| {
        // It ends with 1 for no.
        stage.server.answer(&["auth", "can-i", verb, what, "--all-namespaces", &account]).trim() == "yes"
    };
    assert!(may("list", "pods") && may("watch", "pods"));
    for (verb, what) in [
        ("get", "pods"),
        ("delete", "pods"),
        ("create", "pods"),
        ("list", "secrets"),
        ("list", "nodes"),
        ("list", "replicasets.apps"),
        ("get", "pods/log"),
    ] {
        assert!(!may(verb, what), "{verb} {what}");
    }
}
