//! The page as HTML: what stands on it always, and the first rows.

use std::fmt::Write;

use super::texts::{all, filled, text};
use crate::api::failure::Failure;
use crate::api::html::escaped;
use crate::api::language::Language;
use crate::api::native::Status;
use crate::api::wire::rfc3339;
use crate::lock::{Lease, Listed, Mode, OwnerKind};

/// The columns, and whether their cells are numbers.
const COLUMNS: [(&str, bool); 8] = [
    ("key", false),
    ("owner", false),
    ("kind", false),
    ("mode", false),
    ("since", false),
    ("held-for", true),
    ("ends-in", true),
    ("waiters", true),
];

/// What stands in the table, or instead of it.
pub enum Content {
    /// The first rows, and the cursor of the next, where there are more.
    Rows(Vec<Listed>, Option<String>),
    SignedOut {
        /// Whether a credential was shown, and is no good.
        is_refused: bool,
    },
    NotAllowed(Failure),
    /// The places of lists are taken.
    Busy,
    Unavailable(Failure),
}

pub struct Frame<'a> {
    pub language: Language,
    pub prefix: &'a str,
    pub content: &'a Content,
    /// `None` for a caller who may not see it.
    pub status: Option<&'a Status>,
}

impl Frame<'_> {
    pub fn html(&self) -> String {
        let Frame { language, content, .. } = self;
        let say = |name| text(*language, name);
        let (rows, more) = match content {
            Content::Rows(rows, next) => (self.rows(rows), next.as_deref().map(|next| self.link_to(next))),
            _ => (String::new(), None),
        };
        let columns: String = COLUMNS.iter().map(|(name, is_number)| self.column(name, *is_number)).collect();
        let other = language.choose("de", "en");
        format!(
            r##"<!doctype html>
<html lang="{lang}">
<head>
<meta charset="utf-8">
<title>{title} · lockside</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="ui.css">
<script type="module" src="ui.js"></script>
</head>
<body>
<header>
<h1>{title}</h1>
<p id="facts">{facts}</p>
<p id="state" data-state="{state}">{state_text}</p>
<nav><a id="language" href="?lang={other}" hreflang="{other}" lang="{other}">{other_language}</a>
<button id="sign-out" type="button" hidden>{sign_out}</button></nav>
</header>
<main>
<ul id="warnings" aria-label="{warnings_label}">{warnings}</ul>
<dl id="numbers">{numbers}</dl>
<form id="sign-in" hidden>
<label for="credential">{token_field}</label>
<input id="credential" type="password" pattern="\s*[!-~]+\s*" autocomplete="off" spellcheck="false" required>
<button>{sign_in}</button>
<small>{sign_in_kept}</small>
</form>
<div id="tools" role="search" hidden>
<label for="prefix">{search}</label>
<input id="prefix" type="search" value="{prefix}" spellcheck="false" autocapitalize="off" autocomplete="off">
</div>
<p id="freshness" role="status"></p>
<p id="outcome" role="status"></p>
<p id="changes" class="unseen" role="status"></p>
<noscript><p>{without_script}</p></noscript>
<div id="place"{hidden}>
<table id="locks" aria-label="{title}">
<thead><tr>{columns}</tr></thead>
<tbody>{rows}</tbody>
</table>
</div>
<div id="message">{message}</div>
<p id="pages">{more}</p>
</main>
<dialog id="force" aria-labelledby="force-title"></dialog>
<script type="application/json" id="texts">{texts}</script>
</body>
</html>
"##,
            lang = language.tag(),
            title = say("title"),
            facts = self.facts(),
            state = self.state().0,
            state_text = escaped(&self.state().1),
            other_language = say("other-language"),
            sign_out = say("sign-out"),
            warnings_label = say("warnings"),
            warnings = self.warnings(),
            numbers = self.numbers(),
            token_field = say("token-field"),
            sign_in = say("sign-in"),
            sign_in_kept = say("sign-in-kept"),
            search = say("search"),
            prefix = escaped(self.prefix),
            without_script = say("without-script"),
            hidden = if rows.is_empty() { " hidden" } else { "" },
            message = self.message(),
            more = more.unwrap_or_default(),
            texts = all(*language),
        )
    }

    fn column(&self, name: &str, is_number: bool) -> String {
        let class = if is_number { r#" class="number""# } else { "" };
        format!(r#"<th scope="col" data-column="{name}"{class}>{}</th>"#, text(self.language, name))
    }

    /// The namespace, and which Redis it lies in.
    fn facts(&self) -> String {
        let Some(Status { key_prefix, redis, .. }) = self.status else { return String::new() };
        let (label, address) = (text(self.language, "key-prefix"), escaped(&redis.address));
        let mut facts = format!("{label} <code>{}</code> · Redis <code>{address}</code>", escaped(key_prefix));
        for known in [&redis.role, &redis.version].into_iter().flatten() {
            let _ = write!(facts, ", {}", escaped(known));
        }
        facts
    }

    /// A word for the style, and a sentence.
    fn state(&self) -> (&'static str, String) {
        let language = self.language;
        match self.status {
            None => ("unknown", String::new()),
            Some(Status { redis, .. }) if redis.reason.is_some() => {
                let reason = redis.reason.as_deref().unwrap_or_default();
                ("not-ready", filled(language, "not-ready", &[("reason", reason)]))
            }
            Some(Status { warnings, .. }) if warnings.is_empty() => ("ready", text(language, "ready").to_owned()),
            Some(Status { warnings, .. }) => {
                let codes: Vec<&str> = warnings.iter().map(|warning| warning.code).collect();
                ("degraded", filled(language, "degraded", &[("codes", &codes.join(", "))]))
            }
        }
    }

    fn warnings(&self) -> String {
        let warnings = self.status.map(|status| status.warnings.as_slice()).unwrap_or_default();
        let item = |code, text| format!("<li><b>{code}</b> {}</li>", escaped(text));
        warnings.iter().map(|warning| item(warning.code, &warning.text)).collect()
    }

    fn numbers(&self) -> String {
        let Some(Status { locks, waiting, oldest, .. }) = self.status else { return String::new() };
        let number = |number: &Option<u64>| number.map_or_else(|| "–".to_owned(), |number| number.to_string());
        let time = |time: &String| format!("<time datetime=\"{time}\">{time}</time>");
        let oldest = oldest.as_ref().map_or_else(|| "–".to_owned(), time);
        let numbers = [
            ("held", "./", number(locks)),
            ("waiting", "./?sort=-waiters", number(waiting)),
            ("oldest", "./?sort=since", oldest),
        ];
        let item = |(name, link, number): &(&str, &str, String)| {
            let label = text(self.language, name);
            format!(r#"<div><dt>{label}</dt><dd><a id="number-{name}" href="{link}">{number}</a></dd></div>"#)
        };
        numbers.iter().map(item).collect()
    }

    /// What stands instead of rows.
    fn message(&self) -> String {
        let language = self.language;
        let say = |failure: &Failure| {
            let row = failure.row();
            language.choose(row.english, row.german)
        };
        let paragraph = |text: &str| format!("<p>{}</p>", escaped(text));
        match self.content {
            Content::Rows(rows, _) if !rows.is_empty() => String::new(),
            Content::Rows(..) if !self.prefix.is_empty() => {
                let none = paragraph(&filled(language, "none-found", &[("prefix", self.prefix)]));
                format!("{none}<p><a href=\"./\">{}</a></p>", text(language, "show-all"))
            }
            Content::Rows(..) => paragraph(text(language, "none")),
            Content::SignedOut { is_refused: true } => paragraph(text(language, "sign-in-refused")),
            Content::SignedOut { is_refused: false } => paragraph(text(language, "sign-in-needed")),
            Content::NotAllowed(failure) => paragraph(&filled(language, "not-allowed", &[("reason", say(failure))])),
            Content::Busy => paragraph(text(language, "busy")) + &paragraph(text(language, "not-seen")),
            Content::Unavailable(failure) => {
                let unavailable = filled(language, "unavailable", &[("reason", say(failure))]);
                paragraph(&unavailable) + &paragraph(text(language, "not-seen"))
            }
        }
    }

    fn rows(&self, rows: &[Listed]) -> String {
        rows.iter().map(|row| self.row(row)).collect()
    }

    fn row(&self, Listed { lease, waiters }: &Listed) -> String {
        let Lease { key, mode, owner, since_ms, valid_for_ms, valid_until_ms, .. } = lease;
        let now_ms = valid_until_ms.saturating_sub(*valid_for_ms);
        let kind = match owner.kind {
            OwnerKind::User => "user",
            OwnerKind::System => "system",
        };
        let name = escaped(owner.label.as_deref().unwrap_or(&owner.id));
        let resting = if lease.is_resting { format!(" ({})", text(self.language, "resting")) } else { String::new() };
        let mode_text = match mode {
            Mode::Exclusive => "exclusive",
            Mode::Shared { .. } => "shared",
        };
        let limit = mode.limit().map(|limit| format!(" ({limit})")).unwrap_or_default();
        let (since, held_for) = (rfc3339(*since_ms), duration(now_ms.saturating_sub(*since_ms)));
        format!(
            "<tr><th scope=\"row\">{key}</th><td>{name}{resting}</td><td>{kind}</td><td>{mode}{limit}</td>\
             <td><time datetime=\"{since}\">{since}</time></td><td class=\"number\">{held_for}</td>\
             <td class=\"number\">{ends_in}</td><td class=\"number\">{waiters}</td></tr>\n",
            key = escaped(key.as_str()),
            kind = text(self.language, kind),
            mode = text(self.language, mode_text),
            ends_in = duration(*valid_for_ms),
        )
    }

    fn link_to(&self, next: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("lang", self.language.tag());
        if !self.prefix.is_empty() {
            query.append_pair("prefix", self.prefix);
        }
        query.append_pair("cursor", next);
        let label = text(self.language, "next-page");
        format!("<a href=\"?{}\">{label}</a>", escaped(&query.finish()))
    }
}

/// `41 s`, `4 min 10 s`, `10 min`, `2 h 5 min`, `3 d 4 h`.
fn duration(ms: u64) -> String {
    let s = ms / 1000;
    let (large, unit, small, rest) = match s {
        0..60 => (s, "s", 0, ""),
        60..3_600 => (s / 60, "min", s % 60, "s"),
        3_600..86_400 => (s / 3_600, "h", s / 60 % 60, "min"),
        _ => (s / 86_400, "d", s / 3_600 % 24, "h"),
    };
    if small == 0 { format!("{large} {unit}") } else { format!("{large} {unit} {small} {rest}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_two_units_at_most() {
        for (s, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (250, "4 min 10 s"),
            (3_600, "1 h"),
            (7_500, "2 h 5 min"),
            (86_400, "1 d"),
            (273_600, "3 d 4 h"),
        ] {
            assert_eq!(duration(s * 1000 + 999), text);
        }
    }
}
