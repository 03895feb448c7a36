//! The leases API is one that clients know from elsewhere: `leases.json` is what that said of it, without its texts.
//! Ours may say more, and nothing else.

use serde_json::Value;

use super::Document;

/// Asserts that `ours` has all that `theirs` has.
fn assert_includes(place: &str, ours: &Value, theirs: &Value) {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            for (name, theirs) in theirs {
                let place = format!("{place}/{name}");
                match name.as_str() {
                    // Whatever type an answer has.
                    "*/*" => ours.values().for_each(|ours| assert_includes(&place, ours, theirs)),
                    _ => assert_includes(&place, ours.get(name).unwrap_or_else(|| panic!("no {place}")), theirs),
                }
            }
        }
        (Value::Array(ours), Value::Array(theirs)) if place.ends_with("/parameters") => {
            for theirs in theirs {
                let ours = ours.iter().find(|ours| ours["name"] == theirs["name"] && ours["in"] == theirs["in"]);
                assert_includes(place, ours.unwrap_or_else(|| panic!("{place}: no {theirs}")), theirs);
            }
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            assert!(theirs.iter().all(|it| ours.contains(it)), "{place}: {ours:?} without {theirs:?}");
        }
        _ => assert_eq!(ours, theirs, "{place}"),
    }
}

#[test]
fn what_clients_of_the_leases_api_know_is_in_the_document() {
    let known: Value = serde_json::from_str(include_str!("leases.json")).unwrap();
    let document = Document::new();
    for (path, item) in known["paths"].as_object().unwrap() {
        for (method, theirs) in item.as_object().unwrap() {
            let mut operations = document.operations().into_iter();
            let ours = operations.find(|ours| ours.path == *path && ours.method == method);
            let mut ours = ours.unwrap_or_else(|| panic!("no {method} {path}")).item;
            // A schema of the query may stand elsewhere, under a name.
            for parameter in ours["parameters"].as_array_mut().unwrap() {
                parameter["schema"] = document.resolved(&parameter["schema"]).clone();
            }
            assert_includes(&format!("{method} {path}"), &ours, theirs);
            let needed = ours["parameters"].as_array().unwrap().iter().filter(|it| it["required"] == true).count();
            let sent = theirs["parameters"].as_array().map_or(0, Vec::len);
            assert_eq!(needed, sent, "{method} {path} needs more than its clients send");
        }
    }
    assert_includes("schemas", &document.strict["components"]["schemas"], &known["components"]["schemas"]);
    assert_includes("tags", &document.strict["tags"][1]["name"], &known["tags"][0]["name"]);
}
