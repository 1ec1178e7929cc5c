//! How the servers that are compared with serve: on a port of the loopback address that the system chooses, told in a file.

use axum::Router;
use axum::serve::ListenerExt as _;

/// Serves until the process is killed; what can't be done ends it with a sentence.
pub async fn serve(routes: Router, address_file: &str) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port of the loopback address is free");
    let address = listener.local_addr().expect("a bound listener has an address");
    // Renamed when it is whole: whoever waits for the file reads all of it.
    let unfinished = format!("{address_file}.part");
    std::fs::write(&unfinished, address.to_string()).expect("the address can be written");
    std::fs::rename(&unfinished, address_file).expect("the address can be written");
    let listener = listener.tap_io(|stream| {
        // Without it an answer could wait for the acknowledgement of the one before; failing changes only the time.
        drop(stream.set_nodelay(true));
    });
    axum::serve(listener, routes)
        .await
        .expect("the server serves until it is killed");
}
