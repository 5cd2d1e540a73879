//! One sentence with one of hydac's error codes (common/util/error.h).
pub const NOMEM: i32 = -1;
pub const FORMAT: i32 = -3;
pub const RANGE: i32 = -4;
pub const UNSUPPORTED: i32 = -5;
pub const STATE: i32 = -8;
pub const LIMIT: i32 = -9;

#[derive(Debug)]
pub struct Failure {
    pub code: i32,
    pub text: String,
}

pub fn fail<T>(code: i32, text: impl Into<String>) -> Result<T, Failure> {
    Err(Failure { code, text: text.into() })
}

pub fn unsupported<T>(text: impl Into<String>) -> Result<T, Failure> {
    fail(UNSUPPORTED, text)
}

/// An error of a library while a file is read.
pub fn format_error(e: impl std::fmt::Display) -> Failure {
    Failure { code: FORMAT, text: e.to_string() }
}
