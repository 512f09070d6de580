//! A slab: values in numbered slots that are reused, so that per-packet lookups are by index.

/// A vector with vacant slots; the lowest vacant slot is filled first.
pub(crate) struct Slots<T> {
    slots: Vec<Option<T>>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { slots: Vec::new() }
    }
}

impl<T> Slots<T> {
    /// The slot that [`insert`](Self::insert) will use next.
    pub(crate) fn vacant_slot(&self) -> usize {
        self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len())
    }

    /// Stores a value and returns its slot.
    pub(crate) fn insert(&mut self, value: T) -> usize {
        let slot = self.vacant_slot();
        if let Some(entry) = self.slots.get_mut(slot) {
            *entry = Some(value);
        } else {
            self.slots.push(Some(value));
        }
        slot
    }

    /// Removes the value of a slot and returns it.
    pub(crate) fn remove(&mut self, slot: usize) -> Option<T> {
        let value = self.slots.get_mut(slot)?.take();
        while matches!(self.slots.last(), Some(None)) {
            self.slots.pop();
        }
        value
    }

    /// The value of a slot, if occupied.
    pub(crate) fn get(&self, slot: usize) -> Option<&T> {
        self.slots.get(slot)?.as_ref()
    }

    /// Mutable access to the value of a slot.
    pub(crate) fn get_mut(&mut self, slot: usize) -> Option<&mut T> {
        self.slots.get_mut(slot)?.as_mut()
    }

    /// All values with their slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        self.slots.iter().enumerate().filter_map(|(slot, entry)| Some((slot, entry.as_ref()?)))
    }

    /// All values with their slots, mutable.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut T)> {
        self.slots.iter_mut().enumerate().filter_map(|(slot, entry)| Some((slot, entry.as_mut()?)))
    }

    /// Number of slots in use including vacant ones below the highest.
    pub(crate) fn slot_count(&self) -> usize {
        self.slots.len()
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
        for slot in 0..3 {
            slots.remove(slot);
        }

        assert_eq!((slots.slot_count(), slots.iter().count()), (0, 0));
    }
}
