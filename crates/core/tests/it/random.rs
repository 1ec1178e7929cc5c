//! Random characters, also from sources that misbehave.

use keyward_core::random::{RandomSource, RandomUnavailable, fill_base36};

use crate::given::{Broken, Seeded};

struct Stuck(u8);

impl RandomSource for Stuck {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RandomUnavailable> {
        bytes.fill(self.0);
        Ok(())
    }
}

#[test]
fn a_source_that_is_stuck_above_the_alphabet_fails_instead_of_turning_for_ever() {
    for byte in 252..=255 {
        assert_eq!(
            fill_base36(&mut Stuck(byte), &mut [0; 10]),
            Err(RandomUnavailable)
        );
    }
    assert_eq!(fill_base36(&mut Broken, &mut [0; 1]), Err(RandomUnavailable));
    assert_eq!(fill_base36(&mut Broken, &mut []), Ok(()));
}

#[test]
fn every_character_is_about_equally_likely() {
    let mut out = vec![0; 36 * 1_000];
    fill_base36(&mut Seeded(1), &mut out).unwrap();
    for character in b"0123456789abcdefghijklmnopqrstuvwxyz" {
        let count = out.iter().filter(|byte| *byte == character).count();
        assert!(
            (850..1_150).contains(&count),
            "{}: {count}",
            char::from(*character)
        );
    }
}
