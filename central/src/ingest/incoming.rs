//! Connections, at most so many, and so many of one peer: the next one waits in the kernel's queue until one
//! ends. A connection that asks for nothing is closed, because it holds a descriptor that a host may need.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Sleep, sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Request;
use tonic::transport::CertificateDer;
use tonic::transport::server::{Connected, TlsConnectInfo};

/// Most connections at once: one a host, and each may hold one message in memory.
const MAX_CONNECTIONS: usize = 4_096;
/// Descriptors for everything else: the store's files with their logs, the listener, the runtime.
const OTHER_DESCRIPTORS: u64 = 256;
/// Connections of one address: many hosts may stand behind one, and yet it must not take all of them.
const PEER_CONNECTIONS: usize = 256;
/// One address takes at most this part of all.
const PEER_PART: usize = 4;
/// The handshake may take ten seconds, and the first request comes within ten more.
const SPEAK_WITHIN: Duration = Duration::from_secs(20);
/// After a failed accept (out of descriptors, say) wait, or the loop would burn a core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A connection that counts.
pub struct Connection {
    stream: TcpStream,
    info: Info,
    silence: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
    _share: Share,
}

/// What a request knows of its connection.
#[derive(Clone, Debug)]
pub struct Info {
    address: Option<SocketAddr>,
    spoke: Arc<AtomicBool>,
}

/// A request came: its connection stays. Every method says so first.
pub fn spoke<T>(request: &Request<T>) {
    if let Some(info) = info(request) {
        info.get_ref().spoke.store(true, Ordering::Relaxed);
    }
}

/// Whence a request came.
pub fn address<T>(request: &Request<T>) -> Option<IpAddr> {
    info(request).and_then(|info| info.get_ref().address).map(|address| address.ip())
}

/// The certificates that the client showed.
pub fn certificates<T>(request: &Request<T>) -> Option<Arc<Vec<CertificateDer<'static>>>> {
    info(request).and_then(TlsConnectInfo::peer_certs)
}

fn info<T>(request: &Request<T>) -> Option<&TlsConnectInfo<Info>> {
    request.extensions().get()
}

/// Raises the limit of descriptors as far as it goes; so many connections may be open.
pub fn room() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files could not be raised");
            limit.current
        }
    };
    connections(current)
}

/// `None` is no limit.
fn connections(descriptors: Option<u64>) -> usize {
    let left = descriptors.map_or(u64::MAX, |all| all.saturating_sub(OTHER_DESCRIPTORS).max(1));
    usize::try_from(left).unwrap_or(usize::MAX).min(MAX_CONNECTIONS)
}

/// Connections by address.
#[derive(Clone, Default)]
struct Peers(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One of an address's connections; given back when dropped.
struct Share {
    peers: Peers,
    address: IpAddr,
}

impl Peers {
    /// `None`: the address has `most` already.
    fn share(&self, address: IpAddr, most: usize) -> Option<Share> {
        let address = address.to_canonical();
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_insert(0);
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Share { peers: self.clone(), address })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut counts = self.peers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// Accepts until the receiver is dropped; at most `most` at once.
pub fn accept(listener: TcpListener, most: usize) -> ReceiverStream<io::Result<Connection>> {
    let (accepted, connections) = mpsc::channel(1);
    let permits = Arc::new(Semaphore::new(most));
    let of_one = PEER_CONNECTIONS.min(most / PEER_PART).max(1);
    let peers = Peers::default();
    let mut refused = 0_u64;
    tokio::spawn(async move {
        while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
            let stream = tokio::select! {
                stream = listener.accept() => stream,
                () = accepted.closed() => return,
            };
            match stream {
                Ok((stream, address)) => {
                    let Some(share) = peers.share(address.ip(), of_one) else {
                        refused += 1;
                        // Whoever floods the server must not flood its log.
                        if refused.is_power_of_two() {
                            tracing::warn!(refused, %address, "one address has too many connections");
                        }
                        continue;
                    };
                    let connection = Connection::new(stream, address, permit, share);
                    if accepted.send(Ok(connection)).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    });
    ReceiverStream::new(connections)
}

impl Connection {
    fn new(stream: TcpStream, address: SocketAddr, permit: OwnedSemaphorePermit, share: Share) -> Self {
        // Receipts are small and awaited: they must not wait for company.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection ended before it began");
        }
        let info = Info { address: Some(address), spoke: Arc::new(AtomicBool::new(false)) };
        Self { stream, info, silence: Box::pin(sleep(SPEAK_WITHIN)), _permit: permit, _share: share }
    }
}

impl Connected for Connection {
    type ConnectInfo = Info;

    fn connect_info(&self) -> Info {
        self.info.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(cx, buf) {
            return Poll::Ready(read);
        }
        // Nothing to read: then it matters whether anything was asked for.
        if !self.info.spoke.load(Ordering::Relaxed) && self.silence.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use tokio::io::AsyncReadExt;
    use tokio_stream::StreamExt;

    use super::*;

    #[test]
    fn connections_leave_descriptors_for_the_store() {
        assert_eq!(connections(Some(1_024)), 768);
        assert_eq!(connections(Some(10)), 1);
        assert_eq!(connections(Some(1 << 20)), MAX_CONNECTIONS);
        assert_eq!(connections(None), MAX_CONNECTIONS);
    }

    #[test]
    fn an_address_has_its_share_and_gives_it_back() {
        let (peers, one) = (Peers::default(), IpAddr::from([127, 0, 0, 1]));
        let held = [peers.share(one, 2), peers.share(one, 2)];
        assert!(held.iter().all(Option::is_some) && peers.share(one, 2).is_none());
        assert!(peers.share("::ffff:127.0.0.1".parse().unwrap(), 2).is_none());
        assert!(peers.share("127.0.0.2".parse().unwrap(), 2).is_some());
        drop(held);
        assert!(peers.0.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_connection_that_asks_for_nothing_is_closed_and_one_that_did_stays() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut accepted = accept(listener, 8);
        let _clients =
            [TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap()];
        let mut mute = accepted.next().await.unwrap().unwrap();
        let mut heard = accepted.next().await.unwrap().unwrap();
        heard.info.spoke.store(true, Ordering::Relaxed);
        for connection in [&mut mute, &mut heard] {
            connection.silence = Box::pin(sleep(Duration::from_millis(10)));
        }
        let mut byte = [0];
        let ended = mute.read(&mut byte).await.unwrap_err();
        assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
        assert!(tokio::time::timeout(Duration::from_millis(100), heard.read(&mut byte)).await.is_err());
    }
}
