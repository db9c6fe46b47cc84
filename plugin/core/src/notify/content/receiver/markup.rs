//! Escapes values for the markup of a receiver, and cuts them to the length of its field.

use handlebars::{
    Context, Handlebars, Helper, HelperDef, HelperResult, Output, PathAndJson, RenderContext, RenderErrorReason,
};
use serde_json::Value;

use crate::notify::content::template::VALUE_MARK;

/// Adds one character of a value in escaped form.
type Escape = fn(char, &mut String);

/// The helpers that write a value into a JSON string: `{{slack Title 150}}` writes at most 150 characters, counted in
/// UTF-16 as receivers do that are strict.
const HELPERS: [(&str, Escape); 3] = [("plain", plain), ("slack", slack), ("discord", discord)];

pub(super) fn register(registry: &mut Handlebars<'static>) {
    for (name, escape) in HELPERS {
        registry.register_helper(name, Box::new(Limited(escape)));
    }
    registry.register_helper("json", Box::new(json));
}

/// Text without markup.
fn plain(c: char, out: &mut String) {
    out.push(c);
}

/// Slack reads these three in all texts: `<!channel>` and `<@U012>` ring, `<https://…|text>` is a link.
fn slack(c: char, out: &mut String) {
    match c {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        _ => out.push(c),
    }
}

/// Discord reads Markdown. A backslash takes the meaning from punctuation, and a zero-width space after it from the
/// `@` of `@everyone`, which has a meaning without Markdown.
fn discord(c: char, out: &mut String) {
    if c.is_ascii_punctuation() {
        out.push('\\');
    }
    out.push(c);
    if c == '@' {
        out.push('\u{200b}');
    }
}

/// A value with at most so many UTF-16 code units. A longer one ends in `…`, and never in a part of an escaped
/// character.
fn limited(value: &str, most: usize, escape: Escape) -> String {
    let (mut out, mut units, mut end) = (String::new(), 0_usize, 0);
    for c in value.chars() {
        let before = out.len();
        escape(c, &mut out);
        let added = out.get(before..).unwrap_or_default().encode_utf16().count();
        units = units.saturating_add(added);
        if units > most {
            out.truncate(end);
            out.push('…');
            break;
        }
        if units < most {
            end = out.len();
        }
    }
    out
}

struct Limited(Escape);

impl HelperDef for Limited {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let mut values = helper.params().iter().map(PathAndJson::value);
        let (Some(value), Some(most)) = (values.next(), values.next().and_then(Value::as_u64)) else {
            return Err(RenderErrorReason::ParamNotFoundForIndex("limited", 0).into());
        };
        let text = value.as_str().unwrap_or_default();
        let limited = limited(text, usize::try_from(most).unwrap_or(usize::MAX), self.0);
        Ok(out.write(&format!("{VALUE_MARK}{limited}"))?)
    }
}

/// Writes a whole value as JSON.
fn json(
    helper: &Helper<'_>,
    _: &Handlebars<'_>,
    _: &Context,
    _: &mut RenderContext<'_, '_>,
    out: &mut dyn Output,
) -> HelperResult {
    let value = helper.params().first().map(PathAndJson::value).unwrap_or(&Value::Null);
    Ok(out.write(&value.to_string())?)
}

/// The beginning of a value as people may see it. Line breaks become spaces. Other control characters, and characters
/// that change the direction of the text around them, become U+FFFD.
pub(super) fn visible(value: &str) -> String {
    /// No field of a receiver shows more.
    const MOST_CHARS: usize = 1024;
    let shown = value.chars().take(MOST_CHARS).map(|c| match c {
        '\t' | '\n' | '\r' | '\u{2028}' | '\u{2029}' => ' ',
        '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    });
    shown.collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn nothing_rings_or_formats() {
        assert_eq!(limited("<!channel> <@U1> a&b", 99, slack), "&lt;!channel&gt; &lt;@U1&gt; a&amp;b");
        assert_eq!(
            limited("@everyone **b** <@1>", 99, discord),
            "\\@\u{200b}everyone \\*\\*b\\*\\* \\<\\@\u{200b}1\\>"
        );
        assert_eq!(limited("https://a.test/_x_", 99, discord), "https\\:\\/\\/a\\.test\\/\\_x\\_");
    }

    #[test]
    fn a_value_is_cut_at_the_limit_of_its_field() {
        assert_eq!(limited("abc", 3, plain), "abc");
        assert_eq!(limited("abcd", 3, plain), "ab…");
        assert_eq!(limited("a🎉b", 3, plain), "a…", "an emoji has two code units");
        assert_eq!(limited("ab<", 6, slack), "ab&lt;");
        assert_eq!(limited("ab<<", 6, slack), "ab…", "an escaped character is not cut");
        assert_eq!(limited("", 0, plain), "");
        assert_eq!(limited("a", 0, plain), "…");
    }

    #[test]
    fn what_people_see_has_no_control_characters() {
        assert_eq!(visible("a\nb\u{7}c\u{202e}d\u{2067}\u{2069}"), "a b\u{fffd}c\u{fffd}d\u{fffd}\u{fffd}");
        assert_eq!(visible("שלום 🎉"), "שלום 🎉", "letters from right to left stay");
        assert!(visible(&"x".repeat(100_000)).len() <= 1024);
    }

    proptest! {
        #[test]
        fn no_value_is_longer_than_its_limit(value in any::<String>(), most in 1_usize..50) {
            for (_, escape) in HELPERS {
                prop_assert!(limited(&value, most, escape).encode_utf16().count() <= most);
            }
            let escaped = limited(&value, usize::MAX, slack);
            prop_assert!(!escaped.contains(['<', '>']));
        }
    }
}
