//! What makes generators of clients go wrong: kinds of constructs that OpenAPI allows, and that this document does without.
//! `make test-generators` runs the generators themselves.

use std::collections::BTreeSet;

use serde_json::Value;

use super::tests::{document, members, paths};

/// Calls `look` with every object of the document that is not data, and where it stands.
fn walk(place: &str, value: &Value, look: &mut impl FnMut(&str, &Value)) {
    match value {
        Value::Object(all) => {
            look(place, value);
            for (name, member) in all.iter().filter(|(name, _)| !["example", "examples"].contains(&name.as_str())) {
                walk(&format!("{place}/{name}"), member, look);
            }
        }
        Value::Array(all) => {
            all.iter().enumerate().for_each(|(index, member)| walk(&format!("{place}/{index}"), member, look));
        }
        _ => {}
    }
}

fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(reference) => document.pointer(&reference[1..]).expect("a good reference"),
        None => value,
    }
}

/// Every operation with its path.
fn operations(document: &Value) -> Vec<(&str, &Value)> {
    let items = members(&document["paths"]).flat_map(|(path, item)| members(item).map(move |(_, it)| (path, it)));
    items.filter(|(_, it)| it.get("responses").is_some()).collect()
}

/// Calls `look` with every schema of what a client sends, references included, and where it stands.
fn walk_requests(document: &Value, look: &mut impl FnMut(&str, &Value)) {
    let mut waiting = Vec::new();
    for (path, operation) in operations(document) {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            waiting.push((path.to_owned(), resolved(document, parameter)["schema"].clone()));
        }
        for (_, media) in operation["requestBody"]["content"].as_object().into_iter().flatten() {
            waiting.push((path.to_owned(), media["schema"].clone()));
        }
    }
    let mut known = BTreeSet::new();
    while let Some((place, schema)) = waiting.pop() {
        walk(&place, &schema, &mut |place, value| {
            look(place, value);
            if let Some(reference) = value["$ref"].as_str().filter(|it| known.insert((*it).to_owned())) {
                waiting.push((reference.to_owned(), resolved(document, value).clone()));
            }
        });
    }
    assert!(known.len() > 10, "{known:?}");
}

#[test]
fn no_default_makes_a_field_of_a_request_required() {
    // openapi-typescript takes a field with a default for one that is always there; openapi-python-client always sends it.
    walk_requests(&document(), &mut |place, schema| assert!(schema.get("default").is_none(), "{place}: {schema}"));
}

#[test]
fn all_that_a_client_sends_has_one_type() {
    // A union of scalars becomes a class of its own, or loses its types.
    walk_requests(&document(), &mut |place, schema| {
        let is_union = ["anyOf", "oneOf", "allOf"].iter().any(|name| schema.get(name).is_some());
        assert!(!is_union && !schema["type"].is_array(), "{place}: {schema}");
    });
}

#[test]
fn every_const_and_every_enumeration_has_a_type() {
    let mut count = 0;
    walk("", &document(), &mut |place, schema| {
        let is_one = schema.get("const").is_some_and(|it| !it.is_object()) || schema["enum"].is_array();
        count += usize::from(is_one);
        assert!(!is_one || schema["type"].is_string(), "{place}: {schema}");
    });
    assert!(count > 20, "{count}");
}

#[test]
fn every_object_says_what_is_in_it() {
    let mut count = 0;
    walk("", &document(), &mut |place, schema| {
        let is_object = schema["type"] == "object";
        count += usize::from(is_object);
        let says = schema.get("properties").is_some() || schema.get("additionalProperties").is_some();
        assert!(!is_object || says, "{place}: {schema}");
    });
    assert!(count > 20, "{count}");
}

#[test]
fn every_reference_leads_to_a_component_and_not_into_one() {
    let document = document();
    let mut count = 0;
    walk("", &document, &mut |place, value| {
        let Some(reference) = value["$ref"].as_str() else { return };
        let parts = reference.split('/').collect::<Vec<_>>();
        assert!(parts.len() == 4 && parts[..2] == ["#", "components"], "{place}: {reference}");
        assert!(document.pointer(&reference[1..]).is_some(), "{place}: {reference}");
        count += 1;
    });
    assert!(count > 100, "{count}");
}

#[test]
fn no_server_has_a_variable_and_the_api_has_one_server() {
    // openapi-generator's Python client calls the server of an operation whatever address it is configured with, and
    // leaves a variable of it as it is.
    let document = document();
    walk("", &document, &mut |place, value| {
        for server in value["servers"].as_array().into_iter().flatten() {
            let url = server["url"].as_str().expect("a URL");
            assert!(server.get("variables").is_none() && !url.contains('{'), "{place}: {server}");
        }
    });
    assert_eq!(document["servers"].as_array().map(Vec::len), Some(1));
    for (path, item) in paths(&document) {
        walk(path, item, &mut |place, value| assert!(value.get("servers").is_none(), "{place}"));
    }
}

#[test]
fn the_parameters_of_every_operation_are_in_one_order() {
    // openapi-generator puts those of a path behind those of the operation: `renew(token, key)` beside `acquire(key)`.
    let document = document();
    for (path, item) in members(&document["paths"]) {
        assert!(item.get("parameters").is_none(), "{path}: each operation has its own");
    }
    for (path, operation) in operations(&document) {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let parameters = parameters.map(|parameter| resolved(&document, parameter)).collect::<Vec<_>>();
        let place = |parameter: &Value| ["path", "query", "header"].iter().position(|it| parameter["in"] == *it);
        let order = parameters.iter().map(|it| (place(it).expect("a known place"), it["required"] != true));
        assert!(order.is_sorted(), "{path}: {parameters:?}");
        let named = parameters.iter().filter(|it| it["in"] == "path").filter_map(|it| it["name"].as_str());
        let template = path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
        assert!(named.eq(template), "{path}: {parameters:?}");
    }
}
