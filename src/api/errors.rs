//! `GET /errors`: what each code of an error means, the page that the `type` of a problem names. The documentation's page,
//! as HTML for browsers and as Markdown for all other clients. Needs no credential.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::{ACCEPT, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, VARY};

use super::html::escaped;
use crate::headers::values;
use crate::server::{Body, Response};

/// The page; its headings of the second level are the codes.
const PAGE: &str = include_str!("../../docs/reference/errors.md");

const HEAD: &str = "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Errors of lockside</title>\n\
    <meta name=\"viewport\" content=\"width=device-width\">\n<style>:root{color-scheme:light dark}\
    body{max-width:45em;margin:2em auto;padding:0 1em;font:1em/1.5 sans-serif}:target{text-decoration:underline}</style>\n";

/// What a problem's `type` begins with: nothing, for a reference to the sidecar itself, or where else the page is.
#[derive(Clone, Debug, Default)]
pub struct Docs(Arc<str>);

impl Docs {
    /// `url` is --docs-url, under which `/errors` is served.
    pub fn at(url: Option<&str>) -> Docs {
        Docs(url.unwrap_or_default().into())
    }

    /// The `type` of a problem with this code.
    pub fn type_of(&self, code: &str) -> String {
        format!("{}/errors#{code}", self.0)
    }
}

/// The page, in the form that the caller asks for.
pub fn page(asked: &HeaderMap) -> Response {
    static HTML: OnceLock<Bytes> = OnceLock::new();
    static MARKDOWN: OnceLock<Bytes> = OnceLock::new();
    let accepts = values(asked, ACCEPT).filter_map(|value| value.to_str().ok());
    let is_html = accepts.flat_map(|value| value.split(',')).any(|range| range.trim_start().starts_with("text/html"));
    let (body, content_type) = if is_html {
        (HTML.get_or_init(|| Bytes::from(html(PAGE))).clone(), "text/html; charset=utf-8")
    } else {
        (MARKDOWN.get_or_init(|| Bytes::from(markdown(PAGE))).clone(), "text/markdown; charset=utf-8")
    };
    let mut response = Response::new(Body::whole(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    response
}

/// The page as Markdown, without its links: they lead to pages that are not served here.
fn markdown(page: &str) -> String {
    let parts = page.split('`').enumerate();
    let parts = parts.map(|(number, part)| if number % 2 == 0 { without_links(part) } else { part.to_owned() });
    parts.collect::<Vec<_>>().join("`")
}

/// The page as HTML. The Markdown has headings and paragraphs, with code, bold words and links; a link leads to a page
/// that is not served here, and so its words alone remain.
fn html(page: &str) -> String {
    let blocks = page.split("\n\n").map(str::trim).filter(|block| !block.is_empty());
    let blocks = blocks.map(|block| match block.split_once(' ') {
        Some(("#", title)) => format!("<h1>{}</h1>\n", inline(title)),
        Some(("##", code)) => format!("<h2 id=\"{0}\"><a href=\"#{0}\">{0}</a></h2>\n", escaped(code)),
        _ => format!("<p>{}</p>\n", inline(block)),
    });
    std::iter::once(HEAD.to_owned()).chain(blocks).collect()
}

/// A text with its code, bold words and links.
fn inline(text: &str) -> String {
    let bold = |(number, words): (usize, &str)| match (number % 2, escaped(&without_links(words))) {
        (1, words) => format!("<b>{words}</b>"),
        (_, words) => words,
    };
    let code = |(number, part): (usize, &str)| match number % 2 {
        1 => format!("<code>{}</code>", escaped(part)),
        _ => part.split("**").enumerate().map(bold).collect(),
    };
    text.split('`').enumerate().map(code).collect()
}

/// `[words](target)` as its words.
fn without_links(text: &str) -> String {
    let mut made = String::new();
    let mut rest = text;
    while let Some((before, link)) = rest.split_once('[')
        && let Some((words, after)) = link.split_once("](")
        && let Some((_, after)) = after.split_once(')')
    {
        made.push_str(before);
        made.push_str(words);
        rest = after;
    }
    made + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_a_failure_has_its_anchor() {
        const FAILURES: &str = include_str!("failure.rs");
        let page = html(PAGE);
        let codes: Vec<&str> = FAILURES.split("=> row(\"").skip(1).filter_map(|row| row.split('"').next()).collect();
        assert!(codes.len() > 10, "{codes:?}");
        for code in codes {
            assert_eq!(page.matches(&format!("<h2 id=\"{code}\">")).count(), 1, "{code}");
        }
    }

    #[test]
    fn the_page_is_html_of_what_the_markdown_says() {
        let page = html("# A\n\n## held\n\nIs `a<b` & **Do:** see [there](../x.md), and\n[here](y).\n");
        let body = page.strip_prefix(HEAD).expect("its head");
        assert_eq!(
            body,
            "<h1>A</h1>\n<h2 id=\"held\"><a href=\"#held\">held</a></h2>\n\
             <p>Is <code>a&lt;b</code> &amp; <b>Do:</b> see there, and\nhere.</p>\n"
        );
        let page = html(PAGE);
        for left in ["*", "](", "`", "\n#"] {
            assert!(!page.contains(left), "`{left}` is left of the Markdown");
        }
    }

    #[test]
    fn the_markdown_has_no_link_to_a_page_that_is_not_served() {
        let text = "# A\n\nIs `[a](b)`: see [there](../x.md), and\n[over\nhere](y).\n";
        assert_eq!(markdown(text), "# A\n\nIs `[a](b)`: see there, and\nover\nhere.\n");
        let page = markdown(PAGE);
        assert!(!page.contains("](") && page.contains("\n## held\n"), "{page}");
    }

    #[test]
    fn a_type_is_relative_unless_the_documents_are_elsewhere() {
        assert_eq!(Docs::default().type_of("held"), "/errors#held");
        assert_eq!(Docs::at(Some("https://docs.test/l")).type_of("held"), "https://docs.test/l/errors#held");
    }
}
