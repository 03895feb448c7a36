//! The OpenAPI document: what is served, what the binary really answers, and the clients that are made of it.

mod answers;
mod errors;
mod examples;
mod keys;
mod leases;
mod requests;
mod schemathesis;
mod served;

use std::collections::BTreeSet;
use std::sync::Mutex;

use jsonschema::Validator;
use serde_json::{Value, json};

use crate::harness::Answer;

const TEXT: &str = include_str!("../../../../src/api/openapi/openapi.json");
const METHODS: [&str; 4] = ["get", "post", "put", "delete"];

/// Where the codes of each dialect's answers are enumerated, and the field that has them.
const CODES: [(&str, &str); 3] =
    [("/Code", "code"), ("/AdminAnswer/properties/data", "data"), ("/DaprError/properties/errorCode", "errorCode")];

/// The document, and what has been seen of it.
struct Document {
    /// Nothing may be in an answer that is not in its schema: the clients of today's document must not rely on that.
    strict: Value,
    seen: Mutex<BTreeSet<(String, String)>>,
    /// What machines read in an answer's body.
    codes: Mutex<BTreeSet<String>>,
}

/// An operation of the document.
#[derive(Clone, Debug)]
struct Operation {
    id: String,
    method: &'static str,
    path: String,
    item: Value,
}

impl Document {
    fn new() -> Document {
        let mut strict: Value = serde_json::from_str(TEXT).expect("JSON");
        for schema in strict["components"]["schemas"].as_object_mut().expect("schemas").values_mut() {
            if schema.get("properties").is_some() {
                schema["additionalProperties"] = json!(false);
            }
        }
        Document { strict, seen: Mutex::default(), codes: Mutex::default() }
    }

    fn operations(&self) -> Vec<Operation> {
        let mut operations = Vec::new();
        for (path, item) in self.strict["paths"].as_object().expect("paths") {
            for method in METHODS {
                let Some(operation) = item.get(method) else { continue };
                let mut operation = operation.clone();
                let shared = item["parameters"].as_array().cloned().unwrap_or_default();
                let own = operation["parameters"].as_array().cloned().unwrap_or_default();
                let all = shared.iter().chain(&own).map(|parameter| self.resolved(parameter).clone());
                operation["parameters"] = all.collect();
                let id = operation["operationId"].as_str().expect("an id").to_owned();
                operations.push(Operation { id, method, path: path.clone(), item: operation });
            }
        }
        operations
    }

    fn operation(&self, id: &str) -> Operation {
        self.operations().into_iter().find(|operation| operation.id == id).expect("an operation of this id")
    }

    /// What a reference leads to; anything else is itself.
    fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(reference) => self.strict.pointer(&reference[1..]).expect("a good reference"),
            None => value,
        }
    }

    /// For a schema of the document, its references included.
    fn validator(&self, schema: &Value) -> Validator {
        let mut root = json!({"components": self.strict["components"]});
        for (name, value) in schema.as_object().expect("a schema") {
            root[name] = value.clone();
        }
        jsonschema::options().should_validate_formats(true).build(&root).expect("a good schema")
    }

    /// Asserts that an operation may answer so: status, headers, type and body.
    #[track_caller]
    fn check(&self, id: &str, answer: &Answer) {
        let status = answer.status.to_string();
        let operation = self.operation(id);
        let response = operation.item["responses"].get(&status);
        let response = response.unwrap_or_else(|| panic!("{id}: {status} is not documented: {}", answer.text()));
        self.check_response(&format!("{id} {status}"), self.resolved(response), answer);
        self.saw(id, &status);
    }

    fn saw(&self, id: &str, status: &str) {
        self.seen.lock().expect("no panic while held").insert((id.to_owned(), status.to_owned()));
    }

    #[track_caller]
    fn check_response(&self, what: &str, response: &Value, answer: &Answer) {
        for (name, header) in response["headers"].as_object().into_iter().flatten() {
            let header = self.resolved(header);
            let Some(text) = answer.header(name) else {
                assert_ne!(header["required"], true, "{what}: no {name}");
                continue;
            };
            let value =
                if header["schema"]["type"] == "integer" { json!(text.parse::<i64>().unwrap()) } else { json!(text) };
            assert!(self.validator(&header["schema"]).is_valid(&value), "{what}: {name}: {value}");
        }
        for name in answer.headers.keys().map(|name| name.as_str()) {
            let documented = response["headers"].as_object().into_iter().flatten();
            let is_documented = documented.map(|(name, _)| name.to_lowercase()).any(|documented| documented == name);
            // Those of HTTP itself, and those that the document says of all at its beginning.
            const OF_ALL: [&str; 7] = [
                "content-type",
                "content-length",
                "transfer-encoding",
                "date",
                "connection",
                "cache-control",
                "x-content-type-options",
            ];
            assert!(is_documented || OF_ALL.contains(&name), "{what}: the header {name} is not documented");
        }
        let Some(content) = response["content"].as_object() else {
            assert_eq!((answer.text(), answer.header("content-type")), ("", None), "{what}");
            return;
        };
        let kind = answer.header("content-type").expect("a type").split(';').next().expect("the first part");
        let media = content.get(kind).unwrap_or_else(|| panic!("{what}: {kind} is not documented"));
        let body = if kind.starts_with("text/") { json!(answer.text()) } else { answer.json() };
        self.assert_valid(what, &media["schema"], &body);
        let codes = CODES.iter().filter_map(|(_, field)| body[field].as_str().map(str::to_owned));
        self.codes.lock().expect("no panic while held").extend(codes);
    }

    #[track_caller]
    fn assert_valid(&self, what: &str, schema: &Value, value: &Value) {
        let errors = self.validator(schema).iter_errors(value).map(|error| error.to_string()).collect::<Vec<_>>();
        assert!(errors.is_empty(), "{what}: {value}: {errors:#?}");
    }

    /// The codes that are documented and have not been seen.
    fn unseen_codes(&self) -> Vec<&str> {
        let seen = self.codes.lock().expect("no panic while held");
        let documented = CODES.iter().flat_map(|(schema, _)| {
            let schema = self.strict["components"]["schemas"].pointer(schema).expect("a schema");
            schema["enum"].as_array().expect("an enumeration").iter().filter_map(Value::as_str)
        });
        documented.filter(|code| !seen.contains(*code)).collect()
    }

    /// The operations and statuses that are documented and have not been seen.
    fn unseen(&self) -> Vec<(String, String)> {
        let seen = self.seen.lock().expect("no panic while held");
        let mut unseen = Vec::new();
        for Operation { id, item, .. } in self.operations() {
            let statuses = item["responses"].as_object().expect("responses").keys();
            unseen.extend(statuses.map(|status| (id.clone(), status.clone())).filter(|it| !seen.contains(it)));
        }
        unseen
    }
}
