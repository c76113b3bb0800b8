//! How JSON records spell numbers and bytes, in both directions: modules for `#[serde(with = "...")]`.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

use crate::escape::{Escaped, unescape};

/// `"0x1f"`.
pub(crate) mod hex {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(number: &(impl Copy + Into<u64>), serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:#x}", (*number).into()))
    }

    pub(crate) fn deserialize<'de, N: TryFrom<u64>, D: Deserializer<'de>>(deserializer: D) -> Result<N, D::Error> {
        let text = String::deserialize(deserializer)?;
        number(text.strip_prefix("0x"), 16).ok_or_else(|| Error::custom(format_args!("`{text}` is not like 0x1f")))
    }
}

/// `["0x1", "0x2"]`.
pub(crate) mod hex_list {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(numbers: &[u64], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(numbers.iter().map(|number| format!("{number:#x}")))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u64>, D::Error> {
        #[derive(Deserialize)]
        struct Item(#[serde(with = "hex")] u64);
        Ok(Vec::<Item>::deserialize(deserializer)?.into_iter().map(|item| item.0).collect())
    }
}

/// `"0644"`.
pub(crate) mod octal {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(number: &(impl Copy + Into<u64>), serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("0{:o}", (*number).into()))
    }

    pub(crate) fn deserialize<'de, N: TryFrom<u64>, D: Deserializer<'de>>(deserializer: D) -> Result<N, D::Error> {
        let text = String::deserialize(deserializer)?;
        number(text.strip_prefix('0'), 8).ok_or_else(|| Error::custom(format_args!("`{text}` is not like 0644")))
    }
}

fn number<N: TryFrom<u64>>(digits: Option<&str>, radix: u32) -> Option<N> {
    N::try_from(u64::from_str_radix(digits?, radix).ok()?).ok()
}

/// An id that is `null` where it was never set.
pub(crate) mod id {
    use super::*;
    use crate::record::UNSET;

    pub(crate) fn serialize<S: Serializer>(number: &u32, serializer: S) -> Result<S::Ok, S::Error> {
        if *number == UNSET { serializer.serialize_none() } else { serializer.serialize_u32(*number) }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
        Ok(Option::deserialize(deserializer)?.unwrap_or(UNSET))
    }
}

/// Bytes in the spelling of [`crate::escape`], where there are any.
pub(crate) mod optional_bytes {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
        match bytes {
            Some(bytes) => serializer.collect_str(&Escaped(bytes)),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| unescape(&text).map_err(Error::custom)).transpose()
    }
}

/// `major:minor`, both hexadecimal, as `major << 20 | minor`.
pub(crate) fn device(text: &str) -> Option<u32> {
    let (major, minor) = text.split_once(':')?;
    let number = |digits: &str, limit: u32| u32::from_str_radix(digits, 16).ok().filter(|number| *number < limit);
    Some(number(major, 1 << 12)? << 20 | number(minor, 1 << 20)?)
}
