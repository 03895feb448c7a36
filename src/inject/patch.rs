//! The difference between two JSON values as a JSON Patch (RFC 6902): only what is added, removed or another one, so that
//! the changes of other webhooks stay.

use serde_json::{Map, Value, json};

/// The operations that make `after` of `before`.
pub fn between(before: &Value, after: &Value) -> Vec<Value> {
    let mut operations = Vec::new();
    compare(before, after, "", &mut operations);
    operations
}

fn compare(before: &Value, after: &Value, path: &str, operations: &mut Vec<Value>) {
    match (before, after) {
        _ if before == after => {}
        (Value::Object(before), Value::Object(after)) => entries(before, after, path, operations),
        (Value::Array(before), Value::Array(after)) => items(before, after, path, operations),
        _ => operations.push(json!({"op": "replace", "path": path, "value": after})),
    }
}

fn entries(before: &Map<String, Value>, after: &Map<String, Value>, path: &str, operations: &mut Vec<Value>) {
    let at = |key: &str| format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        operations.push(json!({"op": "remove", "path": at(key)}));
    }
    for (key, value) in after {
        match before.get(key) {
            Some(old) => compare(old, value, &at(key), operations),
            None => operations.push(json!({"op": "add", "path": at(key), "value": value})),
        }
    }
}

/// What the lists have in common at both ends stays in its place.
fn items(before: &[Value], after: &[Value], path: &str, operations: &mut Vec<Value>) {
    if before.len() == after.len() {
        for (at, (old, value)) in before.iter().zip(after).enumerate() {
            compare(old, value, &format!("{path}/{at}"), operations);
        }
        return;
    }
    let same = |pair: &(&Value, &Value)| pair.0 == pair.1;
    let begin = before.iter().zip(after).take_while(same).count();
    let (before, after) = (&before[begin..], &after[begin..]);
    let end = before.iter().rev().zip(after.iter().rev()).take_while(same).count();
    let (removed, added) = (before.len() - end, &after[..after.len() - end]);
    operations.extend((0..removed).map(|_| json!({"op": "remove", "path": format!("{path}/{begin}")})));
    for (at, value) in added.iter().enumerate() {
        operations.push(json!({"op": "add", "path": format!("{path}/{}", begin + at), "value": value}));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_ends_have_in_common_stays() {
        let cases = [
            (json!([1, 2]), json!([0, 1, 2]), json!([{"op": "add", "path": "/0", "value": 0}])),
            (json!([1, 2]), json!([1, 2, 3]), json!([{"op": "add", "path": "/2", "value": 3}])),
            (json!([1, 2, 3]), json!([1, 3]), json!([{"op": "remove", "path": "/1"}])),
            (json!([1, 2]), json!([1, 3]), json!([{"op": "replace", "path": "/1", "value": 3}])),
            (json!({"a/b": 1}), json!({"a/b": 2}), json!([{"op": "replace", "path": "/a~1b", "value": 2}])),
            (
                json!({"a": 1}),
                json!({"b~": 1}),
                json!([{"op": "remove", "path": "/a"}, {"op": "add", "path": "/b~0", "value": 1}]),
            ),
            (json!({"a": [{"b": 1}]}), json!({"a": [{"b": 1}]}), json!([])),
        ];
        for (before, after, patch) in cases {
            assert_eq!(Value::from(between(&before, &after)), patch);
        }
    }
}
