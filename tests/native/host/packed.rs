//! The form in which header fields, maps and lists cross the border.

/// Packs pairs: the count, the sizes, then each text with a NUL behind it.
pub fn pack(pairs: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let number = |n: usize| u32::try_from(n).unwrap().to_le_bytes();
    let mut packed = number(pairs.len()).to_vec();
    for (key, value) in pairs {
        packed.extend(number(key.len()));
        packed.extend(number(value.len()));
    }
    for (key, value) in pairs {
        packed.extend([&key[..], b"\0", value, b"\0"].concat());
    }
    packed
}

/// Reads pairs of texts; `None` if the bytes are anything else.
pub fn unpack(bytes: &[u8]) -> Option<Vec<(String, String)>> {
    let mut rest = bytes;
    let mut take = |size: usize| {
        let (taken, left) = rest.split_at_checked(size)?;
        rest = left;
        Some(taken)
    };
    let number = |bytes: &[u8]| Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize);
    let count = number(take(4)?)?;
    let mut sizes = Vec::new();
    for _ in 0..count {
        sizes.push((number(take(4)?)?, number(take(4)?)?));
    }
    let mut text = |size: usize| {
        let taken = take(size.checked_add(1)?)?.strip_suffix(b"\0")?;
        String::from_utf8(taken.to_vec()).ok()
    };
    let mut pairs = Vec::new();
    for (key, value) in sizes {
        pairs.push((text(key)?, text(value)?));
    }
    rest.is_empty().then_some(pairs)
}
