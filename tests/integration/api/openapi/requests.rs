//! Requests as the document has them: from its examples.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::{Document, Operation};
use crate::harness::{Call, Sidecar, Who};

impl Operation {
    pub fn is_ops(&self) -> bool {
        self.item["tags"][0] == "Ops"
    }

    /// Whether it reads many locks at once.
    pub fn is_list(&self) -> bool {
        ["listLocks", "getAllActiveLocks"].contains(&self.id.as_str())
    }

    pub fn answers(&self, status: &str) -> bool {
        self.item["responses"].get(status).is_some()
    }

    /// The path with the examples of its parameters, and with those of the query that must be there.
    pub fn target(&self) -> String {
        let (mut target, mut query) = (self.path.clone(), Vec::new());
        for parameter in self.item["parameters"].as_array().expect("parameters") {
            let name = parameter["name"].as_str().expect("a name");
            let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let value = || utf8_percent_encode(&text(&parameter["example"]), NON_ALPHANUMERIC).to_string();
            // One of two ways to say which: no parameter of the other.
            let is_chosen = self.id == "releaseLock" && name == "token";
            match parameter["in"].as_str() {
                Some("path") => target = target.replace(&format!("{{{name}}}"), &value()),
                Some("query") if parameter["required"] == true || is_chosen => {
                    query.push(format!("{name}={}", value()));
                }
                _ => {}
            }
        }
        if query.is_empty() { target } else { format!("{target}?{}", query.join("&")) }
    }

    /// Its first example of a body, of each content type.
    pub fn body(&self) -> Option<&Value> {
        let content = self.item["requestBody"]["content"].as_object()?;
        content.values().find_map(|media| Some(&media["examples"].as_object()?.values().next()?["value"]))
    }

    pub fn call<'a>(&self, sidecar: &'a Sidecar, who: &Who) -> Call<'a> {
        let call = sidecar.ask(who, &self.method.to_uppercase(), &self.target());
        match self.body() {
            Some(body) => call.json(body),
            None => call,
        }
    }
}

impl Document {
    /// Those of the API listener.
    pub fn of_the_api(&self) -> impl Iterator<Item = Operation> {
        self.operations().into_iter().filter(|operation| !operation.is_ops())
    }

    /// Those that may answer so.
    pub fn that_answer(&self, status: &str) -> Vec<Operation> {
        self.of_the_api().filter(|operation| operation.answers(status)).collect()
    }
}
