//! Numbered places that are used again, so that what flows per packet is found by index.

/// A vector with holes; the lowest hole is filled first.
pub(crate) struct Slots<T> {
    places: Vec<Option<T>>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { places: Vec::new() }
    }
}

impl<T> Slots<T> {
    /// Where the next one would be put.
    pub(crate) fn vacancy(&self) -> usize {
        self.places.iter().position(Option::is_none).unwrap_or(self.places.len())
    }

    /// Puts one in, and says where it is.
    pub(crate) fn insert(&mut self, value: T) -> usize {
        let at = self.vacancy();
        if let Some(place) = self.places.get_mut(at) {
            *place = Some(value);
        } else {
            self.places.push(Some(value));
        }
        at
    }

    /// Takes one out.
    pub(crate) fn remove(&mut self, at: usize) -> Option<T> {
        let value = self.places.get_mut(at)?.take();
        while matches!(self.places.last(), Some(None)) {
            self.places.pop();
        }
        value
    }

    /// Looks at one.
    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        self.places.get(at)?.as_ref()
    }

    /// Changes one.
    pub(crate) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        self.places.get_mut(at)?.as_mut()
    }

    /// All of them with their places.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        self.places.iter().enumerate().filter_map(|(at, place)| Some((at, place.as_ref()?)))
    }

    /// All of them with their places, to be changed.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut T)> {
        self.places.iter_mut().enumerate().filter_map(|(at, place)| Some((at, place.as_mut()?)))
    }

    /// One more than the highest place in use.
    pub(crate) fn end(&self) -> usize {
        self.places.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freed_slot_is_reused_and_end_shrinks() {
        let mut slots = Slots::default();
        assert_eq!((slots.insert('a'), slots.insert('b'), slots.insert('c')), (0, 1, 2));
        assert_eq!(slots.remove(1), Some('b'));
        assert_eq!((slots.insert('d'), slots.get(1)), (1, Some(&'d')));
        for at in 0..3 {
            slots.remove(at);
        }

        assert_eq!((slots.end(), slots.iter().count()), (0, 0));
    }
}
