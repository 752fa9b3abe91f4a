//! A service that Envoy streams its access log to (`envoy.access_loggers.http_grpc`), for what such a
//! log holds that no text format would show.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use envoy_types::pb::envoy::service::accesslog::v3::access_log_service_server::{
    AccessLogService, AccessLogServiceServer,
};
use envoy_types::pb::envoy::service::accesslog::v3::{
    StreamAccessLogsMessage, StreamAccessLogsResponse,
};
use tonic::{Request, Response, Status, Streaming};

use crate::grpc;

/// A running log service.
pub struct LogService {
    address: SocketAddr,
    messages: Arc<Mutex<String>>,
    task: tokio::task::JoinHandle<()>,
}

impl LogService {
    /// Starts one on a free port.
    ///
    /// # Errors
    /// No port can be bound.
    pub async fn start() -> std::io::Result<Self> {
        let messages = Arc::new(Mutex::new(String::new()));
        let service = AccessLogServiceServer::new(Collector(Arc::clone(&messages)));
        let (address, task) = grpc::serve(service).await?;
        Ok(Self {
            address,
            messages,
            task,
        })
    }

    /// Where it listens (HTTP/2 without TLS).
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything that was logged so far, each field of it.
    #[must_use]
    pub fn text(&self) -> String {
        self.messages.lock().expect("no panic in here").clone()
    }
}

impl Drop for LogService {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Collector(Arc<Mutex<String>>);

#[tonic::async_trait]
impl AccessLogService for Collector {
    async fn stream_access_logs(
        &self,
        request: Request<Streaming<StreamAccessLogsMessage>>,
    ) -> Result<Response<StreamAccessLogsResponse>, Status> {
        let mut messages = request.into_inner();
        while let Some(message) = messages.message().await? {
            let text = format!("{message:?}\n");
            self.0.lock().expect("no panic in here").push_str(&text);
        }
        Ok(Response::new(StreamAccessLogsResponse::default()))
    }
}
