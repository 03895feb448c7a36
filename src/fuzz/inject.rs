//! What holds of every text that is read as manifests, and of every review.

use serde_json::Value;

use super::Injector;
use crate::fuzz::text;
use crate::yaml::{self, Node, Style};

/// Longest text of which every key may be written in one line before its `:`.
const LONGEST_KEY: usize = 500;

/// A text is refused, or comes out such that a second time changes nothing; without the label it comes out as it is.
pub fn manifests(data: &[u8]) {
    let text = text(data);
    for root in yaml::read(&text).into_iter().flatten().filter_map(|document| document.root) {
        for style in [Style::Block, Style::Flow] {
            assert_is_read_back(&text, &root.styled(style), &root);
            let part = Node::List(vec![root.styled(style)], Style::Block);
            assert_is_read_back(&text, &part, &Node::List(vec![root.clone()], Style::Block));
        }
    }
    let injector = Injector::default();
    let injected = match injector.manifests(&text) {
        Ok(injected) => injected.text,
        Err(mistakes) => {
            assert!(!mistakes.is_empty());
            let is_unwritable = mistakes.iter().any(|mistake| mistake.contains("cannot write this layout"));
            assert!(!is_unwritable || text.len() > LONGEST_KEY, "{text:?}: {mistakes:?}");
            return;
        }
    };
    // A text may write it with escapes, too.
    assert!(injected == text || text.contains("inject") || text.contains('\\'), "{text:?}\n{injected:?}");
    match injector.manifests(&injected) {
        Ok(again) => assert_eq!(again.text, injected, "{text:?}"),
        Err(mistakes) => panic!("{text:?}\n{injected:?}\n{mistakes:?}"),
    }
}

/// What is written, in whichever style, is read back with the same values. Too long for a key, it may not be read at all.
fn assert_is_read_back(text: &str, written: &Node, expected: &Node) {
    let yaml = written.to_yaml();
    match yaml::read(&yaml) {
        Ok(again) => {
            let roots: Vec<Value> =
                again.iter().filter_map(|document| document.root.as_ref()).map(Node::to_json).collect();
            assert_eq!(roots, [expected.to_json()], "{text:?}\n{yaml}");
        }
        Err(fault) => assert!(text.len() > LONGEST_KEY, "{text:?}\n{yaml}\n{fault}"),
    }
}

/// What is answered is a review with the uid that was asked for, and a patch only where the pod is allowed.
pub fn review(data: &[u8]) {
    let Ok(answer) = Injector::default().review(data) else { return };
    let asked: Value = serde_json::from_slice(data).expect("it has been read");
    assert_eq!(answer["response"]["uid"], asked["request"]["uid"]);
    let is_allowed = answer["response"]["allowed"].as_bool().expect("a decision");
    assert!(is_allowed || answer["response"].get("patch").is_none());
    assert_eq!(answer["response"].get("patch").is_some(), answer["response"].get("patchType").is_some());
}
