//! The nouns that every room speaks in: names, ids, specs, policies, states, exits, events, orders.
//!
//! Owns what things *are*. It must not decide anything, perform anything, or know Linux: no clock, no file, no
//! system call. Everything here is plain data that serialises to what people read on disk and on the wire.

pub mod bytes;
pub mod desired;
pub mod duration;
pub mod event;
pub mod exit;
pub mod id;
pub mod limits;
pub mod log;
pub mod name;
pub mod order;
pub mod policy;
pub mod raw;
pub mod selector;
pub mod signal;
pub mod spec;
pub mod state;
pub mod time;

pub use bytes::ByteSize;
pub use desired::{DesiredApp, DesiredInstance, EnvMap};
pub use duration::Span;
pub use event::{Asked, Asker, Before, Event, LastWords};
pub use exit::{Cause, ExitRecord, ExitStatus, MarkPassed, Tally, Usage};
pub use id::{AppId, Generation, InstanceId, OrderId, OrderKey, RunId, WriteId};
pub use limits::{LimitChange, Limits};
pub use log::{Cap, LogCaps, LogCompress, LogDrop, LogMode, LogSink};
pub use name::{AppName, Namespace};
pub use order::{Answer, NewApp, Order, Outcome, Refusal, Verdict};
pub use raw::RawText;
pub use selector::{Selector, Target};
pub use signal::Signal;
pub use spec::AppSpec;
pub use state::{Desired, InstanceState, InstanceStatus, Ready};
pub use time::{BootId, Moment, Wall};
