//! A class of bytes, and how far a text stays in it.

use crate::filter::literal::ByteSet;

#[derive(Debug)]
pub(super) struct Set {
    pub bytes: ByteSet,
    pub table: Box<[bool; 256]>,
    /// The bytes that are not in it, where they are three at most.
    all_but: Option<Box<[u8]>>,
}

impl Set {
    pub fn new(bytes: ByteSet) -> Set {
        let mut table = Box::new([false; 256]);
        (0..=255u8).for_each(|byte| table[usize::from(byte)] = bytes.contains(byte));
        let missing: Vec<u8> = (0..=255u8).filter(|byte| !bytes.contains(*byte)).collect();
        Set { bytes, table, all_but: (missing.len() <= 3).then(|| missing.into()) }
    }

    /// How many bytes at the start of `text` are in the set.
    #[inline]
    pub fn count(&self, text: &[u8]) -> usize {
        let stop = match self.all_but.as_deref() {
            None => text.iter().position(|byte| !self.table[usize::from(*byte)]),
            Some(&[stop]) => memchr::memchr(stop, text),
            Some(&[one, two]) => memchr::memchr2(one, two, text),
            Some(&[one, two, three]) => memchr::memchr3(one, two, three, text),
            Some(_) => None,
        };
        stop.unwrap_or(text.len())
    }
}
