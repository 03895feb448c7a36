//! The command line in the containers of a pod: an init container copies the binary of the sidecar's image, and each
//! container mounts it.

use super::SIDECAR;
use super::pod::{named, put_volume};
use crate::yaml::Node;

/// Name of the init container that copies the binary.
pub const INSTALL: &str = "lockside-install";
/// Name of the volume with the binary.
pub const VOLUME: &str = "lockside-cli";
/// Where the containers of the app have it. There, `/lockside` is a folder; in the image of the sidecar it is the binary.
const FOLDER: &str = "/lockside/bin";
const FOLDER_OF_INSTALL: &str = "/cli";
const VARIABLE: &str = "LOCKSIDE_URL";
/// Several times the binary.
const LARGEST: &str = "64Mi";

/// Gives the command line to each container of a pod, where they find the sidecar at `url`.
pub fn add(spec: &mut Node, sidecar: &Node, url: &str) {
    let install = install(sidecar);
    let containers = spec.entry("initContainers", Node::list()).items_mut().expect("the caller has checked it");
    match named(containers, INSTALL) {
        Some(at) => containers[at] = install,
        None => {
            let behind = named(containers, SIDECAR).map_or(0, |at| at + 1);
            containers.insert(behind, install);
        }
    }
    let mut volume = Node::strings([("name", VOLUME)]);
    volume.set("emptyDir", Node::strings([("sizeLimit", LARGEST)]));
    put_volume(spec, volume);
    for container in containers_of_the_app(spec) {
        let mounts = container.entry("volumeMounts", Node::list());
        let has_folder = |mount: &Node| mount.at("mountPath").and_then(Node::as_str) == Some(FOLDER);
        if !mounts.items().iter().any(has_folder)
            && let Some(mounts) = mounts.items_mut()
        {
            let mut mount = Node::strings([("name", VOLUME), ("mountPath", FOLDER)]);
            mount.set("readOnly", Node::from(&true.into()));
            mounts.push(mount);
        }
        let Some(variables) = container.entry("env", Node::list()).items_mut() else { continue };
        match named(variables, VARIABLE) {
            Some(at) if is_ours(&variables[at]) => variables[at].set("value", Node::string(url)),
            // The container asks another one.
            Some(_) => {}
            None => variables.push(Node::strings([("name", VARIABLE), ("value", url)])),
        }
    }
}

/// Takes away what [`add`] has given.
pub fn remove(spec: &mut Node) {
    for part in ["initContainers", "volumes"] {
        let is_ours =
            |item: &Node| [INSTALL, VOLUME].iter().any(|name| item.at("name").and_then(Node::as_str) == Some(*name));
        if let Some(items) = spec.at_mut(part).and_then(Node::items_mut) {
            items.retain(|item| !is_ours(item));
        }
    }
    for container in containers_of_the_app(spec) {
        let Some(mounts) = container.at_mut("volumeMounts").and_then(Node::items_mut) else { continue };
        let before = mounts.len();
        mounts.retain(|mount| mount.at("name").and_then(Node::as_str) != Some(VOLUME));
        if mounts.len() == before {
            continue;
        }
        if let Some(variables) = container.at_mut("env").and_then(Node::items_mut) {
            variables
                .retain(|variable| variable.at("name").and_then(Node::as_str) != Some(VARIABLE) || !is_ours(variable));
        }
        for part in ["volumeMounts", "env"] {
            if container.at(part).is_some_and(|list| list.is_list() && list.items().is_empty()) {
                container.remove(part);
            }
        }
    }
}

/// Whether a variable names a sidecar of the pod itself.
fn is_ours(variable: &Node) -> bool {
    variable.at("value").and_then(Node::as_str).is_some_and(|url| url.starts_with("http://127.0.0.1:"))
}

/// The container that copies the binary: by the sidecar's own image, as its user, with its resources.
fn install(sidecar: &Node) -> Node {
    let mut install = Node::strings([("name", INSTALL)]);
    for key in ["image", "imagePullPolicy"] {
        if let Some(value) = sidecar.at(key) {
            install.set(key, value.clone());
        }
    }
    install.set("args", Node::List(["install", FOLDER_OF_INSTALL].map(Node::string).into(), crate::yaml::Style::Flow));
    for key in ["resources", "securityContext"] {
        if let Some(value) = sidecar.at(key) {
            install.set(key, value.clone());
        }
    }
    let mount = Node::strings([("name", VOLUME), ("mountPath", FOLDER_OF_INSTALL)]);
    install.set("volumeMounts", Node::List(vec![mount], crate::yaml::Style::Block));
    install
}

fn containers_of_the_app(spec: &mut Node) -> impl Iterator<Item = &mut Node> {
    let Node::Map(entries, _) = spec else { return Vec::new().into_iter() };
    let lists = entries.iter_mut().filter(|(key, _)| matches!(key.as_str(), Some("containers" | "initContainers")));
    let containers = lists.filter_map(|(_, list)| list.items_mut()).flatten();
    let is_the_apps = |container: &&mut Node| {
        container.is_map() && !matches!(container.at("name").and_then(Node::as_str), Some(SIDECAR | INSTALL))
    };
    containers.filter(is_the_apps).collect::<Vec<_>>().into_iter()
}
