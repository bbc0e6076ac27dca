//! A stream that is hashed for its signature while it is read.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use crate::transport;
use crate::trust::{self, Signer, Verifier};

/// What became of a stream, for those who cannot ask it any more.
#[derive(Clone, Default)]
pub(super) struct Outcome(Arc<Mutex<Ended>>);

#[derive(Default)]
struct Ended {
    /// The transfer broke; this is no fault of what was transferred.
    broken: bool,
    /// It may be taken up again.
    may_go_on: bool,
    signer: Option<Result<Signer, trust::Error>>,
}

impl Outcome {
    pub(super) fn broken(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).broken
    }

    /// Whether the transfer broke and may be taken up again at another time.
    pub(super) fn may_go_on(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).may_go_on
    }

    /// Who signed, once the stream was read to its end. An error is given once.
    pub(super) fn signer(&self) -> Option<Result<Signer, trust::Error>> {
        let mut ended = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &ended.signer {
            Some(Ok(signer)) => Some(Ok(signer.clone())),
            _ => ended.signer.take(),
        }
    }
}

/// The stream itself.
pub(super) struct Watched<R> {
    source: R,
    verifier: Option<Verifier>,
    outcome: Outcome,
}

impl<R: Read> Watched<R> {
    pub(super) fn new(source: R, verifier: Option<Verifier>) -> (Self, Outcome) {
        let outcome = Outcome::default();
        (Self { source, verifier, outcome: outcome.clone() }, outcome)
    }
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let ended = || self.outcome.0.lock().unwrap_or_else(PoisonError::into_inner);
        match self.source.read(buffer) {
            Ok(0) if !buffer.is_empty() => {
                if let Some(verifier) = self.verifier.take() {
                    let signer = verifier.finish();
                    ended().signer = Some(signer);
                }
                Ok(0)
            }
            Ok(count) => {
                if let Some(verifier) = &mut self.verifier {
                    verifier.update(&buffer[..count]);
                }
                Ok(count)
            }
            Err(error) => {
                ended().broken |= error.kind() != io::ErrorKind::Interrupted;
                ended().may_go_on |= transport::may_go_on(&error);
                Err(error)
            }
        }
    }
}
