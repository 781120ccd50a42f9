// A server of `wss://` on the `ws` package that sends every message back, and first the field Authorization.
// `node wss.cjs CERTIFICATE KEY` prints its port, and ends with its input.
'use strict';

const fs = require('node:fs');
const https = require('node:https');
const { WebSocketServer } = require('ws');

const [certificate, key] = process.argv.slice(2);
const server = https.createServer({ cert: fs.readFileSync(certificate), key: fs.readFileSync(key) });
const sockets = new WebSocketServer({ server, handleProtocols: (offered) => (offered.has('chat') ? 'chat' : false) });
sockets.on('connection', (ws, request) => {
  ws.send(request.headers.authorization ?? '');
  ws.on('message', (data, isBinary) => ws.send(data, { binary: isBinary }));
  ws.on('error', (error) => console.error(`ws: ${error.message}`));
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.stdin.on('end', () => process.exit(0)).resume();
