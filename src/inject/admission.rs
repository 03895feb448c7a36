//! Admission reviews of `admission.k8s.io/v1`: the API server asks with an object, and is answered with a JSON Patch.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Injector, Present, Report, patch, told};
use crate::yaml::Node;

const VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review {
    api_version: String,
    kind: String,
    request: Request,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    uid: String,
    #[serde(default)]
    operation: String,
    #[serde(default)]
    sub_resource: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    object: Option<Node>,
}

impl Injector {
    /// The review that answers a review; an error where it is none. The body is dropped once it has been read.
    pub fn review(&self, body: impl AsRef<[u8]>) -> Result<Value, String> {
        let Review { api_version, kind, request } =
            serde_json::from_slice(body.as_ref()).map_err(|error| format!("no {KIND}: {error}"))?;
        drop(body);
        if api_version != VERSION || kind != KIND || request.uid.is_empty() {
            return Err(format!("expected an {KIND} of {VERSION} with a uid"));
        }
        let response = self.answer(&request);
        Ok(json!({"apiVersion": VERSION, "kind": KIND, "response": response}))
    }

    fn answer(&self, request: &Request) -> Value {
        let mut response = json!({"uid": request.uid, "allowed": true});
        // The containers of a pod that is there cannot be changed.
        if request.operation != "CREATE" || !request.sub_resource.is_empty() {
            return response;
        }
        let Some(before) = request.object.as_ref().filter(|object| object.is_map()) else { return response };
        let mut pod = before.clone();
        let Report { mut warnings, mut mistakes } = self.inject(&mut pod, Present::Kept);
        warnings.truncate(told::MOST);
        mistakes.truncate(told::MOST);
        let namespace = &request.namespace;
        if !mistakes.is_empty() {
            let message = mistakes.join("; ");
            tracing::info!(namespace, message, "pod refused");
            response["allowed"] = Value::from(false);
            response["status"] =
                json!({"code": 400, "reason": "BadRequest", "message": format!("lockside: {message}")});
            return response;
        }
        for warning in &warnings {
            tracing::warn!(namespace, warning, "pod allowed with a warning");
        }
        if !warnings.is_empty() {
            response["warnings"] = warnings.iter().map(|warning| format!("lockside: {warning}")).collect();
        }
        let operations = patch::between(before, &pod);
        if !operations.is_empty() {
            response["patchType"] = Value::from("JSONPatch");
            response["patch"] = Value::from(BASE64_STANDARD.encode(Value::from(operations).to_string()));
        }
        response
    }
}
