//! The least that an `ext_authz` server can do: tonic, messages as they are generated, and an answer
//! that is always the same. What the identity service is measured against.
//!
//! `ext-authz-constant ADDRESS FILE` listens there; the file has the answer, a serialized
//! `CheckResponse`.

use envoy_types::ext_authz::v3::pb::{
    Authorization, AuthorizationServer, CheckRequest, CheckResponse,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use prost::Message;
use tokio::net::TcpListener;
use tonic::{Request, Response, Status};

struct Constant(CheckResponse);

#[tonic::async_trait]
impl Authorization for Constant {
    async fn check(
        &self,
        request: Request<CheckRequest>,
    ) -> Result<Response<CheckResponse>, Status> {
        // Nobody may leave out the decoding of what is not looked at.
        std::hint::black_box(&request);
        Ok(Response::new(self.0.clone()))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(address), Some(file)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: ext-authz-constant ADDRESS FILE");
        std::process::exit(2);
    };
    let answer = std::fs::read(&file).expect("the file with the answer");
    let answer = CheckResponse::decode(answer.as_slice()).expect("a CheckResponse");
    let service = AuthorizationServer::new(Constant(answer));
    let listener = TcpListener::bind(&address).await.expect("a free address");
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("a socket option");
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            // How a connection ends is the peer's business.
            let _ = auto::Builder::new(TokioExecutor::new())
                .http2_only()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}
