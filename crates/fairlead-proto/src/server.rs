//! Ports behind gRPC: each type here makes a tonic service of whatever implements a port.
//!
//! ```ignore
//! tonic::transport::Server::builder()
//!     .add_service(server::registrar(port.clone()))
//!     .add_service(server::peers(port))
//! ```

mod diagnosis;
mod peers;
mod provisioning;
mod registrar;
mod relay;
mod signaling;

pub use diagnosis::{DiagnosisService, diagnosis};
pub use peers::{PeersService, peers};
pub use provisioning::{ProvisioningService, provisioning};
pub use registrar::{RegistrarService, registrar};
pub use relay::{RelayService, relay};
pub use signaling::{ChannelsService, channels};

use fairlead_model::ask::AskFailed;
use tonic::Status;

use crate::operator::Unanswered;

impl From<Unanswered> for Status {
    fn from(unanswered: Unanswered) -> Self {
        let text = unanswered.to_string();
        match unanswered {
            Unanswered::Unreachable => Status::unavailable(text),
            Unanswered::Deadline => Status::deadline_exceeded(text),
            Unanswered::Invalid(_) => Status::invalid_argument(text),
            Unanswered::Unable(_) => Status::failed_precondition(text),
            Unanswered::Unknown => Status::unimplemented(text),
        }
    }
}

pub(crate) fn status_of(failed: AskFailed) -> Status {
    let text = failed.to_string();
    match failed {
        AskFailed::Unreachable => Status::unavailable(text),
        AskFailed::Deadline => Status::deadline_exceeded(text),
        AskFailed::Overloaded => Status::resource_exhausted(text),
        AskFailed::Unknown => Status::unimplemented(text),
    }
}
