//! The command line in the containers of a pod: an init container copies the binary of the sidecar's image, and each
//! container mounts it.

use std::path::Path;

use super::annotations::{self, URL};
use super::pod::{named, put_volume};
use super::told::shown;
use super::{Present, SIDECAR};
use crate::yaml::Node;

/// Name of the init container that copies the binary.
pub const INSTALL: &str = "lockside-install";
/// Name of the volume with the binary.
pub const VOLUME: &str = "lockside-cli";
/// Where the containers of the app have it. There, `/lockside` is a folder; in the image of the sidecar it is the binary.
const FOLDER: &str = "/lockside/bin";
const FOLDER_OF_INSTALL: &str = "/cli";
const VARIABLE: &str = "LOCKSIDE_URL";
/// Last part of the name of the sidecar's image, in whichever registry.
const IMAGE: &str = "lockside";
/// Several times the binary.
const LARGEST: &str = "64Mi";

/// Where the containers of a pod find its sidecar.
pub struct Place {
    pub url: String,
    /// Where they found the one that the pod already had.
    pub was_at: Option<String>,
}

/// Gives the command line to each container of a pod. Returns what containers do not get, and why.
pub fn add(spec: &mut Node, sidecar: &Node, place: &Place, present: Present) -> Vec<String> {
    let containers = spec.entry("initContainers", Node::list()).items_mut().expect("the caller has checked it");
    match named(containers, INSTALL) {
        Some(_) if present == Present::Kept => {}
        Some(at) => containers[at] = install(sidecar),
        None => {
            let behind = named(containers, SIDECAR).map_or(0, |at| at + 1);
            containers.insert(behind, install(sidecar));
        }
    }
    let mut volume = Node::strings([("name", VOLUME)]);
    volume.set("emptyDir", Node::strings([("sizeLimit", LARGEST)]));
    put_volume(spec, volume, present);
    let mut notes = Vec::new();
    for container in containers_of_the_app(spec) {
        let name = shown(container.at("name").and_then(Node::as_str).unwrap_or_default());
        if is_locksides_own(container, sidecar) {
            notes.push(format!(
                "container `{name}` has lockside's own image, in which the command line is `/lockside`; nothing is mounted \
                 at {FOLDER}"
            ));
            if present == Present::Updated {
                unmount(container, is_at_our_folder);
            }
        } else if let Some(other) = mount(container) {
            notes.push(format!(
                "container `{name}` mounts `{other}` at {FOLDER}, where the command line would be; it gets none"
            ));
        }
        if !set_variable(container, place) {
            notes.push(format!("container `{name}` keeps its own {VARIABLE}; the sidecar is at {}", place.url));
        }
    }
    notes
}

/// A mount below the binary of that image, which is a file, would keep its container from starting.
fn is_locksides_own(container: &Node, sidecar: &Node) -> bool {
    let repository = |container: &Node| {
        let image = container.at("image").and_then(Node::as_str)?;
        let image = image.split('@').next().unwrap_or_default();
        let name = image.rfind('/').map_or(0, |slash| slash + 1);
        let end = image[name..].find(':').map_or(image.len(), |colon| name + colon);
        Some((image[..end].to_owned(), image[name..end].to_owned()))
    };
    repository(container).is_some_and(|(whole, name)| {
        name == IMAGE || repository(sidecar).is_some_and(|(sidecars, _)| sidecars == whole)
    })
}

fn is_at_our_folder(mount: &Node) -> bool {
    // Whatever slashes it ends in.
    mount.at("mountPath").and_then(Node::as_str).is_some_and(|path| Path::new(path) == Path::new(FOLDER))
}

/// Mounts our volume; returns the volume that is in its place, if there is one.
fn mount(container: &mut Node) -> Option<String> {
    let mounts = container.entry("volumeMounts", Node::list());
    if let Some(there) = mounts.items().iter().find(|mount| is_at_our_folder(mount)) {
        let volume = there.at("name").and_then(Node::as_str).unwrap_or_default();
        return (volume != VOLUME).then(|| shown(volume));
    }
    if let Some(mounts) = mounts.items_mut() {
        let mut mount = Node::strings([("name", VOLUME), ("mountPath", FOLDER)]);
        mount.set("readOnly", Node::boolean(true));
        mounts.push(mount);
    }
    None
}

/// Takes the mounts of our volume of which `is_gone` holds. Whether there were any.
fn unmount(container: &mut Node, is_gone: impl Fn(&Node) -> bool) -> bool {
    let Some(mounts) = container.at_mut("volumeMounts").and_then(Node::items_mut) else { return false };
    let before = mounts.len();
    mounts.retain(|mount| mount.at("name").and_then(Node::as_str) != Some(VOLUME) || !is_gone(mount));
    let was_there = mounts.len() < before;
    if was_there && mounts.is_empty() {
        container.remove("volumeMounts");
    }
    was_there
}

/// Whether the variable has been set: not where the app's own one names something else.
fn set_variable(container: &mut Node, Place { url, was_at }: &Place) -> bool {
    let Some(variables) = container.entry("env", Node::list()).items_mut() else { return true };
    let Some(at) = named(variables, VARIABLE) else {
        variables.push(Node::strings([("name", VARIABLE), ("value", url)]));
        return true;
    };
    let value = variables[at].at("value").and_then(Node::as_str);
    let is_ours = value.is_some() && (value == was_at.as_deref() || value == Some(url));
    if is_ours {
        variables[at].set("value", Node::string(url));
    }
    is_ours
}

/// Takes away what [`add`] has given to a pod whose sidecar was at this URL.
pub fn remove(spec: &mut Node, was_at: Option<&str>) {
    let is_named = |item: &Node, name: &str| item.at("name").and_then(Node::as_str) == Some(name);
    for part in ["initContainers", "volumes"] {
        if let Some(items) = spec.at_mut(part).and_then(Node::items_mut) {
            items.retain(|item| !is_named(item, INSTALL) && !is_named(item, VOLUME));
        }
    }
    for container in containers_of_the_app(spec) {
        if !unmount(container, |_| true) {
            continue;
        }
        let Some(variables) = container.at_mut("env").and_then(Node::items_mut) else { continue };
        let is_ours = |variable: &Node| {
            let value = variable.at("value").and_then(Node::as_str);
            is_named(variable, VARIABLE) && value.is_some() && value == was_at
        };
        variables.retain(|variable| !is_ours(variable));
        if variables.is_empty() {
            container.remove("env");
        }
    }
}

/// Where the other containers of its pod find a sidecar, by its own settings.
pub fn url_of(sidecar: &Node) -> Option<String> {
    let variables = sidecar.at("env").map(Node::items).unwrap_or_default();
    match named(variables, "LOCKSIDE_LISTEN") {
        Some(at) => variables[at].at("value").and_then(Node::as_str).and_then(annotations::url_of),
        None => Some(URL.to_owned()),
    }
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
