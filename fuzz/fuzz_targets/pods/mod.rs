//! Two pods with fixed secrets, so that an input means the same in every run.

use std::collections::BTreeMap;
use std::sync::Arc;

use appc::metadata::{Facts, HmacKey, Pod, Pods, Token};
use uuid::Uuid;

/// The token of the pod that asks.
#[allow(dead_code, reason = "bytes on a connection have to guess it")]
pub const TOKEN: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// Stands in every answer about the other pod and in none about the one that asks.
const FOREIGN: &str = "bbbbbbbb-bbbb-bbbb-bbbb-bbbbbbbbbbbb";

const FOREIGN_TOKEN: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Whether the other pod's UUID stands in `bytes`: in an answer it may only when the question named it.
pub fn names_the_other(bytes: &[u8]) -> bool {
    bytes.windows(FOREIGN.len()).any(|part| part == FOREIGN.as_bytes())
}

pub fn pods() -> Arc<Pods> {
    let key = format!("{}==", "A".repeat(86));
    let pods = Pods::new(HmacKey::read(key.as_bytes()).expect("the key is one"));
    for (uuid, token) in [(Uuid::nil(), TOKEN), (FOREIGN.parse().expect("the UUID is one"), FOREIGN_TOKEN)] {
        let image = "0".repeat(128);
        let manifest = format!(
            r#"{{"annotations":[{{"name":"uuid","value":"{uuid}"}}],"apps":[{{"name":"a","image":{{"id":"sha512-{image}"}}}}]}}"#
        );
        let facts = Facts {
            uuid,
            token: Token::parse(token).expect("the token is one"),
            pod_manifest: manifest.into(),
            image_manifests: BTreeMap::from([("a".to_owned(), format!(r#"{{"name":"{uuid}"}}"#).into())]),
        };
        pods.insert(Pod::new(facts).expect("the facts are whole"));
    }
    Arc::new(pods)
}
