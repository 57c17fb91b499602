//! The chat of a node, where its routes have one.

use std::sync::Arc;

use sparkway_chat::{Chat, ChatApplication, ChatSite, ChatStartError};
use sparkway_gateway::StartError;
use sparkway_gateway::settings::{Dialect, Settings};
use sparkway_gateway::site::Sites;
use sparkway_store::SharedStore;

/// Adds the chat to a node's sites.
///
/// # Errors
/// As the start of a node.
pub(crate) async fn add(
    settings: &Settings,
    store: &SharedStore,
    sites: &mut Sites,
) -> Result<(), StartError> {
    let speaks = settings
        .routes
        .iter()
        .any(|route| route.dialect == Dialect::Chat);
    if !speaks {
        return Ok(());
    }
    let chat = Chat::open(settings, store)
        .await
        .map_err(|error| match error {
            ChatStartError::Store(error) => StartError::Store(error),
            ChatStartError::Key(error) => StartError::Key(error),
        })?;
    sites.public.push(Arc::new(ChatSite(Arc::clone(&chat))));
    sites.chat = Some(Arc::new(ChatApplication(chat)));
    Ok(())
}
