//! Mutations of valid inputs, most of which get past the first byte.

use proptest::collection::vec;
use proptest::prelude::*;

/// One change. Places are fractions of the whole, so that they fit any length.
#[derive(Debug, Clone)]
pub enum Edit {
    Flip(u16, u8),
    Cut(u16, u16),
    Double(u16, u16),
    Insert(u16, Stuff),
    Overwrite(u16, u8),
    End(u16),
}

/// What is stuffed in, shown by its beginning.
#[derive(Clone)]
pub struct Stuff(Vec<u8>);

impl std::fmt::Debug for Stuff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes: {:?}", self.0.len(), String::from_utf8_lossy(&self.0[..self.0.len().min(20)]))
    }
}

/// What parsers choke on.
fn token() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"null".to_vec()),
        Just(b"-1".to_vec()),
        Just(b"1e999".to_vec()),
        Just(b"18446744073709551616".to_vec()),
        Just(b"99999999999999999999999999999999999999999999999999".to_vec()),
        Just(b"4294967296".to_vec()),
        Just(b"\"\"".to_vec()),
        Just(b"\\ud800".to_vec()),
        Just(b"\xff\xfe\0".to_vec()),
        Just(b"\xef\xbb\xbf".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"../../../etc/passwd".to_vec()),
        Just(b",{},".to_vec()),
        Just(b"\"version\":2,".to_vec()),
        Just(b"${X:-$X}".to_vec()),
        (prop_oneof![Just(&b"["[..]), Just(&b"{\"a\":"[..]), Just(&b"("[..])], 1_usize..20_000)
            .prop_map(|(t, n)| t.repeat(n)),
        (any::<u8>(), 1_usize..50_000).prop_map(|(b, n)| vec![b; n]),
        vec(any::<u8>(), 1..20),
    ]
}

pub fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let edit = prop_oneof![
        4 => (any::<u16>(), 0_u8..8).prop_map(|(at, bit)| Edit::Flip(at, bit)),
        3 => (any::<u16>(), any::<u16>()).prop_map(|(from, to)| Edit::Cut(from, to)),
        2 => (any::<u16>(), any::<u16>()).prop_map(|(from, to)| Edit::Double(from, to)),
        4 => (any::<u16>(), token()).prop_map(|(at, what)| Edit::Insert(at, Stuff(what))),
        3 => (any::<u16>(), any::<u8>()).prop_map(|(at, byte)| Edit::Overwrite(at, byte)),
        1 => any::<u16>().prop_map(Edit::End),
    ];
    vec(edit, 1..5)
}

/// The input, changed.
pub fn apply(input: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for edit in edits {
        let place = |at: u16| (usize::from(at) * (bytes.len() + 1)) >> 16;
        match edit {
            Edit::Flip(at, bit) => {
                let at = place(*at);
                bytes.get_mut(at).into_iter().for_each(|b| *b ^= 1 << bit);
            }
            Edit::Overwrite(at, byte) => {
                let at = place(*at);
                bytes.get_mut(at).into_iter().for_each(|b| *b = *byte);
            }
            Edit::Cut(from, to) => {
                let (from, to) = (place(*from.min(to)), place(*from.max(to)));
                bytes.drain(from..to);
            }
            Edit::Double(from, to) => {
                let (from, to) = (place(*from.min(to)), place(*from.max(to)));
                let part = bytes[from..to].to_vec();
                bytes.splice(to..to, part);
            }
            Edit::Insert(at, what) => {
                let at = place(*at);
                bytes.splice(at..at, what.0.iter().copied());
            }
            Edit::End(at) => bytes.truncate(place(*at)),
        }
    }
    bytes
}
