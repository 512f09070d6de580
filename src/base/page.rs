//! Pages of lists, for results that are fetched piece by piece.

use serde::Serialize;

/// One page of a list, and the cursor of the next one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Page<T> {
    /// The items, in the order of the list.
    pub items: Vec<T>,
    /// The cursor to be given as `after` (or `before`) for the next page; `None` at the end.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// Makes a page of `rows`, for which one row more than `limit` was queried.
    pub fn from_overfetch(mut rows: Vec<T>, limit: usize, cursor: impl Fn(&T) -> String) -> Self {
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let next = if has_more { rows.last().map(cursor) } else { None };
        Self { items: rows, next }
    }

    /// Converts the items of a page.
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
