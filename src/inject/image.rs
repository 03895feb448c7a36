//! The names of images, as the container runtimes of Kubernetes take them: the grammar of references of the distribution
//! project. Another one would be refused only once the pod has been created.

use super::told::shown;

/// Longest name without tag and digest.
const LONGEST_NAME: usize = 255;
const LONGEST_TAG: usize = 128;

/// An image such as `registry.example.com:5000/team/lockside:1.0@sha256:…`.
pub fn check(text: &str) -> Result<String, String> {
    if is_reference(text) {
        return Ok(text.to_owned());
    }
    Err(format!("`{}`; expected an image such as registry.example.com/lockside:1.0", shown(text)))
}

fn is_reference(text: &str) -> bool {
    let (tagged, digest) = match text.split_once('@') {
        Some((tagged, digest)) => (tagged, Some(digest)),
        None => (text, None),
    };
    let path = tagged.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match tagged[path..].split_once(':') {
        Some((last, tag)) => (&tagged[..path + last.len()], Some(tag)),
        None => (tagged, None),
    };
    is_name(name) && tag.is_none_or(is_tag) && digest.is_none_or(is_digest)
}

fn is_name(name: &str) -> bool {
    let path = match name.split_once('/') {
        Some((first, rest)) if is_to_be_domain(first) => {
            if !is_domain(first) {
                return false;
            }
            rest
        }
        _ => name,
    };
    // A name of 64 hexadecimal digits would be the ID of an image.
    let is_id = name.len() == 64 && name.bytes().all(is_lower_hex);
    name.len() <= LONGEST_NAME && !is_id && path.split('/').all(is_component)
}

/// Whether the first part of a path is that of a registry.
fn is_to_be_domain(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':']) || first.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn is_domain(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        Some((address, "")) => return is_address(address),
        Some((address, port)) => match port.strip_prefix(':') {
            Some(port) if is_address(address) => return is_port(port),
            _ => return false,
        },
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let is_label = |label: &str| {
        label.starts_with(|c: char| c.is_ascii_alphanumeric())
            && label.ends_with(|c: char| c.is_ascii_alphanumeric())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    host.split('.').all(is_label) && port.is_none_or(is_port)
}

fn is_address(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':')
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Lower-case letters and digits, parted by a dot, by one or two underscores, or by dashes.
fn is_component(text: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_separator = |part: &str| matches!(part, "" | "." | "_" | "__") || part.bytes().all(|byte| byte == b'-');
    text.starts_with(is_letter) && text.ends_with(is_letter) && text.split(is_letter).all(is_separator)
}

fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= LONGEST_TAG
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'))
}

fn is_digest(text: &str) -> bool {
    let Some((algorithm, digits)) = text.split_once(':') else { return false };
    let length = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ => return false,
    };
    digits.len() == length && digits.bytes().all(is_lower_hex)
}

fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

#[cfg(test)]
mod tests {
    use super::is_reference;

    #[test]
    fn images_are_what_the_runtimes_take() {
        let digest = "0a".repeat(32);
        for text in [
            "lockside",
            "lockside:0.2.0",
            "team/lockside:1",
            "r.example.com/lockside:1",
            "r.example.com:5000/team/lockside",
            "R.Example.com/lockside",
            "localhost/lockside",
            "localhost:5000/lockside",
            "[2001:db8::1]:5000/lockside:1",
            "[2001:db8::1]/lockside:1",
            "x/a.b__c-d--e_f:T_1.2-3",
            &format!("lockside@sha256:{digest}"),
            &format!("r.example.com/lockside:1@sha256:{digest}"),
            &format!("lockside:{}", "t".repeat(128)),
            &format!("r.example.com/{}", "a".repeat(241)),
        ] {
            assert!(is_reference(text), "{text}");
        }
    }

    #[test]
    fn what_the_runtimes_refuse_is_refused() {
        let digest = "0a".repeat(32);
        for text in [
            "",
            " lockside",
            "two words",
            "https://r.example.com/lockside:1",
            "Lockside:1",
            "r.example.com/Lockside",
            "team/Lockside",
            "lockside:1:2",
            "lockside:1:2@x",
            "lockside:",
            "lockside:.1",
            "lockside:1/",
            "lockside@",
            "lockside@x",
            "lockside@sha256:0a",
            "lockside@md5:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a",
            &format!("lockside@sha256:{}", digest.to_uppercase()),
            &format!("lockside@sha256:{digest}@sha256:{digest}"),
            "/lockside",
            "r.example.com//lockside",
            "r.example.com:/lockside",
            "r.example.com:x/lockside",
            "-r.example.com/lockside",
            "r..example.com/lockside",
            "[::1/lockside",
            "[::1]x/lockside",
            "[x]/lockside",
            "a..b",
            "a___b",
            "a._b",
            "a-",
            "lockside.",
            "löckside",
            &digest,
            &format!("lockside:{}", "t".repeat(129)),
            &format!("r.example.com/{}", "a".repeat(242)),
        ] {
            assert!(!is_reference(text), "{text}");
        }
    }
}
