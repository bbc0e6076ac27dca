//! Telling whoever started this process that it is ready, by the protocol of sd_notify(3).

use std::ffi::OsString;
use std::os::unix::net::UnixDatagram;

/// Says `READY=1` to the socket that the variable `NOTIFY_SOCKET` names. That nobody listens is no error, as the protocol has it.
pub fn ready(address: &OsString) {
    let _ = send(address, b"READY=1\n");
}

fn send(address: &OsString, text: &[u8]) -> std::io::Result<usize> {
    let socket = UnixDatagram::unbound()?;
    #[cfg(target_os = "linux")]
    if let Some(name) = std::os::unix::ffi::OsStrExt::as_bytes(address.as_os_str()).strip_prefix(b"@") {
        use std::os::linux::net::SocketAddrExt;
        let name = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
        return socket.send_to_addr(text, &name);
    }
    socket.send_to(text, address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_behind_a_path_hears_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let listener = UnixDatagram::bind(&path).unwrap();
        send(&path.into(), b"READY=1\n").unwrap();
        let mut got = [0; 16];
        let length = listener.recv(&mut got).unwrap();
        assert_eq!(&got[..length], b"READY=1\n");
    }
}
