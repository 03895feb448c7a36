//! Puts the sidecar into pods: into manifests (`lockside inject`), and into what the API server is asked to create
//! (`lockside webhook`). Both are made of the one `container.yaml` that the kustomize component has. Talks to no cluster.

mod admission;
mod annotations;
mod cli;
#[cfg(any(test, fuzzing))]
#[path = "../fuzz/inject.rs"]
pub mod fuzz;
mod image;
mod manifests;
mod patch;
mod pod;
mod quantity;
mod sidecar;
mod told;
mod webhook;
mod workload;

use crate::yaml::Node;

pub use image::check as check_image;
pub use webhook::Webhook;

/// Label of a pod that is to have the sidecar.
const INJECT: &str = "lockside/inject";
/// Annotation of a pod that has been injected: by which version.
const INJECTED: &str = "lockside/injected";
/// Name of the sidecar's container.
const SIDECAR: &str = "lockside";

/// What injects.
#[derive(Clone, Debug, Default)]
pub struct Injector {
    /// Where an annotation names no other one; `None`: the one in `container.yaml`.
    pub image: Option<String>,
}

/// What becomes of the parts of a sidecar that a pod has already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Present {
    /// Brought up to date, as in a file that is injected again.
    Updated,
    /// Kept as they are: since the webhook added them, others may have set resources, variables or another image.
    Kept,
}

/// What is said of an object.
#[derive(Debug, Default)]
pub struct Report {
    /// What has been left as it was, or has no effect.
    pub warnings: Vec<String>,
    /// What has to be corrected first.
    pub mistakes: Vec<String>,
}

impl Report {
    fn add(&mut self, other: Report) {
        self.warnings.extend(other.warnings);
        self.mistakes.extend(other.mistakes);
    }
}

impl Injector {
    /// Puts the sidecar into each pod of an object that asks for it. With a mistake the object is of no use any more.
    fn inject(&self, object: &mut Node, present: Present) -> Report {
        let mut report = Report::default();
        workload::each_pod(object, &mut report, &mut |pod, report| self.put_into(pod, present, report));
        report
    }
}
