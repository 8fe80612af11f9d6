//! The bytes of one connection that were received and not answered yet.

use std::io;
use std::mem;
use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;
use zeroize::Zeroize;

use crate::frame::MAX_MESSAGE;

/// A buffer that grows at its end, up to a little more than the largest message.
///
/// Nearly every message fits into a few kilobytes of the heap. A larger one gets pages of its own: on the heap, buffers of
/// this size would leave gaps that nothing else fits into, so that an agent that was flooded would stay large.
#[derive(Default)]
pub(super) struct Inbox {
    memory: Memory,
    len: usize,
}

enum Memory {
    /// Zeros, in the heap.
    Heap(Vec<u8>),
    /// [`MAX_SIZE`] bytes of which only those take memory that were written to; all of it is returned at once.
    Pages(MmapMut),
}

impl Inbox {
    /// The free room at the end. It makes room where there is none, or fails where there is no memory.
    pub(super) fn room(&mut self) -> io::Result<&mut [u8]> {
        if self.len == self.memory.len() {
            self.grow()?;
        }
        let end = self.memory.len().min(self.len + MAX_READ);
        Ok(&mut self.memory[self.len..end])
    }

    /// Takes so many bytes at the beginning of the room as received.
    pub(super) fn add(&mut self, received: usize) {
        self.len = self.memory.len().min(self.len + received);
    }

    /// Wipes so many bytes at the front, which moves the others there, and gives back the memory that is not needed any more.
    pub(super) fn drop_front(&mut self, gone: usize) {
        let kept = self.len - gone;
        self.copy_within(gone.., 0);
        // What moved to the front was left behind at the back.
        self[kept..].zeroize();
        self.len = kept;
        if self.is_large() && kept <= HEAP_SIZE {
            let mut small = vec![0; HEAP_SIZE];
            small[..kept].copy_from_slice(self);
            self.replace(Memory::Heap(small));
        }
    }

    /// Wipes everything, and gives its memory back.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether it takes memory that should be counted.
    pub(super) fn is_large(&self) -> bool {
        matches!(self.memory, Memory::Pages(_))
    }

    /// Bytes of memory that it takes.
    pub(super) fn held(&self) -> usize {
        match &self.memory {
            Memory::Heap(bytes) => bytes.len(),
            Memory::Pages(_) => self.len,
        }
    }

    fn grow(&mut self) -> io::Result<()> {
        let memory = match self.len {
            0 => Memory::Heap(zeros(FIRST_SIZE)?),
            len if len < HEAP_SIZE => Memory::Heap(zeros(HEAP_SIZE)?),
            len if len < MAX_SIZE => Memory::Pages(MmapMut::map_anon(MAX_SIZE)?),
            _ => return Err(io::ErrorKind::OutOfMemory.into()),
        };
        self.replace(memory);
        Ok(())
    }

    /// Moves the content to larger or smaller memory.
    fn replace(&mut self, memory: Memory) {
        let mut old = mem::replace(&mut self.memory, memory);
        self.memory[..self.len].copy_from_slice(&old[..self.len]);
        old[..self.len].zeroize();
    }
}

impl Deref for Inbox {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[..self.len]
    }
}

impl DerefMut for Inbox {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory[..self.len]
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.zeroize();
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::Heap(Vec::new())
    }
}

impl Deref for Memory {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Heap(bytes) => bytes,
            Self::Pages(bytes) => bytes,
        }
    }
}

impl DerefMut for Memory {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Heap(bytes) => bytes,
            Self::Pages(bytes) => bytes,
        }
    }
}

/// So many zeros, if there is memory for them.
fn zeros(size: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(size)?;
    bytes.resize(size, 0);
    Ok(bytes)
}

/// Bytes of memory for the first message: nearly every request is smaller.
const FIRST_SIZE: usize = 512;
/// Bytes of the heap that one connection takes at the most; a key in base64 has about 2,300.
const HEAP_SIZE: usize = 4 * 1024;
/// Bytes that are held at the most: the largest message, and one read beyond it.
const MAX_SIZE: usize = MAX_MESSAGE + MAX_READ;
/// Most bytes read at once.
const MAX_READ: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(inbox: &mut Inbox, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = inbox.room().expect("there is room");
            let taken = room.len().min(rest.len());
            room[..taken].copy_from_slice(&rest[..taken]);
            inbox.add(taken);
            rest = &rest[taken..];
        }
    }

    #[test]
    fn what_was_received_stays_the_same_while_it_grows_and_shrinks() {
        let bytes: Vec<u8> = (0..251).cycle().take(MAX_SIZE).collect();
        let mut inbox = Inbox::default();
        receive(&mut inbox, &bytes[..100]);
        assert_eq!((&inbox[..], inbox.held(), inbox.is_large()), (&bytes[..100], FIRST_SIZE, false));
        receive(&mut inbox, &bytes[100..HEAP_SIZE]);
        assert_eq!((&inbox[..], inbox.held(), inbox.is_large()), (&bytes[..HEAP_SIZE], HEAP_SIZE, false));
        receive(&mut inbox, &bytes[HEAP_SIZE..]);
        assert_eq!((&inbox[..], inbox.held(), inbox.is_large()), (&bytes[..], MAX_SIZE, true));
        assert!(inbox.room().is_err());
        inbox.drop_front(MAX_SIZE - HEAP_SIZE - 1);
        assert_eq!((&inbox[..], inbox.is_large()), (&bytes[MAX_SIZE - HEAP_SIZE - 1..], true));
        inbox.drop_front(1);
        assert_eq!((&inbox[..], inbox.is_large()), (&bytes[MAX_SIZE - HEAP_SIZE..], false));
        inbox.drop_front(HEAP_SIZE);
        assert_eq!((&inbox[..], inbox.held()), (&[][..], HEAP_SIZE));
    }

    #[test]
    fn what_moved_is_wiped_where_it_was() {
        let mut inbox = Inbox::default();
        receive(&mut inbox, b"firstsecond");
        inbox.drop_front(5);
        assert_eq!(&inbox.memory[..12], b"second\0\0\0\0\0\0");
    }
}
