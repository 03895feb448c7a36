//! Every text of the page, in both languages. What stands in braces is filled in.

use crate::api::language::Language;

/// A text's name, and how it reads in English and in German.
type Row = (&'static str, &'static str, &'static str);

const TEXTS: &[Row] = &[
    ("title", "Locks", "Sperren"),
    ("other-language", "Deutsch", "English"),
    ("key-prefix", "Namespace", "Namensraum"),
    // The state of Redis.
    ("ready", "Ready", "Bereit"),
    ("degraded", "Ready, with warnings: {codes}", "Bereit, mit Warnungen: {codes}"),
    ("not-ready", "Locks cannot be granted: {reason}", "Es können keine Sperren vergeben werden: {reason}"),
    ("warnings", "Warnings", "Warnungen"),
    // The numbers.
    ("held", "Held", "Gehalten"),
    ("waiting", "Waiting", "Wartend"),
    ("oldest", "Oldest", "Älteste"),
    ("unknown", "unknown", "unbekannt"),
    // The search.
    ("search", "Keys that begin with", "Schlüssel, die beginnen mit"),
    // The table.
    ("key", "Key", "Schlüssel"),
    ("owner", "Owner", "Inhaber"),
    ("kind", "Kind", "Art"),
    ("mode", "Mode", "Modus"),
    ("exclusive", "exclusive", "exklusiv"),
    ("shared", "shared", "geteilt"),
    ("limit", "Limit", "Höchstzahl"),
    ("since", "Since", "Seit"),
    ("held-for", "Held for", "Gehalten für"),
    ("ends-in", "Ends in", "Endet in"),
    ("waiters", "Waiters", "Wartende"),
    ("user", "user", "Benutzer"),
    ("system", "service", "Dienst"),
    ("resting", "released, still taken", "freigegeben, noch belegt"),
    ("long", "held for more than ten times its TTL", "länger gehalten als das Zehnfache seiner TTL"),
    ("sorted-rows", "Sorted are the {count} rows shown.", "Sortiert sind die {count} gezeigten Zeilen."),
    ("shown", "{count} of {all} locks", "{count} von {all} Sperren"),
    ("first-page", "First page", "Erste Seite"),
    ("next-page", "Next page", "Nächste Seite"),
    (
        "without-script",
        "Without JavaScript this page shows one moment. Keys that begin with a text: ?prefix=TEXT in the address.",
        "Ohne JavaScript zeigt diese Seite einen Augenblick. Schlüssel, die mit einem Text beginnen: ?prefix=TEXT in der \
         Adresse.",
    ),
    // What there is instead of rows.
    ("none", "No locks are held.", "Es werden keine Sperren gehalten."),
    ("none-try", "To see one here, acquire it:", "Um eine zu sehen, fordern Sie sie an:"),
    ("none-found", "No key that is held begins with “{prefix}”.", "Kein gehaltener Schlüssel beginnt mit „{prefix}“."),
    ("show-all", "Show all locks", "Alle Sperren zeigen"),
    ("sign-in-needed", "Sign in to see the locks.", "Melden Sie sich an, um die Sperren zu sehen."),
    ("sign-in-refused", "Your sign-in is not valid, or has expired.", "Ihre Anmeldung ist ungültig oder abgelaufen."),
    ("not-allowed", "You are not allowed to see the locks: {reason}", "Sie dürfen die Sperren nicht sehen: {reason}"),
    ("busy", "Other lists are being read. Trying again.", "Andere Listen werden gelesen. Neuer Versuch folgt."),
    ("unavailable", "The locks cannot be read: {reason}", "Die Sperren können nicht gelesen werden: {reason}"),
    ("not-seen", "Locks may be held that cannot be seen now.", "Es kann Sperren geben, die jetzt nicht zu sehen sind."),
    // How fresh it is.
    ("live", "Live", "Live"),
    ("connecting", "Connecting …", "Verbindung wird aufgebaut …"),
    (
        "polled-busy",
        "Not live, since too many others watch: as of {time}, every 5 s",
        "Nicht live, weil zu viele andere zusehen: Stand {time}, alle 5 s",
    ),
    ("polled", "More than 10,000 locks: as of {time}, every 5 s", "Mehr als 10.000 Sperren: Stand {time}, alle 5 s"),
    (
        "interrupted",
        "Not live: what is shown is as of {time}. Connecting again …",
        "Nicht live: Stand von {time}. Die Verbindung wird wieder aufgebaut …",
    ),
    (
        "interrupted-redis",
        "Redis has been unavailable since {time}: what is shown is older.",
        "Redis ist seit {time} nicht erreichbar: was gezeigt wird, ist älter.",
    ),
    ("ended", "{key}, which {owner} had: {what}", "{key}, gehalten von {owner}: {what}"),
    ("changed", "{count} locks changed", "{count} Sperren haben sich geändert"),
    ("changed-one", "1 lock changed", "1 Sperre hat sich geändert"),
    // A row that is open.
    ("token", "Fencing token", "Fencing-Token"),
    ("ttl", "TTL", "TTL"),
    ("valid-until", "Valid until", "Gültig bis"),
    ("meta", "Meta", "Meta"),
    ("queue", "Queue", "Warteschlange"),
    ("queue-empty", "No caller is waiting for it.", "Kein Aufrufer wartet darauf."),
    ("queue-failed", "The queue cannot be read now.", "Die Warteschlange kann gerade nicht gelesen werden."),
    ("position", "Position", "Position"),
    ("waiting-since", "Waiting since", "Wartet seit"),
    ("events", "Since this page was opened", "Seit diese Seite geöffnet wurde"),
    ("event-granted", "granted to {owner}", "vergeben an {owner}"),
    ("event-released", "released", "freigegeben"),
    ("event-expired", "expired", "abgelaufen"),
    ("event-forced", "force-released", "zwangsweise freigegeben"),
    ("event-waiting", "{count} waiting", "{count} wartend"),
    ("copy-key", "Copy key", "Schlüssel kopieren"),
    ("copy-token", "Copy token", "Token kopieren"),
    ("copied", "Copied", "Kopiert"),
    // Force-release.
    ("force", "Force-release …", "Zwangsweise freigeben …"),
    ("force-title", "Force-release {key}?", "{key} zwangsweise freigeben?"),
    (
        "force-loses",
        "{owner} will lose {key}, which it has held for {duration}.",
        "{owner} verliert {key}, gehalten seit {duration}.",
    ),
    (
        "force-rest",
        "{key} was released by {owner} and is still taken: it becomes free.",
        "{key} wurde von {owner} freigegeben und ist noch belegt: die Sperre wird frei.",
    ),
    (
        "force-next",
        "{next} is next in the queue and gets it at once.",
        "{next} ist als Nächstes an der Reihe und erhält sie sofort.",
    ),
    ("force-no-next", "No caller is waiting for it.", "Kein Aufrufer wartet darauf."),
    (
        "force-fence",
        "{owner} may still be at work. Its token {token} stays lower than the next one: storage that checks tokens refuses \
         it.",
        "{owner} arbeitet womöglich noch. Das Token {token} bleibt kleiner als das nächste: Speicher, die Token prüfen, \
         lehnen es ab.",
    ),
    // Force-release of one of the leases that share a key.
    ("share-title", "Force-release one lease of {key}?", "Eine Lease von {key} zwangsweise freigeben?"),
    (
        "share-loses",
        "{owner} will lose its shared lease of {key}, which it has held for {duration}. Leases beside it stay.",
        "{owner} verliert die geteilte Lease von {key}, gehalten seit {duration}. Leases neben ihr bleiben.",
    ),
    (
        "share-rest",
        "{owner} released its lease of {key}, which is still counted: it ends. Leases beside it stay.",
        "{owner} hat die Lease von {key} freigegeben, sie zählt aber noch: sie endet. Leases neben ihr bleiben.",
    ),
    (
        "share-next",
        "{next} is next in the queue and gets {key} as soon as there is room for it: perhaps only when further leases end.",
        "{next} ist als Nächstes an der Reihe und erhält {key}, sobald Platz ist: womöglich erst, wenn weitere Leases enden.",
    ),
    (
        "share-fence",
        "{owner} may still be at work. Storage that checks tokens refuses its token {token} only once a later exclusive \
         holder has written.",
        "{owner} arbeitet womöglich noch. Speicher, die Token prüfen, lehnen das Token {token} erst ab, wenn ein späterer \
         exklusiver Inhaber geschrieben hat.",
    ),
    (
        "share-done",
        "One lease of {key} was force-released. {owner} had it.",
        "Eine Lease von {key} wurde zwangsweise freigegeben. Inhaber war {owner}.",
    ),
    ("force-reason", "Reason, for the audit log", "Grund, für das Audit-Protokoll"),
    ("force-do", "Force-release", "Zwangsweise freigeben"),
    ("cancel", "Cancel", "Abbrechen"),
    (
        "force-done",
        "{key} was force-released. {owner} had it.",
        "{key} wurde zwangsweise freigegeben. Inhaber war {owner}.",
    ),
    (
        "force-over",
        "{owner} no longer held {key}: nothing was released.",
        "{owner} hielt {key} nicht mehr: es wurde nichts freigegeben.",
    ),
    (
        "force-forbidden",
        "{key} was not released: you lack the permission to force-release locks.",
        "{key} wurde nicht freigegeben: Ihnen fehlt die Berechtigung, Sperren zwangsweise freizugeben.",
    ),
    (
        "force-unknown",
        "It is not known whether {key} was released ({reason}). Look at its row before you try again.",
        "Es ist nicht bekannt, ob {key} freigegeben wurde ({reason}). Sehen Sie in der Zeile nach, ehe Sie es wieder \
         versuchen.",
    ),
    ("too-long", "At most 200 bytes", "Höchstens 200 Bytes"),
    // Sign-in.
    ("token-field", "JWT or API token", "JWT oder API-Token"),
    ("sign-in", "Sign in", "Anmelden"),
    ("sign-in-kept", "Kept until this tab is closed.", "Gilt, bis dieser Tab geschlossen wird."),
    ("sign-out", "Sign out", "Abmelden"),
];

/// The text of this name.
pub fn text(language: Language, name: &str) -> &'static str {
    let row = TEXTS.iter().find(|(of, ..)| *of == name);
    let (_, english, german) = row.unwrap_or_else(|| unreachable!("no text `{name}`"));
    language.choose(english, german)
}

/// [`text`], with `{name}` filled in.
pub fn filled(language: Language, name: &str, values: &[(&str, &str)]) -> String {
    let (mut filled, mut rest) = (String::new(), text(language, name));
    while let Some((before, behind)) = rest.split_once('{') {
        let (field, after) = behind.split_once('}').expect("braces come in pairs");
        filled.push_str(before);
        filled.push_str(values.iter().find(|(of, _)| *of == field).map_or("", |(_, value)| value));
        rest = after;
    }
    filled + rest
}

/// All texts, for the script: JSON that ends no element it stands in.
pub fn all(language: Language) -> String {
    let texts: serde_json::Map<String, serde_json::Value> =
        TEXTS.iter().map(|(name, en, de)| ((*name).to_owned(), language.choose(*en, *de).into())).collect();
    serde_json::Value::Object(texts).to_string().replace('<', "\\u003c")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn fields(text: &str) -> BTreeSet<&str> {
        text.split('{').skip(1).filter_map(|part| part.split_once('}')).map(|(field, _)| field).collect()
    }

    #[test]
    fn both_languages_have_every_text_with_the_same_fields() {
        let names: BTreeSet<_> = TEXTS.iter().map(|(name, ..)| name).collect();
        assert_eq!(names.len(), TEXTS.len(), "a name comes twice");
        for (name, english, german) in TEXTS {
            assert!(!english.trim().is_empty() && !german.trim().is_empty(), "{name}");
            assert_eq!(fields(english), fields(german), "{name}");
        }
    }

    #[test]
    fn each_text_is_used_and_each_that_is_used_is_there() {
        let script: String = super::super::files::FILES
            .iter()
            .filter(|file| file.name.ends_with(".js"))
            .map(|file| std::str::from_utf8(file.bytes).expect("a script is UTF-8"))
            .collect();
        let frame = include_str!("frame.rs");
        for (name, ..) in TEXTS {
            let quoted = format!("\"{name}\"");
            let is_of_a_family = name.starts_with("event-") && script.contains("`event-${");
            assert!(script.contains(&quoted) || frame.contains(&quoted) || is_of_a_family, "{name} is not used");
        }
        for used in script.split("say(\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(TEXTS.iter().any(|(name, ..)| *name == used), "there is no text `{used}`");
        }
    }

    #[test]
    fn a_value_is_not_read_as_a_field() {
        let said = filled(Language::English, "none-found", &[("prefix", "{reason}")]);
        assert_eq!(said, "No key that is held begins with “{reason}”.");
    }
}
