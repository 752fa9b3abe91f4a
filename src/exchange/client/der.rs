//! DER (X.690), as much as keys and certificates need: read strictly, written.

/// `INTEGER`.
pub(super) const INTEGER: u8 = 0x02;
/// `BIT STRING`.
pub(super) const BIT_STRING: u8 = 0x03;
/// `OCTET STRING`.
pub(super) const OCTET_STRING: u8 = 0x04;
/// `NULL`.
pub(super) const NULL: u8 = 0x05;
/// `OBJECT IDENTIFIER`.
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
/// `SEQUENCE`.
pub(super) const SEQUENCE: u8 = 0x30;

/// The tag `[number] EXPLICIT`, or that of an implicitly tagged constructed value.
pub(super) const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// The values that are still to be read. Everything is `None` that is not DER, or not what is asked
/// for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads `bytes`.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The values within the one `SEQUENCE` that `bytes` is, with nothing behind it.
    pub(super) fn sequence(bytes: &'a [u8]) -> Option<Self> {
        let mut whole = Self(bytes);
        let within = whole.within(SEQUENCE)?;
        whole.end()?;
        Some(within)
    }

    /// The next value, which has this tag.
    pub(super) fn value(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (first, rest) = self.0.split_first()?;
        if *first != tag {
            return None;
        }
        let (length, rest) = length(rest)?;
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(value)
    }

    /// The next value if it has this tag; `Some(None)` if it has another, or there is none.
    pub(super) fn optional(&mut self, tag: u8) -> Option<Option<&'a [u8]>> {
        match self.0.first() {
            Some(next) if *next == tag => self.value(tag).map(Some),
            _ => Some(None),
        }
    }

    /// The values within the next value, which has this tag.
    pub(super) fn within(&mut self, tag: u8) -> Option<Self> {
        self.value(tag).map(Self)
    }

    /// The next value, an `INTEGER` that is not negative: its digits, without leading zeros.
    pub(super) fn unsigned(&mut self) -> Option<&'a [u8]> {
        match self.value(INTEGER)? {
            [0] => Some(&[]),
            // A zero is there only to keep the number from being negative.
            [0, digits @ ..] if digits.first().is_some_and(|first| *first >= 0x80) => Some(digits),
            [] | [0 | 0x80.., ..] => None,
            digits => Some(digits),
        }
    }

    /// The next value, a `BIT STRING` of whole bytes.
    pub(super) fn bytes_of_bits(&mut self) -> Option<&'a [u8]> {
        match self.value(BIT_STRING)? {
            [0, bytes @ ..] => Some(bytes),
            _ => None,
        }
    }

    /// Nothing is left.
    pub(super) fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

/// The length that `bytes` begins with, in its shortest form, and what follows it.
fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let count = usize::from(first & 0x7f);
    if *first < 0x80 {
        return Some((count, rest));
    }
    // Nothing that is read here needs more than three bytes; none at all is BER's open end.
    let (digits, rest) = rest.split_at_checked(count)?;
    if !(1..=3).contains(&count) || digits.first() == Some(&0) {
        return None;
    }
    let length = digits
        .iter()
        .fold(0, |length, digit| length << 8 | usize::from(*digit));
    (length >= 0x80).then_some((length, rest))
}

/// One value: `parts`, one behind the other, under this tag.
pub(super) fn write(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let value = parts.concat();
    let digits = value.len().to_be_bytes();
    let zeros = digits.iter().take_while(|digit| **digit == 0).count();
    let digits = digits.get(zeros..).unwrap_or_default();
    let mut written = vec![tag];
    match digits {
        [] => written.push(0),
        [digit @ 0..=0x7f] => written.push(*digit),
        digits => {
            // At most eight of them.
            written.push(0x80 | digits.len() as u8);
            written.extend_from_slice(digits);
        }
    }
    written.extend_from_slice(&value);
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unsigned(bytes: &[u8]) -> Option<&[u8]> {
        Reader::new(bytes).unsigned()
    }

    #[test]
    fn only_the_shortest_form_of_a_length_is_read() {
        let value = [7; 300];
        let with = |length: &[u8]| [&[OCTET_STRING], length, &value].concat();
        for (length, read) in [
            (vec![0x05], Some(5)),
            (vec![0x7f], Some(127)),
            (vec![0x81, 0x80], Some(128)),
            (vec![0x82, 0x01, 0x2c], Some(300)),
            (vec![0x82, 0x01, 0x2d], None),
            (vec![0x81, 0x7f], None),
            (vec![0x82, 0x00, 0x80], None),
            (vec![0x83, 0x00, 0x01, 0x2c], None),
            (vec![0x84, 0x00, 0x00, 0x01, 0x2c], None),
            (vec![0x80], None),
            (vec![0xff], None),
        ] {
            let bytes = with(&length);
            let value = Reader::new(&bytes).value(OCTET_STRING);
            assert_eq!(value.map(<[u8]>::len), read, "{length:x?}");
        }
    }

    #[test]
    fn only_integers_that_are_not_negative_and_have_no_needless_zero_are_read() {
        for (bytes, digits) in [
            (&[2, 1, 0][..], Some(&[][..])),
            (&[2, 1, 1], Some(&[1])),
            (&[2, 1, 0x7f], Some(&[0x7f])),
            (&[2, 2, 0, 0x80], Some(&[0x80])),
            (&[2, 2, 0, 0x7f], None),
            (&[2, 2, 0, 0], None),
            (&[2, 1, 0x80], None),
            (&[2, 0], None),
            (&[2], None),
            (&[2, 2, 1], None),
            (&[4, 1, 1], None),
            (&[], None),
        ] {
            assert_eq!(unsigned(bytes), digits, "{bytes:x?}");
        }
    }

    #[test]
    fn a_value_of_another_tag_is_left_where_it_is() {
        let mut reader = Reader::new(&[4, 1, 9]);
        assert_eq!(reader.optional(context(0)), Some(None));
        assert_eq!(reader.value(INTEGER), None);
        assert_eq!(reader.optional(OCTET_STRING), Some(Some(&[9][..])));
        assert_eq!(reader.optional(OCTET_STRING), Some(None));
        assert_eq!(reader.end(), Some(()));
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_again(
            value in proptest::collection::vec(any::<u8>(), 0..70_000),
            tag in any::<u8>(),
        ) {
            let (left, right) = value.split_at(value.len() / 2);
            let written = write(tag, &[left, right]);
            let mut reader = Reader::new(&written);
            prop_assert_eq!(reader.value(tag), Some(&*value));
            prop_assert_eq!(reader.end(), Some(()));
        }
    }
}
