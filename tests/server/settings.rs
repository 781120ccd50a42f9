//! Settings by name: each wrong value has its message, and the later one counts.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::time::Duration;

use taut::proto::CloseCode;
use taut::server::{Compression, Config, ForwardedBy, Origins, OverRate, Rate, SlowConsumer};
use taut::{AdmissionLimits, Networks};

/// A setting, a value that it takes, and those that it does not; with what may stand there.
type Setting = (&'static str, &'static str, &'static [&'static str], &'static str);

const SETTINGS: [Setting; 38] = [
    ("address", "[::]:0", &["localhost", ":80", "1.2.3.4:x", "1.2.3.4:99999", ""], "an address and a port"),
    ("path", "/chat", &["chat", "/a?b", "/a b", ""], "a path that begins with \"/\""),
    ("max_connections", "none", &["-1", "many", "1.5", ""], "a number, or \"none\""),
    ("max_connections_from_one", "10", &["+1", "x"], "a number, or \"none\""),
    ("max_handshakes", "0", &["1e3"], "a number, or \"none\""),
    ("max_handshakes_from_one", "5", &["five"], "a number, or \"none\""),
    ("max_message", "64KiB", &["0", "64kb", "-1", "99999999999GiB", ""], "a number of bytes from 1"),
    ("max_memory", "1 GiB", &["lots", "1TiB"], "a number of bytes"),
    ("handshake_timeout", "500ms", &["10", "0s", "ten", "400000h", "-1s", ""], "a time from 1 ms to a year"),
    ("auth_timeout", "10s", &["10 seconds"], "a time from 1 ms to a year"),
    ("idle_timeout", "none", &["0ms", "never"], "or \"none\""),
    ("read_timeout", "1m", &["none"], "a time from 1 ms to a year"),
    ("write_timeout", "1h", &["1d"], "a time from 1 ms to a year"),
    ("close_timeout", "5 s", &["s"], "a time from 1 ms to a year"),
    ("handler_timeout", "5s", &["5S"], "a time from 1 ms to a year"),
    ("heartbeat_interval", "30s", &["30"], "or \"none\""),
    ("heartbeat_timeout", "20s", &["none"], "a time from 1 ms to a year"),
    ("nodelay", "false", &["yes", "1", ""], "\"true\" or \"false\""),
    ("keepalive", "none", &["on"], "or \"none\""),
    ("read_buffer", "4096", &["0"], "a number of bytes from 1"),
    ("write_buffer", "64KiB", &["big"], "a number of bytes from 1"),
    ("compression", "off", &["on", "gzip"], "\"off\""),
    ("subprotocols", "a, b", &["a b", "é"], "names of subprotocols"),
    (
        "allowed_origins",
        "https://a.net, http://b:1",
        &["a.net", "https://a.net/x"],
        "origins divided by commas",
    ),
    ("slow_consumer", "drop-oldest", &["drop", "DROP-OLDEST"], "\"drop-oldest\", \"drop-newest\""),
    ("slow_consumer_code", "1008", &["1006", "x", "99999"], "a code that may stand in a Close"),
    ("max_queued_messages", "1", &["0", "none"], "a number from 1"),
    ("max_queued_bytes", "1MiB", &["0"], "a number of bytes from 1"),
    ("max_groups", "5", &["0"], "a number from 1"),
    ("message_rate", "100/500", &["0", "100/", "a/b", "5000000000"], "a number a second"),
    ("byte_rate", "none", &["fast"], "a number a second"),
    ("over_rate", "wait", &["drop"], "\"close\" or"),
    ("health_path", "/health", &["health", "/a b", ""], "a path that begins with \"/\""),
    ("proxy_protocol", "10.0.0.0/8, ::1", &["10.0.0.1/8", "localhost"], "networks, or \"none\""),
    ("trusted_proxies", "127.0.0.1", &["::/129"], "networks, or \"none\""),
    ("forwarded_by", "forwarded", &["X-Forwarded-For", ""], "\"x-forwarded-for\" or \"forwarded\""),
    ("tls_certificate", "none", &[""], "\"none\""),
    ("tls_key", "none", &[""], "\"none\""),
];

fn from_vars(vars: &[(&str, &str)]) -> Result<Config, String> {
    let vars = vars.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Config::from_vars(vars).map_err(|error| error.to_string())
}

#[test]
fn each_setting_is_taken_by_each_way_and_each_wrong_value_is_named() {
    for (name, right, wrong, expected) in SETTINGS {
        let variable = format!("TAUT_SERVER_{}", name.to_ascii_uppercase());
        let mut set = Config::new();
        set.set(name, right).unwrap();
        let set = format!("{set:?}");
        assert_eq!(format!("{:?}", from_vars(&[(&variable, right)]).unwrap()), set, "{name}");
        assert_eq!(
            format!("{:?}", Config::from_toml(&format!("{name} = {right:?}")).unwrap()),
            set,
            "{name}"
        );
        let json = serde_json::json!({ name: right });
        assert_eq!(format!("{:?}", serde_json::from_value::<Config>(json).unwrap()), set, "{name}");
        for value in wrong {
            let error = from_vars(&[(&variable, value)]).unwrap_err();
            assert!(error.starts_with(&format!("{variable} is {value:?}, and has to be ")), "{error}");
            assert!(error.contains(expected), "{error}");
            let error = Config::from_toml(&format!("{name} = {value:?}")).unwrap_err();
            assert_eq!((error.name(), error.value()), (name, *value));
            let json = serde_json::json!({ name: value });
            let error = serde_json::from_value::<Config>(json).unwrap_err().to_string();
            assert!(error.contains(&format!("{name} is {value:?}")), "{error}");
        }
    }
}

/// Each with a value that is not its default.
#[test]
fn each_name_is_that_of_its_method() {
    let new = Config::new;
    let admission = |limits: AdmissionLimits| new().admission(limits);
    let limits = AdmissionLimits::new;
    let networks = |text: &str| text.parse::<Networks>().unwrap();
    let all = [
        ("address", "[::]:0", new().address("[::]:0")),
        ("path", "/chat", new().path("/chat")),
        ("health_path", "/health", new().health_path("/health")),
        ("proxy_protocol", "10.0.0.0/8, ::1", new().proxy_protocol(networks("10.0.0.0/8, ::1"))),
        ("trusted_proxies", "127.0.0.1", new().trusted_proxies(networks("127.0.0.1"))),
        ("forwarded_by", "forwarded", new().forwarded_by(ForwardedBy::Forwarded)),
        ("max_connections", "9", admission(limits().max_connections(9))),
        ("max_connections_from_one", "9", admission(limits().max_connections_from_one(9))),
        ("max_handshakes", "9", admission(limits().max_handshakes(9))),
        ("max_handshakes_from_one", "9", admission(limits().max_handshakes_from_one(9))),
        ("max_message", "3KiB", new().max_message(3 << 10)),
        ("max_memory", "1 GiB", new().max_memory(1 << 30)),
        ("handshake_timeout", "1500ms", new().handshake_timeout(Duration::from_millis(1500))),
        ("auth_timeout", "9s", new().auth_timeout(Duration::from_secs(9))),
        ("idle_timeout", "9m", new().idle_timeout(Duration::from_secs(9 * 60))),
        ("read_timeout", "9h", new().read_timeout(Duration::from_secs(9 * 3600))),
        ("write_timeout", "9s", new().write_timeout(Duration::from_secs(9))),
        ("close_timeout", "9s", new().close_timeout(Duration::from_secs(9))),
        ("handler_timeout", "9s", new().handler_timeout(Duration::from_secs(9))),
        ("heartbeat_interval", "none", new().heartbeat_interval(None)),
        ("heartbeat_timeout", "9s", new().heartbeat_timeout(Duration::from_secs(9))),
        ("nodelay", "false", new().nodelay(false)),
        ("keepalive", "9s", new().keepalive(Duration::from_secs(9))),
        ("read_buffer", "9", new().read_buffer(9)),
        ("write_buffer", "9", new().write_buffer(9)),
        ("compression", "per-message", new().compression(Compression::PerMessage)),
        ("compression", "takeover", new().compression(Compression::Takeover)),
        ("subprotocols", "b, a", new().subprotocols(["b", "a"])),
        ("allowed_origins", "any", new().origins(Origins::any())),
        ("allowed_origins", "http://a:1", new().origins(Origins::same().and(["http://a:1"]).unwrap())),
        ("slow_consumer", "drop-oldest", new().slow_consumer(SlowConsumer::DropOldest)),
        ("slow_consumer", "drop-newest", new().slow_consumer(SlowConsumer::DropNewest)),
        ("slow_consumer", "conflate", new().slow_consumer(SlowConsumer::Conflate)),
        ("slow_consumer_code", "1008", new().slow_consumer_code(CloseCode::POLICY)),
        ("max_queued_messages", "9", new().max_queued_messages(9)),
        ("max_queued_bytes", "9", new().max_queued_bytes(9)),
        ("max_groups", "9", new().max_groups(9)),
        ("message_rate", "9/99", new().message_rate(Rate::new(9, 99))),
        ("byte_rate", "9", new().byte_rate(Rate::new(9, 9))),
        ("over_rate", "wait", new().over_rate(OverRate::Wait)),
    ];
    let default = format!("{:?}", new());
    for (name, value, expected) in &all {
        if *name == "compression" && cfg!(not(feature = "deflate")) {
            continue;
        }
        let mut set = new();
        set.set(name, value).unwrap();
        assert_eq!(format!("{set:?}"), format!("{expected:?}"), "{name}");
        assert_ne!(format!("{set:?}"), default, "{name}");
    }
    // Those of TLS belong together.
    let others = ["tls_certificate", "tls_key"];
    for (name, ..) in SETTINGS {
        assert!(others.contains(&name) || all.iter().any(|(there, ..)| *there == name), "{name}");
    }
    #[cfg(feature = "rustls")]
    {
        let mut set = new();
        set.set("tls_certificate", "chain.pem").unwrap();
        set.set("tls_key", "key.pem").unwrap();
        assert_eq!(format!("{set:?}"), format!("{:?}", new().tls("chain.pem", "key.pem")));
    }
}

#[test]
fn the_documentation_lists_all_of_them() {
    let source =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/server/settings.rs")).unwrap();
    let cells = source.lines().filter_map(|line| line.trim().strip_prefix("/// | `")?.split('|').next());
    let listed: BTreeSet<&str> =
        cells.flat_map(|cell| cell.split(['`', ',', ' '])).filter(|name| !name.is_empty()).collect();
    assert_eq!(listed, SETTINGS.iter().map(|(name, ..)| *name).collect());
}

#[test]
fn files_have_numbers_and_lists_and_the_environment_comes_after_them() {
    let config = Config::from_toml(
        "address = \"0.0.0.0:80\"\nmax_message = 4096\nnodelay = false\nsubprotocols = [\"a\", \"b\"]\n\
         allowed_origins = [\"https://a.net\"]\n",
    );
    let mut expected =
        Config::new().address("0.0.0.0:80").max_message(4096).nodelay(false).subprotocols(["a", "b"]);
    expected.set("allowed_origins", "https://a.net").unwrap();
    assert_eq!(format!("{:?}", config.unwrap()), format!("{expected:?}"));

    let directory = std::env::temp_dir().join(format!("taut-settings-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let file = directory.join("server.toml");
    std::fs::write(&file, "max_message = 1\nmax_groups = 1\n").unwrap();
    let path = file.to_str().unwrap();
    let config = from_vars(&[
        ("TAUT_SERVER_MAX_MESSAGE", "2"),
        ("TAUT_SERVER_FILE", path),
        ("TAUT_OTHER", "x"),
        ("PATH", "x"),
    ]);
    let expected = format!("{:?}", Config::new().max_message(2).max_groups(1));
    assert_eq!(format!("{:?}", config.unwrap()), expected);
    std::fs::write(&file, "max_message = 0\n").unwrap();
    let error = Config::from_file(&file).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{path}: max_message is \"0\", and has to be ")), "{error}");
    std::fs::remove_dir_all(&directory).unwrap();
    let error = from_vars(&[("TAUT_SERVER_FILE", path)]).unwrap_err();
    assert!(error.contains(path) && error.contains("a file to read"), "{error}");
}

#[test]
fn what_is_no_setting_is_named() {
    let error = from_vars(&[("TAUT_SERVER_MAX_MESAGE", "1")]).unwrap_err();
    assert!(
        error.starts_with("TAUT_SERVER_MAX_MESAGE is \"1\", and has to be the name of a setting"),
        "{error}"
    );
    assert_eq!(Config::from_toml("port = 80").unwrap_err().name(), "port");
    for value in ["{}", "[1, 2]", "1979-05-27"] {
        assert!(Config::from_toml(&format!("max_groups = {value}")).is_err(), "{value}");
    }
    assert!(Config::from_toml("not toml").unwrap_err().to_string().contains("TOML"));
}
