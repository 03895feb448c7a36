//! What holds of every text that is read as manifests, and of every review.

use serde_json::Value;

use super::Injector;
use crate::fuzz::text;

/// A text is refused, or comes out such that a second time changes nothing; without the label it comes out as it is.
pub fn manifests(data: &[u8]) {
    let text = text(data);
    let injector = Injector::default();
    let injected = match injector.manifests(&text) {
        Ok(injected) => injected.text,
        Err(mistakes) => {
            assert!(!mistakes.is_empty());
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

/// What is answered is a review with the uid that was asked for, and a patch only where the pod is allowed.
pub fn review(data: &[u8]) {
    let Ok(answer) = Injector::default().review(data) else { return };
    let asked: Value = serde_json::from_slice(data).expect("it has been read");
    assert_eq!(answer["response"]["uid"], asked["request"]["uid"]);
    let is_allowed = answer["response"]["allowed"].as_bool().expect("a decision");
    assert!(is_allowed || answer["response"].get("patch").is_none());
    assert_eq!(answer["response"].get("patch").is_some(), answer["response"].get("patchType").is_some());
}
