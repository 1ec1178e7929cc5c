//! Where random bytes come from: an argument, never a call to the system from inside the domain.
//!
//! The server hands in the operating system's source; tests hand in bytes they chose.

/// A source of random bytes.
pub trait RandomSource {
    /// Fills `bytes` completely.
    ///
    /// # Errors
    /// [`RandomUnavailable`] if the source failed; then nothing may be made from what is in `bytes`.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RandomUnavailable>;
}

/// The random source failed; what needed it must not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system's random source failed")]
pub struct RandomUnavailable;

const BASE36: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// Fills `out` with characters of `0-9a-z`, each equally likely.
///
/// A byte of 252 or more is thrown away: 252 is the largest multiple of 36 in a byte, and keeping the rest would
/// make the first characters of the alphabet likelier than the others.
///
/// # Errors
/// [`RandomUnavailable`] from the source.
pub fn fill_base36(source: &mut dyn RandomSource, out: &mut [u8]) -> Result<(), RandomUnavailable> {
    let mut filled = 0;
    let mut batch = zeroize::Zeroizing::new([0_u8; 64]);
    while filled < out.len() {
        source.fill(batch.as_mut())?;
        // 64 bytes of which none can be used do not happen by chance (2^-384): the source is stuck, and waiting for
        // it would be for ever.
        if batch.iter().all(|byte| *byte >= 252) {
            return Err(RandomUnavailable);
        }
        for byte in batch.iter().filter(|byte| **byte < 252) {
            let Some(slot) = out.get_mut(filled) else { break };
            if let Some(character) = BASE36.get(usize::from(byte % 36)) {
                *slot = *character;
                filled += 1;
            }
        }
    }
    Ok(())
}

/// Writes `value` in base 36, zero-padded to `N` characters; more digits than `N` holds are cut off at the top.
pub(crate) fn base36_padded<const N: usize>(mut value: u64) -> [u8; N] {
    let mut out = [b'0'; N];
    for slot in out.iter_mut().rev() {
        if let Some(character) = usize::try_from(value % 36)
            .ok()
            .and_then(|digit| BASE36.get(digit))
        {
            *slot = *character;
        }
        value /= 36;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Repeating(Vec<u8>, usize);
    impl RandomSource for Repeating {
        fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RandomUnavailable> {
            for slot in bytes {
                *slot = self.0[self.1 % self.0.len()];
                self.1 += 1;
            }
            Ok(())
        }
    }

    #[test]
    fn bytes_that_would_bias_the_alphabet_are_thrown_away() {
        let mut out = [0_u8; 4];
        fill_base36(
            &mut Repeating(vec![252, 253, 254, 255, 0, 35, 36, 251], 0),
            &mut out,
        )
        .unwrap();
        assert_eq!(&out, b"0z0z");
    }

    #[test]
    fn padding_is_with_zeros() {
        assert_eq!(&base36_padded::<7>(35), b"000000z");
        assert_eq!(&base36_padded::<7>(u64::from(u32::MAX)), b"1z141z3");
    }
}
