//! How many instances: a number, `max`, or so many fewer than there are CPUs, as PM2 users write it.

/// More than this is a slip of the finger, and would be a fork storm.
const MOST: u32 = 10_000;

/// Reads a number of instances: `4`; `max` or `0` is one per CPU; `-1` is one per CPU less one, never below one.
///
/// # Errors
/// Anything else.
pub fn parse(text: &str, cpus: u32) -> Result<u32, String> {
    let text = text.trim();
    if text == "max" {
        return Ok(cpus.max(1));
    }
    match text.parse::<i64>() {
        Ok(0) => Ok(cpus.max(1)),
        Ok(n) if n < 0 => Ok(u32::try_from(i64::from(cpus).saturating_add(n)).unwrap_or(0).max(1)),
        Ok(n) => u32::try_from(n)
            .ok()
            .filter(|n| *n <= MOST)
            .ok_or_else(|| format!("{n} instances are more than opm allows ({MOST})")),
        Err(_) => Err(format!("'{text}' is not a number of instances; write 4, 'max', or -1 for one fewer than CPUs")),
    }
}

/// The CPUs this process may use, which is what `max` means.
#[must_use]
pub fn cpus() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_instances() {
        for (text, n) in [("1", 1), ("16", 16), ("max", 4), ("0", 4), ("-1", 3), ("-4", 1), ("-99", 1)] {
            assert_eq!(parse(text, 4), Ok(n), "{text}");
        }
        for text in ["", "x", "1.5", "10001", "99999999999999999999"] {
            assert!(parse(text, 4).is_err(), "{text}");
        }
        assert_eq!(parse("-9223372036854775808", 4), Ok(1));
    }
}
