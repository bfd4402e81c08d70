//! The object store behind a proxy that can fail as real ones do: 503, dropped connections, answers that never arrive.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "test code shared by several test crates"
)]

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU32, Ordering},
    },
    time::Duration,
};

/// How it answers now.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Mood {
    Well,
    /// Every third request gets 503 or no answer, and nothing is done.
    Failing,
    /// Every third request is done and its answer is lost.
    Mute,
    /// Every second request that puts a commit is told that it conflicts with another, and nothing is done.
    Conflicting,
}

/// The proxy in front of the store at `PEJL_TEST_S3`.
pub(crate) struct Store {
    /// Where it listens: `http://host:port`.
    pub(crate) endpoint: String,
    mood: Arc<AtomicU8>,
}

impl Store {
    /// `None` when there is no store.
    pub(crate) fn start() -> Option<Self> {
        let behind = std::env::var("PEJL_TEST_S3").ok()?;
        let behind = behind.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let mood = Arc::new(AtomicU8::new(Mood::Well as u8));
        let (seen, count) = (Arc::clone(&mood), Arc::new(AtomicU32::new(0)));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (behind, seen, count) = (behind.clone(), Arc::clone(&seen), Arc::clone(&count));
                // A connection that breaks is the client's to mend.
                std::thread::spawn(move || serve(client, &behind, &seen, &count).ok());
            }
        });
        Some(Self { endpoint, mood })
    }

    pub(crate) fn be(&self, mood: Mood) {
        self.mood.store(mood as u8, Ordering::Relaxed);
    }
}

/// One request and its answer; the connection is closed after it.
fn serve(
    mut client: TcpStream,
    behind: &str,
    mood: &AtomicU8,
    count: &AtomicU32,
) -> std::io::Result<()> {
    client.set_read_timeout(Some(Duration::from_secs(60)))?;
    let Some(request) = read_request(&mut client)? else {
        return Ok(());
    };
    let mood = mood.load(Ordering::Relaxed);
    let number = count.fetch_add(1, Ordering::Relaxed);
    let hit = number.is_multiple_of(3);
    if hit && mood == Mood::Failing as u8 {
        if number.is_multiple_of(2) {
            let body = "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";
            refuse(&mut client, "503 Slow Down", body)?;
        }
        return Ok(());
    }
    let line = request.split(|it| *it == b'\r').next().unwrap_or_default();
    let commits = line.starts_with(b"PUT ") && String::from_utf8_lossy(line).contains(".json");
    if commits && mood == Mood::Conflicting as u8 && number.is_multiple_of(2) {
        let body =
            "<Error><Code>ConditionalRequestConflict</Code><Message>Try again.</Message></Error>";
        return refuse(&mut client, "409 Conflict", body);
    }
    let mut server = TcpStream::connect(behind)?;
    server.write_all(&request)?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    if hit && mood == Mood::Mute as u8 {
        return client.shutdown(Shutdown::Both);
    }
    client.write_all(&answer)
}

fn refuse(client: &mut TcpStream, status: &str, body: &str) -> std::io::Result<()> {
    let length = body.len();
    write!(
        client,
        "HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

/// A whole request, asking for the connection to be closed after the answer. The signature does not cover that header.
fn read_request(client: &mut TcpStream) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 64 << 10];
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|it| it == b"\r\n\r\n") {
            break at;
        }
        match client.read(&mut buffer)? {
            0 => return Ok(None),
            read => bytes.extend_from_slice(&buffer[..read]),
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let header = |name: &str| {
        head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name)
                .then(|| value.trim().to_owned())
        })
    };
    let length: usize = header("content-length").map_or(0, |it| it.parse().unwrap());
    while bytes.len() < head_end + 4 + length {
        match client.read(&mut buffer)? {
            0 => return Ok(None),
            read => bytes.extend_from_slice(&buffer[..read]),
        }
    }
    let lines = head
        .lines()
        .filter(|it| !it.to_ascii_lowercase().starts_with("connection:"));
    let mut request = lines.collect::<Vec<_>>().join("\r\n").into_bytes();
    request.extend_from_slice(b"\r\nConnection: close\r\n\r\n");
    request.extend_from_slice(&bytes[head_end + 4..]);
    Ok(Some(request))
}
