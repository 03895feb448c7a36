//! The page at `/ui/` as it comes, without its script.

use serde_json::json;

use crate::harness::{Answer, Sidecar, TestRedis, Who, editor, reader, unique};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
    form-action 'none'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

async fn start() -> Sidecar {
    Sidecar::who_knows(&TestRedis::shared().url(), &[]).await
}

async fn page(sidecar: &Sidecar, who: &Who, query: &str) -> String {
    let answer = sidecar.ask(who, "GET", &format!("/ui/{query}")).send().await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_guarded(&answer);
    answer.text().to_owned()
}

fn assert_guarded(answer: &Answer) {
    for (name, value) in [
        ("content-security-policy", POLICY),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
}

#[tokio::test]
async fn it_comes_with_rows_in_which_every_text_is_a_text() {
    let sidecar = start().await;
    let prefix = unique("page");
    let hostile = "<script>alert(1)</script>\"'&\u{202e}";
    for (key, owner) in [(format!("{prefix}-{hostile}"), "web-3"), (format!("{prefix}-2"), hostile)] {
        let path: String = form_urlencoded::byte_serialize(key.as_bytes()).collect::<String>().replace('+', "%20");
        let body = json!({"ttlMs": 60_000, "owner": owner, "meta": {"a": hostile}});
        let answer = sidecar.ask(&Who::System, "POST", &format!("/v1/locks/{path}")).json(&body).send().await;
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    let html = page(&sidecar, &reader("alice"), &format!("?prefix={prefix}")).await;
    assert_eq!(html.matches("<th scope=\"row\">").count(), 2, "{html}");
    let escaped = "&lt;script&gt;alert(1)&lt;/script&gt;&quot;'&amp;\u{202e}";
    assert_eq!(html.matches(escaped).count(), 2, "{html}");
    assert!(!html.contains("<script>alert"), "{html}");
    let reflected = "?prefix=%22%3E%3Cscript%3Ealert(1)%3C/script%3E";
    let html = page(&sidecar, &Who::System, reflected).await;
    assert!(!html.contains("<script>alert") && html.contains("&quot;&gt;&lt;script&gt;"), "{html}");
}

#[tokio::test]
async fn of_a_shared_key_each_lease_is_a_row_with_its_mode() {
    let sidecar = start().await;
    let key = unique("shared");
    for body in [json!({"mode": "shared"}), json!({"limit": 3}), json!({"limit": 3})] {
        let answer = sidecar.ask(&Who::System, "POST", &format!("/v1/locks/{key}")).json(&body).send().await;
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    for (language, modes) in [("en", ["shared", "shared (3)"]), ("de", ["geteilt", "geteilt (3)"])] {
        let html = page(&sidecar, &Who::System, &format!("?prefix={key}&lang={language}")).await;
        assert_eq!(html.matches(&format!("<th scope=\"row\">{key}</th>")).count(), 3, "{html}");
        let counts = modes.map(|mode| html.matches(&format!("<td>{mode}</td>")).count());
        assert_eq!(counts, [1, 2], "{html}");
    }
}

#[tokio::test]
async fn more_than_the_first_rows_are_behind_a_link() {
    let sidecar = start().await;
    let prefix = unique("pages");
    for number in 0..51 {
        sidecar.ask(&Who::System, "POST", &format!("/v1/locks/{prefix}-{number}")).json(&json!({})).send().await;
    }
    let first = page(&sidecar, &Who::System, &format!("?prefix={prefix}&lang=de")).await;
    assert_eq!(first.matches("<th scope=\"row\">").count(), 50);
    let link = first.split("<p id=\"pages\"><a href=\"").nth(1).and_then(|rest| rest.split('"').next());
    let link = link.expect("a link").replace("&amp;", "&");
    assert!(link.starts_with("?lang=de&prefix="), "{link}");
    let next = page(&sidecar, &Who::System, &link).await;
    assert_eq!(next.matches("<th scope=\"row\">").count(), 1);
    assert!(!next.contains("<p id=\"pages\"><a"), "it is the last");
}

#[tokio::test]
async fn a_caller_who_may_not_list_sees_the_frame_and_no_row() {
    let sidecar = start().await;
    let key = unique("secret");
    sidecar.ask(&Who::System, "POST", &format!("/v1/locks/{key}")).json(&json!({})).send().await;
    let html = page(&sidecar, &Who::Nobody, "").await;
    assert!(html.contains("Sign in to see the locks.") && !html.contains(&key), "{html}");
    assert!(!html.contains("<tbody><tr>") && html.contains("<p id=\"facts\"></p>"), "{html}");
    let refused = sidecar.call("GET", "/ui/").header("authorization", "Bearer nonsense").send().await;
    assert_eq!(refused.status, 200);
    assert!(refused.text().contains("Your sign-in is not valid"), "{}", refused.text());
    let html = page(&sidecar, &editor("alice"), &format!("?prefix={key}")).await;
    assert!(html.contains(&key), "{html}");
}

#[tokio::test]
async fn it_speaks_the_language_that_is_asked_for() {
    let sidecar = start().await;
    let of = async |accepted: &str, query: &str| {
        let call = sidecar.ask(&Who::System, "GET", &format!("/ui/{query}")).header("accept-language", accepted);
        let answer = call.send().await;
        (answer.header("content-language").unwrap_or_default().to_owned(), answer.text().to_owned())
    };
    for (accepted, query, language, title) in [
        ("de-AT, en;q=0.5", "", "de", "Sperren"),
        ("fr", "", "en", "Locks"),
        ("de", "?lang=en", "en", "Locks"),
        ("en", "?lang=de", "de", "Sperren"),
    ] {
        let (said, html) = of(accepted, query).await;
        assert_eq!(said, language);
        assert!(html.contains(&format!("<html lang=\"{language}\">")) && html.contains(title), "{html}");
    }
}

#[tokio::test]
async fn while_redis_is_away_it_never_says_that_no_locks_are_held() {
    let mut redis = TestRedis::start(&[]);
    let sidecar = Sidecar::who_knows(&redis.url(), &["--redis-timeout=500ms"]).await;
    let html = page(&sidecar, &Who::System, "").await;
    assert!(html.contains("<p>No locks are held.</p>"), "{html}");
    redis.kill();
    let html = page(&sidecar, &Who::System, "").await;
    let message = html.split("<div id=\"message\">").nth(1).and_then(|rest| rest.split("</div>").next());
    let message = message.expect("a message");
    assert!(message.contains("Locks may be held that cannot be seen now."), "{message}");
    assert!(!message.contains("No locks are held."), "{message}");
}

#[tokio::test]
async fn its_files_are_small_static_and_known_by_their_tags() {
    let sidecar = start().await;
    let redirect = sidecar.call("GET", "/ui").send().await;
    assert_eq!((redirect.status, redirect.header("location")), (308, Some("ui/")));
    let html = page(&sidecar, &Who::Nobody, "").await;
    let mut bytes = html.len();
    let scripts = ["api", "details", "dialog", "dom", "locks", "stream", "table", "text", "ui"];
    let names = scripts.iter().map(|name| (format!("{name}.js"), "text/javascript; charset=utf-8"));
    let others = [("ui.css".to_owned(), "text/css; charset=utf-8"), ("icon.svg".to_owned(), "image/svg+xml")];
    for (name, content_type) in names.chain(others) {
        let file = sidecar.call("GET", &format!("/ui/{name}")).send().await;
        assert_eq!((file.status, file.header("content-type")), (200, Some(content_type)), "{name}");
        assert_guarded(&file);
        bytes += file.body.len();
        let tag = file.header("etag").expect("a tag").to_owned();
        assert_eq!(file.header("cache-control"), Some("no-cache"));
        let again = sidecar.call("GET", &format!("/ui/{name}")).header("if-none-match", &tag).send().await;
        assert_eq!((again.status, again.body.len()), (304, 0), "{name}");
    }
    assert!(bytes < 60_000, "{bytes} bytes");
    for (method, path, status) in
        [("GET", "/ui/nothing.js", 404), ("POST", "/ui/", 405), ("GET", "/ui/?cursor=x", 400), ("HEAD", "/ui/", 200)]
    {
        assert_eq!(sidecar.call(method, path).send().await.status, status, "{method} {path}");
    }
    let elsewhere = sidecar.call("GET", "/ui/").header("host", "evil.test").send().await;
    assert_eq!(elsewhere.status, 403, "a name that is not answered to");
}
