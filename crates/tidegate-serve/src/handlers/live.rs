//! `GET /v1/live`: a WebSocket on which the server pushes what a client has subscribed to.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message as Frame, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;

use super::openapi::Refusals;
use crate::app::App;
use crate::error::ApiError;
use crate::guard::ErrorBody;
use crate::live::{Message, Topic, hello};

/// Clients at the same time, at most.
const CLIENTS_MAX: usize = 4_096;
/// Bytes of a message of a client, at most.
const MESSAGE_MAX: usize = 16 << 10;
/// How long a client may take for one message.
const SEND_MAX: Duration = Duration::from_secs(10);
/// How long it may take to be told why it is dropped.
const BYE_MAX: Duration = Duration::from_secs(1);

/// What a client says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Subscribe {
    subscribe: Vec<String>,
}

/// Why a connection ends.
enum End {
    /// The client has gone.
    Gone,
    /// It is dropped, and told why.
    Bye(String),
}

/// Counts clients.
#[derive(Debug, Default)]
pub(crate) struct Clients(AtomicUsize);

struct ClientSlot(Arc<App>);

impl Drop for ClientSlot {
    fn drop(&mut self) {
        self.0.clients.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Upgrades, if there is room.
#[utoipa::path(
    get,
    path = "/v1/live",
    tag = "job",
    summary = "Live values over a WebSocket",
    description = "`docs/api.md` has the messages.",
    responses(
        Refusals,
        (status = 101, description = "A WebSocket."),
        (status = 426, description = "It is not a WebSocket's request.", body = ErrorBody)
    )
)]
pub(crate) async fn live(
    State(app): State<Arc<App>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let upgrade = upgrade?;
    let place = ClientSlot(Arc::clone(&app));
    if app.clients.0.fetch_add(1, Ordering::Relaxed) >= CLIENTS_MAX {
        return Err(ApiError::Busy);
    }
    let upgrade = upgrade
        .max_message_size(MESSAGE_MAX)
        .max_frame_size(MESSAGE_MAX);
    Ok(upgrade.on_upgrade(async move |mut socket| {
        let end = serve(&place.0, &mut socket).await;
        if let Err(End::Bye(reason)) = end {
            let bye = json!({ "type": "bye", "reason": reason }).to_string();
            let told = async {
                socket.send(Frame::Text(bye.into())).await?;
                socket.send(Frame::Close(None)).await
            };
            // It may not listen any more.
            let _ = tokio::time::timeout(BYE_MAX, told).await;
        }
    }))
}

/// Talks to a client until one of both has enough.
async fn serve(app: &App, socket: &mut WebSocket) -> Result<(), End> {
    let mut messages = app.hub.listen();
    let mut topics = BTreeSet::new();
    send(socket, hello(app)).await?;
    loop {
        tokio::select! {
            message = messages.recv() => match message {
                Ok(Message { topic, text }) if topics.contains(&topic) => send(socket, text).await?,
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => return Err(End::Bye("too slow".to_owned())),
                Err(RecvError::Closed) => return Err(End::Bye("the job has ended".to_owned())),
            },
            frame = socket.recv() => match frame {
                Some(Ok(Frame::Text(text))) => {
                    let wanted = wanted(app, &text)?;
                    for topic in wanted.difference(&topics) {
                        send(socket, app.hub.first(app, *topic).await).await?;
                    }
                    topics = wanted;
                }
                Some(Ok(Frame::Ping(_) | Frame::Pong(_))) => {}
                Some(Ok(Frame::Binary(_))) => return Err(End::Bye("messages are text".to_owned())),
                Some(Ok(Frame::Close(_)) | Err(_)) | None => return Err(End::Gone),
            },
        }
    }
}

async fn send(socket: &mut WebSocket, text: Utf8Bytes) -> Result<(), End> {
    match tokio::time::timeout(SEND_MAX, socket.send(Frame::Text(text))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(End::Gone),
        Err(_) => Err(End::Bye("too slow".to_owned())),
    }
}

fn nothing(name: &str) -> End {
    End::Bye(format!("there is nothing to subscribe to called `{name}`"))
}

fn wanted(app: &App, text: &str) -> Result<BTreeSet<Topic>, End> {
    let wish: Subscribe = serde_json::from_str(text).map_err(|error| {
        End::Bye(format!(
            "not understood: {error}; write {{\"subscribe\": [\"status\", \"view:NAME\"]}}"
        ))
    })?;
    let topic = |name: &String| match name.split_once(':') {
        None if name == "status" => Ok(Topic::Status),
        Some(("view", view)) => match app.computed_view(view) {
            Some((place, _)) => Ok(Topic::View(place)),
            None if app.known_views().any(|known| known.name == view) => Err(End::Bye(format!(
                "the view `{view}` was taken out of the configuration and does not change any more: ask \
                 /v1/aggregates"
            ))),
            None => Err(nothing(name)),
        },
        _ => Err(nothing(name)),
    };
    wish.subscribe.iter().map(topic).collect()
}
