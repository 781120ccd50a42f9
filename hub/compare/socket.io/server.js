// A server of Socket.IO for the comparison: tokens, a room, and messages with an acknowledgement, as the hub has them.
// WebSockets alone, no compression, the same heartbeat. What its documentation recommends for many connections is done:
// bufferutil, and letting go of the request of each.
'use strict';

const { readFileSync } = require('node:fs');
const { createServer } = require('node:http');
const { parseArgs } = require('node:util');
const jwt = require('jsonwebtoken');
const { Server } = require('socket.io');

const { values } = parseArgs({ options: { port: { type: 'string' }, key: { type: 'string' } } });
const key = readFileSync(values.key);

const http = createServer();
const server = new Server(http, {
    transports: ['websocket'],
    perMessageDeflate: false,
    serveClient: false,
    pingInterval: 25_000,
    pingTimeout: 20_000,
});
server.use((socket, next) => {
    const [scheme, token] = (socket.handshake.headers.authorization ?? '').split(' ');
    try {
        const claims = jwt.verify(scheme === 'Bearer' ? token : '', key, { algorithms: ['HS256'] });
        if (!claims.sub || !claims.exp) {
            throw new Error('sub and exp are required');
        }
        socket.data.user = claims.sub;
        next();
    } catch {
        next(new Error('unauthorized'));
    }
});

server.on('connection', (socket) => {
    // Not before: the token is in it.
    socket.conn.request = null;
    socket.on('join', (room, entered) => {
        socket.join(room);
        entered('ok');
    });
    socket.on('say', ({ id, data, room }, taken) => {
        server.to(room).emit('text', {
            id,
            message_type: 'text',
            data,
            timestamp: new Date().toISOString(),
            from_user_id: socket.data.user,
            room,
        });
        taken(id);
    });
});

http.listen(Number(values.port), '127.0.0.1');
