//! One unambiguous byte form for what is hashed or authenticated: every field with its length before it.
//!
//! Two different lists of fields never give the same bytes, which joining texts with a separator would not promise.

/// Collects fields into their canonical bytes.
pub(crate) struct Canonical(Vec<u8>);

impl Canonical {
    /// Starts with a label that says what the bytes are of, so that no two uses can be mistaken for each other.
    pub(crate) fn new(label: &str) -> Self {
        Self(Vec::with_capacity(256)).text(label)
    }

    pub(crate) fn bytes(mut self, field: &[u8]) -> Self {
        self.0.extend_from_slice(&(field.len() as u64).to_be_bytes());
        self.0.extend_from_slice(field);
        self
    }

    pub(crate) fn text(self, field: &str) -> Self {
        self.bytes(field.as_bytes())
    }

    pub(crate) fn number(self, field: i64) -> Self {
        self.bytes(&field.to_be_bytes())
    }

    /// Absent and present are different fields, so that no value can stand for "none".
    pub(crate) fn optional_number(self, field: Option<i64>) -> Self {
        match field {
            None => self.bytes(&[]),
            Some(number) => self.number(number),
        }
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }
}
