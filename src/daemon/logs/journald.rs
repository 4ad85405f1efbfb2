//! stub
#![allow(missing_docs, dead_code)]
#[derive(Debug)]
pub struct Journal;
pub struct Entry<'a> {
    pub app: &'a str,
    pub instance: u32,
    pub run: u64,
    pub err: bool,
    pub seq: u64,
    pub line: &'a [u8],
}
impl Journal {
    pub fn new() -> Self {
        Self
    }
    pub fn send(&mut self, _: &Entry<'_>) -> Result<(), String> {
        Ok(())
    }
}
