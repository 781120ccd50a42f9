// A peer on the `ws` package: a server, and a client for each URL that comes in on a line. README.md has the
// protocol that all peers speak.
'use strict';

const http = require('node:http');
const readline = require('node:readline');
const { WebSocket, WebSocketServer } = require('ws');

const NAME = 'permessage-deflate';
const FIELD = 'sec-websocket-extensions';

const server = http.createServer();
server.on('upgrade', (request, socket, head) => {
  let answer = '';
  const acceptor = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: options(request.url, undefined),
  });
  acceptor.on('headers', (lines) => {
    const line = lines.find((line) => line.toLowerCase().startsWith(`${FIELD}: `));
    answer = line ? line.slice(FIELD.length + 2) : '';
  });
  acceptor.handleUpgrade(request, socket, head, (ws) => talk(ws, request.url, request.headers[FIELD] ?? '', answer));
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));

const input = readline.createInterface({ input: process.stdin });
// The parent ended, or wants an end.
input.on('close', () => process.exit(0));
input.on('line', (url) => {
  const ws = new WebSocket(url, { perMessageDeflate: options(url, false) });
  const offer = ws._req.getHeader(FIELD) ?? '';
  let answer = '';
  ws.on('upgrade', (response) => { answer = response.headers[FIELD] ?? ''; });
  ws.on('open', () => talk(ws, url, offer, answer));
  ws.on('error', (error) => console.error(`ws: ${url}: ${error.message}`));
});

// The parameters that the query names, as `ws` wants them: `undefined` is no wish, `false` for the window of the
// client is a client that cannot follow.
function options(url, noClientBits) {
  const query = new URL(url, 'ws://localhost').searchParams;
  const number = (name) => (query.get(name) ? Number(query.get(name)) : undefined);
  const bits = 'client_max_window_bits';
  return {
    serverNoContextTakeover: query.has('server_no_context_takeover') || undefined,
    clientNoContextTakeover: query.has('client_no_context_takeover') || undefined,
    serverMaxWindowBits: number('server_max_window_bits'),
    clientMaxWindowBits: query.has(bits) ? number(bits) : noClientBits,
    threshold: number('threshold'),
  };
}

function talk(ws, url, offer, answer) {
  let echoed = 0;
  let pings = [];
  let pongs = 0;
  ws.on('error', (error) => console.error(`ws: ${url}: ${error.message}`));
  ws.on('pong', (payload) => {
    if (payload.toString() === pings.shift()) pongs += 1;
  });
  ws.on('message', (data, binary) => {
    if (!binary && data.toString() === 'report') return ws.send(`pongs ${pongs}`);
    const style = echoed % 3;
    echoed += 1;
    if (style === 0) return ws.send(data, { binary });
    // Text may be cut inside a character.
    const third = Math.ceil(data.length / 3);
    for (let piece = 0; piece < 3; piece += 1) {
      const part = data.subarray(piece * third, (piece + 1) * third);
      ws.send(part, { binary, fin: piece === 2 });
      if (style === 2 && piece < 2) {
        pings.push(`${echoed} ${piece}`);
        ws.ping(pings.at(-1));
      }
    }
  });
  ws.send([offer, answer, describe(ws._extensions[NAME]?.params)].join('\n'));
}

// What `ws` believes to be agreed on, in the words of the header field, and with every window.
function describe(parameters) {
  if (!parameters) return '';
  const words = [NAME];
  for (const end of ['server', 'client']) {
    if (parameters[`${end}_no_context_takeover`]) words.push(`${end}_no_context_takeover`);
    words.push(`${end}_max_window_bits=${parameters[`${end}_max_window_bits`] ?? 15}`);
  }
  return words.join('; ');
}
