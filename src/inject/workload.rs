//! Where the pods of an object are: the object itself, its template, or the objects of a list.

use std::collections::HashSet;

use super::annotations::PREFIX;
use super::told::{self, shown};
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
    let workloads: &[&[&str]] = match kind.as_str() {
        "Pod" => &[],
        "CronJob" => &[&[], &["spec", "jobTemplate"]],
        _ => &[&[]],
    };
    for place in workloads {
        warn_of_the_workload(object, place, path, &name, report);
    }
    let has_pod = object.within(path).is_some_and(|node| kind == "Pod" || node.at("spec").is_some());
    let is_read = |place: &[Step]| {
        let is_at = |path: &[&str]| {
            place.len() == path.len() && place.iter().zip(path).all(|(step, key)| *step == Step::Key(key))
        };
        (has_pod && is_at(path)) || workloads.iter().any(|path| is_at(path))
    };
    let mut places = Vec::new();
    find_labels(object, &mut Vec::new(), &is_read, &mut places);
    report.warnings.extend(places.into_iter().map(|place| {
        format!(
            "{name}: the label `{INJECT}` in {place} does nothing, because `lockside inject` does not know that place; put \
             it on what is made of it, or let the webhook inject the pods"
        )
    }));
    if has_pod && let Some(node) = object.within_mut(path) {
        each(Pod { name, node }, report);
    }
}

/// A step of a path into an object.
#[derive(PartialEq, Eq)]
enum Step<'a> {
    Key(&'a str),
    Item(usize),
}

/// Finds the places that have the label of a pod and are not read, as they are told.
fn find_labels<'a>(
    node: &'a Node,
    path: &mut Vec<Step<'a>>,
    is_read: &dyn Fn(&[Step]) -> bool,
    places: &mut Vec<String>,
) {
    if places.len() == told::MOST {
        return;
    }
    let label = node.within(&["metadata", "labels", INJECT]);
    if label.is_some_and(|label| label.to_json() != "false") && !is_read(path) {
        places.push(dotted(path));
    }
    match node {
        Node::Scalar(_) => {}
        Node::List(items, _) => {
            for (at, item) in items.iter().enumerate() {
                path.push(Step::Item(at));
                find_labels(item, path, is_read, places);
                path.pop();
            }
        }
        Node::Map(entries, _) => {
            for (key, value) in entries {
                path.push(Step::Key(key.as_key().unwrap_or_default()));
                find_labels(value, path, is_read, places);
                path.pop();
            }
        }
    }
}

/// Such as `objects[0].spec.template`.
fn dotted(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Item(at) => text.push_str(&format!("[{at}]")),
            Step::Key(key) => {
                text.push_str(if text.is_empty() { "" } else { "." });
                text.push_str(&shown(key));
            }
        }
    }
    shown(&text)
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
        let on_pod: HashSet<&str> = keys(pod.and_then(|pod| pod.within(&["metadata", part]))).into_iter().collect();
        let of_ours = here.iter().filter(|key| key.starts_with(PREFIX) && !on_pod.contains(*key));
        for key in of_ours.take(told::MOST) {
            if has_component && *key == "lockside/readiness" && what == "label" {
                continue;
            }
            let right = if *key == INJECT { "labels" } else { "annotations" };
            let whereto = match pod {
                Some(_) => format!("on a workload; put it into {}.metadata.{right}", path.join(".")),
                None => format!("here; put it into the {right} of a pod or of the template of a workload's pods"),
            };
            let at = if place.is_empty() { String::new() } else { format!(" in {}", place.join(".")) };
            report.warnings.push(format!("{name}: the {what} `{}`{at} does nothing {whereto}", shown(key)));
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
        (Some(name), _) => shown(name),
        (None, Some(begin)) => format!("{}…", shown(begin).trim_end_matches('…')),
        (None, None) => "without a name".to_owned(),
    };
    let kind = if kind.is_empty() { "object".to_owned() } else { shown(kind) };
    match of("namespace") {
        Some(namespace) => format!("{kind} `{}/{name}`", shown(namespace)),
        None => format!("{kind} `{name}`"),
    }
}
