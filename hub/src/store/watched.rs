//! A store whose failures are told by a few lines of the log, however many meet them.

#![forbid(unsafe_code)]

use std::sync::Arc;

use super::{Appended, Running, Since, Store, StoreError, Then};
use crate::envelope::Envelope;
use crate::outage::Outage;

/// Does what another store does, and takes note of it.
#[derive(Debug)]
pub(crate) struct Watched {
    store: Arc<dyn Store>,
    outage: Outage,
}

impl Watched {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, outage: Outage::new("nothing can be stored or read") }
    }

    fn watch<'a, T>(&'a self, doing: Running<'a, Result<T, StoreError>>) -> Running<'a, Result<T, StoreError>>
    where
        T: 'a,
    {
        Box::pin(async move {
            let done = doing.await;
            // That a store ends is no failure.
            if !matches!(done, Err(StoreError::Stopped)) {
                self.outage.note(&done);
            }
            done
        })
    }
}

impl Store for Watched {
    fn append(&self, stream: String, message: Envelope) -> Running<'_, Result<Appended, StoreError>> {
        self.watch(self.store.append(stream, message))
    }

    fn open(&self, stream: String, from: Since, then: Then) -> Running<'_, Result<(), StoreError>> {
        self.watch(self.store.open(stream, from, then))
    }

    fn set_disabled(&self, user: String, disabled: bool) -> Running<'_, Result<(), StoreError>> {
        self.watch(self.store.set_disabled(user, disabled))
    }

    fn revoke(&self, token: String, until: u64) -> Running<'_, Result<(), StoreError>> {
        self.watch(self.store.revoke(token, until))
    }

    fn revoke_before(&self, user: String, time: u64) -> Running<'_, Result<(), StoreError>> {
        self.watch(self.store.revoke_before(user, time))
    }

    fn valid_from(&self, user: String) -> Running<'_, Result<u64, StoreError>> {
        self.watch(self.store.valid_from(user))
    }

    fn is_barred(&self, user: String, token: Option<String>) -> Running<'_, Result<bool, StoreError>> {
        self.watch(self.store.is_barred(user, token))
    }

    fn close(&self) -> Running<'_, ()> {
        self.store.close()
    }

    fn durability(&self) -> &str {
        self.store.durability()
    }
}
