//! Who is there to be asked, and how to ask them.
//!
//! Two directories: [`Together`] for `standalone`, where the ports are objects of this process, and [`Members`] for a
//! split edge, where they are gRPC clients of the pods that the registrar names. Nothing else differs.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fairlead_model::id::PodRef;
use fairlead_model::member::{Briefing, Member, Role};
use fairlead_model::surroundings::Surroundings;
use fairlead_proto::attached::stay_attached;
use fairlead_proto::client::{
    ChannelsClient, DiagnosisClient, PeersClient, RegistrarClient, RelayClient, connection,
};
use fairlead_proto::operator::{ChannelsPort, PeersPort, SessionsPort};
use fairlead_proto::provisioning::DiagnosisPort;
use fairlead_proto::tls::PodTls;
use fairlead_proto::trace::TraceHooks;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::engine::Myself;

/// One pod with one of its ports.
#[derive(Debug)]
pub struct Door<P: ?Sized> {
    /// The pod.
    pub pod: PodRef,
    /// Its name for people.
    pub name: String,
    /// What it does.
    pub role: Role,
    /// How to ask it.
    pub port: Arc<P>,
}

impl<P: ?Sized> Clone for Door<P> {
    fn clone(&self) -> Self {
        Door { pod: self.pod, name: self.name.clone(), role: self.role, port: self.port.clone() }
    }
}

/// Who is there.
#[async_trait::async_trait]
pub trait Directory: Send + Sync + 'static {
    /// Every registrar.
    async fn registrars(&self) -> Vec<Door<dyn PeersPort>>;
    /// Every signaling pod.
    async fn signaling(&self) -> Vec<Door<dyn ChannelsPort>>;
    /// Every media pod.
    async fn relays(&self) -> Vec<Door<dyn SessionsPort>>;
    /// Every pod, to be examined.
    async fn every_pod(&self) -> Vec<Door<dyn DiagnosisPort>>;
    /// What lies around the edge; `None` while nobody has said who is there.
    async fn surroundings(&self) -> Option<Surroundings>;
    /// Roles of which there is no pod, but should be.
    async fn absent_roles(&self) -> Vec<Role>;
    /// Everybody who is known now, as far as there is a list.
    fn members(&self) -> Vec<Member>;
    /// The name of every pod that is known now.
    fn names(&self) -> Vec<(PodRef, String)>;
}

/// The roles of one process.
#[derive(Clone, Default)]
pub struct Together {
    /// Its registrar.
    pub registrars: Vec<Door<dyn PeersPort>>,
    /// Its signaling.
    pub signaling: Vec<Door<dyn ChannelsPort>>,
    /// Its relay.
    pub relays: Vec<Door<dyn SessionsPort>>,
    /// All of them, to be examined.
    pub every_pod: Vec<Door<dyn DiagnosisPort>>,
    /// Where phones reach it.
    pub surroundings: Surroundings,
}

#[async_trait::async_trait]
impl Directory for Together {
    async fn registrars(&self) -> Vec<Door<dyn PeersPort>> {
        self.registrars.clone()
    }

    async fn signaling(&self) -> Vec<Door<dyn ChannelsPort>> {
        self.signaling.clone()
    }

    async fn relays(&self) -> Vec<Door<dyn SessionsPort>> {
        self.relays.clone()
    }

    async fn every_pod(&self) -> Vec<Door<dyn DiagnosisPort>> {
        self.every_pod.clone()
    }

    async fn surroundings(&self) -> Option<Surroundings> {
        Some(self.surroundings.clone())
    }

    async fn absent_roles(&self) -> Vec<Role> {
        Vec::new()
    }

    fn members(&self) -> Vec<Member> {
        Vec::new()
    }

    fn names(&self) -> Vec<(PodRef, String)> {
        let registrars = self.registrars.iter().map(|door| (door.pod, door.name.clone()));
        let signaling = self.signaling.iter().map(|door| (door.pod, door.name.clone()));
        let relays = self.relays.iter().map(|door| (door.pod, door.name.clone()));
        registrars.chain(signaling).chain(relays).collect()
    }
}

/// The pods that the registrar names, over gRPC. Admin is a member itself.
pub struct Members {
    me: Member,
    registrar: RegistrarClient,
    tls: PodTls,
    briefings: watch::Receiver<Option<Arc<Briefing>>>,
    connections: Mutex<HashMap<SocketAddr, tonic::transport::Channel>>,
    /// Until then admin waits for the first pod of a role to be named: at a start of everything at once it may be the
    /// first that is up.
    patient_until: Instant,
}

/// How long after its start admin waits before it says that nobody is there.
pub const PATIENCE: Duration = Duration::from_secs(5);

impl Members {
    /// Attaches to a registrar (`HOST:PORT` each; a name may stand for several) as `who` and stays attached. To be
    /// called inside the runtime.
    pub fn attach(registrars: Vec<String>, who: Member, tls: PodTls) -> Self {
        let start = usize::try_from(who.pod.0 & 0xffff).unwrap_or_default();
        let me = who.clone();
        let client = RegistrarClient::connect(registrars.clone(), start, tls.clone());
        let briefings = stay_attached(Arc::new(client), who, || (0, false));
        Members {
            me,
            registrar: RegistrarClient::connect(registrars, start, tls.clone()),
            tls,
            briefings,
            connections: Mutex::default(),
            patient_until: Instant::now() + PATIENCE,
        }
    }

    /// Waits this long from now, instead of [`PATIENCE`], before it says that nobody is there.
    pub fn patient_for(self, time: Duration) -> Self {
        Members { patient_until: Instant::now() + time, ..self }
    }

    /// Whether a registrar has said who is there.
    pub fn is_briefed(&self) -> bool {
        self.briefings.borrow().is_some()
    }

    /// Tells when that changes.
    pub fn briefings(&self) -> watch::Receiver<Option<Arc<Briefing>>> {
        self.briefings.clone()
    }

    async fn of(&self, role: Role) -> Vec<Member> {
        let mut briefings = self.briefings.clone();
        let names_one = |briefing: &Option<Arc<Briefing>>| {
            briefing.iter().flat_map(|briefing| &briefing.members).any(|member| member.role == role)
        };
        // Out of time, or out of registrars: then nobody is known.
        let _ = tokio::time::timeout_at(self.patient_until, briefings.wait_for(names_one)).await;
        let briefing = self.briefings.borrow().clone();
        let members = briefing.iter().flat_map(|briefing| &briefing.members);
        members.filter(|member| member.role == role).cloned().collect()
    }

    /// What the registrar said last; waited for as long as [`Self::of`] waits.
    async fn briefing(&self) -> Option<Arc<Briefing>> {
        let mut briefings = self.briefings.clone();
        // Out of time, or out of registrars: then there is none.
        let _ = tokio::time::timeout_at(self.patient_until, briefings.wait_for(Option::is_some)).await;
        self.briefings.borrow().clone()
    }

    /// One connection for each address, kept as long as somebody there is a member.
    fn connection(&self, to: SocketAddr, role: Role) -> tonic::transport::Channel {
        let mut connections = self.connections.lock();
        if let Some(briefing) = self.briefings.borrow().as_deref() {
            connections.retain(|at, _| *at == to || briefing.members.iter().any(|member| member.grpc == *at));
        }
        connections.entry(to).or_insert_with(|| connection(to, &self.tls, role)).clone()
    }
}

#[async_trait::async_trait]
impl Directory for Members {
    async fn registrars(&self) -> Vec<Door<dyn PeersPort>> {
        let door = |pod: PodRef, name: String, to: SocketAddr| Door {
            pod,
            name,
            role: Role::Registrar,
            port: Arc::new(PeersClient::new(self.connection(to, Role::Registrar))) as Arc<dyn PeersPort>,
        };
        let known = if self.is_briefed() { self.of(Role::Registrar).await } else { Vec::new() };
        if !known.is_empty() {
            return known.into_iter().map(|member| door(member.pod, member.name, member.grpc)).collect();
        }
        // Before the first briefing the addresses behind the configured names are all there is.
        let addresses = self.registrar.addresses().await;
        addresses.into_iter().map(|to| door(PodRef(0), to.to_string(), to)).collect()
    }

    async fn signaling(&self) -> Vec<Door<dyn ChannelsPort>> {
        let door = |member: Member| Door {
            pod: member.pod,
            name: member.name,
            role: member.role,
            port: Arc::new(ChannelsClient::new(self.connection(member.grpc, member.role)))
                as Arc<dyn ChannelsPort>,
        };
        self.of(Role::Signaling).await.into_iter().map(door).collect()
    }

    async fn relays(&self) -> Vec<Door<dyn SessionsPort>> {
        let door = |member: Member| Door {
            pod: member.pod,
            name: member.name,
            role: member.role,
            port: Arc::new(RelayClient::new(self.connection(member.grpc, member.role), TraceHooks::default()))
                as Arc<dyn SessionsPort>,
        };
        self.of(Role::Media).await.into_iter().map(door).collect()
    }

    async fn every_pod(&self) -> Vec<Door<dyn DiagnosisPort>> {
        let port = |member: &Member| match member.role {
            Role::Signaling | Role::Media | Role::Registrar => {
                let to = self.connection(member.grpc, member.role);
                Some(Arc::new(DiagnosisClient::new(to)) as Arc<dyn DiagnosisPort>)
            }
            Role::Admin if member.pod == self.me.pod => Some(Myself::port(&member.name)),
            // Another admin answers nobody without a token; the operator role has no port, and what it finds comes with the
            // surroundings.
            Role::Admin | Role::Operator => None,
        };
        self.briefing().await.map_or_else(Vec::new, |briefing| {
            let door = |member: &Member| {
                let (pod, name, role) = (member.pod, member.name.clone(), member.role);
                port(member).map(|port| Door { pod, name, role, port })
            };
            briefing.members.iter().filter_map(door).collect()
        })
    }

    async fn surroundings(&self) -> Option<Surroundings> {
        self.briefing().await.map(|briefing| briefing.surroundings.clone())
    }

    async fn absent_roles(&self) -> Vec<Role> {
        let briefing = self.briefing().await;
        let is_there = |role: &Role| {
            briefing.iter().flat_map(|briefing| &briefing.members).any(|member| member.role == *role)
        };
        [Role::Signaling, Role::Media, Role::Registrar].into_iter().filter(|role| !is_there(role)).collect()
    }

    fn members(&self) -> Vec<Member> {
        self.briefings.borrow().as_ref().map(|briefing| briefing.members.clone()).unwrap_or_default()
    }

    fn names(&self) -> Vec<(PodRef, String)> {
        let briefing = self.briefings.borrow().clone();
        let members = briefing.iter().flat_map(|briefing| &briefing.members);
        members.map(|member| (member.pod, member.name.clone())).collect()
    }
}
