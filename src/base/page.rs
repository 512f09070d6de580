//! Lists in pieces: what was asked for, and what came.

use serde::Serialize;

/// One piece of a list, and where the next one begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Page<T> {
    /// In the order of the list.
    pub items: Vec<T>,
    /// To be given as `after` (or `before`) for the next piece; `None` at the end.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// Cuts `rows`, of which one more than `limit` was asked for, to a page.
    pub fn from_overfetch(mut rows: Vec<T>, limit: usize, cursor: impl Fn(&T) -> String) -> Self {
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = if more { rows.last().map(cursor) } else { None };
        Self { items: rows, next }
    }

    /// The same page of other things.
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(f).collect(), next: self.next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_has_next_cursor_only_if_more_items_exist() {
        let cursor = |n: &i32| n.to_string();
        assert_eq!(Page::from_overfetch(vec![1, 2, 3], 2, cursor).next.as_deref(), Some("2"));
        assert_eq!(Page::from_overfetch(vec![1, 2], 2, cursor).next, None);
        assert_eq!(Page::from_overfetch(vec![], 2, cursor).items, [0; 0]);
    }
}
