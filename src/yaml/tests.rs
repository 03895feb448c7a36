//! Reading and writing, and what plain scalars are.

use serde_json::{Value, json};

use super::{Node, Style, read};

fn one(text: &str) -> Node {
    let mut documents = read(text).unwrap_or_else(|fault| panic!("{text}: {fault}"));
    assert_eq!(documents.len(), 1, "{text}");
    documents.remove(0).root.unwrap_or_else(|| panic!("{text}: empty"))
}

#[test]
fn plain_scalars_are_what_kubernetes_reads() {
    for (text, value) in [
        ("0444", json!(292)),
        ("0o444", json!(292)),
        ("0x1F", json!(31)),
        ("1_000", json!(1000)),
        ("-7", json!(-7)),
        ("089", json!(89.0)),
        ("1e3", json!(1000.0)),
        ("1.5", json!(1.5)),
        ("yes", json!(true)),
        ("Off", json!(false)),
        ("~", json!(null)),
        ("", json!(null)),
        ("null", json!(null)),
        ("\"yes\"", json!("yes")),
        ("'0444'", json!("0444")),
        ("!!str 0444", json!("0444")),
        ("1.2.3", json!("1.2.3")),
        ("0.2.0-dev", json!("0.2.0-dev")),
        ("12:30", json!("12:30")),
        ("2026-01-01", json!("2026-01-01")),
        ("truely", json!("truely")),
        ("0x", json!("0x")),
        ("1__", json!(1)),
        ("é", json!("é")),
    ] {
        assert_eq!(one(&format!("a: {text}\n")).to_json(), json!({"a": value}), "{text}");
    }
}

#[test]
fn what_is_written_is_read_as_the_same_and_written_the_same() {
    for text in [
        "a: 1\nb:\n- x\n- - y\n  - z\n- k: v\n  l:\n    m: n\n",
        "a: |\n  one\n\n  two\nb: |-\n  x\nc: |+\n  y\n\n\nd: e\n",
        "a: |2\n    indented\n   less\n",
        "a: >\n  folded\n  text\n",
        "a: \" leading\\n\"\nb: \"\\u0007\\U0001f600\\uFEFF\"\nc: 'it''s'\n",
        "a: {b: [1, {c: d}], e: }\nf: []\ng: {}\n",
        "? [complex]\n: value\n",
        "a: two\n  lines\n\n  and more\n",
        "- \n- a: \n-\n  - b\n",
        "\"quoted key\": 1\n'0': 2\n",
        "a: !!str 5\nb: !custom x\n",
        "- |\n  text\n-\n  |\n  other\n",
        "plain text\n",
        "[1, {\"a\": \"b\"}]\n",
        "{a: 0444, b: yes, c: 1.50, d: , e: 'f', 1: 2}\n",
    ] {
        let (first, value) = (one(text), one(text).to_json());
        let written = first.to_yaml();
        assert_eq!(one(&written).to_json(), value, "{text}\n{written}");
        assert_eq!(one(&written).to_yaml(), written, "{text}");
        let is_bracketed = text.starts_with(['{', '[']);
        assert_eq!(serde_json::from_str::<Value>(&written).is_ok(), is_bracketed, "{written}");
    }
}

#[test]
fn what_is_written_in_another_style_says_the_same() {
    for scalar in [
        "one, two",
        "a [b] c",
        "a {b} c",
        "x]",
        "}",
        "a:b",
        "a::",
        "-1",
        "- a",
        "a#b",
        "?a",
        "a?b",
        "a -b",
        "-",
        ":a",
        "0444",
        "yes",
        "~",
        "!!str 5",
        "!x a,b",
        "'a, b'",
        "\"a, b\"",
        "http://x/?a=b#c,d",
        "<<",
        "a\n   b, c",
        "*",
        "&",
        "%x",
        "@",
        "`",
        "|\n   a, b: c\n",
        ">-\n   a, b",
        "?",
        "a: b",
        "!!null",
        "=",
        "a\t# b",
        "a:\tb",
        "!<tag:yaml.org,2002:str> 5",
    ] {
        for text in [format!("- k: {scalar}\n- {scalar}\n"), format!("? {scalar}\n: 1\n"), format!("[{scalar}]")] {
            // Some are no YAML there.
            let Ok(mut documents) = read(&text) else { continue };
            let Some(root) = documents.pop().and_then(|document| document.root) else { continue };
            let value = root.to_json();
            for style in [Style::Block, Style::Flow] {
                let part = Node::Map(vec![(Node::string("a"), root.styled(style))], Style::Block);
                let (whole, part) = (root.styled(style).to_yaml(), part.to_yaml());
                assert_eq!(one(&whole).to_json(), value, "{text}\n{whole}");
                assert_eq!(one(&part).to_json(), json!({"a": value}), "{text}\n{part}");
            }
        }
    }
}

#[test]
fn a_key_of_any_length_is_read_back() {
    for key in ["k".repeat(1500), format!("a, {}", "k ".repeat(700)), "é".repeat(1023)] {
        for value in ["1", "[1, {a: b}]", "|-\n    x\n    y", "\n  - 1\n", "\n    a: 1\n    b:\n    - c\n"] {
            let root = one(&format!("- ? '{key}'\n  : {value}\n"));
            let expected = root.to_json();
            for style in [Style::Block, Style::Flow] {
                let part = Node::Map(vec![(Node::string("a"), root.styled(style))], Style::Block).to_yaml();
                assert_eq!(one(&root.styled(style).to_yaml()).to_json(), expected, "{value}");
                assert_eq!(one(&part).to_json(), json!({"a": expected}), "{part}");
            }
        }
    }
}

#[test]
fn strings_are_quoted_where_they_would_be_something_else() {
    for text in
        ["", "yes", "null", "1", "0x1", "a: b", "a #b", "- a", "{a", "*a", "a:", " a", "a ", "\u{85}", "a\nb", "~"]
    {
        let mut map = Node::map();
        map.set("a", Node::string(text));
        assert_eq!(one(&map.to_yaml()).to_json(), json!({"a": text}));
    }
    let mut map = Node::map();
    map.set("image", Node::string("r.example.com:5000/lockside:1.0"));
    assert_eq!(map.to_yaml(), "image: r.example.com:5000/lockside:1.0\n");
}

#[test]
fn json_becomes_nodes_and_is_the_same_again() {
    let value = json!({"a": [1, -2, 1.5, true, null, "yes", {"b": []}], "c/d": u64::MAX, "e": i64::MIN});
    let node: Node = serde_json::from_str(&value.to_string()).expect("JSON");
    assert_eq!(node.to_json(), value);
}

#[test]
fn a_key_that_a_mapping_has_twice_is_a_fault_of_its_document_and_names_its_line() {
    for (text, place, key, first) in [
        ("a: 1\nb: 2\na: 3\n", (1, 3), "a", 1),
        ("x: {}\n---\ns:\n  - k: 1\n    l: [1]\n    k: [2]\n", (2, 6), "k", 4),
        ("a: {b: 1, c: 2, \"b\": 3}\n", (1, 1), "b", 1),
        ("1: a\n'1': b\n", (1, 2), "1", 1),
        ("a: &k key\nkey: 1\n*k : 2\n", (1, 3), "key", 2),
        ("? a\n: 1\n? a\n", (1, 3), "a", 1),
        ("a: 1\na: 2\nb: 1\nb: 2\n", (1, 2), "a", 1),
    ] {
        let documents = read(text).expect(text);
        assert!(documents[..place.0 - 1].iter().all(|document| document.duplicate.is_none()), "{text}");
        let fault = documents[place.0 - 1].duplicate.as_ref().expect(text);
        assert_eq!((fault.document, fault.line), place, "{text}");
        assert_eq!(fault.problem, format!("duplicate key `{key}`, first on line {first}"), "{text}");
    }
    let merged = "a: &a {x: 1}\nb: &b {y: 2}\nc:\n  <<: *a\n  <<: *b\n  x: 3\nd: {x: 1, <<: *a}\n";
    assert_eq!(one(merged).to_json()["c"], json!({"x": 3, "y": 2}), "merge keys may be several");
}

#[test]
fn a_key_that_an_object_of_json_has_twice_is_an_error() {
    let many: String = (0..100).map(|at| format!("\"k{at}\": 0, ")).collect();
    for (text, key) in [("{\"a\": [{\"b\": 1, \"b\": 1}]}", "b"), (&format!("{{{many}\"k50\": 0}}"), "k50")] {
        let error = serde_json::from_str::<Node>(text).expect_err(text);
        assert!(error.to_string().contains(&format!("duplicate key `{key}` at line 1 column ")), "{error}");
    }
}

#[test]
fn aliases_and_merge_keys_are_resolved() {
    let text = "base: &b {x: 1, y: 2}\none:\n  <<: *b\n  y: 3\ntwo: {<<: [*b, {z: 4}]}\nlist: [*b]\n";
    let base = json!({"x": 1, "y": 2});
    let expected = json!({"base": base, "one": {"x": 1, "y": 3}, "two": {"x": 1, "y": 2, "z": 4}, "list": [base]});
    assert_eq!(one(text).to_json(), expected);
}

#[test]
fn aliases_of_aliases_cannot_grow_without_limit() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let alias = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{alias}]\n"));
    }
    let fault = read(&text).expect_err("a hundred million nodes");
    assert!(fault.problem.contains("the aliases repeat more than"), "{fault}");
}

#[test]
fn what_is_nested_too_deep_is_a_fault_and_no_crash() {
    for text in ["[".repeat(100_000), "- ".repeat(100_000), "{a: ".repeat(100_000)] {
        assert!(read(&text).is_err());
    }
}

#[test]
fn a_document_stands_where_its_root_does() {
    let text = "# a\n---\n  a: 1\n  b:\n# c\n--- {d: e} # f\n...\n";
    let documents = read(text).expect("YAML");
    let places: Vec<&str> = documents.iter().map(|document| &text[document.range.clone()]).collect();
    assert_eq!(places, ["  a: 1\n  b:", "{d: e}"]);
    let roots: Vec<Value> =
        documents.iter().map(|document| document.root.as_ref().expect("a root").to_json()).collect();
    assert_eq!(roots, [json!({"a": 1, "b": null}), json!({"d": "e"})]);
}

#[test]
fn json_of_more_nodes_than_an_object_has_is_an_error() {
    for (item, most) in [("1", 499_999), ("{\"\":1}", 166_666)] {
        let of = |count: usize| serde_json::from_str::<Node>(&format!("[{}]", vec![item; count].join(",")));
        assert_eq!(of(most).expect("as many as may be").items().len(), most, "{item}");
        let error = of(most + 1).expect_err(item).to_string();
        assert!(error.contains("more than 500000 keys and values"), "{error}");
    }
}

#[test]
fn a_text_that_the_input_ends_in_has_a_newline_only_where_it_is_written() {
    for (text, value) in [
        ("|\n  text", "text"),
        ("|\n  text\n", "text\n"),
        ("|+\n  text", "text"),
        ("|-\n  text", "text"),
        (">\n  two\n  lines", "two lines"),
        (">\n  two\n  lines\n", "two lines\n"),
        ("|\n  text\n  ", "text\n"),
        ("|\n  text\n\n   ", "text\n\n "),
        ("|\n  text\n\n  # more", "text\n\n# more"),
    ] {
        assert_eq!(one(&format!("a: {text}")).to_json(), json!({"a": value}), "{text:?}");
    }
    let texts = read("a: |\n  x\n---\na: |\n  y").expect("YAML");
    let values: Vec<Value> = texts.iter().filter_map(|one| one.root.as_ref()).map(Node::to_json).collect();
    assert_eq!(values, [json!({"a": "x\n"}), json!({"a": "y"})]);
}
