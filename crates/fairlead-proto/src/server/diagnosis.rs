//! What every pod says of itself.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::common::v1 as pb;
use crate::common::v1::diagnosis_server::{Diagnosis, DiagnosisServer};
use crate::provisioning::DiagnosisPort;

/// A pod's diagnosis behind gRPC.
#[derive(Debug)]
pub struct DiagnosisService<P: ?Sized>(Arc<P>);

/// A pod's diagnosis as a tonic service.
pub fn diagnosis<P: DiagnosisPort + ?Sized>(port: Arc<P>) -> DiagnosisServer<DiagnosisService<P>> {
    DiagnosisServer::new(DiagnosisService(port))
}

#[tonic::async_trait]
impl<P: DiagnosisPort + ?Sized> Diagnosis for DiagnosisService<P> {
    async fn diagnose(
        &self,
        _request: Request<pb::DiagnoseRequest>,
    ) -> Result<Response<pb::DiagnoseResponse>, Status> {
        Ok(Response::new(self.0.diagnose().await?.into()))
    }
}
