//! What single characters do to the text around them, beyond standing in it.

/// Bidirectional embeddings, overrides and isolates: they turn the direction of what follows.
pub(super) fn turns_direction(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Control characters, and the two that end a line or paragraph without being one.
pub(super) fn controls(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Whether nothing is drawn for it: Unicode's `Default_Ignorable_Code_Point`. Joiners and variation selectors are among them, so
/// it may stand in a text; it alone is none.
pub fn is_ignorable(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Whether a text shows anything at all.
pub(super) fn shows_something(text: &str) -> bool {
    text.chars().any(|c| !c.is_whitespace() && !is_ignorable(c))
}
