//! A daemon that does not answer, told from one that has long work to do: whoever waits is to know.
//!
//! What a reader would get wrong: the keeper holds the socket, so a connection is made even while no daemon lives, and waits there
//! without a word. An order may rightly take an hour; a ping may not.

use super::wire::{Call, open, send, shake};
use crate::cli::ui;
use crate::config::Paths;
use hyper::Method;
use hyper::body::Bytes;
use std::time::Duration;

/// After so long without an answer somebody is asked whether they are there.
const SILENCE: Duration = Duration::from_secs(5);
/// How long that may take.
const PING_WITHIN: Duration = Duration::from_secs(2);

/// The future's outcome; and, should it take long and nobody be there, a note about that.
pub(super) async fn broken<T>(paths: &Paths, answer: impl Future<Output = T>) -> T {
    let mut answer = std::pin::pin!(answer);
    if let Ok(answer) = tokio::time::timeout(SILENCE, &mut answer).await {
        return answer;
    }
    if !is_there(paths).await {
        let log = paths.daemon_log();
        let where_to = if log.exists() { log.display().to_string() } else { "'journalctl -u opm'".to_owned() };
        ui::aside(&format!("no daemon answers yet: it hangs, or its keeper cannot start one; {where_to} may say why"));
    }
    answer.await
}

async fn is_there(paths: &Paths) -> bool {
    let ping = async {
        let mut link = shake(open(paths).ok()?).await.ok()?;
        let call =
            Call { method: Method::GET, path: "/v1/ping".to_owned(), key: None, body: Bytes::new(), indented: false };
        send(&mut link, &call).await.ok()
    };
    tokio::time::timeout(PING_WITHIN, ping).await.is_ok_and(|answer| answer.is_some())
}
