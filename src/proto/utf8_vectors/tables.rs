//! What is wrong with two bytes of text in a row, each a bit: it is wrong if the three tables say so (RFC 3629 §4).

#![forbid(unsafe_code)]

/// By the upper half of the first byte.
pub(crate) const FIRST_HIGH: [u8; 16] = {
    let mut table = [LONG; 16];
    [table[8], table[9], table[10], table[11]] = [CONTINUED; 4];
    table[12] = SHORT_OF | OVERLONG_2;
    table[13] = SHORT_OF;
    table[14] = SHORT_OF | OVERLONG_3 | SURROGATE;
    table[15] = SHORT_OF | LARGE | OVERLONG_4;
    table
};

/// By the lower half of the first byte.
pub(crate) const FIRST_LOW: [u8; 16] = {
    let mut table = [ANY | LARGE | OVERLONG_4; 16];
    table[0] = ANY | OVERLONG_2 | OVERLONG_3 | OVERLONG_4;
    table[1] = ANY | OVERLONG_2;
    [table[2], table[3]] = [ANY; 2];
    table[4] = ANY | LARGE;
    table[13] |= SURROGATE;
    table
};

/// By the upper half of the second byte.
pub(crate) const SECOND_HIGH: [u8; 16] = {
    let mut table = [SHORT_OF; 16];
    let any = LONG | OVERLONG_2 | CONTINUED;
    table[8] = any | OVERLONG_3 | OVERLONG_4;
    table[9] = any | OVERLONG_3 | LARGE;
    [table[10], table[11]] = [any | SURROGATE | LARGE; 2];
    table
};

/// Two continuations.
pub(crate) const CONTINUED: u8 = 1 << 7;
/// A lead, and no continuation.
const SHORT_OF: u8 = 1 << 0;
/// ASCII, and a continuation.
const LONG: u8 = 1 << 1;
/// Three bytes where two would do.
const OVERLONG_3: u8 = 1 << 2;
/// Above U+10FFFF, by its second byte.
const LARGE: u8 = 1 << 3;
/// Half of a pair of UTF-16.
const SURROGATE: u8 = 1 << 4;
/// Two bytes where one would do.
const OVERLONG_2: u8 = 1 << 5;
/// Four bytes where three would do; or above U+10FFFF, by its first byte, and the second below 0x90.
const OVERLONG_4: u8 = 1 << 6;
/// What the lower half of the first byte does not matter for.
const ANY: u8 = SHORT_OF | LONG | CONTINUED;
