//! Compact JSON on which no terminal acts, as a `serde` serializer.
//!
//! `serde_json` with a formatter of its own says the same, but looks at every byte of every key twice and passes each piece
//! through a writer. Everything that is not text, whole numbers and structure is left to it.

use std::fmt::{self, Display, Write as _};

use serde::ser::{
    Error as _, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};
use serde_json::Error;

/// Appends values to a line.
pub(super) struct JsonWriter<'a> {
    line: &'a mut Vec<u8>,
}

impl<'a> JsonWriter<'a> {
    pub(super) fn new(line: &'a mut Vec<u8>) -> Self {
        Self { line }
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.line.extend_from_slice(bytes);
    }

    fn open(&mut self, open: u8, close: u8) -> Compound<'_, 'a> {
        self.line.push(open);
        Compound { writer: self, first: true, closing: &CLOSING[usize::from(close == b'}')][..1] }
    }

    /// `{"name":` and an opening bracket: how a variant with content is told.
    fn open_variant(&mut self, name: &str, open: u8, close: u8) -> Compound<'_, 'a> {
        self.line.push(b'{');
        quoted(self.line, name);
        self.raw(&[b':', open]);
        Compound { writer: self, first: true, closing: CLOSING[usize::from(close == b'}')] }
    }
}

/// Of a list and of an object, with the brace that closes a variant behind it.
const CLOSING: [&[u8]; 2] = [b"]}", b"}}"];

/// Appends text in quotes.
fn quoted(line: &mut Vec<u8>, text: &str) {
    line.push(b'"');
    escaped(line, text);
    line.push(b'"');
}

/// Appends text without what JSON or a terminal acts on.
fn escaped(line: &mut Vec<u8>, text: &str) {
    if is_plain(text.as_bytes()) {
        line.extend_from_slice(text.as_bytes());
        return;
    }
    let bytes = text.as_bytes();
    let (mut written, mut at) = (0, 0);
    while let Some(&byte) = bytes.get(at) {
        // DEL and the C1 controls (0xC2 leads U+0080 to U+00BF) too: a log shown with `zcat` could else carry commands that
        // someone hid in a name.
        let control = match (byte, bytes.get(at + 1)) {
            (0xc2, Some(&next @ 0x80..=0x9f)) => Some((next, 2)),
            (..b' ' | b'"' | b'\\' | 0x7f, _) => Some((byte, 1)),
            _ => None,
        };
        let Some((special, length)) = control else {
            at += 1;
            continue;
        };
        line.extend_from_slice(&bytes[written..at]);
        spell(line, special);
        at += length;
        written = at;
    }
    line.extend_from_slice(&bytes[written..]);
}

/// Appends a character below U+0100 by its escape.
fn spell(line: &mut Vec<u8>, special: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match special {
        b'"' | b'\\' => special,
        b'\n' => b'n',
        b'\t' => b't',
        b'\r' => b'r',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            let digits = [HEX[usize::from(special >> 4)], HEX[usize::from(special & 0xf)]];
            line.extend_from_slice(b"\\u00");
            line.extend_from_slice(&digits);
            return;
        }
    };
    line.extend_from_slice(&[b'\\', short]);
}

/// Whether all bytes are ASCII and stand for themselves.
fn is_plain(bytes: &[u8]) -> bool {
    let mut words = bytes.chunks_exact(8);
    words.by_ref().all(|word| word.try_into().is_ok_and(|word| is_plain_word(u64::from_ne_bytes(word))))
        && words.remainder().iter().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'))
}

/// The same of eight bytes at once. May be false where it need not: a byte above one that is special can look so too.
const fn is_plain_word(word: u64) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = ONES << 7;
    const fn every(byte: u8) -> u64 {
        ONES * byte as u64
    }
    /// Bytes that are zero have their high bit set.
    const fn zeros(word: u64) -> u64 {
        word.wrapping_sub(ONES) & !word
    }
    let controls = word.wrapping_sub(every(b' '));
    let from_del = word | word.wrapping_add(ONES);
    (controls | from_del | zeros(word ^ every(b'"')) | zeros(word ^ every(b'\\'))) & HIGHS == 0
}

/// Lets a `Display` write into a string.
struct Inside<'a>(&'a mut Vec<u8>);

impl fmt::Write for Inside<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escaped(self.0, text);
        Ok(())
    }
}

macro_rules! numbers {
    ($($method:ident($kind:ty);)+) => {
        $(fn $method(self, number: $kind) -> Result<(), Error> {
            self.raw(itoa::Buffer::new().format(number).as_bytes());
            Ok(())
        })+
    };
}

impl<'w, 'a> Serializer for &'w mut JsonWriter<'a> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Compound<'w, 'a>;
    type SerializeTuple = Compound<'w, 'a>;
    type SerializeTupleStruct = Compound<'w, 'a>;
    type SerializeTupleVariant = Compound<'w, 'a>;
    type SerializeMap = Compound<'w, 'a>;
    type SerializeStruct = Compound<'w, 'a>;
    type SerializeStructVariant = Compound<'w, 'a>;

    numbers! {
        serialize_i8(i8);
        serialize_i16(i16);
        serialize_i32(i32);
        serialize_i64(i64);
        serialize_u8(u8);
        serialize_u16(u16);
        serialize_u32(u32);
        serialize_u64(u64);
    }

    fn serialize_bool(self, value: bool) -> Result<(), Error> {
        self.raw(if value { b"true" } else { b"false" });
        Ok(())
    }

    fn serialize_f32(self, value: f32) -> Result<(), Error> {
        serde_json::to_writer(&mut *self.line, &value)
    }

    fn serialize_f64(self, value: f64) -> Result<(), Error> {
        serde_json::to_writer(&mut *self.line, &value)
    }

    fn serialize_char(self, value: char) -> Result<(), Error> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, text: &str) -> Result<(), Error> {
        quoted(self.line, text);
        Ok(())
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), Error> {
        self.collect_seq(bytes)
    }

    fn serialize_none(self) -> Result<(), Error> {
        self.raw(b"null");
        Ok(())
    }

    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Error> {
        self.serialize_none()
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Error> {
        self.serialize_none()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, name: &'static str) -> Result<(), Error> {
        self.serialize_str(name)
    }

    fn serialize_newtype_struct<T: ?Sized + Serialize>(self, _: &'static str, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        let mut map = self.open(b'{', b'}');
        map.serialize_entry(name, value)?;
        map.close()
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Compound<'w, 'a>, Error> {
        Ok(self.open(b'[', b']'))
    }

    fn serialize_tuple(self, _: usize) -> Result<Compound<'w, 'a>, Error> {
        Ok(self.open(b'[', b']'))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Compound<'w, 'a>, Error> {
        Ok(self.open(b'[', b']'))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        _: usize,
    ) -> Result<Compound<'w, 'a>, Error> {
        Ok(self.open_variant(name, b'[', b']'))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Compound<'w, 'a>, Error> {
        Ok(self.open(b'{', b'}'))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Compound<'w, 'a>, Error> {
        Ok(self.open(b'{', b'}'))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        _: usize,
    ) -> Result<Compound<'w, 'a>, Error> {
        Ok(self.open_variant(name, b'{', b'}'))
    }

    fn collect_str<T: ?Sized + Display>(self, value: &T) -> Result<(), Error> {
        self.line.push(b'"');
        write!(Inside(self.line), "{value}").map_err(Error::custom)?;
        self.line.push(b'"');
        Ok(())
    }
}

/// A list or an object that is being written.
pub(super) struct Compound<'w, 'a> {
    writer: &'w mut JsonWriter<'a>,
    first: bool,
    closing: &'static [u8],
}

impl Compound<'_, '_> {
    fn separate(&mut self) {
        if !std::mem::replace(&mut self.first, false) {
            self.writer.line.push(b',');
        }
    }

    fn element<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), Error> {
        self.separate();
        value.serialize(&mut *self.writer)
    }

    fn key<T: ?Sized + Serialize>(&mut self, key: &T) -> Result<(), Error> {
        self.separate();
        let start = self.writer.line.len();
        key.serialize(&mut *self.writer)?;
        if self.writer.line.get(start) != Some(&b'"') {
            return Err(Error::custom("a key that is no string"));
        }
        Ok(())
    }

    fn value<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), Error> {
        self.writer.line.push(b':');
        value.serialize(&mut *self.writer)
    }

    fn field<T: ?Sized + Serialize>(&mut self, key: &str, value: &T) -> Result<(), Error> {
        self.separate();
        quoted(self.writer.line, key);
        self.value(value)
    }

    fn close(self) -> Result<(), Error> {
        self.writer.raw(self.closing);
        Ok(())
    }
}

macro_rules! compounds {
    ($($kind:ident::$method:ident;)+) => {
        $(impl $kind for Compound<'_, '_> {
            type Ok = ();
            type Error = Error;

            fn $method<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), Error> {
                self.element(value)
            }

            fn end(self) -> Result<(), Error> {
                self.close()
            }
        })+
    };
}

compounds! {
    SerializeSeq::serialize_element;
    SerializeTuple::serialize_element;
    SerializeTupleStruct::serialize_field;
    SerializeTupleVariant::serialize_field;
}

macro_rules! structs {
    ($($kind:ident)+) => {
        $(impl $kind for Compound<'_, '_> {
            type Ok = ();
            type Error = Error;

            fn serialize_field<T: ?Sized + Serialize>(&mut self, key: &'static str, value: &T) -> Result<(), Error> {
                self.field(key, value)
            }

            fn end(self) -> Result<(), Error> {
                self.close()
            }
        })+
    };
}

structs! { SerializeStruct SerializeStructVariant }

impl SerializeMap for Compound<'_, '_> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: ?Sized + Serialize>(&mut self, key: &T) -> Result<(), Error> {
        self.key(key)
    }

    fn serialize_value<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), Error> {
        self.value(value)
    }

    fn end(self) -> Result<(), Error> {
        self.close()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn written(value: &impl Serialize) -> String {
        let mut line = Vec::new();
        value.serialize(&mut JsonWriter::new(&mut line)).unwrap();
        String::from_utf8(line).unwrap()
    }

    #[derive(Debug, serde::Serialize)]
    enum Shape {
        Unit,
        New(u8),
        Pair(i64, bool),
        Named { a: Option<f64>, b: char },
    }

    /// Whatever serde knows of, as `serde_json` writes it.
    #[derive(Debug, serde::Serialize)]
    struct Everything {
        shapes: Vec<Shape>,
        tuple: (u16, (), [u8; 2]),
        map: BTreeMap<String, Vec<i32>>,
        text: String,
        numbers: (i8, i64, u64, f32),
    }

    fn everything() -> impl Strategy<Value = Everything> {
        let texts =
            (any::<String>(), any::<char>(), prop::collection::btree_map(any::<String>(), any::<Vec<i32>>(), 0..4));
        let numbers = (any::<i8>(), any::<i64>(), any::<u64>(), any::<f32>(), any::<Option<f64>>(), any::<u8>());
        (texts, numbers).prop_map(|((text, b, map), (i8, i64, u64, f32, a, u8))| Everything {
            shapes: vec![Shape::Unit, Shape::New(u8), Shape::Pair(i64, u8 & 1 == 0), Shape::Named { a, b }],
            tuple: (u16::from(u8), (), [u8, 1]),
            map,
            text,
            numbers: (i8, i64, u64, f32),
        })
    }

    proptest! {
        #[test]
        fn it_says_what_serde_json_says(value in everything()) {
            let ours: serde_json::Value = serde_json::from_str(&written(&value)).unwrap();
            prop_assert_eq!(ours, serde_json::from_str::<serde_json::Value>(&serde_json::to_string(&value).unwrap()).unwrap());
        }

        #[test]
        fn printable_text_is_spelled_as_serde_json_spells_it(text in "[ -~é-ﷺ]{0,40}") {
            prop_assert_eq!(written(&text), serde_json::to_string(&text).unwrap());
        }

        #[test]
        fn nothing_acts_on_a_terminal(text in any::<String>(), hidden in "[\u{1}-\u{1f}\u{7f}-\u{9f}]{1,9}") {
            prop_assert!(!written(&(text + &hidden)).chars().any(char::is_control));
        }
    }

    #[test]
    fn controls_are_spelled_as_elsewhere() {
        assert_eq!(
            written(&"\u{8}\u{c}\n\r\t\"\\\u{1b}\u{7f}\u{9b}é\0"),
            r#""\b\f\n\r\t\"\\\u001b\u007f\u009bé\u0000""#
        );
    }

    #[test]
    fn a_key_must_be_a_string() {
        let map = BTreeMap::from([(1, 2)]);
        assert!(map.serialize(&mut JsonWriter::new(&mut Vec::new())).is_err());
    }
}
