//! The wire of protobuf: tags, varints and lengths, each within its bounds. What is made of a field,
//! and which fields there may be, is the business of whoever reads the message.

/// Why bytes cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// They end within a varint.
    TruncatedVarint,
    /// A varint is longer than any number of 64 bits.
    LongVarint,
    /// They end within a number of a fixed size.
    TruncatedNumber,
    /// They end before a length is used up.
    Length,
    /// A tag names no field, or a way to write it that nobody uses any more.
    Tag,
}

impl Fault {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Fault::TruncatedVarint => "truncated varint",
            Fault::LongVarint => "varint of more than 64 bits",
            Fault::TruncatedNumber => "truncated number",
            Fault::Length => "length beyond the end",
            Fault::Tag => "unreadable tag",
        }
    }
}

/// What stands in a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// A number, an enum or a boolean.
    Number(u64),
    /// A text, bytes, a message or a packed list.
    Bytes(&'a [u8]),
    /// A number of a fixed size, which nobody here asks for.
    Fixed,
}

/// The bytes of one message that are still to be read. After a [`Fault`] nothing can be told of them.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// How many bytes are left.
    pub fn left(&self) -> usize {
        self.0.len()
    }

    /// The next varint.
    ///
    /// # Errors
    /// If there is none, or none that fits.
    pub fn varint(&mut self) -> Result<u64, Fault> {
        let (mut value, mut shift): (u64, u32) = (0, 0);
        while shift < u64::BITS {
            let (byte, rest) = self.0.split_first().ok_or(Fault::TruncatedVarint)?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits.wrapping_shl(shift);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
            shift = shift.wrapping_add(7);
        }
        Err(Fault::LongVarint)
    }

    /// A length, and that many bytes.
    ///
    /// # Errors
    /// If there are fewer.
    pub fn bytes(&mut self) -> Result<&'a [u8], Fault> {
        let length = self.varint()?;
        let length = usize::try_from(length).map_err(|_| Fault::Length)?;
        self.take(length).ok_or(Fault::Length)
    }

    /// A number of so many bytes.
    ///
    /// # Errors
    /// If there are fewer.
    pub fn fixed<const BYTES: usize>(&mut self) -> Result<[u8; BYTES], Fault> {
        let bytes = self.take(BYTES).and_then(|bytes| bytes.try_into().ok());
        bytes.ok_or(Fault::TruncatedNumber)
    }

    fn field(&mut self) -> Result<(u32, Content<'a>), Fault> {
        let tag = u32::try_from(self.varint()?).map_err(|_| Fault::Tag)?;
        let content = match tag & 7 {
            0 => Content::Number(self.varint()?),
            1 => self.fixed::<8>().map(|_| Content::Fixed)?,
            2 => Content::Bytes(self.bytes()?),
            5 => self.fixed::<4>().map(|_| Content::Fixed)?,
            _ => return Err(Fault::Tag),
        };
        Ok((tag >> 3, content))
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

/// The fields of a message as they stand, by their numbers. A fault is the last.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a>(Reader<'a>);

impl<'a> Fields<'a> {
    /// Those of this message.
    pub fn of(message: &'a [u8]) -> Self {
        Self(Reader(message))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Content<'a>), Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.left() == 0 {
            return None;
        }
        let field = self.0.field();
        if field.is_err() {
            self.0 = Reader(&[]);
        }
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_varint_is_a_number_of_64_bits_at_most() {
        let (longest, too_long) = (
            [&[0xff; 9][..], &[0x01]].concat(),
            [&[0xff; 9][..], &[0x02]].concat(),
        );
        let (endless, eleven) = ([0x80; 12], [&[0x80; 10][..], &[0x00]].concat());
        for (bytes, number) in [
            (&[0x00][..], Ok(0)),
            (&[0x7f], Ok(127)),
            (&[0x80, 0x01], Ok(128)),
            (&[0x80, 0x00], Ok(0)),
            (&longest, Ok(u64::MAX)),
            (&[], Err(Fault::TruncatedVarint)),
            (&[0x80], Err(Fault::TruncatedVarint)),
            (&too_long, Err(Fault::LongVarint)),
            (&endless, Err(Fault::LongVarint)),
            (&eleven, Err(Fault::LongVarint)),
        ] {
            assert_eq!(Reader(bytes).varint(), number, "{bytes:?}");
        }
    }

    #[test]
    fn each_fault_is_told_from_the_others() {
        for (fault, words) in [
            (Fault::TruncatedVarint, "truncated varint"),
            (Fault::LongVarint, "varint of more than 64 bits"),
            (Fault::TruncatedNumber, "truncated number"),
            (Fault::Length, "length beyond the end"),
            (Fault::Tag, "unreadable tag"),
        ] {
            assert_eq!(fault.words(), words);
        }
    }

    #[test]
    fn every_field_is_found_up_to_the_first_that_is_broken() {
        let longest_length = [&[0x0a][..], &[0xff; 9], &[0x01]].concat();
        let beyond_tags = [&[0x80; 4][..], &[0x10, 0x00]].concat();
        for (message, fields) in [
            (&[][..], vec![]),
            (
                &[0x08, 0x96, 0x01, 0x12, 0x01, b'x'],
                vec![Ok((1, Content::Number(150))), Ok((2, Content::Bytes(b"x")))],
            ),
            (
                &[0x19, 1, 2, 3, 4, 5, 6, 7, 8, 0x25, 1, 2, 3, 4, 0x2a, 0x00],
                vec![
                    Ok((3, Content::Fixed)),
                    Ok((4, Content::Fixed)),
                    Ok((5, Content::Bytes(b""))),
                ],
            ),
            (
                &[0x08, 0x01, 0x12, 0x02, b'x'],
                vec![Ok((1, Content::Number(1))), Err(Fault::Length)],
            ),
            (&[0x19, 1, 2, 3], vec![Err(Fault::TruncatedNumber)]),
            (&[0x25, 1, 2, 3], vec![Err(Fault::TruncatedNumber)]),
            (&[0x08], vec![Err(Fault::TruncatedVarint)]),
            // Groups, and what was never given out.
            (&[0x0b, 0x0c], vec![Err(Fault::Tag)]),
            (&[0x0e], vec![Err(Fault::Tag)]),
            (&longest_length, vec![Err(Fault::Length)]),
            (&beyond_tags, vec![Err(Fault::Tag)]),
        ] {
            let found: Vec<_> = Fields::of(message).collect();
            assert_eq!(found, fields, "{message:?}");
        }
    }
}
