//! The injection of one pod: whether it asks for the sidecar, whether it can have it, and what changes.

use super::annotations::{PREFIX, URL, Wanted, is_known, unknown};
use super::cli;
use super::sidecar::Sidecar;
use super::told::{self, nearest, shown};
use super::workload::{Pod, keys};
use super::{INJECT, INJECTED, Injector, Present, Report, SIDECAR};
use crate::yaml::Node;

/// Most containers of a pod, far more than run on a node.
const MOST_CONTAINERS: usize = 1000;

impl Injector {
    /// Puts the sidecar into a pod that asks for it.
    pub(super) fn put_into(&self, Pod { name, node: pod }: Pod<'_>, present: Present, report: &mut Report) {
        warn_of_misplaced(pod, &name, report);
        let Some(label) = pod.within(&["metadata", "labels"]).and_then(|labels| labels.at(INJECT)) else { return };
        let value = label.to_json();
        match value.as_str() {
            Some("true") => {}
            Some("false") => return,
            _ => {
                let problem =
                    format!("label `{INJECT}`: `{}`; expected \"true\" or \"false\", in quotes", shown(&bare(&value)));
                report.mistakes.push(format!("{name}: {problem}"));
                return;
            }
        }
        let wanted = match Wanted::parse(pod.within(&["metadata", "annotations"])) {
            Ok(wanted) => wanted,
            Err(mistakes) => {
                report.mistakes.extend(mistakes.into_iter().map(|mistake| format!("{name}: {mistake}")));
                return;
            }
        };
        if let Some(why) = obstacle(pod, &wanted) {
            report.warnings.push(format!("{name}: left without a sidecar: {why}"));
            return;
        }
        match Sidecar::of(self, &wanted) {
            Ok(sidecar) => {
                let notes = put(pod, sidecar, &wanted, present);
                report.warnings.extend(notes.into_iter().map(|note| format!("{name}: {note}")));
            }
            Err(mistakes) => report.mistakes.extend(mistakes.into_iter().map(|mistake| format!("{name}: {mistake}"))),
        }
    }
}

fn bare(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Labels that are annotations, and the annotation that is a label.
fn warn_of_misplaced(pod: &Node, name: &str, report: &mut Report) {
    let part = |part| keys(pod.within(&["metadata", part]));
    let (labels, annotations) = (part("labels"), part("annotations"));
    // In a pod that asks for the sidecar it is a mistake.
    let asks = pod.within(&["metadata", "labels", INJECT]).is_some_and(|label| label.to_json() == "true");
    if annotations.contains(&INJECT) && !asks {
        report.warnings.push(format!("{name}: `{INJECT}` does nothing as an annotation; it is a label of the pod"));
    }
    let labels_of_ours = labels.iter().filter(|label| **label != INJECT && label.starts_with(PREFIX));
    for label in labels_of_ours.take(told::MOST) {
        let parameter = &label[PREFIX.len()..];
        // The kustomize component has a label of this name, which may be on the pods, too.
        if parameter == "readiness" && !labels.contains(&INJECT) {
            continue;
        }
        let why = match parameter {
            _ if is_known(parameter) => "it is an annotation of the pod".to_owned(),
            _ if nearest(label, &[INJECT]).is_some() => format!("did you mean `{INJECT}`?"),
            _ => unknown(parameter),
        };
        report.warnings.push(format!("{name}: the label `{}` does nothing; {why}", shown(label)));
    }
}

/// Why a pod cannot have a sidecar.
fn obstacle(pod: &Node, wanted: &Wanted) -> Option<String> {
    let spec = pod.at("spec").filter(|spec| spec.is_map());
    let Some(spec) = spec else { return Some("its spec is no mapping".to_owned()) };
    for part in ["containers", "initContainers", "volumes"] {
        let is_fit = |list: &Node| list.is_list() && list.items().iter().all(Node::is_map);
        let may_be_missing = part != "containers";
        match spec.at(part) {
            None if may_be_missing => {}
            Some(list) if is_fit(list) || (may_be_missing && list.is_null()) => {}
            _ => return Some(format!("its {part} are no list of mappings")),
        }
    }
    let count = ["containers", "initContainers"].map(|part| spec.at(part).map_or(0, |list| list.items().len()));
    if count.iter().sum::<usize>() > MOST_CONTAINERS {
        return Some(format!("it has more than {MOST_CONTAINERS} containers"));
    }
    let has = |part: &str, name: &str| spec.at(part).is_some_and(|list| named(list.items(), name).is_some());
    let is_injected = pod.within(&["metadata", "annotations", INJECTED]).is_some();
    for (part, names) in [
        ("containers", [SIDECAR, cli::INSTALL]),
        ("initContainers", [SIDECAR, cli::INSTALL]),
        ("volumes", ["lockside-secrets", cli::VOLUME]),
    ] {
        if is_injected && part != "containers" {
            continue;
        }
        if let Some(name) = names.iter().find(|name| has(part, name)) {
            return Some(format!("its {part} have a `{name}` of another origin"));
        }
    }
    if let Some(other) = pod.within(&["metadata", "labels", SIDECAR]).map(Node::to_json)
        && other != "sidecar"
    {
        return Some(format!("its label `{SIDECAR}` is `{}` and would have to be `sidecar`", shown(&bare(&other))));
    }
    let is_on_host = spec.at("hostNetwork").is_some_and(|on| on.to_json() == true);
    (is_on_host && (wanted.ops_port.is_none() || wanted.listen.is_none())).then(|| {
        "it uses the network of its host, where two sidecars would take the same ports; set the annotations \
         lockside/ops-port and lockside/listen"
            .to_owned()
    })
}

/// Returns what the containers of the app do not get, and why.
fn put(
    pod: &mut Node,
    Sidecar { container, volumes, label: (key, value) }: Sidecar,
    wanted: &Wanted,
    present: Present,
) -> Vec<String> {
    let metadata = pod.entry("metadata", Node::map());
    metadata.entry("labels", Node::map()).set(&key, Node::string(value));
    let annotations = metadata.entry("annotations", Node::map());
    if present == Present::Updated || annotations.at(INJECTED).is_none() {
        annotations.set(INJECTED, Node::string(env!("CARGO_PKG_VERSION")));
    }
    let spec = pod.entry("spec", Node::map());
    spec.lay_out();
    spec.entry("initContainers", Node::list()).lay_out();
    spec.entry("volumes", Node::list()).lay_out();
    let containers = spec.entry("initContainers", Node::list()).items_mut().expect("its form has been looked at");
    let at = named(containers, SIDECAR);
    let was_at = at.and_then(|at| cli::url_of(&containers[at]));
    let sidecar = match at {
        Some(at) if present == Present::Kept => containers[at].clone(),
        Some(at) => {
            containers[at] = container.clone();
            container
        }
        None => {
            containers.insert(0, container.clone());
            container
        }
    };
    for volume in volumes {
        put_volume(spec, volume, present);
    }
    if wanted.has_cli {
        let url = wanted.listen.as_ref().and_then(|listen| listen.url.clone()).unwrap_or_else(|| URL.to_owned());
        let url = was_at.clone().filter(|_| present == Present::Kept).unwrap_or(url);
        return cli::add(spec, &sidecar, &cli::Place { url, was_at }, present);
    }
    if present == Present::Updated {
        cli::remove(spec, was_at.as_deref());
    }
    Vec::new()
}

/// Puts a volume at the end, or in the place of the one of its name.
pub fn put_volume(spec: &mut Node, volume: Node, present: Present) {
    let name = volume.at("name").and_then(Node::as_str).expect("ours have names").to_owned();
    let volumes = spec.entry("volumes", Node::list()).items_mut().expect("its form has been looked at");
    match named(volumes, &name) {
        Some(_) if present == Present::Kept => {}
        Some(at) => volumes[at] = volume,
        None => volumes.push(volume),
    }
}

/// Which item of a list has this name.
pub fn named(items: &[Node], name: &str) -> Option<usize> {
    items.iter().position(|item| item.at("name").and_then(Node::as_str) == Some(name))
}
