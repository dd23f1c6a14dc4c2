//! The TCP port (`--status-listen`).

use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Instant;

use lightfoot::status::Status;
use lightfoot::status::server::{MAX_CONNECTIONS, MAX_TIME};
use lightfoot_tests::live::{Agent, Client, Folder, text, wait_for};

#[test]
fn at_a_tcp_port_health_is_for_anybody_and_the_rest_for_who_knows_the_token() {
    let Some(folder) = Folder::for_test("a TCP port that is asked") else { return };
    let token = folder.path().join("token");
    fs::write(&token, "a-token-of-this-test\n").unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    // Nobody else takes ports of this address meanwhile.
    let address = TcpListener::bind("127.0.0.3:0").unwrap().local_addr().unwrap();
    let listen = address.to_string();
    let start = |more: &[&str]| {
        let words = ["--exe", "nothing-of-that-name", "--status-socket", "none", "--status-listen", &listen];
        Agent::start([&words[..], more].concat(), &[]).unwrap()
    };
    let get = |path: &str, token: &str| {
        let header =
            if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
        Client::tcp(address).get(path, &header).ok().flatten()
    };
    let agent = start(&["--status-token", text(&token)]);
    wait_for("the port", || get("/health/live", "")).unwrap();
    assert_eq!(get("/health/live", "").unwrap().status, 200);
    for path in ["/status", "/metrics", "/log-level", "/nothing"] {
        for wrong in ["", "a-token-of-this-tes", "another-token-0123456"] {
            let refused = get(path, wrong).unwrap();
            assert_eq!(refused.status, 401, "{path}");
            assert!(refused.headers.contains(&("www-authenticate".to_owned(), "Bearer".to_owned())));
        }
    }
    let told = get("/status", "a-token-of-this-test").unwrap();
    assert_eq!(serde_json::from_slice::<Status>(&told.body).unwrap().pid, agent.pid());
    assert_eq!(get("/metrics", "a-token-of-this-test").unwrap().status, 200);
    assert_eq!(get("/nothing", "a-token-of-this-test").unwrap().status, 404);
    let put = b"PUT /log-level HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a-token-of-this-test\r\nContent-Length: 5\r\n\r\ntrace";
    assert_eq!(Client::tcp(address).exchange(put).unwrap().unwrap().status, 405);
    let mut slow: Vec<_> = (0..MAX_CONNECTIONS).map(|_| TcpStream::connect(address).unwrap()).collect();
    for client in &mut slow {
        client.write_all(b"GET /hea").unwrap();
    }
    // As at the socket, whoever comes now waits until these have had their time.
    let began = Instant::now();
    wait_for("an answer", || get("/health/live", "")).unwrap();
    assert!(began.elapsed() > MAX_TIME / 2, "{:?}", began.elapsed());
    agent.stop().unwrap();

    let without = start(&[]);
    wait_for("the port", || get("/health/ready", "")).unwrap();
    assert_eq!(get("/metrics", "a-token-of-this-test").unwrap().status, 401);
    without.stop().unwrap();
    let anywhere = ["--exe", "nothing", "--status-listen", "0.0.0.0:0"];
    let refused = Agent::start(anywhere, &[]).unwrap().wait().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let expected = "--status-listen: 0.0.0.0:0 is not on loopback, so it takes a token (--status-token)";
    assert!(refused.messages.contains(expected), "{}", refused.messages);
}
