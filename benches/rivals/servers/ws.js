// ws for node, with its defaults but for the level and the parameters that are asked for. Options and output are
// those of the other servers; the modules come from where NODE_PATH says.
'use strict';

const { parseArgs } = require('node:util');
const { WebSocketServer } = require('ws');

const { values } = parseArgs({
    options: {
        port: { type: 'string', default: '0' },
        mode: { type: 'string', default: 'plain' },
        level: { type: 'string', default: '6' },
        bits: { type: 'string', default: '15' },
        // It has no setting for that.
        purpose: { type: 'string', default: 'defaults' },
    },
});

const noTakeover = values.mode === 'no-takeover';
// False would decline offers that ask for none.
const deflate = {
    serverNoContextTakeover: noTakeover || undefined,
    clientNoContextTakeover: noTakeover || undefined,
    zlibDeflateOptions: { level: Number(values.level) },
};
if (values.bits !== '15') {
    deflate.serverMaxWindowBits = Number(values.bits);
}

const server = new WebSocketServer({
    host: '127.0.0.1',
    port: Number(values.port),
    perMessageDeflate: values.mode === 'plain' ? false : deflate,
});
server.on('listening', () => console.log(`127.0.0.1:${server.address().port}`));
server.on('connection', (socket) => {
    // It sets TCP_NODELAY itself.
    socket.on('error', () => socket.terminate());
    socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
});
