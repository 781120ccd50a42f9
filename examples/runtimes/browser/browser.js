// The other side of the module: `Engine` is taut's engine for JavaScript; below it the browser's WebSocket, for `socket.rs`.

const OPCODES = { 0x1: "text", 0x2: "binary", 0x8: "close", 0x9: "ping", 0xa: "pong", 0xff: "error" };

export async function load(url) {
  const sockets = new Map();
  let exports;
  let exchanged;

  const view = (at, length) => new Uint8Array(exports.memory.buffer, at, length);
  const text = (at, length) => new TextDecoder().decode(view(at, length));
  // Memory that moved when it grew is looked for again.
  const give = (bytes) => view(exports.buffer(bytes.length), bytes.length).set(bytes);
  const take = (length) => view(exports.buffer(length), length).slice();

  class Engine {
    static server = () => new Engine(exports.engine_server());
    static client = () => new Engine(exports.engine_client());

    constructor(number) {
      this.number = number;
    }

    // What came from the peer; no bytes are its end.
    feed(bytes) {
      give(bytes);
      exports.engine_feed(this.number);
    }

    // The next event, or nothing: a text as a string, the code of a Close as a number, else bytes.
    event() {
      const [opcode, ...rest] = take(exports.engine_event(this.number));
      const bytes = Uint8Array.from(rest);
      const type = OPCODES[opcode];
      if (type === "text" || type === "error") {
        return { type, data: new TextDecoder().decode(bytes) };
      }
      return type && { type, data: type === "close" ? (bytes[0] << 8) | bytes[1] : bytes };
    }

    // Sends a string or bytes; whether that was taken.
    send(data) {
      const isText = typeof data === "string";
      give(isText ? new TextEncoder().encode(data) : data);
      return Boolean(exports.engine_send(this.number, isText ? 0x1 : 0x2));
    }

    close(code) {
      exports.engine_close(this.number, code);
    }

    // What is to be carried to the peer.
    output() {
      return take(exports.engine_output(this.number));
    }

    get ends() {
      return Boolean(exports.engine_ends(this.number));
    }

    drop() {
      exports.engine_drop(this.number);
    }
  }

  const browser = {
    random: (at, length) => crypto.getRandomValues(view(at, length)),

    socket_open(number, at, length) {
      // A wrong URL throws at once: to the program that is a connection that failed.
      const failed = () => setTimeout(() => exports.socket_closed(number, 1006, false));
      let socket;
      try {
        socket = new WebSocket(text(at, length));
      } catch {
        return failed();
      }
      sockets.set(number, socket);
      socket.binaryType = "arraybuffer";
      socket.onopen = () => exports.socket_opened(number);
      socket.onmessage = ({ data }) => {
        const isText = typeof data === "string";
        give(isText ? new TextEncoder().encode(data) : new Uint8Array(data));
        exports.socket_message(number, isText ? 0x1 : 0x2);
      };
      socket.onclose = ({ code, reason, wasClean }) => {
        sockets.delete(number);
        give(new TextEncoder().encode(reason));
        exports.socket_closed(number, code, wasClean);
      };
    },
    socket_send: (number, opcode, at, length) =>
      sockets.get(number)?.send(opcode === 0x1 ? text(at, length) : view(at, length).slice()),
    socket_queued: (number) => sockets.get(number)?.bufferedAmount ?? 0,
    socket_close: (number, code, at, length) => sockets.get(number)?.close(code, text(at, length)),

    exchanged: (at, length) => exchanged(text(at, length)),
  };

  ({ exports } = (await WebAssembly.instantiateStreaming(fetch(url), { browser })).instance);

  // Speaks with an echo server by `socket.rs`; gives what was wrong, or an empty string.
  const exchange = (server) => {
    const told = new Promise((resolve) => (exchanged = resolve));
    give(new TextEncoder().encode(server));
    exports.exchange();
    return told;
  };
  return { Engine, exchange, memory: () => exports.memory.buffer.byteLength };
}
