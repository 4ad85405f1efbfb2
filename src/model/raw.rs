//! Text that Linux does not promise to be UTF-8: arguments, paths, environment values. Kept intact, byte for byte.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Bytes that are usually UTF-8. Serialises as a plain string when they are, else as `{"hex": "..."}`, so that files stay
/// readable and nothing is lost.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RawText(Box<[u8]>);

impl RawText {
    /// The bytes themselves.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As an argument or path for the standard library.
    #[must_use]
    pub fn as_os_str(&self) -> &OsStr {
        OsStr::from_bytes(&self.0)
    }

    /// For showing; bytes that are not UTF-8 appear as the replacement character.
    #[must_use]
    pub fn lossy(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }
}

impl From<&str> for RawText {
    fn from(s: &str) -> Self {
        Self(s.as_bytes().into())
    }
}

impl From<String> for RawText {
    fn from(s: String) -> Self {
        Self(s.into_bytes().into())
    }
}

impl From<OsString> for RawText {
    fn from(s: OsString) -> Self {
        Self(s.into_vec().into())
    }
}

impl From<&OsStr> for RawText {
    fn from(s: &OsStr) -> Self {
        Self(s.as_bytes().into())
    }
}

impl From<Vec<u8>> for RawText {
    fn from(s: Vec<u8>) -> Self {
        Self(s.into())
    }
}

impl fmt::Debug for RawText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lossy().fmt(f)
    }
}

impl fmt::Display for RawText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lossy())
    }
}

/// Bytes as lower-case hexadecimal.
fn to_hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, b| {
        let _ = write!(out, "{b:02x}");
        out
    })
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).ok()).collect()
}

impl Serialize for RawText {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        if let Ok(text) = std::str::from_utf8(&self.0) {
            return s.serialize_str(text);
        }
        let mut map = s.serialize_map(Some(1))?;
        map.serialize_entry("hex", &to_hex(&self.0))?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for RawText {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = RawText;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, or {\"hex\": \"...\"} for bytes that are not UTF-8")
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<RawText, E> {
                Ok(v.into())
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<RawText, A::Error> {
                let Some((key, value)) = map.next_entry::<String, String>()? else {
                    return Err(de::Error::missing_field("hex"));
                };
                if key != "hex" {
                    return Err(de::Error::unknown_field(&key, &["hex"]));
                }
                from_hex(&value).map(RawText::from).ok_or_else(|| de::Error::custom("'hex' is not hexadecimal"))
            }
        }
        d.deserialize_any(Visitor)
    }
}

/// For maps by such text (`#[serde(with = "raw::map")]`). A key of a JSON object can only be a string, so bytes that are not
/// UTF-8 are written as a NUL and their hexadecimal: no variable's name can hold a NUL (execve(2)), so the two never meet.
pub mod map {
    use super::{RawText, from_hex, to_hex};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::collections::BTreeMap;

    /// Writes the map.
    ///
    /// # Errors
    /// The serialiser's own.
    pub fn serialize<S: Serializer>(map: &BTreeMap<RawText, RawText>, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(map.iter().map(|(key, value)| {
            let key = match std::str::from_utf8(key.as_bytes()) {
                Ok(text) => text.to_owned(),
                Err(_) => format!("\0{}", to_hex(key.as_bytes())),
            };
            (key, value)
        }))
    }

    /// Reads the map.
    ///
    /// # Errors
    /// The deserialiser's own, and a NUL that no hexadecimal follows.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<BTreeMap<RawText, RawText>, D::Error> {
        let read = |key: String| match key.strip_prefix('\0') {
            Some(hex) => from_hex(hex).map(RawText::from).ok_or_else(|| D::Error::custom("a key is not hexadecimal")),
            None => Ok(RawText::from(key)),
        };
        BTreeMap::<String, RawText>::deserialize(d)?.into_iter().map(|(key, value)| Ok((read(key)?, value))).collect()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use crate::model::{EnvMap, RawText};

    /// A variable whose name was not UTF-8 made every `opm start` in that shell fail: "key must be a string".
    #[test]
    fn an_environment_of_any_bytes_comes_back_as_it_was() {
        let raw = |bytes: &[u8]| RawText::from(bytes.to_vec());
        let env = EnvMap([(raw(b"B\xff"), raw(b"\xfe")), (raw(b"PATH"), raw(b"/bin"))].into());
        let json = serde_json::to_string(&env).unwrap();
        assert_eq!(json, r#"{"\u000042ff":{"hex":"fe"},"PATH":"/bin"}"#);
        assert_eq!(serde_json::from_str::<EnvMap>(&json).unwrap(), env);
        assert!(serde_json::from_str::<EnvMap>(r#"{"\u0000x": "1"}"#).is_err());
    }
}
