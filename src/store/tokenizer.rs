//! The words of a text, the same for every database: what is indexed and what is looked for.
//!
//! Unicode words (UAX #29) of the text in compatibility form (NFKC), folded, without marks; of
//! scripts that put no space between words every pair of neighbours.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use unicode_segmentation::UnicodeSegmentation;

/// Longer words are cut: nobody looks for more of them.
const MAX_WORD_CHARS: usize = 64;

/// The words of a text, each once, in the order in which they came.
pub fn of(text: &str) -> Vec<String> {
    let mut all = split(text);
    let mut seen = std::collections::HashSet::new();
    all.retain(|word| seen.insert(word.clone()));
    all
}

/// The words that somebody looks for; the last one is last.
pub fn wanted(text: &str) -> Vec<String> {
    split(text)
}

/// Whether a word that is looked for may be the beginning of one: a single letter is not, since the
/// index would go through a good part of all there is.
pub fn may_go_on(word: &str) -> bool {
    let mut letters = word.chars();
    letters.next().is_some_and(|first| is_unspaced(first) || letters.next().is_some())
}

fn split(text: &str) -> Vec<String> {
    let folded = fold(text);
    let mut all = Vec::new();
    let mut run = Vec::new();
    for word in folded.unicode_words() {
        let mut rest = String::new();
        for letter in word.chars() {
            if is_unspaced(letter) {
                keep(&mut all, &mut rest);
                run.push(letter);
            } else {
                pairs(&mut all, &mut run);
                if letter.is_alphanumeric() {
                    rest.push(letter);
                } else {
                    keep(&mut all, &mut rest); // an apostrophe or a point within
                }
            }
        }
        if !rest.is_empty() {
            pairs(&mut all, &mut run);
        }
        keep(&mut all, &mut rest);
    }
    pairs(&mut all, &mut run);
    all
}

fn keep(all: &mut Vec<String>, word: &mut String) {
    if !word.is_empty() {
        let cut = word.char_indices().nth(MAX_WORD_CHARS).map_or(word.len(), |(at, _)| at);
        word.truncate(cut);
        all.push(std::mem::take(word));
    }
}

/// Every two neighbours, and one that has none by itself.
fn pairs(all: &mut Vec<String>, run: &mut Vec<char>) {
    match run[..] {
        [] => {}
        [one] => all.push(one.to_string()),
        _ => all.extend(run.windows(2).map(String::from_iter)),
    }
    run.clear();
}

/// Han, Hiragana, Katakana, Thai, Lao, Khmer and Myanmar: written without spaces.
const fn is_unspaced(letter: char) -> bool {
    matches!(letter,
        '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        | '\u{3005}'..='\u{3007}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
}

/// Compatibility form, lower case, no marks; what lower case keeps apart is brought together.
fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    let lower = text.nfkc().flat_map(char::to_lowercase);
    for letter in lower.nfkd().filter(|letter| !is_combining_mark(*letter)) {
        match letter {
            'ß' => folded.push_str("ss"),
            'ς' => folded.push('σ'),
            'ı' => folded.push('i'),
            'ø' => folded.push('o'),
            'ł' => folded.push('l'),
            'đ' => folded.push('d'),
            'æ' => folded.push_str("ae"),
            'œ' => folded.push_str("oe"),
            '\u{2019}' => folded.push('\''),
            letter => folded.push(letter),
        }
    }
    folded.nfc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_words_are_case_and_diacritic_folded() {
        assert_eq!(of("Größe, ÉTÉ ﬁn; İstanbul"), ["grosse", "ete", "fin", "istanbul"]);
        assert_eq!(of("Ёлка ΛΌΓΟΣ λόγος"), ["елка", "λογοσ"]);
        assert_eq!(of("don't 3.14 foo_bar"), ["don", "t", "3", "14", "foo", "bar"]);
    }

    #[test]
    fn text_without_spaces_is_indexed_as_bigrams() {
        assert_eq!(of("東京都に"), ["東京", "京都", "都に"]);
        assert_eq!(of("猫 cat"), ["猫", "cat"]);
    }

    #[test]
    fn text_without_words_yields_no_search_words() {
        assert!(of("… 👍 !!").is_empty());
        assert_eq!(of(&"x".repeat(500))[0].len(), MAX_WORD_CHARS);
    }
}
