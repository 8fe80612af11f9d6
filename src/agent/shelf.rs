//! Where lines with tokens are kept: side by side in large pages, since thousands of small allocations, each amid those of
//! the request that it came with, would hold several times their own size.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use zeroize::Zeroize;

use super::guard::guard;

/// Pages of lines. A page is freed with the last of its lines; those are of one age, and tokens live no more than an hour.
#[derive(Default)]
pub(super) struct Shelf {
    page: Option<Arc<Page>>,
    used: usize,
}

/// One line on a shelf, wiped when dropped.
pub(super) struct Line {
    page: Arc<Page>,
    place: Range<u32>,
}

struct Page(Mutex<Box<[u8]>>);

impl Shelf {
    /// Puts a copy of a line on the shelf. A line is as long as an answer of GitHub's at most.
    pub(super) fn put(&mut self, line: &[u8]) -> Line {
        let page = match &self.page {
            Some(page) if self.used + line.len() <= page.lock().len() => Arc::clone(page),
            _ => {
                let page = Arc::new(Page(Mutex::new(vec![0; PAGE.max(line.len())].into_boxed_slice())));
                self.used = 0;
                Arc::clone(self.page.insert(page))
            }
        };
        let end = self.used + line.len();
        page.lock()[self.used..end].copy_from_slice(line);
        let place = |at: usize| u32::try_from(at).expect("a page is far smaller than 4 GiB");
        let place = place(self.used)..place(end);
        self.used = end;
        Line { page, place }
    }
}

impl Line {
    /// Lends the line, for a moment.
    pub(super) fn read<T>(&self, look: impl FnOnce(&[u8]) -> T) -> T {
        look(&self.page.lock()[self.range()])
    }

    /// Its length in bytes.
    pub(super) fn len(&self) -> usize {
        self.range().len()
    }

    fn range(&self) -> Range<usize> {
        self.place.start as usize..self.place.end as usize
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let range = self.range();
        self.page.lock()[range].zeroize();
    }
}

impl Page {
    fn lock(&self) -> MutexGuard<'_, Box<[u8]>> {
        guard(&self.0)
    }
}

/// Bytes of a page: some ninety lines.
const PAGE: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back_as_they_were_put_and_a_dropped_one_is_wiped() {
        let mut shelf = Shelf::default();
        let texts: Vec<String> = (0..300).map(|n| n.to_string().repeat(200)).collect();
        let mut lines: Vec<Line> = texts.iter().map(|text| shelf.put(text.as_bytes())).collect();
        for (line, text) in lines.iter().zip(&texts) {
            assert!(line.read(|line| line == text.as_bytes()));
        }
        let (page, range) = (Arc::clone(&lines[7].page), lines[7].range());
        lines.remove(7);
        assert!(page.lock()[range.clone()].iter().all(|byte| *byte == 0));
        assert!(page.lock()[..range.start].iter().all(|byte| *byte != 0), "its neighbours are not");
        assert!(page.lock()[range.end..range.end + 200].iter().all(|byte| *byte != 0));
    }

    #[test]
    fn a_page_goes_with_its_last_line_and_a_long_line_has_one_of_its_own() {
        let mut shelf = Shelf::default();
        let first = shelf.put(b"first");
        let page = Arc::downgrade(&first.page);
        let long = shelf.put(&vec![b'x'; PAGE + 1]);
        assert!(long.read(|line| line.len() == PAGE + 1));
        assert!(page.upgrade().is_some());
        drop(first);
        assert!(page.upgrade().is_none());
    }
}
