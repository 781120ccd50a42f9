//! The layers of `src/`, read from its syntax: a file uses only what lies below it. Inside the engine there is
//! no I/O, no clock and no random number; nowhere is there unsafe code but in the files named here.
//!
//! What only tests use (`#[cfg(test)]`) is free.

#[path = "support/sources.rs"]
mod sources;

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use sources::sources;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Item, Meta, UseTree};

/// Each folder with its layers, from below. Files of one layer do not use each other. A folder's `mod.rs`
/// stands above its files; `lib.rs` above all, and it is free.
const LAYERS: Layers = &[
    (
        "",
        &[
            &["proto"],
            &["network_error", "networks"],
            &["admission", "budget", "error", "forwarded", "random"],
            &["observe"],
            &["options"],
            &["blocking", "heartbeat"],
            &["futures_io", "tokio"],
            &["client", "http", "server"],
            &["http2", "hyper"],
            &["axum", "testing"],
            &["manual"],
        ],
    ),
    ("testing", &[&["came", "link", "raw_frame", "turns"], &["pipe"], &["stream"], &["network", "peer"]]),
    (
        "client",
        &[
            &["backoff", "replies", "update"],
            &["delivery", "error"],
            &["json", "outbox"],
            &["shared"],
            &["session", "handle", "pool"],
            &["builder"],
        ],
    ),
    (
        "proto",
        &[
            &["config"],
            &["simd"],
            &["mask", "pool", "utf8_vectors"],
            &["agreement", "utf8"],
            &["close", "input", "text"],
            &["message"],
            &["error"],
            &["answer", "deflate", "frame"],
            &["chunk", "encode", "output"],
            &["end", "incoming", "prepared", "queue"],
            &["payload"],
            &["receive", "send"],
            &["direct", "halves", "parse", "short"],
            &["connection"],
            &["account", "handshake"],
        ],
    ),
    ("proto/deflate", &[&["off", "pool"], &["compress", "inflate"]]),
    (
        "proto/handshake",
        &[
            &["fields", "key", "uri"],
            &["error"],
            &["body", "extensions", "head"],
            &["check", "deflate", "reject"],
            &["client", "server"],
            &["parsed"],
        ],
    ),
    (
        "futures_io",
        &[
            &["scratch", "time", "wakers"],
            &["patience"],
            &["driver"],
            &["websocket"],
            &["handshake", "stream"],
        ],
    ),
    ("blocking", &[&["gate", "patience", "stream"], &["websocket"], &["handshake"]]),
    (
        "tokio",
        &[
            &["closing", "cryptography", "frames", "held", "scratch", "wakers"],
            &["intake"],
            &["patience"],
            &["line"],
            &["shared", "write"],
            &["driver"],
            &["events"],
            &["queue", "websocket"],
            &["accept", "feed", "opening", "split", "stream"],
            &["client", "message_stream", "server"],
            &["connect"],
        ],
    ),
    ("proto/utf8_vectors", &[&["tables"], &["avx2", "avx512"]]),
    ("tokio/server", &[&["activation", "proxy_protocol", "tls", "unix"]]),
    ("tokio/server/tls", &[&["failure", "settings", "stream"], &["acceptor"]]),
    ("tokio/frames", &[&["frame"], &["reader", "writer"]]),
    (
        "tokio/client",
        &[
            &["authority", "gate", "stream"],
            &["network", "proxy", "socks", "target", "tunnel"],
            &["environment", "race", "redirect", "tls"],
            &["way"],
            &["builder"],
        ],
    ),
    ("tokio/client/tls", &[&["off", "verify"], &["config", "failure"], &["session"]]),
    (
        "server",
        &[
            &["id", "origin", "outgoing", "rate", "upgrade"],
            &["outcome"],
            &["outbox"],
            &["config", "handle"],
            &["ask", "connection", "group", "seen", "settings", "tasks"],
            &["tls"],
            &["pump", "registry"],
            &["broadcast", "hooks"],
            &["shared"],
            &["run"],
            &["serve"],
            &["opening"],
            &["entrance"],
            &["listen"],
            &["builder"],
            &["router"],
        ],
    ),
];

/// The crates that the engine may use.
const ENGINE_CRATES: [&str; 8] =
    ["alloc", "base64", "bytes", "core", "httparse", "sha1", "simdutf8", "zlib_rs"];

/// The names of `std` that the engine may use: vectored output, what the processor can do, and, for deflate,
/// what is made once and shared by many connections.
const ENGINE_STD: [&str; 5] = [
    "std::io::IoSlice",
    "std::is_x86_feature_detected",
    "std::arch::is_aarch64_feature_detected",
    "std::sync::OnceLock",
    "std::thread_local",
];

/// Names that the engine may not use, wherever they come from.
const CLOCKS: [&str; 2] = ["Instant", "SystemTime"];

/// Macros that no file may use.
const MACROS: [&str; 7] = ["dbg", "eprint", "eprintln", "print", "println", "todo", "unimplemented"];

/// The files that need not forbid unsafe code: those that may have some, and those above them, where the
/// attribute would hold for them as well.
const UNSAFE: [&str; 7] = [
    "lib.rs",
    "proto/mod.rs",
    "proto/simd.rs",
    "proto/utf8.rs",
    "proto/utf8_vectors/mod.rs",
    "proto/utf8_vectors/avx2.rs",
    "proto/utf8_vectors/avx512.rs",
];

/// The lines that a file may have without its tests.
const MOST_LINES: usize = 500;

type Layers = &'static [(&'static str, &'static [&'static [&'static str]])];

/// A file, with its path in `src/`.
#[derive(Clone)]
struct Source {
    path: String,
    text: String,
}

/// A path of modules, from the root of the crate.
type Module = Vec<String>;

/// What a path in a source leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    /// The module of a file, and the rest of the path.
    Crate(Module, Vec<String>),
    /// Another crate, or a name that the file itself has.
    Other(Vec<String>),
}

/// What a file says that the rules are about.
#[derive(Clone, Debug)]
struct Found {
    line: usize,
    /// The module that it stands in, modules inside the file included.
    module: Module,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    /// A path in a `use`, with the name that it gets.
    Use {
        path: Vec<String>,
        rooted: bool,
        name: String,
    },
    /// A path elsewhere, of at least two names.
    Path {
        path: Vec<String>,
        rooted: bool,
    },
    Name(String),
    Macro(String),
    ExternCrate(String),
    /// `#[path = …]`
    Moved,
}

/// A file after reading.
struct File<'a> {
    source: &'a Source,
    module: Module,
    found: Vec<Found>,
    forbids_unsafe: bool,
    /// Lines without those of tests.
    lines: usize,
}

impl<'a> File<'a> {
    fn read(source: &'a Source) -> Self {
        let module = module_of(&source.path);
        let file =
            syn::parse_file(&source.text).unwrap_or_else(|error| panic!("src/{}: {error}", source.path));
        let mut reader = Reader { module: module.clone(), found: Vec::new() };
        reader.visit_file(&file);
        let tests: usize = file.items.iter().filter(|item| is_test(attributes(item))).map(lines_of).sum();
        Self {
            source,
            module,
            found: reader.found,
            forbids_unsafe: file.attrs.iter().any(is_forbid_unsafe),
            lines: source.text.lines().count() - tests,
        }
    }

    fn is_root(&self) -> bool {
        self.module.is_empty()
    }

    fn is_engine(&self) -> bool {
        self.module.first().is_some_and(|first| first == "proto")
    }

    fn uses(&self) -> impl Iterator<Item = (&Found, &[String], bool, &str)> {
        self.found.iter().filter_map(|found| match &found.what {
            What::Use { path, rooted, name } => Some((found, &path[..], *rooted, &name[..])),
            _ => None,
        })
    }
}

/// All files, and what is wrong with them.
struct Tree<'a> {
    layers: Layers,
    files: Vec<File<'a>>,
    modules: BTreeSet<Module>,
    wrong: Vec<String>,
}

/// Everything in `sources` that breaks a rule, one line each.
fn check(layers: Layers, sources: &[Source]) -> Vec<String> {
    let files: Vec<File<'_>> = sources.iter().map(File::read).collect();
    let modules = files.iter().map(|file| file.module.clone()).collect();
    let mut tree = Tree { layers, files, modules, wrong: Vec::new() };
    tree.check_table();
    for index in 0..tree.files.len() {
        let mut wrong = tree.check_text(&tree.files[index]);
        if !tree.files[index].is_root() {
            wrong.extend(tree.check_found(&tree.files[index]));
        }
        tree.wrong.extend(wrong);
    }
    tree.wrong
}

impl Tree<'_> {
    fn check_table(&mut self) {
        for module in &self.modules {
            let Some((name, folder)) = module.split_last() else { continue };
            if self.layer(folder, name).is_none() {
                let folder = format!("src/{}", folder.join("/"));
                self.wrong
                    .push(format!("{}: in no layer of {folder}: add it to the table", module.join("/")));
            }
        }
        for (folder, layers) in self.layers {
            for name in layers.iter().copied().flatten() {
                let path = format!("{folder}/{name}");
                let module: Module =
                    path.split('/').filter(|name| !name.is_empty()).map(Into::into).collect();
                if !self.modules.contains(&module) {
                    self.wrong.push(format!("{}: in the table, but not in src/", module.join("/")));
                }
            }
        }
    }

    fn check_text(&self, file: &File<'_>) -> Vec<String> {
        let path = &file.source.path;
        let mut wrong = Vec::new();
        if !file.forbids_unsafe && !UNSAFE.contains(&&path[..]) {
            wrong.push(format!("src/{path}:1: #![forbid(unsafe_code)] is missing"));
        }
        if file.lines > MOST_LINES {
            let lines = file.lines;
            wrong
                .push(format!("src/{path}:1: {lines} lines without its tests, over {MOST_LINES}: divide it"));
        }
        for (number, line) in file.source.text.lines().enumerate() {
            if line.contains("TODO") {
                wrong.push(format!("src/{path}:{}: do it, or leave the word out", number + 1));
            }
        }
        for found in &file.found {
            if let What::Macro(name) = &found.what
                && MACROS.contains(&&name[..])
            {
                wrong.push(format!("src/{path}:{}: {name}! has no place in a library", found.line));
            }
        }
        wrong
    }

    fn check_found(&self, file: &File<'_>) -> Vec<String> {
        let mut wrong = Vec::new();
        for found in &file.found {
            let reason = match &found.what {
                What::Use { path, rooted, .. } => self.check_path(file, found, path, *rooted, true),
                What::Path { path, rooted } => self.check_path(file, found, path, *rooted, false),
                What::Name(name) if file.is_engine() && CLOCKS.contains(&&name[..]) => {
                    Some(format!("the engine has no clock, but {name}"))
                }
                What::ExternCrate(name) => Some(format!("extern crate {name} belongs into lib.rs")),
                What::Moved => Some("a module whose file lies elsewhere".into()),
                What::Name(_) | What::Macro(_) => None,
            };
            let reason = reason.map(|reason| format!("src/{}:{}: {reason}", file.source.path, found.line));
            // A name may be said twice in one line.
            wrong.extend(reason.filter(|reason| !wrong.contains(reason)));
        }
        wrong
    }

    fn check_path(
        &self,
        file: &File<'_>,
        found: &Found,
        path: &[String],
        rooted: bool,
        is_use: bool,
    ) -> Option<String> {
        match self.resolve(file, &found.module, path, rooted, 0) {
            Target::Crate(module, rest) => self.check_edge(&file.module, &module, &rest),
            Target::Other(path) if file.is_engine() => check_engine(&path, is_use || rooted),
            Target::Other(_) => None,
        }
    }

    /// Whether a file at `from` may use what lies at `to`.
    fn check_edge(&self, from: &Module, to: &Module, rest: &[String]) -> Option<String> {
        let common = from.iter().zip(to).take_while(|(a, b)| a == b).count();
        // A file uses itself, a folder's `mod.rs` all below it.
        if common == from.len() {
            return None;
        }
        let named = format!("{} uses {}", from.join("/"), [&to[..], rest].concat().join("::"));
        if common == to.len() {
            let folder = if to.is_empty() { "lib.rs".into() } else { format!("{}/mod.rs", to.join("/")) };
            return Some(format!("{named}: {folder} stands above its files, name the file"));
        }
        let folder = &from[..common];
        match (self.layer(folder, &from[common]), self.layer(folder, &to[common])) {
            (Some(above), Some(below)) if below < above => None,
            // In no layer: said once, of the file.
            (None, _) | (_, None) => None,
            (Some(from_layer), Some(to_layer)) => Some(format!(
                "{named}: {} is in layer {from_layer} of src/{}, {} in layer {to_layer}",
                from[common],
                folder.join("/"),
                to[common],
            )),
        }
    }

    fn layer(&self, folder: &[String], name: &str) -> Option<usize> {
        let folder = folder.join("/");
        let (_, layers) = self.layers.iter().find(|(path, _)| *path == folder)?;
        layers.iter().position(|layer| layer.contains(&name))
    }

    /// Follows a path that stands in `module` of `file`.
    fn resolve(
        &self,
        file: &File<'_>,
        module: &[String],
        path: &[String],
        rooted: bool,
        depth: usize,
    ) -> Target {
        let Some((first, rest)) = path.split_first() else { return Target::Other(Vec::new()) };
        if rooted || depth > 8 {
            return Target::Other(path.to_vec());
        }
        match &first[..] {
            "crate" => return self.absolute(rest.to_vec(), depth),
            "self" => return self.absolute([module, rest].concat(), depth),
            "super" => {
                let up = path.iter().take_while(|name| *name == "super").count();
                let base = &module[..module.len().saturating_sub(up)];
                return self.absolute([base, &path[up..]].concat(), depth);
            }
            _ => {}
        }
        let child = [module, std::slice::from_ref(first)].concat();
        if self.modules.contains(&child) {
            return self.absolute([module, path].concat(), depth);
        }
        // The name may be one that a `use` gave.
        let import = file.uses().find(|(found, import, _, name)| {
            *name == first && found.module == module && *import != [first.clone()]
        });
        if let Some((found, import, rooted, _)) = import {
            return match self.resolve(file, &found.module, import, rooted, depth + 1) {
                Target::Crate(base, more) => self.absolute([base, more, rest.to_vec()].concat(), depth + 1),
                Target::Other(base) => Target::Other([base, rest.to_vec()].concat()),
            };
        }
        Target::Other(path.to_vec())
    }

    /// The file that a path from the root leads to; through a `mod.rs`, to the file that it shows.
    fn absolute(&self, path: Vec<String>, depth: usize) -> Target {
        let length = (0..=path.len()).rev().find(|&length| self.modules.contains(&path[..length]));
        let (module, rest) = path.split_at(length.unwrap_or(0));
        let facade = self.files.iter().find(|file| file.module == module && file.is_facade());
        if let (Some(facade), Some(first), true) = (facade, rest.first(), depth < 8)
            && facade.uses().any(|(_, _, _, name)| name == first)
        {
            return match self.resolve(facade, module, rest, false, depth + 1) {
                Target::Other(_) => Target::Crate(module.to_vec(), rest.to_vec()),
                target @ Target::Crate(..) => target,
            };
        }
        Target::Crate(module.to_vec(), rest.to_vec())
    }
}

impl File<'_> {
    fn is_facade(&self) -> bool {
        self.source.path.ends_with("mod.rs") || self.is_root()
    }
}

/// Whether the engine may use this path of another crate.
fn check_engine(path: &[String], is_crate: bool) -> Option<String> {
    let joined = path.join("::");
    let root = &path.first()?[..];
    // What a path begins with, where it is not a crate: a type, or one of the language's own.
    let is_type = root.starts_with(char::is_uppercase)
        || ["bool", "char", "f32", "f64", "str"].contains(&root)
        || root.trim_start_matches(['i', 'u']).parse::<u8>().is_ok()
        || ["isize", "usize"].contains(&root);
    let is_allowed =
        |name: &&str| joined.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    if ENGINE_CRATES.contains(&root) || ENGINE_STD.iter().any(is_allowed) || (is_type && !is_crate) {
        return None;
    }
    // `use Kind::{Text, Binary}` inside a function.
    if is_type && path.len() > 1 {
        return None;
    }
    Some(format!("the engine may not use {joined}"))
}

fn module_of(path: &str) -> Module {
    let mut names: Module = path.trim_end_matches(".rs").split('/').map(Into::into).collect();
    if names.last().is_some_and(|last| last == "mod") || names == ["lib"] {
        names.pop();
    }
    names
}

/// Collects what the rules are about.
struct Reader {
    module: Module,
    found: Vec<Found>,
}

impl Reader {
    fn push(&mut self, line: usize, what: What) {
        self.found.push(Found { line, module: self.module.clone(), what });
    }

    fn use_tree(&mut self, tree: &UseTree, path: &[String], rooted: bool) {
        let line = tree.span().start().line;
        let (path, name) = match tree {
            UseTree::Path(part) => {
                let path = [path, &[part.ident.to_string()]].concat();
                self.push(line, What::Name(part.ident.to_string()));
                return self.use_tree(&part.tree, &path, rooted);
            }
            UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.use_tree(tree, path, rooted));
            }
            UseTree::Name(leaf) if leaf.ident == "self" => (path.to_vec(), path.last().cloned()),
            UseTree::Name(leaf) => ([path, &[leaf.ident.to_string()]].concat(), Some(leaf.ident.to_string())),
            UseTree::Rename(leaf) if leaf.ident == "self" => (path.to_vec(), Some(leaf.rename.to_string())),
            UseTree::Rename(leaf) => {
                ([path, &[leaf.ident.to_string()]].concat(), Some(leaf.rename.to_string()))
            }
            UseTree::Glob(_) => ([path, &["*".into()]].concat(), None),
        };
        if let Some(last) = path.last() {
            self.push(line, What::Name(last.clone()));
        }
        self.push(line, What::Use { path, rooted, name: name.unwrap_or_default() });
    }

    /// Looks for paths, names and macros in tokens that are not parsed.
    fn tokens(&mut self, tokens: TokenStream, prefix: &[String]) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let is_colons = |at: usize| {
            matches!(&tokens.get(at..at + 2), Some([TokenTree::Punct(a), TokenTree::Punct(b)])
                if a.as_char() == ':' && a.spacing() == Spacing::Joint && b.as_char() == ':')
        };
        let mut at = 0;
        let mut path = prefix.to_vec();
        let mut rooted = false;
        while at < tokens.len() {
            let line = tokens[at].span().start().line;
            match &tokens[at] {
                TokenTree::Ident(name) => {
                    self.push(line, What::Name(name.to_string()));
                    path.push(name.to_string());
                    at += 1;
                    let is_call = matches!(&tokens.get(at..at + 2),
                        Some([TokenTree::Punct(mark), TokenTree::Group(_)]) if mark.as_char() == '!');
                    if is_call {
                        self.push(line, What::Macro(name.to_string()));
                    }
                    match (is_colons(at), tokens.get(at + 2)) {
                        // `a::{b, c}`: the group goes on with what came before it.
                        (true, Some(TokenTree::Group(group))) if group.delimiter() == Delimiter::Brace => {
                            self.tokens(group.stream(), &path);
                            at += 3;
                        }
                        (true, Some(TokenTree::Ident(_))) => {
                            at += 2;
                            continue;
                        }
                        _ => {}
                    }
                    if path.len() > 1 {
                        self.push(line, What::Path { path: path.clone(), rooted });
                    }
                    path = prefix.to_vec();
                    rooted = false;
                }
                TokenTree::Group(group) => {
                    self.tokens(group.stream(), &[]);
                    at += 1;
                }
                _ if is_colons(at) => {
                    // After a name it would have been consumed with it.
                    let generic =
                        at > 0 && matches!(&tokens[at - 1], TokenTree::Punct(mark) if mark.as_char() == '>');
                    rooted = !generic && path.is_empty();
                    at += 2;
                }
                _ => at += 1,
            }
        }
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_test(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.use_tree(&item.tree, &[], item.leading_colon.is_some());
    }

    fn visit_item_extern_crate(&mut self, item: &'ast syn::ItemExternCrate) {
        self.push(item.span().start().line, What::ExternCrate(item.ident.to_string()));
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            let names = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            let rooted = path.leading_colon.is_some();
            self.push(path.span().start().line, What::Path { path: names, rooted });
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        if let Some(last) = call.path.segments.last() {
            self.push(last.span().start().line, What::Macro(last.ident.to_string()));
        }
        visit::visit_macro(self, call);
    }

    fn visit_token_stream(&mut self, tokens: &'ast TokenStream) {
        self.tokens(tokens.clone(), &[]);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if attribute.path().is_ident("path") {
            self.push(attribute.span().start().line, What::Moved);
        }
        // The lints of a tool look like paths.
        let is_lint = |name: &&str| attribute.path().is_ident(name);
        if !["allow", "deny", "expect", "forbid", "warn"].iter().any(is_lint) {
            visit::visit_attribute(self, attribute);
        }
    }

    fn visit_ident(&mut self, name: &'ast syn::Ident) {
        self.push(name.span().start().line, What::Name(name.to_string()));
    }

    // `pub(super)` and `pub(in crate::…)` show, they do not use.
    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether this is compiled for tests only.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => {
            let words = list.tokens.to_string();
            let words = words.split(|char: char| !char.is_alphanumeric());
            let (test, not) = words
                .fold((false, false), |(test, not), word| (test || word == "test", not || word == "not"));
            test && !not
        }
        _ => false,
    })
}

fn is_forbid_unsafe(attribute: &Attribute) -> bool {
    matches!(&attribute.meta, Meta::List(list)
        if list.path.is_ident("forbid") && list.tokens.to_string() == "unsafe_code")
}

fn lines_of(item: &Item) -> usize {
    let span = item.span();
    let first = attributes(item).iter().map(|attribute| attribute.span().start().line).min();
    span.end().line + 1 - first.unwrap_or(span.start().line)
}

#[test]
fn files_use_only_what_lies_below_them() {
    let read = |(path, file)| Source { path, text: std::fs::read_to_string(file).unwrap() };
    let files: Vec<Source> = sources(".rs").into_iter().map(read).collect();
    assert!(files.len() > 20, "src/ was not read");
    let edges: usize = files.iter().map(|source| File::read(source).found.len()).sum();
    assert!(edges > 1000, "nothing was found in src/");
    let wrong = check(LAYERS, &files);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A small house, all in order, for the tests of the checker.
const SMALL: Layers = &[
    ("", &[&["proto"], &["random"], &["tokio"]]),
    ("proto", &[&["mask", "utf8"], &["receive"], &["send"], &["connection"], &["handshake"]]),
    ("proto/handshake", &[&["key"], &["client"]]),
    ("tokio", &[&["websocket"]]),
];

const IN_ORDER: [(&str, &str); 12] = [
    ("lib.rs", "extern crate std; pub mod proto; mod random; pub mod tokio; pub use random::Masks;"),
    ("proto/mod.rs", "mod mask; mod send; pub mod handshake; pub use send::{Sender, Other as Renamed};"),
    ("proto/mask.rs", ""),
    ("proto/utf8.rs", "use alloc::vec::Vec;"),
    (
        "proto/receive.rs",
        "use super::{mask, utf8::{self, Utf8Bytes as Text}}; fn f() { mask::g(usize::MAX) }",
    ),
    (
        "proto/send.rs",
        "use super::receive::Answer; fn f() -> std::io::IoSlice<'static> { crate::proto::mask::g() }",
    ),
    (
        "proto/connection.rs",
        "pub(super) fn f() { if std::is_x86_feature_detected!(\"avx2\") { super::send::g() } }",
    ),
    ("proto/handshake/mod.rs", "mod client; mod key; pub use client::Client; pub use self::key::Key;"),
    ("proto/handshake/key.rs", "use super::super::connection::Connection; pub(in crate::proto) fn f() {}"),
    ("proto/handshake/client.rs", "use super::key; enum Kind { A } fn f() { use Kind::A; key::g(A) }"),
    ("random.rs", "use crate::proto::Sender; use std::time::Instant;"),
    (
        "tokio/websocket.rs",
        "use ::tokio::net; use crate::Masks; use crate::proto::{self, handshake::Key}; type T = proto::Sender;",
    ),
];

/// What the checker finds when one file of the small house is another.
fn found_in(path: &str, text: &str) -> Vec<String> {
    let mut sources: Vec<Source> = IN_ORDER
        .iter()
        .map(|&(path, text)| Source { path: path.into(), text: format!("#![forbid(unsafe_code)]\n{text}") })
        .chain([Source {
            path: "tokio/mod.rs".into(),
            text: "#![forbid(unsafe_code)]\nmod websocket;".into(),
        }])
        .collect();
    let text = format!("#![forbid(unsafe_code)]\n{text}");
    match sources.iter_mut().find(|source| source.path == path) {
        Some(source) => source.text = text,
        None => sources.push(Source { path: path.into(), text }),
    }
    check(SMALL, &sources)
}

/// That one rule is broken, in the second line of the file, and how the finding ends.
fn breaks(path: &str, text: &str, reason: &str) {
    let found = found_in(path, text);
    let place = format!("src/{path}:2: ");
    assert!(
        matches!(&found[..], [one] if one.starts_with(&place) && one.contains(reason)),
        "{text}\nexpected: {place}…{reason}…\nfound: {found:#?}",
    );
}

fn keeps(path: &str, text: &str) {
    assert_eq!(found_in(path, text), [""; 0], "{text}");
}

#[test]
fn the_small_house_is_in_order() {
    keeps("proto/mask.rs", "");
}

#[test]
fn an_edge_that_points_up_is_found_in_every_form() {
    let up = "layer 0 of src/proto, send in layer 2";
    for text in [
        "use super::send::Answer;",
        "use super::send;",
        "use super::{send::{self as s}};",
        "use super::send::*;",
        "use crate::proto::send as other;",
        "use super::Sender;",
        "use crate::proto::Renamed;",
        "pub use crate::proto::{Sender as S};",
        "fn f() { use super::send::g; }",
        "fn f() { super::send::g(1); }",
        "fn f() -> Option<crate::proto::send::T> { None }",
        "fn f(x: X) { match x { super::send::Kind::A => {} _ => {} } }",
        "fn f<T: super::send::Trait>() {}",
        "fn f() { <u8 as super::send::Trait>::g() }",
        "impl super::send::Trait for u8 {}",
        "#[cfg_attr(feature = \"std\", derive(crate::proto::send::Macro))] struct S;",
        "#[super::send::attribute] struct S;",
        "fn f() { vec![1, super::send::g()]; }",
        "fn f() { assert!(x == crate::proto::Sender::new()); }",
        "fn f() { super::send::call!(); }",
        "macro_rules! m { () => { $crate::proto::send::g() } }",
        "macro_rules! m { () => { use super::{send::A}; } }",
        "mod inner { use super::super::send::A; }",
        "mod inner { fn f() { super::super::send::g() } }",
        "fn f() { inner! { fn g() { deep!([super::Sender]) } } }",
    ] {
        breaks("proto/mask.rs", text, up);
    }
    breaks(
        "proto/receive.rs",
        "use super::send::Sender;",
        "receive is in layer 1 of src/proto, send in layer 2",
    );
    breaks("proto/connection.rs", "use super::handshake::Key;", "handshake in layer 4");
    breaks("proto/handshake/key.rs", "use super::Client;", "key uses proto::handshake::client::Client");
    breaks(
        "proto/connection.rs",
        "fn f() { crate::tokio::websocket::g() }",
        "proto is in layer 0 of src/, tokio in",
    );
    breaks("random.rs", "use crate::tokio::websocket;", "random is in layer 1 of src/, tokio in layer 2");
}

#[test]
fn a_path_is_followed_through_the_names_that_imports_give() {
    let found = found_in("proto/mask.rs", "use crate::proto as p;\nfn f() { p::send::g() }");
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[1].starts_with("src/proto/mask.rs:3: proto/mask uses proto::send::g"), "{found:#?}");
    breaks("proto/mask.rs", "use crate::Masks;", "proto/mask uses random::Masks");
}

#[test]
fn an_edge_that_points_sideways_is_found() {
    breaks("proto/mask.rs", "use super::utf8::check;", "mask is in layer 0 of src/proto, utf8 in layer 0");
}

#[test]
fn a_folder_stands_above_its_files() {
    breaks("proto/mask.rs", "use super::Unknown;", "proto/mod.rs stands above");
    breaks("proto/mask.rs", "use super::*;", "proto/mod.rs stands above");
    breaks("proto/mask.rs", "use crate::Unknown;", "lib.rs stands above");
}

#[test]
fn tests_and_visibilities_are_free() {
    keeps(
        "proto/mask.rs",
        "#[cfg(test)] mod tests { use super::super::send::A; use std::vec; use proptest::x; }",
    );
    keeps("proto/mask.rs", "#[cfg(all(test, feature = \"std\"))] fn f() { std::vec![super::send::g()] }");
    keeps("proto/mask.rs", "pub(in crate::proto) struct S { pub(super) a: u8, pub(crate) b: u8 }");
    keeps("proto/mask.rs", "/// See [`Sender`](super::send::Sender).\nstruct S;");
    breaks("proto/mask.rs", "#[cfg(not(test))] fn f() { super::send::g() }", "proto::send::g");
}

#[test]
fn the_engine_has_no_io_no_clock_and_no_random_numbers() {
    for text in [
        "use std::io;",
        "use std::io::Read;",
        "use std::{io::{IoSlice, Write}};",
        "use std as s;",
        "use ::std::vec;",
        "fn f() -> std::time::Duration { x }",
        "use std::io::IoSliceMut;",
        "fn f() { std::thread::yield_now() }",
        "fn f() { assert!(std::env::var_os(x).is_some()); }",
        "fn f() { vec![::std::mem::take(x)] }",
        "use ::tokio::net::TcpStream;",
        "use tokio::net::TcpStream;",
        "use rand::Rng;",
        "fn f() { rand::random() }",
        "fn f() { vec![tokio::spawn(x)] }",
        "use futures_core::Stream;",
        "use futures_core;",
    ] {
        breaks("proto/mask.rs", text, "the engine may not use ");
    }
    for text in ["fn f(now: Instant) {}", "use core::time::Instant;", "fn f() { vec![SystemTime::now()]; }"] {
        breaks("proto/mask.rs", text, "the engine has no clock");
    }
    breaks("proto/mask.rs", "extern crate std;", "extern crate std belongs into lib.rs");
    keeps("proto/mask.rs", "#[expect(clippy::all, reason = \"\")] fn f() { std::io::IoSlice::new(x); }");
    keeps(
        "proto/mask.rs",
        "use core::time::Duration; use std::io::IoSlice; use Kind::A; fn f() { u8::MAX; str::len(x) }",
    );
    keeps("random.rs", "use std::time::Instant; use rand::Rng; fn f() { std::thread::yield_now() }");
}

#[test]
fn a_library_does_not_print() {
    for text in [
        "fn f() { println!(\"{x}\"); }",
        "fn f() { dbg!(x); }",
        "fn f() { vec![eprintln!(\"\")]; }",
        "fn f() { core::todo!() }",
        "fn f() { unimplemented!() }",
        "macro_rules! m { () => { print!(\"\") } }",
    ] {
        breaks("tokio/websocket.rs", text, "has no place in a library");
        breaks("proto/mask.rs", text, "has no place in a library");
    }
}

#[test]
fn unsafe_code_is_forbidden_in_each_file() {
    let mut sources = vec![Source { path: "proto/utf8.rs".into(), text: String::new() }];
    assert!(!check(SMALL, &sources).iter().any(|wrong| wrong.contains("forbid")));
    for text in
        ["", "// #![forbid(unsafe_code)]\n", "#![deny(unsafe_code)]", "#[forbid(unsafe_code)] mod a {}"]
    {
        sources[0] = Source { path: "proto/send.rs".into(), text: text.into() };
        let found = check(SMALL, &sources);
        assert!(
            found.iter().any(|wrong| wrong == "src/proto/send.rs:1: #![forbid(unsafe_code)] is missing"),
            "{text}"
        );
    }
}

#[test]
fn a_file_that_grows_too_long_is_found() {
    let long = |lines: usize| "fn f() {}\n".repeat(lines);
    keeps("proto/mask.rs", &long(MOST_LINES - 1));
    let tests = format!("{}#[cfg(test)]\nmod tests {{\n{}}}", long(MOST_LINES - 1), long(400));
    keeps("proto/mask.rs", &tests);
    let found = found_in("proto/mask.rs", &long(MOST_LINES));
    assert_eq!(found, ["src/proto/mask.rs:1: 501 lines without its tests, over 500: divide it"]);
}

#[test]
fn a_promise_is_found() {
    let word = ["TO", "DO"].concat();
    breaks("proto/mask.rs", &format!("// {word}: later"), "do it, or leave the word out");
    breaks("lib.rs", &format!("pub use random::Masks; // {word}"), "do it");
}

#[test]
fn the_table_and_the_files_agree() {
    let found = found_in("proto/other.rs", "");
    assert_eq!(found, ["proto/other: in no layer of src/proto: add it to the table"]);
    let found = found_in("server/mod.rs", "");
    assert_eq!(found, ["server: in no layer of src/: add it to the table"]);
    let sources = [Source { path: "lib.rs".into(), text: String::new() }];
    let found = check(&[("", &[&["proto"]]), ("proto", &[&["mask"]])], &sources);
    assert_eq!(found, ["proto: in the table, but not in src/", "proto/mask: in the table, but not in src/"]);
    breaks("proto/mask.rs", "#[path = \"send.rs\"] mod other;", "a module whose file lies elsewhere");
}
