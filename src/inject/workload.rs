//! Where the pods of an object are: the object itself, its template, or the objects of a list.

use super::annotations::PREFIX;
use super::{INJECT, Report, SIDECAR};
use crate::yaml::Node;

/// A pod or the template of pods, and what to call it.
pub struct Pod<'a> {
    /// Such as "Deployment `team/web`".
    pub name: String,
    pub node: &'a mut Node,
}

/// Calls `each` with every pod of an object.
pub fn each_pod(object: &mut Node, report: &mut Report, each: &mut dyn FnMut(Pod<'_>, &mut Report)) {
    let kind = object.at("kind").and_then(Node::as_str).unwrap_or_default().to_owned();
    if kind.ends_with("List")
        && let Some(items) = object.at_mut("items").and_then(Node::items_mut)
    {
        for item in items {
            each_pod(item, report, each);
        }
        return;
    }
    let name = name(object, &kind);
    let path: &[&str] = match kind.as_str() {
        "Pod" => &[],
        "PodTemplate" => &["template"],
        "CronJob" => &["spec", "jobTemplate", "spec", "template"],
        // Deployments and the like, also of other parties.
        _ => &["spec", "template"],
    };
    match kind.as_str() {
        "Pod" => {}
        "CronJob" => {
            warn_of_the_workload(object, &[], path, &name, report);
            warn_of_the_workload(object, &["spec", "jobTemplate"], path, &name, report);
        }
        _ => warn_of_the_workload(object, &[], path, &name, report),
    }
    if let Some(node) = object.within_mut(path)
        && (kind == "Pod" || node.at("spec").is_some())
    {
        each(Pod { name, node }, report);
    }
}

/// What stands on a workload, or on the job that a CronJob makes, is not read: only its pods have it by the time they are
/// injected.
fn warn_of_the_workload(object: &Node, place: &[&str], path: &[&str], name: &str, report: &mut Report) {
    let Some(workload) = object.within(place) else { return };
    let pod = object.within(path).filter(|pod| pod.at("spec").is_some());
    // The kustomize component reads this label of a workload.
    let has_component =
        workload.within(&["metadata", "labels", SIDECAR]).is_some_and(|label| label.to_json() == "sidecar");
    for (part, what) in [("labels", "label"), ("annotations", "annotation")] {
        let here = keys(workload.within(&["metadata", part]));
        let on_pod = keys(pod.and_then(|pod| pod.within(&["metadata", part])));
        for key in here.iter().filter(|key| key.starts_with(PREFIX) && !on_pod.contains(key)) {
            if has_component && *key == "lockside/readiness" && what == "label" {
                continue;
            }
            let right = if *key == INJECT { "labels" } else { "annotations" };
            let whereto = match pod {
                Some(_) => format!("on a workload; put it into {}.metadata.{right}", path.join(".")),
                None => format!("here; put it into the {right} of a pod or of the template of a workload's pods"),
            };
            let at = if place.is_empty() { String::new() } else { format!(" in {}", place.join(".")) };
            report.warnings.push(format!("{name}: the {what} `{key}`{at} does nothing {whereto}"));
        }
    }
}

/// The keys of a mapping.
pub fn keys(map: Option<&Node>) -> Vec<&str> {
    match map {
        Some(Node::Map(entries, _)) => entries.iter().filter_map(|(key, _)| key.as_str()).collect(),
        _ => Vec::new(),
    }
}

fn name(object: &Node, kind: &str) -> String {
    let of = |key| object.within(&["metadata", key]).and_then(Node::as_str);
    let name = match (of("name"), of("generateName")) {
        (Some(name), _) => name.to_owned(),
        (None, Some(begin)) => format!("{begin}…"),
        (None, None) => "without a name".to_owned(),
    };
    let kind = if kind.is_empty() { "object" } else { kind };
    match of("namespace") {
        Some(namespace) => format!("{kind} `{namespace}/{name}`"),
        None => format!("{kind} `{name}`"),
    }
}
