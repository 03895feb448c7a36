//! The difference between two trees as a JSON Patch (RFC 6902): only what is added, removed or another one, so that the
//! changes of other webhooks stay.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::yaml::Node;

/// The operations that make `after` of `before`.
pub fn between(before: &Node, after: &Node) -> Vec<Value> {
    let mut operations = Vec::new();
    compare(before, after, "", &mut operations);
    operations
}

fn compare(before: &Node, after: &Node, path: &str, operations: &mut Vec<Value>) {
    match (before, after) {
        (Node::Map(before, _), Node::Map(after, _)) => entries(before, after, path, operations),
        (Node::List(before, _), Node::List(after, _)) => items(before, after, path, operations),
        _ if before.is_same(after) => {}
        _ => operations.push(json!({"op": "replace", "path": path, "value": after.to_json()})),
    }
}

fn entries(before: &[(Node, Node)], after: &[(Node, Node)], path: &str, operations: &mut Vec<Value>) {
    let at = |key: &str| format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
    let of = |entries: &'_ [(Node, Node)]| -> HashMap<String, usize> {
        entries.iter().enumerate().filter_map(|(at, (key, _))| Some((key.as_key()?.to_owned(), at))).collect()
    };
    let is_the_key = |(old, new): &(&(Node, Node), &(Node, Node))| old.0.as_key() == new.0.as_key();
    let common = before.iter().zip(after).take_while(is_the_key).count();
    for ((key, old), (_, value)) in before[..common].iter().zip(after) {
        compare(old, value, &at(key.as_key().unwrap_or_default()), operations);
    }
    let (before, after) = (&before[common..], &after[common..]);
    let (was, is) = (of(before), of(after));
    for (key, _) in before {
        if let Some(key) = key.as_key().filter(|key| !is.contains_key(*key)) {
            operations.push(json!({"op": "remove", "path": at(key)}));
        }
    }
    for (key, value) in after {
        let Some(key) = key.as_key() else { continue };
        match was.get(key) {
            Some(place) => compare(&before[*place].1, value, &at(key), operations),
            None => operations.push(json!({"op": "add", "path": at(key), "value": value.to_json()})),
        }
    }
}

/// An item that stays is found by its name, as Kubernetes has it, and only what is another one within it changes.
fn items(before: &[Node], after: &[Node], path: &str, operations: &mut Vec<Value>) {
    if before.len() == after.len() {
        for (at, (old, value)) in before.iter().zip(after).enumerate() {
            compare(old, value, &format!("{path}/{at}"), operations);
        }
        return;
    }
    let mut rest = before;
    for (at, value) in after.iter().enumerate() {
        let place = format!("{path}/{at}");
        match rest.iter().position(|old| old.is_state_of(value)) {
            Some(gone) => {
                operations.extend((0..gone).map(|_| json!({"op": "remove", "path": place})));
                compare(&rest[gone], value, &place, operations);
                rest = &rest[gone + 1..];
            }
            None => operations.push(json!({"op": "add", "path": place, "value": value.to_json()})),
        }
    }
    operations.extend(rest.iter().map(|_| json!({"op": "remove", "path": format!("{path}/{}", after.len())})));
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[test]
    fn what_is_another_one_is_changed_in_its_place() {
        let (app, own) = (json!({"name": "app", "a": [1]}), json!({"name": "own"}));
        let cases = [
            (json!([1, 2]), json!([0, 1, 2]), json!([{"op": "add", "path": "/0", "value": 0}])),
            (json!([1, 2]), json!([1, 2, 3]), json!([{"op": "add", "path": "/2", "value": 3}])),
            (json!([1, 2, 3]), json!([1, 3]), json!([{"op": "remove", "path": "/1"}])),
            (json!([1, 2, 3]), json!([1]), json!([{"op": "remove", "path": "/1"}, {"op": "remove", "path": "/1"}])),
            (json!([1, 2]), json!([1, 3]), json!([{"op": "replace", "path": "/1", "value": 3}])),
            (json!({"a/b": 1}), json!({"a/b": 2}), json!([{"op": "replace", "path": "/a~1b", "value": 2}])),
            (
                json!({"a": 1, "c": 1}),
                json!({"b~": 1, "c": 2}),
                json!([{"op": "remove", "path": "/a"}, {"op": "add", "path": "/b~0", "value": 1},
                       {"op": "replace", "path": "/c", "value": 2}]),
            ),
            (json!({"a": [{"b": 1}]}), json!({"a": [{"b": 1}]}), json!([])),
            (json!({"a": null}), json!({"a": []}), json!([{"op": "replace", "path": "/a", "value": []}])),
            (
                json!([app]),
                json!([own, {"name": "app", "a": [1, 2]}]),
                json!([{"op": "add", "path": "/0", "value": own}, {"op": "add", "path": "/1/a/1", "value": 2}]),
            ),
        ];
        for (before, after, patch) in cases {
            let node = |value: &Value| Node::deserialize(value).expect("a tree");
            assert_eq!(Value::from(between(&node(&before), &node(&after))), patch);
        }
    }
}
