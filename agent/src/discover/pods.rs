//! What rules ask of the pod of a process.
//!
//! The API server tells of a pod some time after its processes are seen, or never. What is not known neither holds nor fails to
//! hold: `None` stands for it throughout, and nobody acts on a guess.

use std::collections::BTreeMap;

use globset::GlobMatcher;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::rules::{Text, each, list, pattern, patterns};
use crate::kubernetes::{Found, Kind, Pod, Texts};
use crate::resource::Container;

/// What the pod of a process must be, whose processes alone such a rule is about. All that is given must hold, and of each list one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PodMatch {
    /// Patterns of its namespace
    #[schemars(schema_with = "patterns")]
    pub namespace: Option<Vec<Text>>,
    /// Patterns of its name
    #[schemars(schema_with = "patterns")]
    pub pod: Option<Vec<Text>>,
    /// Patterns of the name of the process's container in it
    #[schemars(schema_with = "patterns")]
    pub container: Option<Vec<Text>>,
    /// Patterns of the name of what it belongs to, of whatever kind
    #[schemars(schema_with = "patterns")]
    pub owner: Option<Vec<Text>>,
    /// Patterns of the name of its Deployment
    #[schemars(schema_with = "patterns")]
    pub deployment: Option<Vec<Text>>,
    /// Patterns of the name of its `ReplicaSet`
    #[schemars(schema_with = "patterns")]
    pub replicaset: Option<Vec<Text>>,
    /// Patterns of the name of its `StatefulSet`
    #[schemars(schema_with = "patterns")]
    pub statefulset: Option<Vec<Text>>,
    /// Patterns of the name of its `DaemonSet`
    #[schemars(schema_with = "patterns")]
    pub daemonset: Option<Vec<Text>>,
    /// Patterns of the name of its `CronJob`
    #[schemars(schema_with = "patterns")]
    pub cronjob: Option<Vec<Text>>,
    /// Patterns of the name of its Job
    #[schemars(schema_with = "patterns")]
    pub job: Option<Vec<Text>>,
    /// Labels that it must have, all of them, each with patterns of its value
    #[schemars(schema_with = "values")]
    pub labels: Option<BTreeMap<String, Vec<Text>>>,
    /// Annotations that it must have, likewise
    #[schemars(schema_with = "values")]
    pub annotations: Option<BTreeMap<String, Vec<Text>>>,
    /// Names of labels of which it may have none
    #[schemars(schema_with = "names")]
    pub without_labels: Option<Vec<Text>>,
    /// Names of annotations of which it may have none
    #[schemars(schema_with = "names")]
    pub without_annotations: Option<Vec<Text>>,
}

/// A process of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfPod {
    /// What its cgroups say.
    pub container: Container,
    /// What the API server has told.
    pub found: Option<Found>,
}

/// What is asked of a pod, and can be applied.
#[derive(Clone, Debug)]
pub(super) struct PodPatterns {
    namespace: Option<Vec<GlobMatcher>>,
    pod: Option<Vec<GlobMatcher>>,
    container: Option<Vec<GlobMatcher>>,
    owners: Vec<(Option<Kind>, Vec<GlobMatcher>)>,
    labels: OfTexts,
    annotations: OfTexts,
}

/// Of labels or annotations.
#[derive(Clone, Debug)]
struct OfTexts {
    wanted: Vec<(String, Vec<GlobMatcher>)>,
    unwanted: Vec<String>,
}

impl PodPatterns {
    pub(super) fn new(asked: &PodMatch) -> Result<Self, String> {
        let of = |texts: &Option<Vec<Text>>| each(texts.as_ref(), pattern);
        let owners = [
            (None, &asked.owner),
            (Some(Kind::Deployment), &asked.deployment),
            (Some(Kind::ReplicaSet), &asked.replicaset),
            (Some(Kind::StatefulSet), &asked.statefulset),
            (Some(Kind::DaemonSet), &asked.daemonset),
            (Some(Kind::CronJob), &asked.cronjob),
            (Some(Kind::Job), &asked.job),
        ];
        let owners = owners.into_iter().filter_map(|(kind, texts)| {
            let patterns = of(texts).transpose()?;
            Some(patterns.map(|patterns| (kind, patterns)))
        });
        Ok(Self {
            namespace: of(&asked.namespace)?,
            pod: of(&asked.pod)?,
            container: of(&asked.container)?,
            owners: owners.collect::<Result<_, _>>()?,
            labels: OfTexts::new(asked.labels.as_ref(), asked.without_labels.as_ref())?,
            annotations: OfTexts::new(asked.annotations.as_ref(), asked.without_annotations.as_ref())?,
        })
    }

    /// Whether a process is of such a pod.
    pub(super) fn match_pod(&self, process: Option<&OfPod>) -> Option<bool> {
        let Some(OfPod { found, .. }) = process else { return Some(false) };
        match found {
            Some(found) => all([
                Some(one_of(self.namespace.as_ref(), &found.pod.namespace)),
                Some(one_of(self.pod.as_ref(), &found.pod.name)),
                self.container(found),
                Some(self.owners(&found.pod)),
                self.labels.holds(&found.pod.labels),
                self.annotations.holds(&found.pod.annotations),
            ]),
            // That it is of a pod at all is known without being told.
            None => self.asks_nothing().then_some(true),
        }
    }

    fn container(&self, found: &Found) -> Option<bool> {
        let Some(patterns) = &self.container else { return Some(true) };
        let container = found.pod.containers.get(found.container?)?;
        Some(patterns.iter().any(|pattern| pattern.is_match(&container.name)))
    }

    fn owners(&self, pod: &Pod) -> bool {
        self.owners.iter().all(|(kind, patterns)| {
            let mut owners = pod.owners.iter().filter(|owner| kind.is_none_or(|kind| owner.kind == kind));
            owners.any(|owner| patterns.iter().any(|pattern| pattern.is_match(&owner.name)))
        })
    }

    fn asks_nothing(&self) -> bool {
        let Self { namespace, pod, container, owners, labels, annotations } = self;
        let names = [namespace, pod, container];
        names.iter().all(|patterns| patterns.is_none())
            && owners.is_empty()
            && [labels, annotations].iter().all(|texts| texts.wanted.is_empty() && texts.unwanted.is_empty())
    }
}

impl OfTexts {
    fn new(
        wanted: Option<&BTreeMap<String, Vec<Text>>>,
        unwanted: Option<&Vec<Text>>,
    ) -> Result<Self, String> {
        let wanted = wanted.into_iter().flatten().map(|(name, texts)| {
            let patterns = texts.iter().map(|text| pattern(&text.0)).collect::<Result<_, _>>()?;
            Ok((name.clone(), patterns))
        });
        Ok(Self {
            wanted: wanted.collect::<Result<_, String>>()?,
            unwanted: unwanted.into_iter().flatten().map(|name| name.0.clone()).collect(),
        })
    }

    fn holds(&self, texts: &Texts) -> Option<bool> {
        let is_one_of =
            |patterns: &[GlobMatcher], value: &str| patterns.iter().any(|one| one.is_match(value));
        let wanted = self.wanted.iter().map(|(name, patterns)| {
            // Any value is one that is too long to be kept, too.
            let is_any = patterns.iter().any(|pattern| pattern.glob().glob() == "*");
            if is_any { texts.has(name) } else { texts.is(name, |value| is_one_of(patterns, value)) }
        });
        all(wanted.chain(self.unwanted.iter().map(|name| texts.has(name).map(|has| !has))))
    }
}

/// Whether all hold: not if one is known not to, whatever is not known.
fn all(each: impl IntoIterator<Item = Option<bool>>) -> Option<bool> {
    let mut is_known = true;
    for one in each {
        match one {
            Some(true) => {}
            Some(false) => return Some(false),
            None => is_known = false,
        }
    }
    is_known.then_some(true)
}

fn one_of(patterns: Option<&Vec<GlobMatcher>>, text: &str) -> bool {
    patterns.is_none_or(|patterns| patterns.iter().any(|pattern| pattern.is_match(text)))
}

fn values(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "additionalProperties": list("glob") })
}

fn names(_: &mut SchemaGenerator) -> Schema {
    list("name")
}

#[cfg(test)]
mod tests;
