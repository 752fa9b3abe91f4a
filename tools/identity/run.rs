//! The service while it runs: doors, health, and the end.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::Full;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tonic::codegen::Service as _;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::server::HealthReporter;

use crate::core::Core;
use crate::door::check::{Door as CheckDoor, METHOD};
use crate::log;
use crate::serve::body::whole;
use crate::serve::{Address, Listener, serve};
use crate::setup::Service;
use crate::{COMMIT, admin};

/// How often the store is asked whether it is there.
const LOOK: Duration = Duration::from_secs(2);
/// How long connections may take to end.
const CONNECTIONS: Duration = Duration::from_secs(10);
/// So much is read of what is for nobody here, so that its answer is not taken for a broken stream.
const IGNORED: usize = 64 * 1024;
/// How health is asked. Nothing ends a `Watch`, and no prober needs one.
const HEALTH: &str = "/grpc.health.v1.Health/Check";
const AUTHORIZATION: &str = "envoy.service.auth.v3.Authorization";

/// Serves until a signal, then drains.
///
/// # Errors
/// If an address cannot be listened at.
pub async fn run(service: Service) -> Result<(), String> {
    let (stop, stopped) = watch::channel(false);
    let mut doors = Vec::new();

    if let Some(address) = &service.admin {
        let listener = listen(address).await?;
        let door = admin::Door::new(
            Arc::clone(&service.core),
            Arc::clone(&service.metrics),
            stopped.clone(),
        );
        doors.push(tokio::spawn(serve(
            listener,
            None,
            move |request| {
                let door = door.clone();
                async move { door.answer(request).await }
            },
            stopped.clone(),
            CONNECTIONS,
        )));
    }
    if let Some((address, door)) = &service.token {
        let listener = listen(address).await?;
        let door = door.clone();
        doors.push(tokio::spawn(serve(
            listener,
            service.tls.clone(),
            move |request| {
                let door = door.clone();
                async move { door.answer(request).await }
            },
            stopped.clone(),
            CONNECTIONS,
        )));
    }
    let (reporter, health) = tonic_health::server::health_reporter();
    // Until the store has answered, nobody knows: by itself the one would be taken for serving, and the
    // other for unknown.
    reported(&reporter, ServingStatus::NotServing).await;
    if let Some((address, door)) = &service.check {
        let listener = listen(address).await?;
        let methods = Arc::new((door.clone(), health));
        doors.push(tokio::spawn(serve(
            listener,
            service.tls.clone(),
            move |request| grpc(Arc::clone(&methods), request),
            stopped.clone(),
            CONNECTIONS,
        )));
    }
    if let Some(tls) = service.tls.clone() {
        tokio::spawn(async move { tls.follow().await });
    }
    tokio::spawn(report(Arc::clone(&service.core), reporter, stopped));
    say_that_it_runs(&service);

    wait_for_signal().await?;
    log::info("draining", &[]);
    stop.send_replace(true);
    for door in doors {
        // Each is bounded, and has nothing to say.
        let _ = door.await;
    }
    if timeout(service.drain, service.core.finish()).await.is_err() {
        log::warn("a refresh was still under way", &[]);
    }
    log::info("ended", &[]);
    Ok(())
}

async fn listen(address: &Address) -> Result<Listener, String> {
    address
        .listen()
        .await
        .map_err(|error| format!("cannot listen at {address}: {error}"))
}

async fn wait_for_signal() -> Result<(), String> {
    let install = |kind| signal(kind).map_err(|error| format!("no signals: {error}"));
    let mut terminate = install(SignalKind::terminate())?;
    let mut interrupt = install(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// A gRPC request goes to the method that it names.
async fn grpc<H>(
    methods: Arc<(CheckDoor, HealthServer<H>)>,
    request: Request<hyper::body::Incoming>,
) -> Response<tonic::body::Body>
where
    H: Health,
{
    let (door, health) = &*methods;
    let path = request.uri().path();
    if path == METHOD {
        return door.answer(request).await;
    }
    if path == HEALTH {
        // tonic would wait for the whole of it without end.
        let (head, body) = request.into_parts();
        let Some(body) = whole(body, IGNORED).await else {
            let text = "the message broke off, is too large or takes too long";
            return tonic::Status::internal(text).into_http();
        };
        let request = Request::from_parts(head, Full::new(body));
        return match health.clone().call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
    }
    let _ = whole(request.into_body(), IGNORED).await;
    let text = "envoy.service.auth.v3.Authorization/Check and grpc.health.v1.Health/Check are here";
    tonic::Status::unimplemented(text).into_http()
}

/// Says this of the service, by either of its names.
async fn reported(reporter: &HealthReporter, status: ServingStatus) {
    for name in ["", AUTHORIZATION] {
        reporter.set_service_status(name, status).await;
    }
}

/// Tells gRPC health what `/readyz` says.
async fn report(core: Arc<Core>, reporter: HealthReporter, mut stop: watch::Receiver<bool>) {
    loop {
        let status = if *stop.borrow() {
            ServingStatus::NotServing
        } else if core.ping().await.is_ok() {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        reported(&reporter, status).await;
        if *stop.borrow() {
            return;
        }
        tokio::select! {
            () = sleep(LOOK) => {}
            _ = stop.changed() => {}
        }
    }
}

fn say_that_it_runs(service: &Service) {
    let off = "off".to_owned();
    let at = |address: Option<&Address>| address.map_or_else(|| off.clone(), Address::to_string);
    let token = at(service.token.as_ref().map(|(address, _)| address));
    let check = at(service.check.as_ref().map(|(address, _)| address));
    let admin = at(service.admin.as_ref());
    log::info(
        "serving",
        &[
            ("version", &env!("CARGO_PKG_VERSION")),
            ("commit", &COMMIT),
            ("token", &token),
            ("ext_authz", &check),
            ("admin", &admin),
        ],
    );
}
