use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::discover::rules::{Action, Rule, Rules, SpanKind};
use crate::discover::selection::Rule as By;
use crate::discover::{Decision, Details, Facts, Listening, Selection};

fn pod(container: Option<usize>) -> OfPod {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {
            "uid": "u", "name": "cart-1", "namespace": "shop",
            "labels": {"app": "cart", "tier": "", "pod-template-hash": "5d8c7b9f6"},
            "annotations": {"team": "blue", "long": "x".repeat(2_000)},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "cart-5d8c7b9f6", "uid": "r", "controller": true}],
        },
        "spec": {"containers": [{"name": "cart"}, {"name": "proxy"}]},
    }))
    .unwrap();
    OfPod { container: Container::default(), found: Some(Found { pod: Arc::new(pod), container }) }
}

fn unknown() -> OfPod {
    OfPod { container: Container::default(), found: None }
}

fn asked(asked: Value) -> PodPatterns {
    PodPatterns::new(&serde_json::from_value(asked).unwrap()).unwrap()
}

#[test]
fn all_that_is_asked_of_a_pod_must_hold_and_one_of_each_list() {
    let process = pod(Some(0));
    for (question, expected) in [
        (json!({}), true),
        (json!({"namespace": ["web", "sh*"]}), true),
        (json!({"namespace": ["web"]}), false),
        (json!({"pod": ["cart-?"], "container": ["cart"]}), true),
        (json!({"container": ["proxy"]}), false),
        (json!({"owner": ["cart"]}), true),
        (json!({"owner": ["cart-5*"]}), true),
        (json!({"deployment": ["cart"], "replicaset": ["cart-*"]}), true),
        (json!({"deployment": ["cart-5*"]}), false),
        (json!({"statefulset": ["*"]}), false),
        (json!({"daemonset": ["cart"]}), false),
        (json!({"cronjob": ["cart"]}), false),
        (json!({"job": ["cart"]}), false),
        (json!({"labels": {"app": ["x", "c*"]}}), true),
        (json!({"labels": {"app": ["c*"], "tier": ["front"]}}), false),
        (json!({"labels": {"tier": ["*"]}}), true),
        (json!({"labels": {"other": ["*"]}}), false),
        (json!({"labels": {"pod-template-hash": ["5*"]}}), true),
        (json!({"annotations": {"team": ["blue"]}}), true),
        (json!({"annotations": {"long": ["*"]}}), true),
        (json!({"without_labels": ["other"]}), true),
        (json!({"without_labels": ["other", "tier"]}), false),
        (json!({"without_annotations": ["team"]}), false),
        (json!({"without_annotations": ["long"]}), false),
        (json!({"namespace": ["shop"], "labels": {"app": ["x"]}}), false),
    ] {
        assert_eq!(asked(question.clone()).match_pod(Some(&process)), Some(expected), "{question}");
    }
}

#[test]
fn what_is_not_known_neither_holds_nor_fails_to() {
    for question in [
        json!({"namespace": ["*"]}),
        json!({"pod": ["*"]}),
        json!({"container": ["*"]}),
        json!({"owner": ["*"]}),
        json!({"job": ["*"]}),
        json!({"labels": {"app": ["*"]}}),
        json!({"annotations": {"team": ["*"]}}),
        json!({"without_labels": ["app"]}),
        json!({"without_annotations": ["team"]}),
    ] {
        let patterns = asked(question.clone());
        assert_eq!(patterns.match_pod(Some(&unknown())), None, "{question}");
        assert_eq!(patterns.match_pod(None), Some(false), "of no pod: {question}");
    }
    assert_eq!(asked(json!({})).match_pod(Some(&unknown())), Some(true), "it is of a pod");
    assert_eq!(asked(json!({})).match_pod(None), Some(false));
    let of_some = pod(None);
    assert_eq!(asked(json!({"container": ["cart"]})).match_pod(Some(&of_some)), None);
    assert_eq!(asked(json!({"container": ["cart"], "pod": ["x"]})).match_pod(Some(&of_some)), Some(false));
    assert_eq!(
        asked(json!({"annotations": {"long": ["x*"]}})).match_pod(Some(&of_some)),
        None,
        "it was not kept"
    );
}

fn rule(said: Value) -> Rule {
    serde_json::from_value(said).unwrap()
}

/// What becomes of a process of which nothing else is known than this: the decision, and whether it waits.
fn decided(rules: &[Value], pod: Option<OfPod>, pids: &[u32]) -> (Option<Decision>, bool) {
    let rules: Vec<_> = rules.iter().cloned().map(rule).collect();
    let rules = Rules::new(&rules, None).unwrap();
    let selection = Selection { rules, pids: pids.iter().copied().collect(), ..Selection::default() };
    let details = Details { pod, ..Details::default() };
    let (path, listening) = (Path::new("/srv/shop"), &Listening::default());
    let facts = Facts { pid: 42, path, listening, descends: false, details: &details };
    let awaits = selection.rules.await_pod(&facts, selection.is_explicit());
    (selection.before_inspection(&facts), awaits)
}

fn by(number: usize) -> By {
    By::OfFile(format!("rule {number} of the configuration").into())
}

#[test]
fn nothing_is_decided_by_a_label_that_is_not_known() {
    let watch = json!({"match": {"kubernetes": {"labels": {"app": ["cart"]}}}, "action": "watch"});
    let leave = json!({"match": {"kubernetes": {"labels": {"app": ["cart"]}}}, "action": "leave"});
    let all = json!({"action": "watch"});
    let none = json!({"action": "leave"});
    let names = json!({"match": {"kubernetes": {"namespace": ["shop"]}}, "service_name": "x"});
    // To be watched: it waits. To be left: it waits, for it would be watched otherwise.
    for rules in [vec![watch.clone()], vec![leave.clone(), all.clone()], vec![leave.clone()]] {
        let (decision, awaits) = decided(&rules, Some(unknown()), &[]);
        assert!(awaits && !matches!(decision, Some(Decision::Leave(_))), "{rules:?} {decision:?}");
    }
    assert_eq!(
        decided(std::slice::from_ref(&watch), Some(pod(None)), &[]),
        (Some(Decision::Watch(by(1))), false)
    );
    assert_eq!(
        decided(std::slice::from_ref(&watch), None, &[]),
        (Some(Decision::Leave(By::NotSelected)), false)
    );
    assert_eq!(
        decided(&[leave.clone(), all.clone()], Some(pod(None)), &[]),
        (Some(Decision::Leave(by(1))), false)
    );
    assert_eq!(decided(&[leave.clone(), all.clone()], None, &[]), (Some(Decision::Watch(by(2))), false));
    // What is left in each case need not wait, nor what an earlier rule has decided.
    assert_eq!(decided(&[leave.clone(), none.clone()], Some(unknown()), &[]).0, Some(Decision::Leave(by(2))));
    assert_eq!(
        decided(&[none.clone(), watch.clone()], Some(unknown()), &[]),
        (Some(Decision::Leave(by(1))), false)
    );
    assert_eq!(
        decided(&[all.clone(), leave.clone()], Some(unknown()), &[]),
        (Some(Decision::Watch(by(1))), false)
    );
    // But for what is said of its spans.
    assert_eq!(decided(&[all, names.clone()], Some(unknown()), &[]), (Some(Decision::Watch(by(1))), true));
    assert_eq!(decided(&[names], Some(unknown()), &[42]), (Some(Decision::Watch(By::Pid)), true));
    assert_eq!(decided(&[leave], Some(unknown()), &[42]), (Some(Decision::Watch(By::Pid)), false));
}

#[test]
fn what_is_said_of_spans_by_a_label_that_is_not_known_does_not_hold() {
    let said = json!({
        "match": {"kubernetes": {"labels": {"app": ["cart"]}}}, "service_name": "x", "leave_out_paths": ["/*"],
        "headers": ["X-Request-Id"], "propagate": true, "action": Action::Watch,
    });
    let rules = Rules::new(&[rule(said)], None).unwrap();
    let treatment = |pod| {
        let details = Details { pod, ..Details::default() };
        let (path, listening) = (Path::new("/srv/shop"), &Listening::default());
        rules.treatment(&Facts { pid: 42, path, listening, descends: false, details: &details })
    };
    let (not_known, known) = (treatment(Some(unknown())), treatment(Some(pod(None))));
    assert_eq!((not_known.name(), not_known.propagates(), not_known.headers.len()), (None, None, 0));
    assert!(!not_known.leaves_out(SpanKind::HttpServer, Some("/x")));
    assert_eq!((known.name(), known.propagates(), known.headers.len()), (Some("x"), Some(true), 1));
    assert!(known.leaves_out(SpanKind::HttpServer, Some("/x")));
}
