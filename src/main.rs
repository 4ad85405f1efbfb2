//! The composition root: picks cli, keeper or daemon.

fn main() {}
