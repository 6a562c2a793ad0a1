//! Any pod as `doctor` sees it.

use fairlead_model::surroundings::Diagnosis;
use tonic::transport::Channel;

use super::{garbled, limited};
use crate::common::v1 as pb;
use crate::common::v1::diagnosis_client::DiagnosisClient as Stub;
use crate::operator::Unanswered;
use crate::provisioning::DiagnosisPort;

/// A pod elsewhere.
#[derive(Clone, Debug)]
pub struct DiagnosisClient(Stub<Channel>);

impl DiagnosisClient {
    /// Over this connection (see [`super::connection`]).
    pub fn new(connection: Channel) -> Self {
        DiagnosisClient(Stub::new(connection))
    }
}

#[async_trait::async_trait]
impl DiagnosisPort for DiagnosisClient {
    async fn diagnose(&self) -> Result<Diagnosis, Unanswered> {
        let answer = self.0.clone().diagnose(limited(pb::DiagnoseRequest {})).await?;
        answer.into_inner().try_into().map_err(garbled)
    }
}
