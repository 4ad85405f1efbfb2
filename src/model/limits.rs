//! What each run of an app may use, as its user asks for it: the fields of a spec that can change while the app runs.
//!
//! Owns the list of these fields. What a reader would get wrong: `none` is an answer. In a change a field that is absent stays
//! as it is, and one that is null is taken off.

use super::policy::{Cpus, serde_as_text};
use super::{AppSpec, ByteSize};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::str::FromStr;

macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $field:ident: $type:ty,)+) => {
        /// The limits of a spec by themselves. Default: none but that of a whole run's end for want of memory.
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        pub struct Limits {
            $($(#[doc = $doc])+ pub $field: $type,)+
        }

        /// What is to change about them. Absent: stays. Null on the wire: taken off.
        #[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct LimitChange {
            $(
                $(#[doc = $doc])+
                #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
                pub $field: Option<$type>,
            )+
        }

        impl Limits {
            /// The names of the fields, which are those of the spec.
            pub const FIELDS: &[&str] = &[$(stringify!($field)),+];

            /// The names of those that are asked for.
            #[must_use]
            pub fn asked(&self) -> Vec<&'static str> {
                let all = [$((stringify!($field), self.$field != <$type>::default())),+];
                all.into_iter().filter(|(_, asked)| *asked).map(|(name, _)| name).collect()
            }

            /// Makes them those of a spec.
            pub fn put_into(self, spec: &mut AppSpec) {
                $(spec.$field = self.$field;)+
            }

            /// Changes what is to change.
            pub fn change(&mut self, change: &LimitChange) {
                $(if let Some(new) = &change.$field {
                    self.$field = new.clone();
                })+
            }
        }

        impl AppSpec {
            /// What its runs may use.
            #[must_use]
            pub fn limits(&self) -> Limits {
                Limits { $($field: self.$field.clone(),)+ }
            }

            /// Whether the runs of another spec may use the same. Costs next to nothing, since it is asked all the time.
            #[must_use]
            pub fn same_limits(&self, other: &Self) -> bool {
                $(self.$field == other.$field)&&+
            }

            /// Whether it has none of its own.
            #[must_use]
            pub fn has_no_limits(&self) -> bool {
                $(self.$field == <$type>::default())&&+
            }
        }
    };
}

limits! {
    /// The most memory (memory.max): at it the kernel reclaims, and kills if that is not enough.
    memory_max: Option<ByteSize>,
    /// Above this much memory the kernel reclaims and slows the run down (memory.high).
    memory_high: Option<ByteSize>,
    /// The most swap space (memory.swap.max).
    memory_swap_max: Option<ByteSize>,
    /// Restarted, gracefully, when it holds more memory than this that the kernel could not take back.
    max_memory_restart: Option<ByteSize>,
    /// What the kernel kills for want of memory (memory.oom.group).
    oom_kill: OomKill,
    /// Processor time (cpu.max).
    cpus: Option<Cpus>,
    /// Its share of the processors when they are short (cpu.weight).
    cpu_weight: Option<Weight>,
    /// Processes and threads (pids.max).
    pids: Option<u32>,
    /// Its share of disks that are busy (io.weight).
    io_weight: Option<Weight>,
    /// The most that it may read and write (io.max).
    io_max: Vec<IoMax>,
}

/// A field that is there, be it null.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(d: D) -> Result<Option<T>, D::Error> {
    Option::<T>::deserialize(d).map(|value| Some(value.unwrap_or_default()))
}

impl Limits {
    /// Whether they can be meant.
    ///
    /// # Errors
    /// What cannot, in words.
    pub fn check(&self) -> Result<(), String> {
        if let (Some(mark), Some(max)) = (self.max_memory_restart, self.memory_max)
            && mark >= max
        {
            return Err(format!(
                "max_memory_restart ({mark}) is not below memory_max ({max}), so the kernel would kill the app before it is restarted"
            ));
        }
        if self.max_memory_restart == Some(ByteSize(0)) || self.memory_max == Some(ByteSize(0)) {
            return Err("nothing runs in 0 bytes of memory".to_owned());
        }
        if self.pids == Some(0) {
            return Err("nothing runs as 0 processes".to_owned());
        }
        Ok(())
    }

    /// At which usage the kernel is to begin to reclaim: what was asked for, or the mark, at which opm wants to hear of it.
    #[must_use]
    pub fn high(&self) -> Option<ByteSize> {
        self.memory_high.into_iter().chain(self.max_memory_restart).min()
    }
}

/// Whom the kernel kills when a run's memory is at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OomKill {
    /// Everything in the run: an app that is half dead is the worst of all.
    #[default]
    Group,
    /// The one process that the kernel picks.
    Process,
}

impl OomKill {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::Process => "process",
        }
    }
}

/// A share against that of others, 1 to 10000; who says nothing has 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(pub u16);

impl FromStr for Weight {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let weight = text.parse().ok().filter(|weight| (1..=10_000).contains(weight));
        weight.map(Self).ok_or_else(|| format!("'{text}' is not a weight; write 1 to 10000, where 100 is the usual"))
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The most that a run may read from and write to a device. Text form `/dev/sda rbps=10M wbps=5M riops=100 wiops=50`; on a
/// command line `/dev/sda:rbps=10M,wbps=5M`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IoMax {
    /// The device: its path, that of something on it, or its numbers (`8:0`). Looked up for each run.
    pub device: String,
    /// Bytes read each second.
    pub rbps: Option<ByteSize>,
    /// Bytes written each second.
    pub wbps: Option<ByteSize>,
    /// Reads each second.
    pub riops: Option<u32>,
    /// Writes each second.
    pub wiops: Option<u32>,
}

impl FromStr for IoMax {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let parts = text.split_once(char::is_whitespace).or_else(|| text.rsplit_once(':'));
        let wrong = || format!("'{text}' is not a limit of a device; write /dev/sda:rbps=10M,wbps=5M");
        let (device, limits) =
            parts.filter(|(device, limits)| !device.is_empty() && limits.contains('=')).ok_or_else(wrong)?;
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let is_numbers = device.split_once(':').is_some_and(|(major, minor)| is_number(major) && is_number(minor));
        if !device.starts_with('/') && !is_numbers {
            return Err(format!("'{device}' is neither an absolute path nor the numbers of a device such as 8:0"));
        }
        let mut io = Self { device: device.to_owned(), rbps: None, wbps: None, riops: None, wiops: None };
        for limit in limits.split([',', ' ']).filter(|limit| !limit.is_empty()) {
            let (key, value) = limit.split_once('=').ok_or_else(wrong)?;
            let bytes =
                || value.parse::<ByteSize>().and_then(|size| if size.0 > 0 { Ok(Some(size)) } else { Err(zero()) });
            let count = || {
                let count =
                    value.parse().map_err(|_| format!("'{value}' is not a number of operations each second"))?;
                if count > 0 { Ok(Some(count)) } else { Err(zero()) }
            };
            match key {
                "rbps" => io.rbps = bytes()?,
                "wbps" => io.wbps = bytes()?,
                "riops" => io.riops = count()?,
                "wiops" => io.wiops = count()?,
                _ => return Err(format!("'{key}' is not a limit of a device; there are rbps, wbps, riops and wiops")),
            }
        }
        Ok(io)
    }
}

fn zero() -> String {
    "a device that may not be used at all cannot be had by a limit of 0".to_owned()
}

impl fmt::Display for IoMax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.device)?;
        let bytes = [("rbps", self.rbps), ("wbps", self.wbps)];
        bytes
            .iter()
            .filter_map(|(key, size)| Some((key, (*size)?)))
            .try_for_each(|(key, v)| write!(f, " {key}={v}"))?;
        let counts = [("riops", self.riops), ("wiops", self.wiops)];
        counts.iter().filter_map(|(key, count)| Some((key, (*count)?))).try_for_each(|(key, v)| write!(f, " {key}={v}"))
    }
}

serde_as_text!(IoMax, Weight);

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_device_is_limited_as_people_write_it() {
        for text in ["/dev/sda:rbps=10M,wiops=50", "/dev/sda rbps=10M wiops=50"] {
            assert_eq!(text.parse::<IoMax>().unwrap().to_string(), "/dev/sda rbps=10M wiops=50");
        }
        assert_eq!("8:0:wbps=1048576".parse::<IoMax>().unwrap().to_string(), "8:0 wbps=1M");
        let path = "/dev/disk/by-path/pci-0000:00:1f.2-ata-1:wbps=1M".parse::<IoMax>().unwrap();
        assert_eq!(path.device, "/dev/disk/by-path/pci-0000:00:1f.2-ata-1");
        for wrong in
            ["", "/dev/sda", "sda:rbps=1M", "/dev/sda:rbps=0", "/dev/sda:bps=1M", "/dev/sda:riops=x", ":rbps=1M"]
        {
            assert!(wrong.parse::<IoMax>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_change_tells_what_stays_from_what_is_taken_off() {
        let change: LimitChange = serde_json::from_str(r#"{"memory_max": null, "pids": 40, "io_max": null}"#).unwrap();
        let mut limits = Limits {
            memory_max: Some(ByteSize(1)),
            cpus: Some(Cpus(500)),
            io_max: vec!["8:0 rbps=1M".parse().unwrap()],
            ..Limits::default()
        };
        limits.change(&change);
        assert_eq!(limits, Limits { cpus: Some(Cpus(500)), pids: Some(40), ..Limits::default() });
        assert_eq!(serde_json::to_string(&change).unwrap(), r#"{"memory_max":null,"pids":40,"io_max":[]}"#);
        assert!(serde_json::from_str::<LimitChange>(r#"{"memory": 1}"#).is_err());
    }

    #[test]
    fn a_mark_that_the_kernel_would_not_let_it_reach_is_no_mark() {
        let limits = |mark: &str, max: &str| Limits {
            max_memory_restart: Some(mark.parse().unwrap()),
            memory_max: Some(max.parse().unwrap()),
            ..Limits::default()
        };
        assert!(limits("1G", "512M").check().is_err());
        assert_eq!(limits("400M", "512M").check(), Ok(()));
        assert_eq!(Limits { memory_high: Some(ByteSize(3)), ..limits("400M", "512M") }.high(), Some(ByteSize(3)));
    }
}
