//! Asks admin through Kubernetes: finds it, takes a token of the least account that may, and the next pod if one is silent.

use std::collections::BTreeSet;
use std::time::Duration;

use fairlead_admin::cli::{Ended, GrpcClient, Parts, Transport};
use fairlead_admin::engine::Answer;
use fairlead_admin::operation::{Operation, Verb};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::sync::{Mutex, OnceCell};
use tonic::transport::Channel;

use crate::account::Account;
use crate::arguments::Place;
use crate::forward;
use crate::release::Release;
use crate::tokens::{RULE, Tokens, account_name};
use crate::trouble::{Asked, innermost, needed};

/// How long the API server has to take a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Admin behind an API server. Nothing is asked before the first operation.
pub struct Through {
    place: Place,
    cluster: OnceCell<(Client, String)>,
    tokens: Tokens,
    /// A pod that answered.
    open: Mutex<Option<Channel>>,
}

impl Through {
    /// There.
    pub fn new(place: Place) -> Self {
        Through { place, cluster: OnceCell::new(), tokens: Tokens::default(), open: Mutex::new(None) }
    }

    /// The API server and the namespace.
    async fn cluster(&self) -> Result<&(Client, String), Ended> {
        let connecting = || async {
            let config = config(&self.place).await?;
            let namespace = self.place.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
            let unusable = |cause: kube::Error| {
                Ended::Refused(format!("the kubeconfig cannot be used: {}", innermost(&cause)))
            };
            Ok((Client::try_from(config).map_err(unusable)?, namespace))
        };
        self.cluster.get_or_try_init(connecting).await
    }

    async fn ask(&self, operation: &Operation, wanted: Wanted) -> Result<Got, Ended> {
        let (client, namespace) = self.cluster().await?;
        let release = Release::find(client, namespace, self.place.release.as_deref()).await?;
        let accounts: Vec<Account> = match self.place.account {
            Some(account) => vec![account],
            None => {
                let least = Account::least_for(operation);
                Account::ALL.into_iter().filter(|account| *account >= least).collect()
            }
        };
        let mut refused: Option<String> = None;
        for account in &accounts {
            // Who may not have a token of the least account may have one of a greater one.
            let token = match self.tokens.of(*account, client, &release).await {
                Err(Ended::Forbidden(_)) => continue,
                token => token?,
            };
            match self.at_some_pod(operation, wanted, client, &release, &token).await {
                Err(Ended::Forbidden(why)) => {
                    refused = Some(format!("{why} (as {})", account_name(*account, &release)))
                }
                answer => return answer,
            }
        }
        Err(Ended::Forbidden(refused.unwrap_or_else(|| {
            let names: Vec<_> = accounts.iter().map(|account| account_name(*account, &release)).collect();
            let what = "ask for a token of any of these ServiceAccounts";
            needed(&Asked { what, rule: RULE, names: &names, namespace })
        })))
    }

    async fn at_some_pod(
        &self,
        operation: &Operation,
        wanted: Wanted,
        client: &Client,
        release: &Release,
        token: &str,
    ) -> Result<Got, Ended> {
        // What only looks may be asked again; what changes something is asked of a pod that has just answered, once.
        let looks = operation.row().is_some_and(|row| row.verb == Verb::Get);
        let mut open = self.open.lock().await;
        if let Some(channel) = open.clone() {
            match wanted.of(&channel, token, operation).await {
                Err(Ended::Away(_)) if looks => *open = None,
                answer => return answer,
            }
        }
        let mut silent = BTreeSet::new();
        for pod in &release.pods {
            let channel = match forward::connect(client, &release.namespace, pod, token).await {
                Ok(channel) => channel,
                Err(Ended::Away(why)) => {
                    silent.insert(why);
                    continue;
                }
                // Another account of the release would not help: this one is the caller's own.
                Err(Ended::Forbidden(why)) => return Err(Ended::Refused(why)),
                Err(ended) => return Err(ended),
            };
            match wanted.of(&channel, token, operation).await {
                Err(Ended::Away(why)) if looks => {
                    silent.insert(why);
                }
                answer => {
                    *open = Some(channel);
                    return answer;
                }
            }
        }
        let silent: Vec<_> = silent.into_iter().collect();
        Err(Ended::Away(silent.join("; ")))
    }
}

async fn config(place: &Place) -> Result<Config, Ended> {
    let unreadable = |cause: &dyn std::error::Error| {
        Ended::Refused(format!("the kubeconfig cannot be used: {}", innermost(cause)))
    };
    let options = KubeConfigOptions { context: place.context.clone(), ..KubeConfigOptions::default() };
    let mut config = match &place.kubeconfig {
        Some(file) => {
            let kubeconfig = Kubeconfig::read_from(file).map_err(|cause| unreadable(&cause))?;
            Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|cause| unreadable(&cause))?
        }
        // In a pod without a kubeconfig its own account is used, as kubectl does.
        None if place.context.is_none() => Config::infer().await.map_err(|cause| unreadable(&cause))?,
        None => Config::from_kubeconfig(&options).await.map_err(|cause| unreadable(&cause))?,
    };
    config.connect_timeout = Some(CONNECT_LIMIT);
    Ok(config)
}

/// In which way an operation is answered.
#[derive(Clone, Copy)]
enum Wanted {
    One,
    List,
}

enum Got {
    One(Answer),
    List(Parts),
}

impl Wanted {
    async fn of(self, channel: &Channel, token: &str, operation: &Operation) -> Result<Got, Ended> {
        let unusable = || Ended::Refused("Kubernetes gave a token that no header can carry".to_owned());
        let admin = GrpcClient::new(channel.clone(), Some(token)).ok_or_else(unusable)?;
        match self {
            Wanted::One => admin.one(operation).await.map(Got::One),
            Wanted::List => admin.list(operation).await.map(Got::List),
        }
    }
}

#[async_trait::async_trait]
impl Transport for Through {
    async fn one(&self, operation: &Operation) -> Result<Answer, Ended> {
        match self.ask(operation, Wanted::One).await? {
            Got::One(answer) => Ok(answer),
            Got::List(_) => Err(Ended::Garbled("a list instead of one answer".to_owned())),
        }
    }

    async fn list(&self, operation: &Operation) -> Result<Parts, Ended> {
        match self.ask(operation, Wanted::List).await? {
            Got::List(parts) => Ok(parts),
            Got::One(_) => Err(Ended::Garbled("one answer instead of a list".to_owned())),
        }
    }
}
