//! Masking, in a loop that the compiler turns into vectors.

/// RFC 6455 §5.3: the payload without its masking.
pub(super) fn unmask(payload: &mut [u8], key: [u8; 4]) {
    #[cfg(target_arch = "x86_64")]
    if payload.len() >= WORTH && std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, as was just asked.
        #[expect(unsafe_code, reason = "the loop below for a processor that is known when it runs")]
        return unsafe { unmask_avx2(payload, key) };
    }
    unmask_words(payload, key);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn unmask_avx2(payload: &mut [u8], key: [u8; 4]) {
    unmask_words(payload, key);
}

#[inline(always)]
fn unmask_words(payload: &mut [u8], key: [u8; 4]) {
    let mask = u64::from_ne_bytes([key[0], key[1], key[2], key[3], key[0], key[1], key[2], key[3]]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ mask).to_ne_bytes();
    }
    for (index, byte) in rest.iter_mut().enumerate() {
        *byte ^= key[index % 4];
    }
}

/// Below, the question costs more than it brings.
#[cfg(target_arch = "x86_64")]
const WORTH: usize = 256;
