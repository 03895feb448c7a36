//! The document's examples are what its schemas say.

use serde_json::Value;

use super::{Document, METHODS};

/// Calls `look` with each object of the document that has a schema and examples, and where it stands.
fn with_examples(place: &str, value: &Value, look: &mut impl FnMut(&str, &Value)) {
    match value {
        Value::Object(members) => {
            if members.contains_key("schema") {
                look(place, value);
            }
            for (name, member) in members {
                with_examples(&format!("{place}/{name}"), member, look);
            }
        }
        Value::Array(members) => {
            for (index, member) in members.iter().enumerate() {
                with_examples(&format!("{place}/{index}"), member, look);
            }
        }
        _ => {}
    }
}

#[test]
fn every_example_is_what_its_schema_says() {
    let document = Document::new();
    let mut count = 0;
    for part in ["paths", "components"] {
        with_examples(part, &document.strict[part], &mut |place, value| {
            let examples = value["examples"].as_object().into_iter().flatten().map(|(_, example)| &example["value"]);
            for example in examples.chain(value.get("example")) {
                // The document in the document.
                if !place.contains("~1openapi.json") && !place.contains("/openapi.json/") {
                    document.assert_valid(place, &value["schema"], example);
                    count += 1;
                }
            }
        });
    }
    assert!(count > 80, "{count}");
}

#[test]
fn every_operation_has_an_example_of_what_it_takes_and_of_all_that_it_answers() {
    let document = Document::new();
    for operation in document.operations() {
        let id = &operation.id;
        for (kind, media) in operation.item["requestBody"]["content"].as_object().into_iter().flatten() {
            assert!(media["examples"].as_object().is_some_and(|it| !it.is_empty()), "{id}: {kind}");
        }
        for parameter in operation.item["parameters"].as_array().unwrap() {
            assert!(parameter["required"] != true || parameter.get("example").is_some(), "{id}: {parameter}");
        }
        for (status, response) in operation.item["responses"].as_object().unwrap() {
            for (kind, media) in document.resolved(response)["content"].as_object().into_iter().flatten() {
                assert!(media["examples"].as_object().is_some_and(|it| !it.is_empty()), "{id}: {status} {kind}");
            }
        }
        for text in ["operationId", "summary"] {
            assert!(operation.item[text].as_str().is_some_and(|text| !text.is_empty()), "{id}: no {text}");
        }
        assert!(METHODS.contains(&operation.method));
    }
}
