//! Splits text into search words, the same way for both databases, for indexing and for queries.
//!
//! Words are Unicode words (UAX #29) of the text in compatibility form (NFKC), case-folded, without
//! marks. Scripts that put no space between words yield every pair of adjacent letters (bigrams).

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use unicode_segmentation::UnicodeSegmentation;

use crate::limits::MAX_WORD_CHARS;

/// The words of a text, each once, in order of first occurrence.
pub fn index_words(text: &str) -> Vec<String> {
    let mut all = split(text);
    let mut seen = std::collections::HashSet::new();
    all.retain(|word| seen.insert(word.clone()));
    all
}

/// The words of a search query, in order and with repetitions: the last one may be incomplete.
pub fn query_words(text: &str) -> Vec<String> {
    split(text)
}

/// Whether a word of a query may match as a prefix. A single letter may not: the index would scan a
/// large part of all entries.
pub fn allows_prefix_match(word: &str) -> bool {
    let mut letters = word.chars();
    letters.next().is_some_and(|letter| is_unspaced(letter) || letters.next().is_some())
}

fn split(text: &str) -> Vec<String> {
    let folded = fold(text);
    let mut all = Vec::new();
    let mut run = Vec::new();
    for word in folded.unicode_words() {
        let mut rest = String::new();
        for letter in word.chars() {
            if is_unspaced(letter) {
                push_word(&mut all, &mut rest);
                run.push(letter);
            } else {
                push_bigrams(&mut all, &mut run);
                if letter.is_alphanumeric() {
                    rest.push(letter);
                } else {
                    push_word(&mut all, &mut rest); // an apostrophe or a point within a word
                }
            }
        }
        if !rest.is_empty() {
            push_bigrams(&mut all, &mut run);
        }
        push_word(&mut all, &mut rest);
    }
    push_bigrams(&mut all, &mut run);
    all
}

fn push_word(all: &mut Vec<String>, word: &mut String) {
    if !word.is_empty() {
        let end = word.char_indices().nth(MAX_WORD_CHARS).map_or(word.len(), |(index, _)| index);
        word.truncate(end);
        all.push(std::mem::take(word));
    }
}

/// Adds every two adjacent letters, or a lone letter by itself.
fn push_bigrams(all: &mut Vec<String>, run: &mut Vec<char>) {
    match run[..] {
        [] => {}
        [one] => all.push(one.to_string()),
        _ => all.extend(run.windows(2).map(String::from_iter)),
    }
    run.clear();
}

/// Letters of Han, Hiragana, Katakana, Thai, Lao, Khmer and Myanmar, which are written without
/// spaces.
const fn is_unspaced(letter: char) -> bool {
    matches!(letter,
        '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        | '\u{3005}'..='\u{3007}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
}

/// Compatibility form, lower case, no marks; letters that lower-casing leaves distinct are unified.
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
        assert_eq!(index_words("Größe, ÉTÉ ﬁn; İstanbul"), ["grosse", "ete", "fin", "istanbul"]);
        assert_eq!(index_words("Ёлка ΛΌΓΟΣ λόγος"), ["елка", "λογοσ"]);
        assert_eq!(index_words("don't 3.14 foo_bar"), ["don", "t", "3", "14", "foo", "bar"]);
    }

    #[test]
    fn text_without_spaces_is_indexed_as_bigrams() {
        assert_eq!(index_words("東京都に"), ["東京", "京都", "都に"]);
        assert_eq!(index_words("猫 cat"), ["猫", "cat"]);
    }

    #[test]
    fn text_without_words_yields_no_search_words() {
        assert!(index_words("… 👍 !!").is_empty());
        assert_eq!(index_words(&"x".repeat(500))[0].len(), MAX_WORD_CHARS);
    }
}
