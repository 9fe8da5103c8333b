//! The memory shared with JavaScript, as words of eight bytes: a number is one word; bytes are a
//! word with their length, then themselves, filled up to a whole word. `src/memory.ts` is the
//! other side.

use std::time::Duration;

/// The size of a word.
pub const WORD: usize = 8;
/// The length that stands for "none".
const NONE: f64 = -1.0;

/// The arguments of a verb, read in the order they were written.
pub struct Request<'a> {
    left: &'a [u8],
}

impl<'a> Request<'a> {
    pub fn new(memory: &'a [u8]) -> Self {
        Self { left: memory }
    }

    pub fn number(&mut self) -> f64 {
        let (word, left) = self.left.split_first_chunk().expect("a word is there");
        self.left = left;
        f64::from_ne_bytes(*word)
    }

    /// A number that counts or names something.
    pub fn index(&mut self) -> usize {
        self.number() as usize
    }

    pub fn flag(&mut self) -> bool {
        self.number() != 0.0
    }

    pub fn bytes(&mut self) -> &'a [u8] {
        self.some_bytes().unwrap_or_default()
    }

    pub fn some_bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.number();
        if length == NONE {
            return None;
        }
        let length = length as usize;
        let (bytes, left) = self.left.split_at(length.next_multiple_of(WORD));
        self.left = left;
        Some(&bytes[..length])
    }

    pub fn text(&mut self) -> &'a str {
        self.some_text().unwrap_or_default()
    }

    pub fn some_text(&mut self) -> Option<&'a str> {
        let bytes = self.some_bytes()?;
        Some(std::str::from_utf8(bytes).expect("Node writes strings as UTF-8"))
    }

    /// Milliseconds, of which fractions count.
    pub fn duration(&mut self) -> Duration {
        self.some_duration().unwrap_or_default()
    }

    pub fn some_duration(&mut self) -> Option<Duration> {
        let ms = self.number();
        // More than the numbers of the C ABI can say is for ever.
        (ms != NONE).then(|| Duration::from_micros((ms * 1000.0).min(1e18) as u64))
    }

    /// Milliseconds since 1970.
    pub fn some_moment(&mut self) -> Option<i64> {
        let ms = self.number();
        (ms != NONE).then_some(ms as i64)
    }
}

/// What a verb replies, written from a place in a page on. Beyond the end of the page nothing is
/// written, but counted.
pub struct Page<'a> {
    memory: &'a mut [u8],
    at: usize,
}

impl<'a> Page<'a> {
    pub fn new(memory: &'a mut [u8], at: usize) -> Self {
        Self { memory, at }
    }

    /// Where the next word goes.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Forgets what was written from a place on.
    pub fn back_to(&mut self, at: usize) {
        self.at = at;
    }

    /// Whether all that was written is there.
    pub fn holds_all(&self) -> bool {
        self.at <= self.memory.len()
    }

    pub fn number(&mut self, number: f64) {
        self.put(&number.to_ne_bytes());
        self.at += WORD;
    }

    pub fn index(&mut self, index: usize) {
        self.number(index as f64);
    }

    /// What stands for "none", of everything that may be none.
    pub fn none(&mut self) {
        self.number(NONE);
    }

    pub fn some_number(&mut self, number: Option<i64>) {
        match number {
            Some(number) => self.number(number as f64),
            None => self.none(),
        }
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as f64);
        self.put(bytes);
        self.at += bytes.len().next_multiple_of(WORD);
    }

    pub fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub fn some_text(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.text(text),
            None => self.none(),
        }
    }

    /// Puts a number into the word at a place that was passed before.
    pub fn set(&mut self, at: usize, number: f64) {
        if let Some(word) = self.memory.get_mut(at..at + WORD) {
            word.copy_from_slice(&number.to_ne_bytes());
        }
    }

    /// The number in the word at a place that was passed before.
    pub fn get(&self, at: usize) -> f64 {
        let word = self.memory[at..].first_chunk().expect("a word is there");
        f64::from_ne_bytes(*word)
    }

    fn put(&mut self, bytes: &[u8]) {
        if let Some(place) = self.memory.get_mut(self.at..self.at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }
}
