//! The injection of one pod: whether it asks for the sidecar, whether it can have it, and what changes.

use super::annotations::{URL, Wanted};
use super::cli;
use super::sidecar::Sidecar;
use super::workload::Pod;
use super::{INJECT, INJECTED, Injector, Report, SIDECAR};
use crate::yaml::Node;

impl Injector {
    /// Puts the sidecar into a pod that asks for it, and brings the one of an injected pod up to date.
    pub(super) fn put_into(&self, Pod { name, node: pod }: Pod<'_>, report: &mut Report) {
        let Some(label) = pod.within(&["metadata", "labels"]).and_then(|labels| labels.at(INJECT)) else { return };
        let value = label.to_json();
        match value.as_str() {
            Some("true") => {}
            Some("false") => return,
            _ => {
                let problem =
                    format!("label `{INJECT}`: `{}`; expected \"true\" or \"false\", in quotes", bare(&value));
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
            Ok(sidecar) => put(pod, sidecar, &wanted),
            Err(mistakes) => report.mistakes.extend(mistakes.into_iter().map(|mistake| format!("{name}: {mistake}"))),
        }
    }
}

fn bare(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
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
        return Some(format!("its label `{SIDECAR}` is `{}` and would have to be `sidecar`", bare(&other)));
    }
    let is_on_host = spec.at("hostNetwork").is_some_and(|on| on.to_json() == true);
    (is_on_host && (wanted.ops_port.is_none() || wanted.listen.is_none())).then(|| {
        "it uses the network of its host, where two sidecars would take the same ports; set the annotations \
         lockside/ops-port and lockside/listen"
            .to_owned()
    })
}

fn put(pod: &mut Node, Sidecar { container, volumes, label: (key, value) }: Sidecar, wanted: &Wanted) {
    let metadata = pod.entry("metadata", Node::map());
    metadata.entry("labels", Node::map()).set(&key, Node::string(value));
    metadata.entry("annotations", Node::map()).set(INJECTED, Node::string(env!("CARGO_PKG_VERSION")));
    let spec = pod.entry("spec", Node::map());
    spec.lay_out();
    spec.entry("initContainers", Node::list()).lay_out();
    spec.entry("volumes", Node::list()).lay_out();
    let containers = spec.entry("initContainers", Node::list()).items_mut().expect("its form has been looked at");
    match named(containers, SIDECAR) {
        Some(at) => containers[at] = container.clone(),
        None => containers.insert(0, container.clone()),
    }
    for volume in volumes {
        put_volume(spec, volume);
    }
    if wanted.has_cli {
        let url = wanted.listen.as_ref().and_then(|listen| listen.url.as_deref());
        cli::add(spec, &container, url.unwrap_or(URL));
    } else {
        cli::remove(spec);
    }
}

/// Puts a volume in the place of the one of its name, or at the end.
pub fn put_volume(spec: &mut Node, volume: Node) {
    let name = volume.at("name").and_then(Node::as_str).expect("ours have names").to_owned();
    let volumes = spec.entry("volumes", Node::list()).items_mut().expect("its form has been looked at");
    match named(volumes, &name) {
        Some(at) => volumes[at] = volume,
        None => volumes.push(volume),
    }
}

/// Which item of a list has this name.
pub fn named(items: &[Node], name: &str) -> Option<usize> {
    items.iter().position(|item| item.at("name").and_then(Node::as_str) == Some(name))
}
