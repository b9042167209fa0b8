//! A strict JSON reader (RFC 8259) over one record, for decode.
//!
//! It hands out one token's worth at a time and never builds a tree: decode knows from the schema
//! what to expect and appends straight to the columns. The input is valid UTF-8; decode has
//! checked it before.

use std::borrow::Cow;

use wide::u8x16;

use crate::reject::Code;

/// Values nest at most this deep, so that no input can exhaust the stack.
pub const DEPTH_MAX: usize = 64;

/// Why a record cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeFault {
    /// Kind of fault.
    pub code: Code,
    /// Byte of the record at which it was found.
    pub at: usize,
    /// What was expected, or what is wrong.
    pub what: &'static str,
}

/// Position in a record.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    pos: usize,
}

/// A string token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StringToken<'a> {
    /// Bytes between the quotes.
    pub raw: &'a [u8],
    /// Whether there are escapes in it, so that [`unescape`] is needed.
    pub escaped: bool,
    /// Position of the opening quote in the record.
    pub at: usize,
}

impl<'a> StringToken<'a> {
    /// The text with its escapes resolved; allocates only if there are any.
    pub fn plain(self) -> Cow<'a, [u8]> {
        if self.escaped {
            let mut out = Vec::with_capacity(self.raw.len());
            unescape(self.raw, &mut out);
            Cow::Owned(out)
        } else {
            Cow::Borrowed(self.raw)
        }
    }
}

/// A number token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NumberToken<'a> {
    /// Its text, which is ASCII.
    pub text: &'a [u8],
    /// Whether there is a minus sign.
    pub negative: bool,
    /// Its digits without sign, point and exponent, if they fit.
    pub mantissa: Option<u64>,
    /// Power of ten that the digits are multiplied with.
    pub exponent: i32,
    /// Whether it is written without point and exponent.
    pub integral: bool,
    /// Position in the record.
    pub at: usize,
}

const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

impl NumberToken<'_> {
    /// The value as an integer, if it is one and fits.
    pub fn to_i64(self) -> Option<i64> {
        if !self.integral {
            return None;
        }
        let mantissa = self.mantissa?;
        if self.negative {
            0_i64.checked_sub_unsigned(mantissa)
        } else {
            i64::try_from(mantissa).ok()
        }
    }

    /// The value as a float, correctly rounded; `None` where it is beyond the greatest float.
    pub fn to_f64(self) -> Option<f64> {
        // Clinger's fast path: both the digits and the power of ten are exact floats, so that one
        // multiplication or division rounds once and rightly.
        if let Some(mantissa) = self.mantissa
            && mantissa <= 1 << 53
            && self.exponent.unsigned_abs() <= 22
        {
            let power = POWERS[self.exponent.unsigned_abs() as usize];
            let value = if self.exponent < 0 {
                mantissa as f64 / power
            } else {
                mantissa as f64 * power
            };
            return Some(if self.negative { -value } else { value });
        }
        let text = std::str::from_utf8(self.text).ok()?;
        text.parse::<f64>().ok().filter(|v| v.is_finite())
    }

    /// The value times `10^scale` as an integer of at most `precision` digits; `None` where it does
    /// not fit exactly.
    pub fn to_decimal(self, precision: u8, scale: u8) -> Option<i128> {
        let digits = self
            .text
            .iter()
            .copied()
            .take_while(|b| !matches!(b, b'e' | b'E'))
            .filter(u8::is_ascii_digit);
        let mut shift = i64::from(self.exponent) + i64::from(scale);
        // Zeros at the end are cut as far as a negative shift asks; others would be lost digits.
        let mut value: i128 = 0;
        let mut zeros: i64 = 0;
        for digit in digits {
            if digit == b'0' {
                zeros += i64::from(value != 0);
                continue;
            }
            for _ in 0..zeros {
                value = value.checked_mul(10)?;
            }
            zeros = 0;
            value = value
                .checked_mul(10)?
                .checked_add(i128::from(digit - b'0'))?;
        }
        shift += zeros;
        if value == 0 {
            return Some(0);
        }
        if !(0..=38).contains(&shift) {
            return None;
        }
        value = value.checked_mul(10_i128.checked_pow(u32::try_from(shift).ok()?)?)?;
        if value >= 10_i128.pow(u32::from(precision)) {
            return None;
        }
        Some(if self.negative { -value } else { value })
    }
}

impl<'a> Reader<'a> {
    /// A reader at the start of a record.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes, pos: 0 }
    }

    /// Position in the record.
    pub fn at(&self) -> usize {
        self.pos
    }

    /// A syntax fault here.
    pub fn syntax(&self, what: &'static str) -> DecodeFault {
        DecodeFault {
            code: Code::Syntax,
            at: self.pos,
            what,
        }
    }

    /// The next byte that is not white space; not consumed. `0` at the end.
    #[inline]
    pub fn peek(&mut self) -> u8 {
        while let Some(&byte) = self.bytes.get(self.pos) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return byte;
            }
            self.pos += 1;
        }
        0
    }

    /// Consumes `byte` if it is next.
    #[inline]
    pub fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == byte && self.pos < self.bytes.len();
        self.pos += usize::from(found);
        found
    }

    /// Checks that nothing but white space is left.
    pub fn end(&mut self) -> Result<(), DecodeFault> {
        self.peek();
        if self.pos == self.bytes.len() {
            Ok(())
        } else {
            Err(self.syntax("more text after the value"))
        }
    }

    /// Consumes a key and its colon if they are next; `quoted` is the key between its quotes,
    /// without escapes: the usual case of keys in the schema's order.
    #[inline]
    pub fn eat_key(&mut self, quoted: &[u8]) -> bool {
        let rest = self.bytes.get(self.pos..).unwrap_or_default();
        if !starts_with(rest, quoted) {
            return false;
        }
        let before = self.pos;
        self.pos += quoted.len();
        if self.eat(b':') {
            return true;
        }
        self.pos = before;
        false
    }

    /// Consumes a string.
    #[inline]
    pub fn string(&mut self) -> Result<StringToken<'a>, DecodeFault> {
        if !self.eat(b'"') {
            return Err(self.syntax("expected a string"));
        }
        let start = self.pos;
        let mut escaped = false;
        loop {
            self.pos += plain_prefix(&self.bytes[self.pos..]);
            match self.bytes.get(self.pos) {
                Some(b'"') => {
                    let raw = &self.bytes[start..self.pos];
                    self.pos += 1;
                    return Ok(StringToken {
                        raw,
                        escaped,
                        at: start - 1,
                    });
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => {
                    return Err(self.syntax("a control character in a string must be escaped"));
                }
                None => return Err(self.syntax("the record ends inside a string")),
            }
        }
    }

    /// Checks and steps over one escape sequence.
    fn escape(&mut self) -> Result<(), DecodeFault> {
        match self.bytes.get(self.pos + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.pos += 2;
                Ok(())
            }
            Some(b'u') => {
                let Some(unit) = hex4(self.bytes, self.pos + 2) else {
                    return Err(self.syntax("expected four hexadecimal digits after \\u"));
                };
                let mut len = 6;
                if (0xD800..0xDC00).contains(&unit) {
                    let low = (self.bytes.get(self.pos + 6..self.pos + 8) == Some(b"\\u"))
                        .then(|| hex4(self.bytes, self.pos + 8))
                        .flatten();
                    if !low.is_some_and(|low| (0xDC00..0xE000).contains(&low)) {
                        return Err(self.syntax("half of a surrogate pair"));
                    }
                    len = 12;
                } else if (0xDC00..0xE000).contains(&unit) {
                    return Err(self.syntax("half of a surrogate pair"));
                }
                self.pos += len;
                Ok(())
            }
            _ => Err(self.syntax("not an escape sequence")),
        }
    }

    /// Consumes a number.
    #[inline]
    pub fn number(&mut self) -> Result<NumberToken<'a>, DecodeFault> {
        self.peek();
        let at = self.pos;
        let negative = self.bytes.get(at) == Some(&b'-');
        self.pos += usize::from(negative);
        let mut mantissa = Some(0);
        let whole = self.digits(&mut mantissa);
        if whole == 0 {
            return Err(self.syntax("expected a value"));
        }
        if whole > 1 && self.bytes[self.pos - whole] == b'0' {
            return Err(self.syntax("a number does not start with 0"));
        }
        let mut exponent = 0;
        let mut integral = true;
        if self.bytes.get(self.pos) == Some(&b'.') {
            integral = false;
            self.pos += 1;
            let fraction = self.digits(&mut mantissa);
            if fraction == 0 {
                return Err(self.syntax("expected a digit after the point"));
            }
            exponent = i32::try_from(fraction).map_or(i32::MIN / 2, |f| -f);
        }
        if matches!(self.bytes.get(self.pos), Some(b'e' | b'E')) {
            integral = false;
            self.pos += 1;
            let minus = self.bytes.get(self.pos) == Some(&b'-');
            self.pos += usize::from(matches!(self.bytes.get(self.pos), Some(b'+' | b'-')));
            let mut power = Some(0);
            if self.digits(&mut power) == 0 {
                return Err(self.syntax("expected a digit in the exponent"));
            }
            let power = power
                .and_then(|p| i32::try_from(p).ok())
                .unwrap_or(i32::MAX / 2)
                .min(i32::MAX / 2);
            exponent = exponent.saturating_add(if minus { -power } else { power });
        }
        Ok(NumberToken {
            text: &self.bytes[at..self.pos],
            negative,
            mantissa,
            exponent,
            integral,
            at,
        })
    }

    #[inline]
    fn digits(&mut self, value: &mut Option<u64>) -> usize {
        let start = self.pos;
        while let Some(byte) = self.bytes.get(self.pos) {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            *value = value.and_then(|v| v.checked_mul(10)?.checked_add(u64::from(digit)));
            self.pos += 1;
        }
        self.pos - start
    }

    /// Consumes `true`, `false` or `null`.
    pub fn literal(&mut self, word: &'static str) -> Result<(), DecodeFault> {
        self.peek();
        if self.bytes[self.pos..].starts_with(word.as_bytes()) {
            self.pos += word.len();
            Ok(())
        } else {
            Err(self.syntax("expected a value"))
        }
    }

    /// Checks and steps over one value of any type, inside of `depth` objects and arrays.
    pub fn skip(&mut self, depth: usize) -> Result<(), DecodeFault> {
        let first = self.peek();
        if depth >= DEPTH_MAX && matches!(first, b'{' | b'[') {
            return Err(DecodeFault {
                code: Code::Depth,
                at: self.pos,
                what: "nested too deeply",
            });
        }
        match first {
            b'"' => self.string().map(drop),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            b'{' => {
                self.pos += 1;
                if self.eat(b'}') {
                    return Ok(());
                }
                loop {
                    self.string()?;
                    self.colon()?;
                    self.skip(depth + 1)?;
                    if !self.more(b'}')? {
                        return Ok(());
                    }
                }
            }
            b'[' => {
                self.pos += 1;
                if self.eat(b']') {
                    return Ok(());
                }
                loop {
                    self.skip(depth + 1)?;
                    if !self.more(b']')? {
                        return Ok(());
                    }
                }
            }
            _ => self.number().map(drop),
        }
    }

    /// Consumes the colon after a key.
    #[inline]
    pub fn colon(&mut self) -> Result<(), DecodeFault> {
        if self.eat(b':') {
            Ok(())
        } else {
            Err(self.syntax("expected `:` after the key"))
        }
    }

    /// After a member or an item: consumes a comma and says true, or consumes `close` and says
    /// false.
    #[inline]
    pub fn more(&mut self, close: u8) -> Result<bool, DecodeFault> {
        if self.eat(b',') {
            Ok(true)
        } else if self.eat(close) {
            Ok(false)
        } else if self.pos >= self.bytes.len() {
            Err(self.syntax("the record ends inside an object or array"))
        } else {
            Err(self.syntax("expected `,` or the end of the object or array"))
        }
    }
}

/// Whether `bytes` start with `prefix`. Prefixes are short: eight bytes a step beat a call of
/// `memcmp`.
#[inline]
fn starts_with(bytes: &[u8], prefix: &[u8]) -> bool {
    let Some(bytes) = bytes.get(..prefix.len()) else {
        return false;
    };
    let (words, rest) = bytes.as_chunks::<8>();
    let (prefix_words, prefix_rest) = prefix.as_chunks::<8>();
    words
        .iter()
        .zip(prefix_words)
        .all(|(a, b)| u64::from_ne_bytes(*a) == u64::from_ne_bytes(*b))
        && rest.iter().zip(prefix_rest).all(|(a, b)| a == b)
}

fn hex4(bytes: &[u8], at: usize) -> Option<u32> {
    let mut value = 0;
    for byte in bytes.get(at..at + 4)? {
        value = value * 16 + char::from(*byte).to_digit(16)?;
    }
    Some(value)
}

/// Length of the longest prefix without quote, backslash and control characters.
#[inline]
fn plain_prefix(bytes: &[u8]) -> usize {
    let mut pos = 0;
    while let Some(block) = bytes.get(pos..).and_then(<[u8]>::first_chunk) {
        let found = special_of_block(block);
        if found != 0 {
            return pos + found.trailing_zeros() as usize;
        }
        pos += BLOCK;
    }
    while let Some(byte) = bytes.get(pos) {
        if matches!(byte, b'"' | b'\\' | 0..0x20) {
            break;
        }
        pos += 1;
    }
    pos
}

/// Bytes that are looked at together: most strings are no longer.
const BLOCK: usize = 16;

/// A bit for each quote, backslash and control character.
#[inline]
fn special_of_block(block: &[u8; BLOCK]) -> u32 {
    let block = u8x16::new(*block);
    let is = |byte: u8| block.simd_eq(u8x16::splat(byte));
    let control = block.min(u8x16::splat(0x1f)).simd_eq(block);
    (is(b'"') | is(b'\\') | control).to_bitmask()
}

/// Appends the text of a string token with its escapes resolved. The token comes from
/// [`Reader::string`], which has checked the escapes.
pub fn unescape(raw: &[u8], out: &mut Vec<u8>) {
    let mut pos = 0;
    while pos < raw.len() {
        if raw[pos] != b'\\' {
            let len = memchr::memchr(b'\\', &raw[pos..]).unwrap_or(raw.len() - pos);
            out.extend_from_slice(&raw[pos..pos + len]);
            pos += len;
            continue;
        }
        let plain = match raw.get(pos + 1) {
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => {
                let mut unit = hex4(raw, pos + 2).unwrap_or(0xFFFD);
                pos += 6;
                if (0xD800..0xDC00).contains(&unit) {
                    let low = hex4(raw, pos + 2).unwrap_or(0xDC00);
                    unit = 0x10000 + ((unit - 0xD800) << 10) + (low & 0x3FF);
                    pos += 6;
                }
                let c = char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER);
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            Some(other) => *other,
            None => return,
        };
        out.push(plain);
        pos += 2;
    }
}
