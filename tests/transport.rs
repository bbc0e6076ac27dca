//! Limits and addresses of transport, with servers that have no manners.

use std::io::{BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::support::https::{Manner, Reply, Server};
use appc::transport::{Cache, Client, Entry, Kind, Limits, News, Request, Settings, Validators};
use appc_needs::{Need, skip};
use url::Url;

/// Impatient, so that tests are not long.
fn limits() -> Limits {
    Limits {
        idle: Duration::from_millis(700),
        document: Duration::from_secs(2),
        document_bytes: 1 << 16,
        image_bytes: 1 << 20,
        slow_rate: 1000,
        slow_window: Duration::from_secs(1),
        retries: 1,
        back_off: Duration::from_millis(1),
        ..Limits::default()
    }
}

fn client(change: impl FnOnce(&mut Settings)) -> Client {
    let mut settings = Settings { limits: limits(), insecure_http: true, ..Settings::default() };
    change(&mut settings);
    Client::new(settings).unwrap()
}

fn url(server: &Server) -> Url {
    server.url("/a").parse().unwrap()
}

/// The error of a transfer, wherever in it.
fn failure(client: &Client, request: &Request) -> (Kind, String) {
    let error = match client.send(request) {
        Err(error) => error,
        Ok(mut response) => response.body.take_all().unwrap_err(),
    };
    (*error.kind(), appc::error::chain(&error))
}

#[test]
fn a_server_that_answers_a_byte_at_a_time_is_given_up() {
    let server = Server::http(|_| Reply::ok(vec![b'x'; 10_000]).manner(Manner::Trickle(Duration::from_millis(50))));
    for request in [Request::image(url(&server)), Request::document(url(&server))] {
        let (kind, why) = failure(&client(|_| {}), &request);
        assert_eq!(kind, Kind::Timeout, "{why}");
    }
}

#[test]
fn bytes_that_trickle_in_below_tls_are_not_waited_for_either() {
    let server = Server::https(|_| Reply::ok(vec![b'x'; 16 << 10]));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let between = listener.local_addr().unwrap();
    let to = server.port;
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(("127.0.0.1", to)).unwrap();
            let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut from_client, &mut to_server));
            // The handshake is let by; nothing of this fails but where the client has gone.
            std::thread::spawn(move || {
                let (mut server, mut client) = (server, client);
                let _ = std::io::copy(&mut (&mut server).take(8 << 10), &mut client);
                for byte in BufReader::new(server).bytes().map_while(Result::ok) {
                    std::thread::sleep(Duration::from_millis(50));
                    if client.write_all(&[byte]).is_err() {
                        break;
                    }
                }
            });
        }
    });
    let url: Url = format!("https://{between}/a").parse().unwrap();
    let client = client(|settings| settings.insecure_tls = true);
    for request in [Request::image(url.clone()), Request::document(url)] {
        let (kind, why) = failure(&client, &request);
        assert_eq!(kind, Kind::Timeout, "{why}");
    }
}

/// A server that answers with `head` and then with `again`, for as long as anybody listens.
fn endless(head: &'static [u8], again: &'static [u8], pause: Duration) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let _ = client.read(&mut [0; 4096]);
                let many = if pause.is_zero() { again.repeat(1000) } else { again.to_vec() };
                let mut sent = client.write_all(head);
                while sent.is_ok() {
                    std::thread::sleep(pause);
                    sent = client.write_all(&many);
                }
            });
        }
    });
    format!("http://127.0.0.1:{port}/a").parse().unwrap()
}

#[test]
fn what_is_no_part_of_a_body_is_not_waited_for_without_end() {
    const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    const ENDED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n";
    let waits: [(&[u8], &[u8]); 6] = [
        (ENDED, b"a: b\r\n"),
        (ENDED, b"a"),
        (b"HTTP/1.1 200 OK\r\n", b"a: b\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"", b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"),
        (CHUNKED, b"1;an-extension-16\r\nx\r\n"),
    ];
    for (head, again) in waits {
        for pause in [Duration::ZERO, Duration::from_millis(50)] {
            let url = endless(head, again, pause);
            for request in [Request::image(url.clone()), Request::document(url)] {
                let (tell, told) = std::sync::mpsc::channel();
                std::thread::spawn(move || tell.send(failure(&client(|_| {}), &request)));
                // Far beyond all limits, as the test must end when the client does not.
                let told = told.recv_timeout(Duration::from_secs(120));
                let (kind, why) = told.unwrap_or_else(|_| panic!("{:?} has no end", String::from_utf8_lossy(again)));
                // What is against the protocol may be told as such.
                assert!(matches!(kind, Kind::Timeout | Kind::TooLarge | Kind::Unreachable), "{kind:?}: {why}");
            }
        }
    }
}

#[test]
fn a_body_in_chunks_of_a_byte_with_trailers_is_whole() {
    let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    answer.extend_from_slice(&b"1\r\nx\r\n".repeat(300_000));
    answer.extend_from_slice(b"0\r\nchecksum: none\r\n\r\n");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url: Url = format!("http://{}/a", listener.local_addr().unwrap()).parse().unwrap();
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let _ = client.read(&mut [0; 4096]);
        client.write_all(&answer).unwrap();
    });
    let mut response = client(|_| {}).send(&Request::image(url)).unwrap();
    assert_eq!(response.body.take_all().unwrap(), vec![b'x'; 300_000]);
}

#[test]
fn a_server_that_falls_silent_is_given_up() {
    let server = Server::http(|_| Reply::ok(vec![b'x'; 100]).manner(Manner::Trickle(Duration::from_secs(5))));
    let (kind, why) = failure(&client(|_| {}), &Request::image(url(&server)));
    assert_eq!(kind, Kind::Timeout, "{why}");
    assert!(why.contains("nothing more came after"), "{why}");
    let silent = Server::http(|_| {
        std::thread::sleep(Duration::from_secs(3));
        Reply::ok("")
    });
    let (kind, why) = failure(&client(|_| {}), &Request::image(url(&silent)));
    assert_eq!(kind, Kind::Timeout, "{why}");
}

#[test]
fn nothing_is_taken_beyond_the_limit() {
    let server = Server::http(|_| Reply::ok("").manner(Manner::Endless));
    for request in [Request::image(url(&server)), Request::document(url(&server))] {
        assert_eq!(failure(&client(|_| {}), &request).0, Kind::TooLarge);
    }
    let exact = Server::http(|_| Reply::ok(vec![b'x'; 1000]));
    let mut response = client(|_| {}).send(&Request::image(url(&exact))).unwrap();
    response.body.limit(999);
    assert_eq!(*response.body.take_all().unwrap_err().kind(), Kind::TooLarge);
}

#[test]
fn a_page_on_a_public_address_cannot_send_us_to_a_private_one() {
    let server = Server::http(|_| Reply::ok("secret"));
    let named = |page: &str, to: String| Request::document(to.parse().unwrap()).named_by(&page.parse().unwrap());
    for to in ["localhost", "127.0.0.1", "127.1", "0x7f.0.0.1", "[::ffff:127.0.0.1]"] {
        let request = named("https://93.184.215.14/", format!("http://{to}:{}/", server.port));
        assert_eq!(failure(&client(|_| {}), &request).0, Kind::PrivateAddress, "{to}");
    }
    assert_eq!(server.paths(), [""; 0]);
    let request = named("https://93.184.215.14/", server.url("/"));
    assert!(client(|settings| settings.private_redirects = true).send(&request).is_ok());
    assert!(client(|_| {}).send(&named("https://127.0.0.1/", server.url("/"))).is_ok());
}

#[test]
fn a_page_that_is_not_asked_again_sends_us_as_far_as_when_it_was() {
    let server = Server::http(|_| Reply::ok("internal"));
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::new(directory.path());
    for public in [true, false] {
        let page: Url = format!("https://{public}.example/").parse().unwrap();
        let entry = Entry {
            validators: Validators::default(),
            fresh_until: SystemTime::now() + Duration::from_secs(600),
            note: String::new(),
            body: Vec::new(),
            url: page.clone(),
            public,
        };
        cache.put(&page, &entry).unwrap();
        let client = client(|_| {});
        let mut news = News::new();
        let (_, _, from) = cache.document(&client, &Request::document(page), &mut news).unwrap();
        let sent = client.send(&Request::document(url(&server)).named_by(&from));
        assert_eq!(
            sent.map(|_| ()).map_err(|error| *error.kind()),
            if public { Err(Kind::PrivateAddress) } else { Ok(()) }
        );
    }
}

#[test]
fn a_redirect_from_a_public_address_to_a_private_one_is_refused() {
    const PUBLIC: &str = "93.184.215.14";
    if std::env::var_os("IN_OWN_NETWORK").is_none() {
        // A public address is to be had in a network namespace of one's own.
        let script = format!("ip link set lo up && ip addr add {PUBLIC}/32 dev lo && exec \"$@\"");
        let name = "a_redirect_from_a_public_address_to_a_private_one_is_refused";
        let probe = Command::new("unshare").args(["-n", "ip", "link", "set", "lo", "up"]).output();
        if !probe.is_ok_and(|output| output.status.success()) {
            skip(Need::Networks, "no network namespace of our own can be had here");
            return;
        }
        let inside = Command::new("unshare")
            .args(["-n", "sh", "-c", &script, "sh"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env("IN_OWN_NETWORK", "1")
            .output()
            .unwrap();
        assert!(inside.status.success(), "{}", String::from_utf8_lossy(&inside.stderr));
        return;
    }
    let inner = Server::http(|_| Reply::ok("secret"));
    let to = inner.url("/");
    let public = Server::http_on(PUBLIC.parse::<Ipv4Addr>().unwrap(), move |_| Reply::redirect(to.clone()));
    let request = Request::document(format!("http://{PUBLIC}:{}/", public.port).parse().unwrap());
    assert_eq!(failure(&client(|_| {}), &request).0, Kind::PrivateAddress);
    assert_eq!((public.paths().len(), inner.paths().len()), (1, 0));
    let mut body = String::new();
    let mut response = client(|settings| settings.private_redirects = true).send(&request).unwrap();
    response.body.read_to_string(&mut body).unwrap();
    assert_eq!(body, "secret");
}

#[test]
fn a_url_with_a_password_is_refused_and_not_repeated() {
    let request = Request::document("https://me:hush@example.com/".parse().unwrap());
    let (kind, why) = failure(&client(|_| {}), &request);
    assert_eq!(kind, Kind::Address);
    assert!(!why.contains("hush"), "{why}");
}
