//! Which pods are known, by their tokens, and the key that speaks for all of them.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use uuid::Uuid;

use super::{HmacKey, Pod, Token};

/// The pods that one service answers for.
pub struct Pods {
    key: HmacKey,
    known: RwLock<HashMap<[u8; 32], Arc<Pod>>>,
}

impl Pods {
    /// No pods yet, in the administrative domain of `key`.
    pub fn new(key: HmacKey) -> Self {
        Self { key, known: RwLock::default() }
    }

    /// Makes a pod known.
    pub fn insert(&self, pod: Pod) {
        let digest = Token::digest(pod.token().as_str());
        // A panic elsewhere leaves the map whole: one insert or remove is one step.
        self.known.write().unwrap_or_else(PoisonError::into_inner).insert(digest, Arc::new(pod));
    }

    /// Forgets a pod. Says whether there was one.
    pub fn remove(&self, uuid: Uuid) -> bool {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let before = known.len();
        known.retain(|_, pod| pod.uuid() != uuid);
        known.len() < before
    }

    /// The pod whose token `claimed` is.
    pub fn find(&self, claimed: &str) -> Option<Arc<Pod>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(&Token::digest(claimed)).filter(|pod| pod.token().is(claimed)).cloned()
    }

    /// The key of the administrative domain.
    pub fn key(&self) -> &HmacKey {
        &self.key
    }
}
