//! A registrar that hands out keys, and who comes to it.

use std::sync::Arc;
use std::time::Duration;

use fairlead_model::ask::{Answer, Ask, AskFailed, AskRef, Envelope, IdempotencyKey};
use fairlead_model::id::{PodRef, UnixMillis};
use fairlead_model::member::{Briefing, Member, MintKey, NonceKey, Role};
use fairlead_model::peer::General;
use fairlead_proto::link::{Down, RegistrarPort, Up};
use tokio::sync::mpsc;

/// A registrar that hands out keys and answers everything.
pub struct Desk;

#[async_trait::async_trait]
impl RegistrarPort for Desk {
    async fn attach(
        &self,
        who: Member,
        mut up: mpsc::Receiver<Up>,
    ) -> Result<mpsc::Receiver<Down>, AskFailed> {
        let (down, from_us) = mpsc::channel(8);
        let briefing = Briefing {
            version: 1,
            mint_keys: vec![MintKey { version: b'k', key: [5; 16] }],
            nonce_keys: vec![NonceKey { id: b'n', epoch: 1, key: [6; 32] }],
            members: vec![who],
            general: General::default(),
            trusted: vec!["192.0.2.0/24".parse().unwrap()],
            surroundings: Default::default(),
        };
        tokio::spawn(async move {
            let _ = down.send(Down::Briefed(Arc::new(briefing))).await;
            while let Some(next) = up.recv().await {
                let Up::Asks(asks) = next else { continue };
                let answers = asks.into_iter().map(|one| (one.id, Ok(Answer::NotOwned))).collect();
                let _ = down.send(Down::Answers(answers)).await;
            }
        });
        Ok(from_us)
    }
}

pub fn member(role: Role) -> Member {
    Member::started(PodRef(1), "pod", role, "127.0.0.1:1".parse().unwrap(), UnixMillis(1))
}

pub fn question() -> Envelope {
    let ask = Ask::Owner { call_id: "c".to_owned(), from_tag: "f".to_owned() };
    Envelope { id: AskRef(1), key: IdempotencyKey(1), deadline: Duration::from_secs(1), ask }
}
