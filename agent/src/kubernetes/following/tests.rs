use std::cell::RefCell;
use std::collections::BTreeMap;

use serde_json::json;

use super::super::MAX_PODS;
use super::*;

#[test]
fn what_there_is_no_room_for_is_counted() {
    let counted = RefCell::new(BTreeMap::new());
    let count = |counter: SessionCounter, count| {
        *counted.borrow_mut().entry(counter.name()).or_insert(0) += count;
    };
    let directory = Directory::default();
    let following = Following { selector: String::new(), directory, count, client: None, version: None };
    let annotations =
        json!({"resource.opentelemetry.io/a": "x".repeat(16 << 10), "resource.opentelemetry.io/b": ""});
    for number in 0..MAX_PODS + 2 {
        let annotations = if number == 0 { annotations.clone() } else { json!({}) };
        let pod = json!({"metadata": {"uid": number.to_string(), "annotations": annotations}});
        following.put(serde_json::from_value(pod).unwrap());
    }
    assert_eq!(*counted.borrow(), [("pod_attributes_left_out", 1), ("pods_left_out", 2)].into());
}
