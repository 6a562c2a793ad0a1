//! Lists, a chunk at a time, from where a cursor says.

use std::collections::{BTreeMap, VecDeque};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fairlead_model::channel::Channel;
use fairlead_model::operator::{InUseView, PeerPage, PeerSource, PeerView, UserView};
use fairlead_proto::admin::v1 as pb;
use fairlead_proto::operator::{ChannelsPort, Page, PeersPort};
use serde::Serialize;

use super::{Engine, Failure, by_key, enough};
use crate::convert;
use crate::directory::Door;
use crate::fan_out::{Missing, ask_all};
use crate::merge;
use crate::operation::Operation;

/// Entries a chunk at most.
pub const CHUNK: usize = 500;

/// One entry of a list.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Entry {
    /// Of `show peers`.
    Peer(Box<pb::Peer>),
    /// Of `show users`.
    User(pb::User),
    /// Of `show channels`.
    Channel(Box<pb::Channel>),
    /// Of `show channelstats`.
    ChannelStats(Box<pb::ChannelStats>),
    /// Of `show bridged`.
    Bridge(pb::Bridge),
    /// Of `show inuse`.
    InUse(pb::InUse),
}

/// A list that is being read.
#[derive(Debug)]
pub struct Listing {
    engine: Engine,
    operation: Operation,
    from: From,
    /// Where it stands: the key of the last entry given.
    after: Option<String>,
    left: Option<usize>,
    missing: Missing,
    ended: bool,
}

/// Where entries come from.
#[derive(Debug)]
enum From {
    /// Registrars, a page by name at a time.
    Pages,
    /// Pods that give all they have at once; read at the first chunk.
    Held(Option<VecDeque<(String, Entry)>>),
}

impl Listing {
    /// From the cursor on, `limit` entries at most.
    pub(super) fn begin(
        engine: Engine,
        operation: Operation,
        cursor: &str,
        limit: Option<usize>,
    ) -> Result<Self, Failure> {
        let by_name = matches!(
            operation,
            Operation::ShowPeers { .. } | Operation::ShowUsers { .. } | Operation::ShowInUse { .. }
        );
        Ok(Listing {
            engine,
            operation,
            from: if by_name { From::Pages } else { From::Held(None) },
            after: read_cursor(cursor)?,
            left: limit,
            missing: Missing::default(),
            ended: limit == Some(0),
        })
    }

    /// The next entries; empty when there are no more (or as many as were wanted were given).
    pub async fn next(&mut self) -> Result<Vec<Entry>, Failure> {
        if self.ended || self.left == Some(0) {
            return Ok(Vec::new());
        }
        let wanted = self.left.unwrap_or(CHUNK).min(CHUNK);
        let (entries, more) = match &self.from {
            From::Pages => self.page(wanted).await?,
            From::Held(_) => self.held(wanted).await?,
        };
        self.ended = !more || entries.is_empty();
        self.left = self.left.map(|left| left.saturating_sub(entries.len()));
        if let Some((key, _)) = entries.last() {
            self.after = Some(key.clone());
        }
        Ok(entries.into_iter().map(|(_, entry)| entry).collect())
    }

    /// Pods that did not answer so far.
    pub fn missing(&self) -> &Missing {
        &self.missing
    }

    /// Cursor of what comes after the last entry given; empty at the end.
    pub fn cursor(&self) -> String {
        match &self.after {
            Some(after) if !self.ended => URL_SAFE_NO_PAD.encode(after),
            _ => String::new(),
        }
    }

    /// The operation that is listed.
    pub fn operation(&self) -> &Operation {
        &self.operation
    }

    async fn page(&mut self, wanted: usize) -> Result<(Vec<(String, Entry)>, bool), Failure> {
        let names = self.engine.names();
        let page = PeerPage {
            like: match &self.operation {
                Operation::ShowPeers { like } | Operation::ShowUsers { like } => like.clone(),
                _ => None,
            },
            after: self.after.clone(),
            limit: u32::try_from(wanted).unwrap_or(u32::MAX),
        };
        match self.operation {
            Operation::ShowUsers { .. } => {
                let pages = self
                    .registrars(|door, page| async move { door.port.list_users(page).await }, page)
                    .await?;
                let joined = merge::pages(pages, wanted, |view: &UserView| &view.name, |first, _| first);
                Ok(keyed(joined, |view| view.name.clone(), |view| Entry::User(convert::user(view))))
            }
            Operation::ShowInUse { all } => {
                let pages = self
                    .registrars(move |door, page| async move { door.port.in_use(all, page).await }, page)
                    .await?;
                let joined = merge::pages(pages, wanted, |view: &InUseView| &view.name, busier);
                Ok(keyed(joined, |view| view.name.clone(), |view| Entry::InUse(convert::in_use(view))))
            }
            _ => {
                let pages = self
                    .registrars(|door, page| async move { door.port.list_peers(page).await }, page)
                    .await?;
                let joined = merge::pages(pages, wanted, |view: &PeerView| &view.name, better_known);
                Ok(keyed(joined, |view| view.name.clone(), |view| Entry::Peer(Box::new(names.peer(view)))))
            }
        }
    }

    /// One page of every registrar that has answered so far: who was late once is not waited for again.
    async fn registrars<T, F>(
        &mut self,
        ask: impl Fn(Door<dyn PeersPort>, PeerPage) -> F,
        page: PeerPage,
    ) -> Result<Vec<Page<T>>, Failure>
    where
        F: Future<Output = Result<Page<T>, fairlead_proto::operator::Unanswered>>,
    {
        let mut doors = self.engine.directory.registrars().await;
        doors.retain(|door| !self.missing.has(door));
        let answers = ask_all(doors, self.engine.limit(), |door| ask(door, page.clone())).await;
        let answers = enough(answers, "registrar")?;
        self.missing.extend(answers.missing);
        Ok(answers.given.into_iter().map(|(_, page)| page).collect())
    }

    async fn held(&mut self, wanted: usize) -> Result<(Vec<(String, Entry)>, bool), Failure> {
        if let From::Held(None) = self.from {
            let mut all = self.read_all().await?;
            if let Some(after) = &self.after {
                // All up to and including the cursor were given before.
                let mut rest = all.split_off(after);
                rest.remove(after);
                all = rest;
            }
            self.from = From::Held(Some(all.into_iter().collect()));
        }
        let From::Held(Some(held)) = &mut self.from else { return Ok((Vec::new(), false)) };
        let entries: Vec<_> = held.drain(..wanted.min(held.len())).collect();
        Ok((entries, !held.is_empty()))
    }

    async fn read_all(&mut self) -> Result<BTreeMap<String, Entry>, Failure> {
        let names = self.engine.names();
        let doors = self.engine.directory.signaling().await;
        if let Operation::ShowBridged = self.operation {
            let ask = |door: Door<dyn ChannelsPort>| async move { door.port.list_bridges().await };
            let answers = enough(ask_all(doors, self.engine.limit(), ask).await, "signaling")?;
            self.missing.extend(answers.missing);
            let bridges = answers.given.into_iter().flat_map(|(_, bridges)| bridges);
            let keyed = by_key(bridges, |bridge| format!("{}\0{}", bridge.call_id_a, bridge.call));
            return Ok(keyed
                .into_iter()
                .map(|(key, bridge)| (key, Entry::Bridge(names.bridge(bridge))))
                .collect());
        }
        let prefix = match &self.operation {
            Operation::ShowChannel { prefix } => prefix.as_str(),
            _ => "",
        };
        let ask = |door: Door<dyn ChannelsPort>| {
            let prefix = prefix.to_owned();
            async move { door.port.list_channels(&prefix).await }
        };
        let wants_media = !matches!(self.operation, Operation::ShowChannels);
        let (answers, sessions) = tokio::join!(ask_all(doors, self.engine.limit(), ask), async {
            if wants_media { Some(self.engine.sessions().await) } else { None }
        });
        let answers = enough(answers, "signaling")?;
        self.missing.extend(answers.missing);
        let (sessions, late) = sessions.transpose()?.unwrap_or_default();
        self.missing.extend(late);

        let channels = answers.given.into_iter().flat_map(|(_, channels)| channels);
        let keyed =
            by_key(channels, |channel| format!("{}\0{}\0{:?}", channel.call_id, channel.call, channel.side));
        let of = |channel: &Channel| channel.session.and_then(|session| sessions.get(&session));
        let entry = |channel: Channel| match self.operation {
            // chan_sip lists only dialogs that have an audio RTP instance.
            Operation::ShowChannelStats => {
                let audio = of(&channel)?;
                Some(Entry::ChannelStats(Box::new(names.channel_stats(channel, audio))))
            }
            _ => {
                let audio = of(&channel);
                Some(Entry::Channel(Box::new(names.channel(channel, audio))))
            }
        };
        Ok(keyed.into_iter().filter_map(|(key, channel)| entry(channel).map(|entry| (key, entry))).collect())
    }
}

fn keyed<T>(
    page: Page<T>,
    key: impl Fn(&T) -> String,
    entry: impl Fn(T) -> Entry,
) -> (Vec<(String, Entry)>, bool) {
    (page.entries.into_iter().map(|view| (key(&view), entry(view))).collect(), page.more)
}

/// Of two registrars' rows of one peer, the one that holds it.
fn better_known(first: PeerView, second: PeerView) -> PeerView {
    if first.source == PeerSource::Stored && second.source == PeerSource::Cached { second } else { first }
}

/// While the store is away each registrar counts what it has seen.
fn busier(first: InUseView, second: InUseView) -> InUseView {
    InUseView {
        in_use: first.in_use.max(second.in_use),
        ringing: first.ringing.max(second.ringing),
        on_hold: first.on_hold.max(second.on_hold),
        limit: first.limit.or(second.limit),
        name: first.name,
    }
}

fn read_cursor(cursor: &str) -> Result<Option<String>, Failure> {
    if cursor.is_empty() {
        return Ok(None);
    }
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok();
    let key = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    key.map(Some).ok_or_else(|| Failure::Invalid("cursor is not one that was given out".to_owned()))
}
