//! Every public future of the library is dropped by a test while it waits: here is which one does it.

#[path = "support/sources.rs"]
mod sources;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use sources::sources;
use syn::visit::{self, Visit};
use syn::{ImplItemFn, ItemFn, ItemImpl, ReturnType, Signature, TypeImplTrait, Visibility};

/// The file and the future, the file and the test.
#[rustfmt::skip]
const TESTS: &[(&str, &str, &str, &str)] = &[
    ("client/builder.rs", "Builder::build", "client_component/ending.rs", "a_task_that_is_dropped_tells_everybody"),
    ("client/handle.rs", "Handle::close", "client_component/cancellation.rs", "a_close_goes_on"),
    ("client/handle.rs", "Handle::deliver", "client_component/cancellation.rs", "what_is_taken_goes_on_without_who_asked"),
    ("client/handle.rs", "Handle::deliver_json", "client_component/cancellation.rs", "what_is_taken_goes_on_without_who_asked"),
    ("client/handle.rs", "Handle::ended", "client_component/cancellation.rs", "a_close_goes_on"),
    ("client/handle.rs", "Handle::request", "client_component/cancellation.rs", "what_is_taken_goes_on_without_who_asked"),
    ("client/handle.rs", "Handle::send", "client_component/cancellation.rs", "who_waits_for_room_has_sent_nothing"),
    ("client/handle.rs", "Handle::send_binary", "client_component/cancellation.rs", "who_waits_for_room_has_sent_nothing"),
    ("client/handle.rs", "Handle::send_json", "client_component/cancellation.rs", "who_waits_for_room_has_sent_nothing"),
    ("client/handle.rs", "Handle::send_text", "client_component/cancellation.rs", "who_waits_for_room_has_sent_nothing"),
    ("client/handle.rs", "Updates::recv", "client_component/cancellation.rs", "updates_lose_nothing"),
    ("client/handle.rs", "Updates::recv_message", "client_component/cancellation.rs", "updates_lose_nothing"),
    ("futures_io/handshake.rs", "accept", "futures_io_adapter.rs", "a_dropped_accept_ends_the_stream"),
    ("futures_io/handshake.rs", "accept_with", "futures_io_adapter.rs", "a_dropped_accept_ends_the_stream"),
    ("futures_io/handshake.rs", "connect_over", "futures_io_adapter.rs", "a_dropped_connect_ends_the_stream"),
    ("futures_io/websocket.rs", "WebSocket::close", "futures_io_adapter.rs", "close_goes_on_where_it_was_dropped"),
    ("futures_io/websocket.rs", "WebSocket::flush", "futures_io_adapter.rs", "feed_and_flush_keep_the_order_and_a_full_queue_hands_back"),
    ("futures_io/websocket.rs", "WebSocket::recv", "futures_io_adapter.rs", "recv_loses_nothing"),
    ("futures_io/websocket.rs", "WebSocket::recv_event", "futures_io_adapter.rs", "recv_event_loses_nothing_and_tells_of_an_end_without_close"),
    ("futures_io/websocket.rs", "WebSocket::send", "futures_io_adapter.rs", "what_send_took_the_next_call_writes"),
    ("futures_io/websocket.rs", "WebSocket::send_ref", "futures_io_adapter.rs", "what_send_took_the_next_call_writes"),
    ("http2.rs", "Client::connect", "http_upgrade.rs", "connecting_over_http2_can_be_dropped"),
    ("http2.rs", "Client::http2", "client_network/http2.rs", "it_can_be_dropped_anywhere"),
    ("http2.rs", "Client::new", "http_upgrade.rs", "connecting_over_http2_can_be_dropped"),
    ("hyper.rs", "Upgrading", "http_upgrade.rs", "upgrading_can_be_dropped"),
    ("server/ask.rs", "Handle::ask", "server/cancellation.rs", "a_question_whose_answer_nobody_awaits_was_asked_and_takes_no_place"),
    ("server/builder.rs", "Builder::bind", "server/cancellation.rs", "a_server_that_is_not_bound_yet_listens_nowhere"),
    ("server/builder.rs", "Builder::bind_unix", "server/cancellation.rs", "a_server_that_waits_for_a_folder_leaves_nothing_there"),
    ("server/connection.rs", "Connection::recv", "server/cancellation.rs", "a_handler_that_drops_what_it_receives_by_loses_nothing"),
    ("server/handle.rs", "Handle::ready", "server/cancellation.rs", "who_waits_for_room_has_sent_nothing"),
    ("server/handle.rs", "Handle::send", "server/cancellation.rs", "who_waits_for_room_has_sent_nothing"),
    ("server/listen.rs", "Server::run_until_signal", "server/cancellation.rs", "a_server_runs_on_when_nobody_waits_for_signals_any_more"),
    ("server/listen.rs", "Server::shutdown", "server/cancellation.rs", "a_shutdown_that_is_dropped_goes_on_with_the_next"),
    ("server/listen.rs", "Server::stopped", "server/cancellation.rs", "a_shutdown_that_is_dropped_goes_on_with_the_next"),
    ("testing/network.rs", "MemoryListener::accept", "testing/network.rs", "accept_can_be_dropped_anywhere"),
    ("testing/peer.rs", "Peer::accept", "testing/peer.rs", "a_dropped_handshake_ends_the_stream"),
    ("testing/peer.rs", "Peer::close", "testing/peer.rs", "futures_that_are_dropped_lose_nothing"),
    ("testing/peer.rs", "Peer::connect", "testing/peer.rs", "a_dropped_handshake_ends_the_stream"),
    ("testing/peer.rs", "Peer::expect", "testing/peer.rs", "futures_that_are_dropped_lose_nothing"),
    ("testing/peer.rs", "Peer::expect_close", "testing/peer.rs", "futures_that_are_dropped_lose_nothing"),
    ("testing/peer.rs", "Peer::expect_end", "testing/peer.rs", "futures_that_are_dropped_lose_nothing"),
    ("testing/peer.rs", "Peer::expect_frame", "testing/peer.rs", "futures_that_are_dropped_lose_nothing"),
    ("testing/peer.rs", "Peer::expect_reset", "testing/peer.rs", "futures_that_are_dropped_lose_nothing"),
    ("testing/peer.rs", "Peer::expect_silence", "testing/peer.rs", "futures_that_are_dropped_lose_nothing"),
    ("testing/peer.rs", "Peer::finish", "testing/peer.rs", "futures_that_are_dropped_lose_nothing"),
    ("testing/peer.rs", "Peer::read_head", "testing/peer.rs", "futures_that_are_dropped_lose_nothing"),
    ("testing/peer.rs", "Peer::recv", "testing/peer.rs", "futures_that_are_dropped_lose_nothing"),
    ("testing/peer.rs", "Peer::send", "testing/peer.rs", "futures_that_are_dropped_lose_nothing"),
    ("testing/peer.rs", "Peer::send_bytes", "testing/peer.rs", "futures_that_are_dropped_lose_nothing"),
    ("tokio/accept.rs", "Arrival::read", "cancellation.rs", "a_dropped_accept_ends_the_stream"),
    ("tokio/accept.rs", "Incoming::accept", "cancellation.rs", "a_dropped_accept_ends_the_stream"),
    ("tokio/accept.rs", "Incoming::read", "cancellation.rs", "a_dropped_accept_ends_the_stream"),
    ("tokio/accept.rs", "Incoming::reject", "cancellation.rs", "a_dropped_accept_ends_the_stream"),
    ("tokio/accept.rs", "Plain::answer", "cancellation.rs", "a_dropped_accept_ends_the_stream"),
    ("tokio/accept.rs", "Plain::refuse", "cancellation.rs", "a_dropped_accept_ends_the_stream"),
    ("tokio/accept.rs", "accept", "cancellation.rs", "a_dropped_accept_ends_the_stream"),
    ("tokio/accept.rs", "accept_with", "cancellation.rs", "a_dropped_accept_ends_the_stream"),
    ("tokio/client/builder.rs", "Client::connect", "client_network/cancellation.rs", "connecting_can_be_dropped_anywhere"),
    ("tokio/connect.rs", "connect", "client_network/cancellation.rs", "the_functions_can_be_dropped_anywhere"),
    ("tokio/connect.rs", "connect_over", "cancellation.rs", "a_dropped_connect_ends_the_stream"),
    ("tokio/connect.rs", "connect_with", "client_network/cancellation.rs", "the_functions_can_be_dropped_anywhere"),
    ("tokio/frames/reader.rs", "FrameReader::header", "frames.rs", "reads_that_are_dropped_at_every_pending_lose_nothing"),
    ("tokio/frames/reader.rs", "FrameReader::piece", "frames.rs", "reads_that_are_dropped_at_every_pending_lose_nothing"),
    ("tokio/frames/reader.rs", "FrameReader::read", "frames.rs", "reads_that_are_dropped_at_every_pending_lose_nothing"),
    ("tokio/frames/writer.rs", "FrameWriter::flush", "frames.rs", "writes_that_are_dropped_at_every_pending_lose_nothing"),
    ("tokio/frames/writer.rs", "FrameWriter::shutdown", "frames.rs", "writes_that_are_dropped_at_every_pending_lose_nothing"),
    ("tokio/frames/writer.rs", "FrameWriter::write", "frames.rs", "writes_that_are_dropped_at_every_pending_lose_nothing"),
    ("tokio/message_stream.rs", "ReceiveHalf::recv_stream", "streams.rs", "reads_and_writes_that_are_dropped_lose_nothing"),
    ("tokio/message_stream.rs", "SendHalf::send_stream", "streams.rs", "reads_and_writes_that_are_dropped_lose_nothing"),
    ("tokio/message_stream.rs", "WebSocket::recv_stream", "streams.rs", "reads_and_writes_that_are_dropped_lose_nothing"),
    ("tokio/server/proxy_protocol.rs", "ProxyProtocol::read", "server_network/proxies.rs", "dropped_at_any_poll"),
    ("tokio/server/tls/acceptor.rs", "TlsAcceptor::wrap", "server_network/tls.rs", "dropped_at_any_poll"),
    ("tokio/server/unix.rs", "bind_unix", "server_network/unix.rs", "dropped_while_it_waits"),
    ("tokio/split.rs", "ReceiveHalf::recv", "halves/cancellation.rs", "dropped_at_every_pending_both_ends_get_all"),
    ("tokio/split.rs", "ReceiveHalf::recv_event", "halves/cancellation.rs", "dropped_at_every_pending_both_ends_get_all"),
    ("tokio/split.rs", "SendHalf::close", "halves/cancellation.rs", "dropped_at_every_pending_both_ends_get_all"),
    ("tokio/split.rs", "SendHalf::closed", "halves/cancellation.rs", "dropped_at_every_pending_both_ends_get_all"),
    ("tokio/split.rs", "SendHalf::flush", "halves/cancellation.rs", "dropped_at_every_pending_both_ends_get_all"),
    ("tokio/split.rs", "SendHalf::reserve", "halves/cancellation.rs", "dropped_at_every_pending_both_ends_get_all"),
    ("tokio/split.rs", "SendHalf::send", "halves/cancellation.rs", "dropped_at_every_pending_both_ends_get_all"),
    ("tokio/websocket.rs", "WebSocket::close", "cancellation.rs", "close_goes_on_where_it_was_dropped"),
    ("tokio/websocket.rs", "WebSocket::flush", "cancellation.rs", "feed_and_flush_keep_the_order"),
    ("tokio/websocket.rs", "WebSocket::recv", "cancellation.rs", "recv_loses_nothing"),
    ("tokio/websocket.rs", "WebSocket::recv_each", "cancellation.rs", "recv_each_loses_nothing"),
    ("tokio/websocket.rs", "WebSocket::recv_event", "cancellation.rs", "recv_event_loses_nothing"),
    ("tokio/websocket.rs", "WebSocket::reserve", "cancellation.rs", "what_is_refused_is_handed_back_and_reserve_waits_for_room"),
    ("tokio/websocket.rs", "WebSocket::send", "cancellation.rs", "what_send_took_the_next_call_writes"),
    ("tokio/websocket.rs", "WebSocket::send_ref", "cancellation.rs", "what_send_took_the_next_call_writes"),
];

#[test]
fn every_public_future_is_dropped_by_a_test() {
    let mut found = BTreeSet::new();
    for (name, path) in sources(".rs") {
        let file = syn::parse_file(&fs::read_to_string(path).unwrap()).unwrap();
        found.extend(futures(&file).into_iter().map(|future| (name.clone(), future)));
    }
    let listed: BTreeSet<_> =
        TESTS.iter().map(|(file, future, ..)| ((*file).to_owned(), (*future).to_owned())).collect();
    assert_eq!(listed.len(), TESTS.len(), "one is listed twice");
    let missing: Vec<_> = found.difference(&listed).collect();
    assert!(missing.is_empty(), "write a test that drops these while they wait, and list it: {missing:#?}");
    let gone: Vec<_> = listed.difference(&found).collect();
    assert!(gone.is_empty(), "these are not there: {gone:#?}");
}

/// Each test that is listed is one, and its file calls what it is listed for.
#[test]
fn the_tests_are_there() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    for (_, future, file, test) in TESTS {
        let text = fs::read_to_string(tests.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let items = syn::parse_file(&text).unwrap().items;
        let is_test = |item: &syn::Item| {
            let syn::Item::Fn(function) = item else { return false };
            let marked = |attribute: &syn::Attribute| {
                attribute.path().segments.last().is_some_and(|last| last.ident == "test")
            };
            function.sig.ident == test && function.attrs.iter().any(marked)
        };
        assert!(items.iter().any(is_test), "{file} has no test {test}");
        let name = future.rsplit("::").next().unwrap();
        // A type that is a future is a variable of its name.
        let calls = [format!("{name}("), format!("{name}::<"), format!("let {} ", name.to_lowercase())];
        assert!(calls.iter().any(|call| text.contains(call)), "{file} never has {future}");
    }
}

/// What counts as a public future.
#[test]
fn futures_are_found() {
    let code = "
        pub async fn a() {}
        pub fn b() -> impl Future<Output = ()> + Send { async {} }
        pub fn c() -> (u8, impl core::future::Future<Output = ()>) { (0, async {}) }
        pub(crate) async fn no() {}
        async fn neither() {}
        pub fn nor() -> impl Iterator<Item = u8> { [].into_iter() }
        impl<S> T<S> { pub async fn d(&self) {} async fn hidden(&self) {} }
        impl Future for F {}
        impl Future for Hidden {}
        impl FromRequestParts for T { fn e() -> impl Future<Output = ()> { async {} } }
        pub struct F;
        struct Hidden;
        #[cfg(test)] mod tests { pub async fn test() {} }
    ";
    let found = futures(&syn::parse_file(code).unwrap());
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["F", "T::d", "a", "b", "c"]);
}

/// Public functions that are `async` or give an `impl Future`, and public types that are futures.
fn futures(file: &syn::File) -> BTreeSet<String> {
    let mut futures = Futures::default();
    futures.visit_file(file);
    let Futures { mut found, futures, public, .. } = futures;
    found.extend(futures.into_iter().filter(|name| public.contains(name)));
    found
}

#[derive(Default)]
struct Futures {
    /// The type whose methods these are.
    of: String,
    found: BTreeSet<String>,
    /// Types that implement `Future`.
    futures: Vec<String>,
    public: BTreeSet<String>,
}

impl Futures {
    fn function(&mut self, visibility: &Visibility, signature: &Signature) {
        let gives = match &signature.output {
            ReturnType::Type(_, output) => {
                let mut gives = GivesFuture(false);
                gives.visit_type(output);
                gives.0
            }
            ReturnType::Default => false,
        };
        if matches!(visibility, Visibility::Public(_)) && (signature.asyncness.is_some() || gives) {
            self.found.insert(format!("{}{}", self.of, signature.ident));
        }
    }
}

impl<'ast> Visit<'ast> for Futures {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        let for_tests = |attribute: &syn::Attribute| {
            let syn::Meta::List(list) = &attribute.meta else { return false };
            list.path.is_ident("cfg") && list.tokens.to_string() == "test"
        };
        if !module.attrs.iter().any(for_tests) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        if matches!(item.vis, Visibility::Public(_)) {
            self.public.insert(item.ident.to_string());
        }
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        let syn::Type::Path(path) = &*item.self_ty else { return };
        let name = path.path.segments.last().unwrap().ident.to_string();
        match &item.trait_ {
            Some((of, _)) if is_future(of) => self.futures.push(name),
            Some(_) => {}
            None => {
                self.of = format!("{name}::");
                visit::visit_item_impl(self, item);
                self.of.clear();
            }
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.function(&function.vis, &function.sig);
    }

    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.function(&function.vis, &function.sig);
    }
}

struct GivesFuture(bool);

impl<'ast> Visit<'ast> for GivesFuture {
    fn visit_type_impl_trait(&mut self, item: &'ast TypeImplTrait) {
        for bound in &item.bounds {
            if let syn::TypeParamBound::Trait(bound) = bound {
                self.0 |= is_future(&bound.path);
            }
        }
    }
}

fn is_future(path: &syn::Path) -> bool {
    path.segments.last().is_some_and(|last| last.ident == "Future")
}
