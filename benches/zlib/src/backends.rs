//! The implementations, each behind the same two traits: a message goes in whole and comes out whole.

/// Compresses messages.
pub(crate) trait Compress {
    /// Writes a message, flushed, to `out`, which has room for it; gives its length with the four bytes at the
    /// end that permessage-deflate does not send.
    fn message(&mut self, message: &[u8], out: &mut [u8]) -> usize;

    /// Forgets the messages so far.
    fn reset(&mut self);
}

/// Inflates messages.
pub(crate) trait Inflate {
    /// Writes a message to `out`, which has room for it and more; gives its length.
    fn message(&mut self, compressed: &[u8], out: &mut [u8]) -> usize;

    /// Forgets the messages so far.
    fn reset(&mut self);
}

/// An implementation, and how it is set up.
pub(crate) struct Backend {
    pub(crate) name: &'static str,
    /// Gives a compressor of a level, with a window of so many bits; `None` if it has no such window.
    pub(crate) compress: fn(level: u8, bits: u8) -> Option<Box<dyn Compress>>,
    /// Gives an inflater, in the same way.
    pub(crate) inflate: fn(bits: u8) -> Option<Box<dyn Inflate>>,
}

/// Those of this build: those that are used directly, or flate2.
pub(crate) fn backends() -> Vec<Backend> {
    #[cfg(not(feature = "flate2"))]
    return direct::backends();
    #[cfg(feature = "flate2")]
    return vec![through_flate2::backend()];
}

/// The implementation that taut uses, as it sets it up.
pub(crate) const OURS: &str = "zlib-rs, memLevel 6";

/// The same with zlib's default.
pub(crate) const OURS_WITH_8: &str = "zlib-rs, memLevel 8";

/// A name for what is used through flate2, and the feature of this package that builds it.
pub(crate) const THROUGH_FLATE2: [(&str, &str); 4] = [
    ("flate2 on zlib-rs", "flate2-zlib-rs"),
    ("flate2 on miniz_oxide", "flate2-miniz"),
    ("flate2 on zlib (C)", "flate2-zlib"),
    ("flate2 on zlib-ng (C)", "flate2-zlib-ng"),
];

#[cfg_attr(feature = "flate2", expect(dead_code, reason = "the input of the inflaters is made with it"))]
pub(crate) mod direct {
    use miniz_oxide::deflate::core::{CompressorOxide, create_comp_flags_from_zip_params};
    use miniz_oxide::inflate::stream::{InflateState, MinReset};
    use miniz_oxide::{DataFormat, MZFlush};
    use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, InflateFlush, Status};

    use super::{Backend, Compress, Inflate, OURS, OURS_WITH_8};

    pub(crate) fn backends() -> Vec<Backend> {
        vec![
            Backend {
                name: OURS,
                compress: |level, bits| Some(Box::new(zlib_rs(level, bits, 6))),
                inflate: |bits| Some(Box::new(ZlibRs(zlib_rs::Inflate::new(false, bits)))),
            },
            Backend {
                name: "zlib-rs, memLevel 5",
                compress: |level, bits| Some(Box::new(zlib_rs(level, bits, 5))),
                inflate: |_| None,
            },
            Backend {
                name: OURS_WITH_8,
                compress: |level, bits| Some(Box::new(zlib_rs(level, bits, 8))),
                inflate: |_| None,
            },
            Backend {
                name: "miniz_oxide",
                compress: |level, bits| {
                    let flags = create_comp_flags_from_zip_params(level.into(), -15, 0);
                    (bits == 15).then(|| Box::new(Miniz(Box::new(CompressorOxide::new(flags)))) as _)
                },
                inflate: |bits| {
                    (bits == 15).then(|| Box::new(Miniz(InflateState::new_boxed(DataFormat::Raw))) as _)
                },
            },
        ]
    }

    pub(crate) struct ZlibRs<T>(T);

    pub(crate) fn zlib_rs(level: u8, bits: u8, mem_level: i32) -> ZlibRs<Deflate> {
        ZlibRs(Deflate::new_with_config(DeflateConfig {
            level: level.into(),
            window_bits: -i32::from(bits),
            mem_level,
            ..DeflateConfig::default()
        }))
    }

    impl Compress for ZlibRs<Deflate> {
        fn message(&mut self, message: &[u8], out: &mut [u8]) -> usize {
            let before = (self.0.total_in(), self.0.total_out());
            let status = self.0.compress(message, out, DeflateFlush::SyncFlush);
            assert!(matches!(status, Ok(Status::Ok)) && self.0.total_in() - before.0 == message.len() as u64);
            (self.0.total_out() - before.1) as usize
        }

        fn reset(&mut self) {
            self.0.reset();
        }
    }

    impl Inflate for ZlibRs<zlib_rs::Inflate> {
        fn message(&mut self, compressed: &[u8], out: &mut [u8]) -> usize {
            let before = self.0.total_out();
            let status = self.0.decompress(compressed, out, InflateFlush::SyncFlush);
            assert!(matches!(status, Ok(Status::Ok)));
            (self.0.total_out() - before) as usize
        }

        fn reset(&mut self) {
            self.0.reset(false);
        }
    }

    struct Miniz<T>(Box<T>);

    impl Compress for Miniz<CompressorOxide> {
        fn message(&mut self, message: &[u8], out: &mut [u8]) -> usize {
            let result = miniz_oxide::deflate::stream::deflate(&mut self.0, message, out, MZFlush::Sync);
            assert!(result.status.is_ok() && result.bytes_consumed == message.len());
            result.bytes_written
        }

        fn reset(&mut self) {
            self.0.reset();
        }
    }

    impl Inflate for Miniz<InflateState> {
        fn message(&mut self, compressed: &[u8], out: &mut [u8]) -> usize {
            let result = miniz_oxide::inflate::stream::inflate(&mut self.0, compressed, out, MZFlush::Sync);
            assert!(result.status.is_ok() && result.bytes_consumed == compressed.len());
            result.bytes_written
        }

        fn reset(&mut self) {
            self.0.reset_as(MinReset);
        }
    }
}

#[cfg(feature = "flate2")]
mod through_flate2 {
    use flate2::{Compression, Decompress, FlushCompress, FlushDecompress, Status};
    #[cfg(feature = "flate2-zlib")]
    use libz_sys as _;

    use super::{Backend, Compress, Inflate, THROUGH_FLATE2};

    pub(crate) fn backend() -> Backend {
        let number = [
            cfg!(feature = "flate2-zlib-rs"),
            cfg!(feature = "flate2-miniz"),
            cfg!(feature = "flate2-zlib"),
            cfg!(feature = "flate2-zlib-ng"),
        ];
        let number = number.iter().position(|&on| on).expect("a feature names the back end");
        Backend { name: THROUGH_FLATE2[number].0, compress, inflate }
    }

    #[cfg(not(feature = "flate2-miniz"))]
    fn compress(level: u8, bits: u8) -> Option<Box<dyn Compress>> {
        let level = Compression::new(level.into());
        Some(Box::new(flate2::Compress::new_with_window_bits(level, false, bits)))
    }

    #[cfg(not(feature = "flate2-miniz"))]
    fn inflate(bits: u8) -> Option<Box<dyn Inflate>> {
        Some(Box::new(Decompress::new_with_window_bits(false, bits)))
    }

    #[cfg(feature = "flate2-miniz")]
    fn compress(level: u8, bits: u8) -> Option<Box<dyn Compress>> {
        let level = Compression::new(level.into());
        (bits == 15).then(|| Box::new(flate2::Compress::new(level, false)) as _)
    }

    #[cfg(feature = "flate2-miniz")]
    fn inflate(bits: u8) -> Option<Box<dyn Inflate>> {
        (bits == 15).then(|| Box::new(Decompress::new(false)) as _)
    }

    impl Compress for flate2::Compress {
        fn message(&mut self, message: &[u8], out: &mut [u8]) -> usize {
            let before = (self.total_in(), self.total_out());
            let status = self.compress(message, out, FlushCompress::Sync);
            assert!(matches!(status, Ok(Status::Ok)) && self.total_in() - before.0 == message.len() as u64);
            (self.total_out() - before.1) as usize
        }

        fn reset(&mut self) {
            Self::reset(self);
        }
    }

    impl Inflate for Decompress {
        fn message(&mut self, compressed: &[u8], out: &mut [u8]) -> usize {
            let before = self.total_out();
            let status = self.decompress(compressed, out, FlushDecompress::Sync);
            assert!(matches!(status, Ok(Status::Ok)));
            (self.total_out() - before) as usize
        }

        fn reset(&mut self) {
            Self::reset(self, false);
        }
    }
}
