//! The twins of [`Compressor`](super::Compressor) and [`Inflater`](super::Inflater) in a build without the
//! feature: they hold nothing, and are never on.

#![forbid(unsafe_code)]

use alloc::vec::Vec;

use super::super::config::Config;
use super::super::error::ProtocolError;

pub(crate) struct Inflater;

impl Inflater {
    pub(crate) const fn is_on(&self) -> bool {
        false
    }

    pub(crate) const fn memory(&self) -> usize {
        0
    }

    pub(crate) const fn begin(&mut self) {}

    pub(crate) const fn inflate(
        &mut self,
        _: &[u8],
        _: &mut [u8],
        _: &Config,
    ) -> Result<(usize, usize), ProtocolError> {
        Err(ProtocolError::Deflate)
    }

    pub(crate) const fn check(&self) -> Result<(), ProtocolError> {
        Ok(())
    }

    pub(crate) const fn finish(&mut self) -> Result<(), ProtocolError> {
        Err(ProtocolError::Deflate)
    }

    pub(crate) const fn stop(&mut self) {}
}

pub(crate) struct Compressor;

impl Compressor {
    pub(crate) const fn memory(&self) -> usize {
        0
    }

    pub(crate) const fn wants(&self, _: Option<usize>, _: &Config) -> bool {
        false
    }

    pub(crate) const fn is_on(&self) -> bool {
        false
    }

    pub(crate) const fn most_plain(_: &Config) -> usize {
        0
    }

    pub(crate) const fn message(&mut self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    pub(crate) const fn piece(&mut self, _: &[u8], _: bool) -> Vec<u8> {
        Vec::new()
    }

    pub(crate) const fn may_share(_: &Vec<u8>, _: &Config) -> bool {
        false
    }

    pub(crate) fn reuse(_: Vec<u8>) {}

    pub(crate) const fn forget(&mut self) {}
}
