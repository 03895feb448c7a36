//! `lockside inject`: puts the sidecar into manifests. Asks no cluster.

use std::io::{Read, Write};
use std::process::ExitCode;

use clap::Args;

use super::{complain, exit};
use crate::inject::{Injector, check_image};

#[derive(Args, Debug)]
pub struct InjectFlags {
    /// The manifests; `-` is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    file: String,

    /// Image of the sidecar, where the annotation `lockside/image` names no other [default: lockside with the version of
    /// this binary]
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
}

pub const HELP: &str = "\
Reads YAML and writes it with a sidecar in each pod (template) that has the label lockside/inject: \"true\". Annotations \
of the pod set parameters: see docs/operations/injection.md. Documents without such a pod pass byte for byte, and what \
has been injected before is updated. Exit code 1 where the input is no YAML, a document with the label has a key twice, or a label or an \
annotation is invalid; nothing is written then. A pod that cannot have a sidecar is left as it is and told on standard error, and so is a \
label or an annotation in the wrong place, and a document that had to be written without its comments.

Example: helm template web ./chart | lockside inject | kubectl apply -f -
Example: lockside inject --image registry.example.com/lockside:1.0 web.yaml";

pub fn run(flags: &InjectFlags) -> ExitCode {
    let image = flags.image.clone().filter(|image| !image.is_empty());
    if let Some(problem) = image.as_deref().and_then(|image| check_image(image).err()) {
        complain(format!("--image: {problem}"));
        return ExitCode::from(exit::USAGE);
    }
    match injected(&flags.file, &Injector { image }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problems) => {
            problems.iter().for_each(complain);
            ExitCode::from(exit::FAILURE)
        }
    }
}

fn injected(file: &str, injector: &Injector) -> Result<(), Vec<String>> {
    let mut bytes = Vec::new();
    let read = match file {
        "-" => std::io::stdin().lock().read_to_end(&mut bytes).map(|_| ()),
        file => std::fs::read(file).map(|content| bytes = content),
    };
    read.map_err(|error| vec![format!("cannot read `{file}`: {error}")])?;
    let text = String::from_utf8(bytes).map_err(|_| vec!["no YAML: the input is not UTF-8 text".to_owned()])?;
    let injected = injector.manifests(&text)?;
    injected.warnings.iter().for_each(complain);
    let written = std::io::stdout().write_all(injected.text.as_bytes());
    written.map_err(|error| vec![format!("cannot write: {error}")])
}
