//! The grammar line by line, what is decided, and that no line takes anything away.

use serde_json::{Value, json};

use super::*;

fn policy(text: &str) -> Policy {
    Policy::parse(text.as_bytes()).unwrap_or_else(|mistakes| panic!("{text}: {mistakes}"))
}

fn user(sub: &str, claims: Value) -> Subject {
    let Value::Object(claims) = claims else { panic!("no object: {claims}") };
    Subject::User(UserFacts { sub: Some(sub.to_owned()), claims: claims.into() })
}

fn token(name: &str) -> Subject {
    Subject::Token(name.into())
}

/// Whether a caller may lock a key by a policy of one line.
fn may_lock(line: &str, subject: &Subject, key: &str) -> bool {
    policy(line).allows(subject, Verb::Lock, key)
}

#[test]
fn a_key_is_allowed_as_it_is_or_by_its_beginning() {
    let ci = token("ci");
    for (keys, allowed, denied) in [
        ("deploy/*", "deploy/web", "deploy"),
        ("deploy/*", "deploy/", "xdeploy/"),
        ("deploy", "deploy", "deploy/"),
        ("*", "anything at all", "\u{0}none"),
        ("a b*", "a", "ab"),
        ("a\\ b", "a b", "a"),
        ("a\\*", "a*", "ab"),
        ("\\{sub\\}", "{sub}", "ci"),
        ("lockstore||ci-*", "lockstore||ci-7", "lockstore|ci-7"),
        ("x \\#y", "#y", "\\#y"),
        ("a#b #comment", "a#b", "#comment"),
    ] {
        let line = format!("token:ci\tlock  {keys}");
        assert!(may_lock(&line, &ci, allowed), "{line}: {allowed}");
        assert!(keys == "*" || !may_lock(&line, &ci, denied), "{line}: {denied}");
    }
}

#[test]
fn a_line_is_about_its_subject_alone() {
    let alice = || user("alice", json!({"team": "red", "permissions": ["lead"], "level": 7}));
    let others = [user("bob", json!({})), token("ci"), token("alice"), Subject::Anonymous];
    for who in ["user:alice", "permission:lead", "claim:team=red", "claim:level=7"] {
        let line = format!("{who} lock *");
        assert!(may_lock(&line, &alice(), "k"), "{line}");
        for other in &others {
            assert!(!may_lock(&line, other, "k"), "{line}: {other:?}");
        }
    }
    assert!(may_lock("user:* lock *", &others[0], "k") && !may_lock("user:* lock *", &others[1], "k"));
    assert!(may_lock("token:* lock *", &others[1], "k") && !may_lock("token:* lock *", &others[0], "k"));
    assert!(!may_lock("token:ci lock *", &others[2], "k"), "another token");
    assert!(may_lock("anonymous lock *", &others[3], "k") && !may_lock("anonymous lock *", &alice(), "k"));
    let starred = user("*", json!({}));
    assert!(may_lock("user:\\* lock *", &starred, "k") && !may_lock("user:\\* lock *", &alice(), "k"));
}

#[test]
fn a_permission_is_found_as_the_built_in_one_is() {
    let may = |claims| may_lock("permission:lead lock *", &user("a", claims), "k");
    assert!(may(json!({"permissions": "read lead"})) && may(json!({"scope": "lead openid"})));
    assert!(may(json!({"permissions": null, "scope": ["lead"]})));
    assert!(!may(json!({"permissions": [], "scope": "lead"})), "permissions go before scope");
    assert!(!may(json!({"permissions": {"lead": true}})) && !may(json!({"permissions": "leader"})));
}

#[test]
fn a_variable_stands_for_each_value_of_a_claim_that_is_a_name() {
    let may = |claim: Value, key: &str| may_lock("user:* lock {claim:team}/*", &user("a", json!({"team": claim})), key);
    for (claim, key) in [
        (json!("red"), "red/1"),
        (json!(7), "7/1"),
        (json!(-7), "-7/"),
        (json!(["red", "blue"]), "blue/1"),
        (json!("*"), "*/1"),
        (json!("{sub}"), "{sub}/1"),
    ] {
        assert!(may(claim.clone(), key), "{claim} {key}");
    }
    for (claim, key) in [
        (json!(""), "/1"),
        (json!(null), "/1"),
        (json!(true), "true/1"),
        (json!(1.5), "1.5/1"),
        (json!({"a": "b"}), "b/1"),
        (json!(["red", ["blue"]]), "red/1"),
        (json!(["red", ""]), "/1"),
        (json!("*"), "red/1"),
        (json!("red/blue"), "red/blue/1"),
        (json!("/"), "//1"),
        (json!("red"), "redder/1"),
        (json!("red"), "red"),
    ] {
        assert!(!may(claim.clone(), key), "{claim} {key}");
    }
    assert!(!may_lock("user:* lock {claim:team}/*", &user("a", json!({})), "/1"), "absent");
    assert!(!may_lock("token:* lock {sub}/*", &token("a"), "a/1"), "a token has no sub");
    assert!(may_lock("user:* lock {sub}", &user("a/b", json!({})), "a/b"), "no character is behind it");
    let both = user("ann", json!({"team": ["red", "blue"]}));
    assert!(may_lock("user:* lock {claim:team}-{sub}:*", &both, "blue-ann:1"));
    assert!(!may_lock("user:* lock {claim:team}-{sub}:*", &both, "blue-bob:1"));
}

#[test]
fn every_mistake_is_told_with_its_line() {
    for (text, expected) in [
        ("", "no rule"),
        ("# nothing\n\n  # more\n", "no rule"),
        ("token:ci lock", "line 1: expected a subject"),
        ("token:ci", "line 1: expected a subject"),
        ("group:x lock *", "`group:x` is no subject"),
        ("root lock *", "`root` is no subject"),
        ("user: lock *", "names no one"),
        ("user:a* lock *", "stands alone"),
        ("permission:* lock *", "has no `*`"),
        ("claim:team lock *", "expected claim:NAME=VALUE"),
        ("claim:=x lock *", "expected claim:NAME=VALUE"),
        ("token:a/b lock *", "name of a token"),
        ("token:ci locks *", "`locks` is no verb"),
        ("token:ci lock, *", "`` is no verb"),
        ("token:ci lock a*b", "stands at the end only"),
        ("user:* lock {sub}*", "directly before `*`"),
        ("user:* lock {sub}{claim:x}", "a character between"),
        ("user:* lock {sub", "not closed"),
        ("user:* lock sub}", "closes no variable"),
        ("user:* lock {name}", "is no variable"),
        ("user:* lock {claim:}", "is no variable"),
        ("token:ci lock a\\", "ends with a backslash"),
    ] {
        let mistakes = Policy::parse(text.as_bytes()).expect_err(text);
        assert!(mistakes.contains(expected), "{text}: {mistakes}");
    }
    let many = "token:ci lock *\r\nroot look a*b\r\n\r\nuser:* lock {sub}*\r\n";
    let mistakes = Policy::parse(many.as_bytes()).expect_err(many);
    for mistake in ["line 2: `root`", "line 2: `look`", "line 2: `a*b`", "line 4: `{sub}*`"] {
        assert!(mistakes.contains(mistake), "{mistake}: {mistakes}");
    }
    assert!(Policy::parse(b"token:ci lock \xff").is_err());
    assert!(policy("token:ci lock a\r\n").allows(&token("ci"), Verb::Lock, "a"), "CRLF ends a line");
}

#[test]
fn manage_locks_may_force_release_while_no_line_names_it() {
    let manager = user("ann", json!({"permissions": ["manage-locks"]}));
    let may = |text: &str| policy(text).allows(&manager, Verb::ForceRelease, "k");
    assert!(may("token:ci lock,read *"));
    assert!(!may("token:ci lock,force-release *"));
    assert!(may("permission:manage-locks force-release *"));
    let built_in = policy("token:ci lock *");
    let told = built_in.decide(&manager, Verb::ForceRelease, "k").map(|allowed| allowed.to_string());
    assert!(told.is_some_and(|told| told.starts_with("built in")));
    let told = policy("# a\ntoken:ci lock x a\\**").decide(&token("ci"), Verb::Lock, "a*b").map(|it| it.to_string());
    assert_eq!(told.as_deref(), Some("line 2, token:ci, pattern a\\**"));
}

#[test]
fn everywhere_is_a_lone_star_and_somewhere_is_any_pattern_that_can_match() {
    let (ann, ci) = (user("ann", json!({})), token("ci"));
    let policy = policy("token:ci read *\nuser:* lock {sub}/*\nuser:* read {claim:team}/*");
    assert!(policy.allows_everywhere(&ci, Verb::Read) && !policy.allows_everywhere(&ci, Verb::Lock));
    assert!(!policy.allows_everywhere(&ann, Verb::Lock) && policy.allows_somewhere(&ann, Verb::Lock));
    assert!(!policy.allows_somewhere(&ann, Verb::Read), "she has no team");
}

/// Small numbers that look random, and are the same in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.roll(of.len())]
    }
}

#[test]
fn removing_a_line_never_allows_more() {
    const SUBJECTS: [&str; 8] = [
        "user:*",
        "user:ann",
        "permission:lead",
        "permission:manage-locks",
        "claim:team=red",
        "token:*",
        "token:ci",
        "anonymous",
    ];
    const VERBS: [&str; 5] = ["lock", "read", "lock,read", "read,force-release", "force-release"];
    const KEYS: [&str; 7] = ["*", "a", "a/*", "{sub}/*", "{claim:team}/*", "{claim:team}", "a/b*"];
    let subjects = [
        user("ann", json!({"team": ["red", "a"], "permissions": ["lead", "manage-locks"]})),
        user("a", json!({"team": "*", "scope": "manage-locks"})),
        user("b", json!({})),
        token("ci"),
        Subject::Anonymous,
    ];
    let mut dice = Dice(7);
    let mut allowed = 0;
    for _ in 0..400 {
        let lines: Vec<String> = (0..2 + dice.roll(5))
            .map(|_| {
                format!("{} {} {} {}", dice.pick(&SUBJECTS), dice.pick(&VERBS), dice.pick(&KEYS), dice.pick(&KEYS))
            })
            .collect();
        let all = policy(&lines.join("\n"));
        for without in 0..lines.len() {
            let rest: Vec<&str> =
                lines.iter().enumerate().filter(|(at, _)| *at != without).map(|(_, line)| line.as_str()).collect();
            let fewer = policy(&rest.join("\n"));
            let names_force = rest.iter().any(|line| line.contains("force-release"));
            for (subject, verb) in subjects.iter().flat_map(|subject| Verb::ALL.map(|verb| (subject, verb))) {
                // The built-in line comes back with the last that names it.
                if verb == Verb::ForceRelease && !names_force {
                    continue;
                }
                for key in ["a", "a/b", "red/x", "ann/1", "*/1", "red", "z"] {
                    let is_more = fewer.allows(subject, verb, key) && !all.allows(subject, verb, key);
                    assert!(!is_more, "{lines:#?} without {without}: {subject:?} {verb:?} {key}");
                    allowed += usize::from(fewer.allows(subject, verb, key));
                }
            }
        }
    }
    assert!(allowed > 1000, "{allowed}");
}

#[test]
fn limits_are_by_name_before_star_and_the_lowest_of_each() {
    let text = "token:* lock *\ntoken:* limit locks=10 ttl=1h\ntoken:ci limit locks=100 waiters=20\n\
        permission:batch limit locks=5 requests=7\nuser:ann limit locks=6\nuser:* limit holds=1\nanonymous limit ttl=500ms\n";
    let policy = policy(text);
    let none = Limits::default();
    let ci = Limits { locks: Some(100), waiters: Some(20), ttl_ms: Some(3_600_000), ..none };
    assert_eq!(policy.limits(&token("ci")), ci);
    assert_eq!(policy.limits(&token("web")), Limits { locks: Some(10), ttl_ms: Some(3_600_000), ..none });
    let ann = user("ann", json!({"permissions": "batch"}));
    assert_eq!(policy.limits(&ann), Limits { locks: Some(5), requests: Some(7), holds: Some(1), ..none });
    assert_eq!(policy.limits(&Subject::Anonymous), Limits { ttl_ms: Some(500), ..none });
    for (line, expected) in [
        ("token:ci limit", "names no limit"),
        ("token:ci limit lock=1", "`lock=1` is no limit"),
        ("token:ci limit locks", "expected a number"),
        ("token:ci limit locks=-1", "expected a number"),
        ("token:ci limit locks=1 locks=2", "twice"),
        ("token:ci limit ttl=5", "expected 10ms to 8760h"),
        ("token:ci limit ttl=1ms", "expected 10ms to 8760h"),
        ("root limit locks=1 x=2", "`root` is no subject"),
        ("root limit locks=1 x=2", "`x=2` is no limit"),
        ("token:ci limit locks=1", "no rule"),
    ] {
        let mistakes = Policy::parse(line.as_bytes()).expect_err(line);
        assert!(mistakes.contains(expected), "{line}: {mistakes}");
    }
}
