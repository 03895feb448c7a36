//! The containers and the volumes that a pod gets, made of `container.yaml`.

use std::sync::LazyLock;

use super::annotations::Wanted;
use super::quantity::billionths;
use super::told::shown;
use super::{Injector, SIDECAR};
use crate::yaml::{self, Node};

/// What the kustomize component adds to a workload.
static COMPONENT: LazyLock<Node> = LazyLock::new(|| {
    let text = include_str!("../../deploy/kubernetes/sidecar/container.yaml");
    let documents = yaml::read(text).expect("the component is YAML");
    documents.into_iter().find_map(|document| document.root).expect("the component is not empty")
});

/// Name of the port of `/metrics`, `/healthz` and `/readyz`.
const OPS: &str = "lockside-ops";

/// What a pod gets.
pub struct Sidecar {
    pub container: Node,
    pub volumes: Vec<Node>,
    /// The pod's own label, by which network policies select it.
    pub label: (String, String),
}

impl Sidecar {
    /// Error: what is wrong with the resources together.
    pub fn of(injector: &Injector, wanted: &Wanted) -> Result<Sidecar, Vec<String>> {
        let spec = COMPONENT.within(&["spec", "template", "spec"]).expect("it patches a template");
        let mut container = spec.at("initContainers").expect("it has a sidecar").items()[0].clone();
        let mut volumes = spec.at("volumes").expect("it has volumes").items().to_vec();
        let label = COMPONENT.within(&["spec", "template", "metadata", "labels", SIDECAR]).and_then(Node::as_str);
        let label = (SIDECAR.to_owned(), label.expect("it labels its pods").to_owned());
        if let Some(image) = wanted.image.as_ref().or(injector.image.as_ref()) {
            container.set("image", Node::string(image));
        }
        if let Some(name) = &wanted.config_map {
            set(container.at_mut("envFrom").expect("it has settings"), &["configMapRef", "name"], Node::string(name));
        }
        if let Some(name) = &wanted.secret {
            for volume in &mut volumes {
                if let Some(secret) = volume.at_mut("secret") {
                    secret.set("secretName", Node::string(name));
                }
            }
        }
        if !wanted.has_readiness {
            container.remove("readinessProbe");
        }
        set_resources(&mut container, wanted)?;
        set_listeners(&mut container, wanted);
        Ok(Sidecar { container, volumes, label })
    }
}

/// Sets what stands under a path in the first item of a list.
fn set(list: &mut Node, path: &[&str], value: Node) {
    let first = list.items_mut().and_then(|items| items.first_mut()).expect("it has an item");
    *first.within_mut(path).expect("it has this path") = value;
}

fn set_resources(container: &mut Node, wanted: &Wanted) -> Result<(), Vec<String>> {
    let resources = container.entry("resources", Node::map());
    let mut mistakes = Vec::new();
    for (resource, request, limit) in
        [("cpu", &wanted.cpu_request, &wanted.cpu_limit), ("memory", &wanted.memory_request, &wanted.memory_limit)]
    {
        for (part, value) in [("requests", request), ("limits", limit)] {
            if let Some(value) = value {
                resources.entry(part, Node::map()).set(resource, Node::string(value));
            }
        }
        let of = |part| resources.within(&[part, resource]).and_then(Node::as_str);
        if let (Some(least), Some(most)) = (of("requests"), of("limits"))
            && billionths(least) > billionths(most)
        {
            let (least, most) = (shown(least), shown(most));
            mistakes.push(match (request, limit) {
                (Some(_), None) => format!(
                    "annotation `lockside/{resource}-request`: the request {least} is above the limit {most}; set \
                     `lockside/{resource}-limit`, too"
                ),
                (None, _) => format!(
                    "annotation `lockside/{resource}-limit`: the limit {most} is below the request {least}; set \
                     `lockside/{resource}-request`, too"
                ),
                (Some(_), Some(_)) => format!(
                    "annotations `lockside/{resource}-request` and `lockside/{resource}-limit`: the request {least} is \
                     above the limit {most}"
                ),
            });
        }
    }
    if mistakes.is_empty() { Ok(()) } else { Err(mistakes) }
}

fn set_listeners(container: &mut Node, wanted: &Wanted) {
    let mut variables = Vec::new();
    if let Some(listen) = &wanted.listen {
        variables.push(Node::strings([("name", "LOCKSIDE_LISTEN"), ("value", &listen.text)]));
    }
    if let Some(port) = wanted.ops_port {
        variables.push(Node::strings([("name", "LOCKSIDE_OPS_LISTEN"), ("value", &format!("*:{port}"))]));
        let ports = container.at_mut("ports").and_then(Node::items_mut).expect("it has ports");
        let ops = ports.iter_mut().find(|port| port.at("name").and_then(Node::as_str) == Some(OPS));
        ops.expect("it has the port of its probes").set("containerPort", Node::number(port.into()));
    }
    if !variables.is_empty() {
        container.entry("env", Node::list()).items_mut().expect("made as one").extend(variables);
    }
}
