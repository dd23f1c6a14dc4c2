//! Whatever docs/install-kubernetes.md shows of the chart, an API server takes.

use std::process::Command;

use serde_json::{Value, json};

use crate::server::Server;
use crate::values::documented;
use crate::{is_possible, root, tools};

/// No server but OpenShift's has these.
const OF_OPENSHIFT: &str = "SecurityContextConstraints";

/// What the chart comes to, but for what only OpenShift knows.
fn objects(server: &Server, values: &str) -> Vec<Value> {
    let file = server.folder().say("values.yaml", values).unwrap();
    let mut helm = Command::new(tools(&root()).join("helm"));
    for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
        helm.env(variable, server.folder().path());
    }
    helm.args(["template", "lightfoot", "--namespace", "lightfoot", "--values"]).arg(file);
    let output = helm.arg(root().join("deploy/chart")).output().unwrap();
    assert!(output.status.success(), "{values}\n{}", String::from_utf8_lossy(&output.stderr));
    let manifests = String::from_utf8(output.stdout).unwrap();
    let mut objects: Vec<Value> = serde_saphyr::from_multiple(&manifests).unwrap();
    objects.retain(|object| object["kind"] != OF_OPENSHIFT);
    objects
}

fn list(items: &[Value]) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

/// The pod that a DaemonSet would have made, if any controller ran here.
fn pod(objects: &[Value], name: &str) -> Value {
    let set = objects.iter().find(|object| object["kind"] == "DaemonSet").unwrap();
    let template = &set["spec"]["template"];
    json!({
        "apiVersion": "v1", "kind": "Pod", "spec": template["spec"],
        "metadata": {"name": name, "namespace": "lightfoot", "labels": template["metadata"]["labels"]},
    })
}

#[test]
fn an_api_server_takes_whatever_is_documented_and_the_pods_of_it() {
    let Some(folder) = is_possible("documented values on an API server") else { return };
    let server = Server::start(&root(), folder);
    server.ask(&["create", "namespace", "lightfoot"]);
    let documented = documented();
    assert!(documented.len() > 6, "{documented:?}");
    for (number, values) in documented.iter().enumerate() {
        let objects = objects(&server, values);
        server.apply("objects.json", &list(&objects));
        let name = format!("lightfoot-{number}");
        server.apply("pod.json", &pod(&objects, &name));
        let node = ["get", "pod", &name, "--namespace", "lightfoot", "--output", "jsonpath={.spec.hostPID}"];
        assert_eq!(server.ask(&node), "true", "{values}");
    }
    // The other side: it does not take everything.
    let mut wrong = pod(&objects(&server, "{}"), "wrong");
    let spec = wrong["spec"].as_object_mut().unwrap();
    spec.insert("hostPid".to_owned(), json!(true));
    let file = server.folder().say("wrong.json", &wrong.to_string()).unwrap();
    assert_eq!(server.answer(&["apply", "--server-side", "--filename", file.to_str().unwrap()]), "");
}
