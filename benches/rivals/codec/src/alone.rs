//! The time of masks and validators by themselves.

use std::cell::RefCell;
use std::hint::black_box;

use crate::frames::Kind;
use crate::kernels;
use crate::measure::{Plan, Player, print};

/// Masks buffers of each size, which begin at each of several distances from a multiple of 64. All have the same ones:
/// where a megabyte happens to lie in the machine's memory makes a difference of a tenth.
pub fn masks(plan: Plan) {
    for size in SIZES {
        for offset in OFFSETS {
            eprintln!("mask, {size} bytes, offset {offset}");
            let buffers = RefCell::new(Buffers::new(size, offset, &Kind::Binary.payload(size)));
            let mut players = Vec::new();
            for mask in kernels::masks() {
                let buffers = &buffers;
                buffers.borrow_mut().verify(mask.apply, mask.name);
                let play = move |count| {
                    let mut buffers = buffers.borrow_mut();
                    for number in 0..count {
                        (mask.apply)(black_box(buffers.get(number)), black_box(KEY));
                    }
                    black_box(&buffers.bytes);
                };
                players.push(Player { name: mask.name.to_owned(), unit: 16, play: Box::new(play) });
            }
            for score in plan.play(players) {
                print(&format!(r#""work": "mask", "size": {size}, "offset": {offset}"#), &score, "");
            }
        }
    }
}

/// Validates text of each size.
pub fn checks(plan: Plan) {
    for kind in [Kind::Text, Kind::Mixed] {
        for size in SIZES {
            for offset in OFFSETS {
                eprintln!("utf8, {kind}, {size} bytes, offset {offset}");
                let buffers = RefCell::new(Buffers::new(size, offset, &kind.payload(size)));
                let mut players = Vec::new();
                for check in kernels::checks() {
                    let buffers = &buffers;
                    let play = move |count| {
                        let mut buffers = buffers.borrow_mut();
                        for number in 0..count {
                            assert!((check.is_utf8)(black_box(buffers.get(number))), "it is text");
                        }
                    };
                    players.push(Player { name: check.name.to_owned(), unit: 16, play: Box::new(play) });
                }
                for score in plan.play(players) {
                    let what =
                        format!(r#""work": "utf8", "kind": "{kind}", "size": {size}, "offset": {offset}"#);
                    print(&what, &score, "");
                }
            }
        }
    }
}

/// Several buffers with the same content, taken in turns: a payload was written by a read, not by the mask of the
/// message before it, whose last stores might still be on their way.
struct Buffers {
    bytes: Vec<u8>,
    start: usize,
    stride: usize,
    size: usize,
    count: usize,
}

impl Buffers {
    fn new(size: usize, offset: usize, content: &[u8]) -> Self {
        let stride = (size + offset).next_multiple_of(ALIGNMENT) + ALIGNMENT;
        let count = (NEAR / stride).clamp(1, 64).next_power_of_two();
        let mut bytes = vec![0; stride * count + ALIGNMENT];
        let start = bytes.as_ptr().align_offset(ALIGNMENT) + offset;
        for number in 0..count {
            bytes[start + number * stride..][..size].copy_from_slice(content);
        }
        Self { bytes, start, stride, size, count }
    }

    #[inline]
    fn get(&mut self, number: usize) -> &mut [u8] {
        let start = self.start + (number & (self.count - 1)) * self.stride;
        &mut self.bytes[start..start + self.size]
    }

    fn verify(&mut self, apply: fn(&mut [u8], [u8; 4]), name: &str) {
        let mut slow = self.get(0).to_vec();
        slow.iter_mut().enumerate().for_each(|(index, byte)| *byte ^= KEY[index % 4]);
        apply(self.get(0), KEY);
        assert!(self.get(0) == slow, "the mask of {name} is wrong");
    }
}

const SIZES: [usize; 13] = [0, 1, 7, 16, 20, 64, 125, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 1 << 20];
/// Of the first byte: aligned; behind a short header at the front of a buffer; nowhere in particular.
const OFFSETS: [usize; 3] = [0, 6, 13];
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const ALIGNMENT: usize = 64;
/// What stays in the nearest cache.
const NEAR: usize = 8 << 10;
