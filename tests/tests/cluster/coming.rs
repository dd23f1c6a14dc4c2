//! Pods that come while an agent runs, and their processes: as a rule Kubernetes has told of the pod before, and sometimes it tells later.

use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use lightfoot_tests::go::Program;
use lightfoot_tests::live::{Agent, PodCgroup, Span, Target, slowness, text};
use serde_json::json;

use crate::pods::{CONTAINER, NODE, Stage, one, until};

/// The same pod's, made anew.
const AGAIN: &str = "b6d03f1b5a7e92463f1b0d8c3f1b0d8c5a7e92460d8c5a7e92463f1b8c5a7e92";
/// That of the pod that takes its place.
const NEXT: &str = "8c5a7e9246d03f1b5a7e92463f1b0d8c3f1b0d8c5a7e92460d8c5a7e92463f1b";
/// By what the kubelet calls a static pod.
const HASH: &str = "5a7e92463f1b0d8c3f1b0d8c5a7e9246";
/// No kubelet has a container running sooner after it was told of its pod: it makes a sandbox before.
const SANDBOX: Duration = Duration::from_secs(1);

impl Stage {
    /// The program of all containers.
    fn program(&self) -> PathBuf {
        self.server.folder().copy_of(Program::Lifecycle, "cart").unwrap()
    }

    /// A pod that no scheduler has given to a node yet; its UID.
    fn pending(&self, name: &str) -> String {
        self.pod(name, "", &json!({"labels": {"watched": "yes"}}), &one())
    }

    /// What a scheduler does.
    fn bind(&self, name: &str) {
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": {"kind": "Node", "name": NODE},
        });
        let file = self.server.folder().say("binding.json", &binding.to_string()).unwrap();
        let of_pod = format!("/api/v1/namespaces/shop/pods/{name}/binding");
        self.server.ask(&["create", "--raw", &of_pod, "--filename", text(&file)]);
    }
}

/// The first span that a process has, of the path that is its own.
fn first(agent: &Agent, target: &Target, path: &str) -> Span {
    agent.watches(target.pid()).unwrap();
    target.get(path).unwrap();
    agent.span(path).unwrap()
}

#[test]
fn a_pod_that_comes_while_the_agent_runs_has_its_names_in_its_first_span() {
    let Some(stage) = Stage::set("pods that come") else { return };
    let program = stage.program();
    let agent = stage.agent_with(&["--exe", text(&program)]);
    agent.says("the pods of this node are known  pods=0").unwrap();
    agent.says("nothing to watch yet").unwrap();
    // A pod, its container after a crash, and the pod that takes its place.
    for (path, name, container) in
        [("/first", "cart-1", CONTAINER), ("/restarted", "cart-1", AGAIN), ("/replaced", "cart-2", NEXT)]
    {
        let labels = json!({"labels": {"app.kubernetes.io/name": "basket"}});
        let uid = stage.pod(name, NODE, &labels, &one());
        sleep(SANDBOX * slowness());
        let cgroup = PodCgroup::of(&uid, container).unwrap();
        let target = Target::spawn(&mut cgroup.command(&program)).unwrap();
        let span = first(&agent, &target, path);
        for (key, value) in [
            ("service.name", "basket"),
            ("service.namespace", "shop"),
            ("service.instance.id", &format!("shop.{name}.cart")),
            ("k8s.pod.name", name),
            ("k8s.pod.uid", &uid),
            ("k8s.node.name", NODE),
            ("k8s.namespace.name", "shop"),
            ("k8s.container.name", "cart"),
            ("container.id", container),
        ] {
            assert_eq!(span.resource(key), value, "{path}: {key}");
        }
        if path == "/restarted" {
            stage.delete(name);
        }
    }
    let outcome = agent.stop().unwrap();
    assert_eq!(outcome.paths(), ["/first", "/replaced", "/restarted"]);
    assert_eq!(outcome.count("processes_without_pod"), 0);
}

/// Nothing waits for the API server: spans have what cgroups say until it has told of the pod. The kubelet starts a static pod itself,
/// and the API server learns of it from there.
#[test]
fn a_process_that_is_there_before_its_pod_is_told_has_no_names_of_it_until_then() {
    let Some(stage) = Stage::set("processes that come before their pods") else { return };
    let program = stage.program();
    let agent = stage.agent_with(&["--exe", text(&program)]);
    agent.says("the pods of this node are known  pods=0").unwrap();
    let uid = stage.pending("cart-1");
    let mirror =
        json!({"annotations": {"kubernetes.io/config.hash": HASH, "kubernetes.io/config.mirror": HASH}});
    let told: [(_, _, &dyn Fn()); 2] = [
        ("cart-1", &*uid, &|| stage.bind("cart-1")),
        ("proxy-node-1", HASH, &|| drop(stage.pod("proxy-node-1", NODE, &mirror, &one()))),
    ];
    for (name, of_cgroup, tell) in told {
        let cgroup = PodCgroup::of(of_cgroup, CONTAINER).unwrap();
        let target = Target::spawn(&mut cgroup.command(&program)).unwrap();
        let before = first(&agent, &target, &format!("/before-{name}"));
        for (key, value) in [
            ("service.name", "lifecycle"),
            ("k8s.pod.uid", of_cgroup),
            ("container.id", CONTAINER),
            ("k8s.pod.name", ""),
            ("k8s.namespace.name", ""),
        ] {
            assert_eq!(before.resource(key), value, "{name}: {key}");
        }
        tell();
        let after = until(&agent, &target, name, |span| !span.resource("k8s.pod.name").is_empty());
        for (key, value) in [
            ("service.name", name),
            ("k8s.pod.name", name),
            ("k8s.pod.uid", &stage.uid(name)),
            ("k8s.namespace.name", "shop"),
            ("container.id", CONTAINER),
        ] {
            assert_eq!(after.resource(key), value, "{name}: {key}");
        }
    }
    assert_eq!(agent.stop().unwrap().count("processes_without_pod"), 2);
}

/// Where rules ask for labels, a process waits for them, and has no span without the names of its pod.
#[test]
fn a_process_about_whose_pod_rules_ask_is_watched_once_that_is_told() {
    let Some(stage) = Stage::set("processes that wait for their pods") else { return };
    let program = stage.program();
    let labels = json!({"kubernetes": {"labels": {"watched": "yes"}}, "exe": text(&program)});
    let rules = json!({"rules": [{"match": labels, "action": "watch"}]});
    let config = stage.server.folder().say("config.yaml", &rules.to_string()).unwrap();
    let agent = stage.agent_with(&["--config", text(&config)]);
    agent.says("the pods of this node are known  pods=0").unwrap();
    let uid = stage.pending("cart-1");
    let cgroup = PodCgroup::of(&uid, CONTAINER).unwrap();
    let target = Target::spawn(&mut cgroup.command(&program)).unwrap();
    // It is said after ten seconds.
    agent.says("a rule asks for what is not known of its pod: Kubernetes has not told it").unwrap();
    target.get("/before").unwrap();
    stage.bind("cart-1");
    let span = first(&agent, &target, "/after");
    assert_eq!((span.resource("k8s.pod.name"), span.service()), ("cart-1", "cart-1"));
    let outcome = agent.stop().unwrap();
    assert_eq!(outcome.paths(), ["/after"]);
    assert_eq!(outcome.count("processes_without_pod"), 0);
}
