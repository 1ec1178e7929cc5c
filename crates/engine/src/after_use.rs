//! What follows from uses that were written down, off the way of the requests that used the keys.

use keyward_store::uses::SecretUse;

use crate::Engine;

impl Engine {
    /// Told of every batch of uses after it was committed, in the task that writes uses; the same use can come again
    /// after an answer of the database was lost. Here belongs what a first use sets off: the end of a rotated secret's
    /// grace begins to count when its successor was used. Whatever takes long or may fail is to be spawned, because the
    /// next flush waits for this.
    pub(crate) async fn after_flush(&self, _noted: &[SecretUse]) {}
}
