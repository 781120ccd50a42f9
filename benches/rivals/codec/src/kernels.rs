//! Masks and validators by themselves: those that libraries let one call, and those that they keep to themselves,
//! written after what they do.

/// Masks bytes in place.
pub struct Mask {
    pub name: &'static str,
    pub apply: fn(&mut [u8], [u8; 4]),
}

/// Whether bytes are UTF-8.
pub struct Check {
    pub name: &'static str,
    pub is_utf8: fn(&[u8]) -> bool,
}

pub fn masks() -> Vec<Mask> {
    vec![
        Mask { name: "taut", apply: |bytes, key| taut::proto::mask::apply(bytes, key, 0) },
        // tungstenite keeps the same loop to itself.
        Mask { name: "fastwebsockets", apply: |bytes, key| fastwebsockets::unmask(bytes, key) },
        Mask { name: "sockudo-ws", apply: |bytes, key| sockudo_ws::mask::apply_mask(bytes, key) },
        Mask { name: "yawc", apply: |bytes, key| yawc::mask::apply_mask(bytes, key) },
        Mask { name: "tokio-websockets", apply: aligned },
        Mask { name: "wtx", apply: by_sixteen },
        Mask { name: "bare", apply: xor },
    ]
}

pub fn checks() -> Vec<Check> {
    vec![
        Check { name: "taut", is_utf8: |bytes| taut::proto::utf8::check(bytes).is_ok() },
        // What tokio-websockets, fastwebsockets, wtx, yawc and sockudo-ws check whole messages with.
        Check { name: "simdutf8", is_utf8: |bytes| simdutf8::basic::from_utf8(bytes).is_ok() },
        // And tungstenite.
        Check { name: "std", is_utf8: |bytes| std::str::from_utf8(bytes).is_ok() },
        // For text that comes in pieces: more than the others do.
        Check { name: "taut, Validator", is_utf8: by_validator },
        Check { name: "sockudo-ws, Utf8Stream", is_utf8: by_stream },
    ]
}

/// The plainest mask that is fast at every size: words for short payloads, else vectors as the processor has them.
#[inline(always)]
pub fn xor(bytes: &mut [u8], key: [u8; 4]) {
    #[cfg(target_arch = "x86_64")]
    if bytes.len() > SHORT && std::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        return unsafe { by_avx2(bytes, key) };
    }
    by_eight(bytes, key);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn by_avx2(bytes: &mut [u8], key: [u8; 4]) {
    by_eight(bytes, key);
}

#[inline(always)]
fn by_eight(bytes: &mut [u8], key: [u8; 4]) {
    let key = u64::from(u32::from_ne_bytes(key));
    let key = key << 32 | key;
    let (words, rest) = bytes.as_chunks_mut();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ key).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.to_ne_bytes()) {
        *byte ^= key;
    }
}

/// What wtx does where the build is not told of wider vectors.
fn by_sixteen(bytes: &mut [u8], key: [u8; 4]) {
    let key: [u8; 16] = std::array::from_fn(|index| key[index & 3]);
    let (blocks, rest) = bytes.as_chunks_mut::<16>();
    for block in blocks {
        for (byte, key) in block.iter_mut().zip(&key) {
            *byte ^= key;
        }
    }
    for (byte, key) in rest.iter_mut().zip(&key) {
        *byte ^= key;
    }
}

/// What tokio-websockets does: the widest vectors that the processor has, where they are aligned, words around them,
/// and bytes around those.
#[inline]
fn aligned(bytes: &mut [u8], mut key: [u8; 4]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::*;
        macro_rules! by_vectors {
            ($feature:tt, $vector:ty, $spread:ident, $xor:ident) => {
                if std::is_x86_feature_detected!($feature) {
                    #[target_feature(enable = $feature)]
                    fn by_vectors(bytes: &mut [u8], mut key: [u8; 4]) {
                        // SAFETY: any bytes are a vector.
                        let (front, vectors, back) = unsafe { bytes.align_to_mut::<$vector>() };
                        words(front, &mut key);
                        let wide = $spread(i32::from_ne_bytes(key));
                        for vector in vectors {
                            *vector = $xor(*vector, wide);
                        }
                        words(back, &mut key);
                    }
                    // SAFETY: the processor has the feature.
                    return unsafe { by_vectors(bytes, key) };
                }
            };
        }
        by_vectors!("avx512f", __m512i, _mm512_set1_epi32, _mm512_xor_si512);
        by_vectors!("avx2", __m256i, _mm256_set1_epi32, _mm256_xor_si256);
    }
    words(bytes, &mut key);
}

fn words(bytes: &mut [u8], key: &mut [u8; 4]) {
    // SAFETY: any bytes are a number.
    let (front, words, back) = unsafe { bytes.align_to_mut::<u64>() };
    single(front, key);
    let wide = u64::from(u32::from_ne_bytes(*key));
    for word in words {
        *word ^= wide << 32 | wide;
    }
    single(back, key);
}

fn single(bytes: &mut [u8], key: &mut [u8; 4]) {
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte ^= key[index % 4];
    }
    key.rotate_left(bytes.len() % 4);
}

fn by_validator(bytes: &[u8]) -> bool {
    let mut validator = taut::proto::utf8::Validator::new();
    validator.feed(bytes).and_then(|()| validator.finish()).is_ok()
}

fn by_stream(bytes: &[u8]) -> bool {
    let mut stream = sockudo_ws::utf8::Utf8Stream::new();
    stream.push(bytes) && stream.finish()
}

const SHORT: usize = 64;
