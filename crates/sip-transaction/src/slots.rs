//! Where transactions live: slots that are used again, under names that are not.

/// Names a transaction for as long as it lives; never used again for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId {
    slot: u32,
    generation: u32,
}

/// Live values in slots.
pub(crate) struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Option<u32>,
    live: usize,
}

struct Slot<T> {
    generation: u32,
    content: Content<T>,
}

enum Content<T> {
    Free { next: Option<u32> },
    // Boxed, so that a table that was once large keeps little.
    Live(Box<T>),
}

impl<T> Slots<T> {
    pub fn new() -> Self {
        Slots { slots: Vec::new(), free: None, live: 0 }
    }

    /// Puts a value in; `None` when four thousand million are there.
    pub fn insert(&mut self, value: T) -> Option<TransactionId> {
        let content = Content::Live(Box::new(value));
        self.live += 1;
        if let Some(number) = self.free
            && let Some(slot) = self.slots.get_mut(number as usize)
            && let Content::Free { next } = slot.content
        {
            self.free = next;
            slot.content = content;
            return Some(TransactionId { slot: number, generation: slot.generation });
        }
        let number = u32::try_from(self.slots.len()).ok()?;
        self.slots.push(Slot { generation: 0, content });
        Some(TransactionId { slot: number, generation: 0 })
    }

    pub fn get(&self, id: TransactionId) -> Option<&T> {
        match self.slots.get(id.slot as usize) {
            Some(Slot { generation, content: Content::Live(value) }) if *generation == id.generation => {
                Some(value)
            }
            _ => None,
        }
    }

    pub fn get_mut(&mut self, id: TransactionId) -> Option<&mut T> {
        match self.slots.get_mut(id.slot as usize) {
            Some(Slot { generation, content: Content::Live(value) }) if *generation == id.generation => {
                Some(value)
            }
            _ => None,
        }
    }

    /// Takes a value out; its name means nothing from now on.
    pub fn remove(&mut self, id: TransactionId) -> Option<T> {
        self.get(id)?;
        let slot = self.slots.get_mut(id.slot as usize)?;
        let freed = Content::Free { next: self.free };
        match std::mem::replace(&mut slot.content, freed) {
            Content::Live(value) => {
                slot.generation = slot.generation.wrapping_add(1);
                self.free = Some(id.slot);
                self.live -= 1;
                Some(*value)
            }
            Content::Free { .. } => None,
        }
    }

    pub fn len(&self) -> usize {
        self.live
    }
}
