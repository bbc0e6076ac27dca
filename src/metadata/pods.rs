//! Which pods are known, by their tokens, and the key that speaks for all of them.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use uuid::Uuid;

use super::answer::{self, Answer, Asked, Route};
use super::{HmacKey, Pod, Token};

/// The pods that one service answers for.
pub struct Pods {
    key: HmacKey,
    known: RwLock<Known>,
}

#[derive(Default)]
struct Known {
    tokens: HashMap<[u8; 32], Arc<Pod>>,
    uuids: HashMap<Uuid, [u8; 32]>,
}

impl Pods {
    /// No pods yet, in the administrative domain of `key`.
    pub fn new(key: HmacKey) -> Self {
        Self { key, known: RwLock::default() }
    }

    /// Makes a pod known. Says `false`, and changes nothing, when its UUID or token is known already (mds.uuid.unique).
    pub fn insert(&self, pod: Pod) -> bool {
        let digest = Token::digest(pod.token().as_str());
        let mut known = self.write();
        if known.uuids.contains_key(&pod.uuid()) || known.tokens.contains_key(&digest) {
            return false;
        }
        known.uuids.insert(pod.uuid(), digest);
        known.tokens.insert(digest, Arc::new(pod));
        true
    }

    /// Forgets a pod. Says whether there was one.
    pub(crate) fn remove(&self, uuid: Uuid) -> bool {
        let mut known = self.write();
        let digest = known.uuids.remove(&uuid);
        digest.is_some_and(|digest| known.tokens.remove(&digest).is_some())
    }

    /// The pod whose token `claimed` is.
    pub fn find(&self, claimed: &str) -> Option<Arc<Pod>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.tokens.get(&Token::digest(claimed)).filter(|pod| pod.token().is(claimed)).cloned()
    }

    /// What a request is answered that came whole.
    pub fn answer(&self, request: &Asked<'_>) -> Answer {
        match answer::route(self, request.method, request.path) {
            Route::Done(answer) => answer,
            Route::Form(..) if !answer::is_form(request.content_type) => answer::not_a_form(),
            Route::Form(pod, action) => answer::act(&self.key, &pod, action, request.body),
        }
    }

    /// The key of the administrative domain.
    pub(crate) fn key(&self) -> &HmacKey {
        &self.key
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        // Nothing between the changes of both maps can panic.
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}
