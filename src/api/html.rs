//! Text in HTML.

/// A text as HTML shows it, also inside of an attribute's double quotes.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_is_markup() {
        assert_eq!(escaped(r#"<img src="x">&amp;"#), "&lt;img src=&quot;x&quot;&gt;&amp;amp;");
    }
}
