// The demo: connects, joins, speaks, and recovers what it missed after every loss of the connection.
"use strict";

const at = (id) => document.getElementById(id);
/** Of each room: its epoch, its last number, and its lines. */
const rooms = new Map();
/** What was said and not acknowledged yet, by id: it is sent again after a loss. */
const unacknowledged = new Map();
let socket = null, wanted = false, attempts = 0, current = null, user = null, timer = null;

/** Behind a proxy, at a usual port, WebSockets are at the same one. */
const host = location.port ? `${location.hostname}:${document.body.dataset.port}` : location.host;
at("url").value = `${location.protocol === "https:" ? "wss" : "ws"}://${host}/ws`;
/** Whoever started the hub has the token from it: a fragment is sent to nobody. */
const given = new URLSearchParams(location.hash.slice(1)).get("token");
at("user").value = `guest-${Math.floor(Math.random() * 1000)}`;

const state = (text, kind = "") => {
  at("state").textContent = text;
  at("state").className = `state ${kind}`;
  // While it is connected, or comes back by itself, the form has nothing to say.
  document.body.classList.toggle("connected", wanted);
};
const send = (message) => { if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message)); };
const room = (name) => rooms.get(name) ?? rooms.set(name, { epoch: null, seq: 0, lines: [], users: new Set() }).get(name);

function connect() {
  clearTimeout(timer);
  const url = new URL(at("url").value), token = at("token").value.trim();
  if (!token) url.searchParams.set("user", at("user").value.trim());
  state("connecting …");
  // A token as a subprotocol is in no log of addresses.
  const opened = token ? new WebSocket(url, ["taut.hub.v1", `token.${token}`]) : new WebSocket(url);
  socket = opened;
  opened.onmessage = (event) => { if (opened === socket) take(JSON.parse(event.data)); };
  opened.onclose = (event) => { if (opened === socket) lost(event); };
}

function lost(event) {
  // The token is wrong or expired, or the user barred. Coming back with it would change nothing.
  if (!wanted || [4401, 4402, 4403].includes(event.code)) {
    wanted = false;
    return state(`closed: ${event.code} ${event.reason}`, event.code === 1000 ? "" : "bad");
  }
  // A random part of a growing time, so that all clients do not come back at once.
  const wait = Math.random() * Math.min(30000, 500 * 2 ** attempts++);
  state(`lost (${event.code}), back in ${Math.ceil(wait / 1000)} s`, "bad");
  timer = setTimeout(connect, wait);
}

function join(name) {
  const { epoch, seq } = room(name);
  send({ id: `join ${name}`, message_type: "join", room: name, data: epoch ? { after: { epoch, seq } } : { last: 50 } });
}

function take(message) {
  const { message_type: type, data } = message;
  if (type === "system_message" && data?.code === "welcome") {
    attempts = 0;
    user = data.user_id;
    state(`connected as ${user}`, "good");
    // What is said to the user and to all comes by itself, from these positions on.
    for (const [name, { epoch, seq }] of Object.entries(data.streams)) {
      const own = room(name);
      own.recovers = own.epoch !== null && (own.epoch !== epoch || own.seq < seq);
      if (own.recovers) join(name); else Object.assign(own, { epoch, seq: Math.max(own.seq, seq) });
    }
    if (rooms.size === Object.keys(data.streams).length) room("general");
    for (const name of rooms.keys()) if (!(name in data.streams)) join(name);
    current ??= [...rooms.keys()].find((name) => !(name in data.streams));
  } else if (type === "join") {
    joined(message);
  } else if (type === "ack") {
    unacknowledged.delete(message.id);
  } else if (type === "user_joined" || type === "user_left") {
    const { users } = room(message.room);
    if (type === "user_joined") users.add(message.from_user_id); else users.delete(message.from_user_id);
    note(message.room, `${message.from_user_id} ${type === "user_joined" ? "joined" : "left"}`);
  } else if (type === "error") {
    const own = unacknowledged.get(message.id);
    // It may be stored or not: it is said again, by its id, once the room is joined again.
    if (own && data.code === "not_stored") setTimeout(join, 1000, own.room);
    else if (data.code !== "not_in_room") unacknowledged.delete(message.id);
    note(message.room ?? current, `${data.code}: ${data.message}`);
  } else if (message.seq) {
    said(message);
  }
  show();
}

function joined({ room: name, seq, data }) {
  const joinedRoom = room(name);
  if (!data.recovered) note(name, "what was missed is no longer kept");
  if (data.epoch !== joinedRoom.epoch) joinedRoom.seq = 0;
  for (const message of data.messages) said(message, true);
  Object.assign(joinedRoom, { epoch: data.epoch, seq, users: new Set(data.users), recovers: data.more });
  if (data.more) return join(name);
  for (const [id, message] of unacknowledged) if (message.room === name) send({ id, ...message });
}

function said(message, isOfPage = false) {
  const name = message.room ?? (message.to_user_id ? `@${message.to_user_id}` : "*");
  const known = room(name);
  // It is in the page that was asked for, in its place.
  if (known.recovers && !isOfPage) return;
  // Numbers only grow: this one came before, on the way of a join.
  if (message.seq <= known.seq) return;
  known.seq = Math.max(known.seq, message.seq);
  // What is heard was stored, whether or not its acknowledgement is here.
  if (message.from_user_id === user) unacknowledged.delete(message.id);
  add(known, message);
}

function note(name, text) { if (name) add(room(name), { note: text }); }

function add({ lines }, line) {
  lines.push(line);
  lines.splice(0, lines.length - 500);
}

function show() {
  // What is said to the user and to all is no room, and shown once there is something.
  const shownRooms = [...rooms].filter(([name, { lines }]) => lines.length || !/^[@*]/.test(name));
  at("rooms").replaceChildren(...shownRooms.map(([name]) => {
    const button = document.createElement("button");
    button.textContent = name;
    button.className = name === current ? "on" : "";
    button.onclick = () => { current = name; show(); };
    const item = document.createElement("li");
    item.append(button);
    return item;
  }));
  const shown = rooms.get(current);
  at("users").replaceChildren(...[...(shown?.users ?? [])].sort().map((name) => line("li", name)));
  const waiting = [...unacknowledged.values()].filter((message) => message.room === current);
  at("messages").replaceChildren(...[...(shown?.lines ?? []), ...waiting].map((message) => {
    if (!message.seq && !message.note) return Object.assign(line("li", `${message.data} …`), { className: "waiting" });
    if (message.note) return Object.assign(line("li", message.note), { className: "note" });
    const item = document.createElement("li");
    const text = typeof message.data === "string" ? message.data : JSON.stringify(message.data);
    item.append(line("b", message.from_user_id ?? "hub"), ` ${text}`, line("small", `#${message.seq}`));
    return item;
  }));
  at("messages").scrollTop = at("messages").scrollHeight;
}

function line(tag, text) { return Object.assign(document.createElement(tag), { textContent: text }); }

at("connect").onsubmit = (event) => {
  event.preventDefault();
  wanted = true;
  const before = socket;
  socket = null;
  before?.close(1000);
  connect();
};
at("disconnect").onclick = () => { wanted = false; clearTimeout(timer); socket?.close(1000); };
at("join").onsubmit = (event) => {
  event.preventDefault();
  current = at("room").value.trim();
  room(current);
  join(current);
  show();
};
at("say").onsubmit = (event) => {
  event.preventDefault();
  if (!current) return;
  const id = crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`;
  const message = { message_type: "text", room: current, data: at("text").value };
  unacknowledged.set(id, message);
  send({ id, ...message });
  at("text").value = "";
  show();
};
if (given) {
  history.replaceState(null, "", location.pathname);
  at("token").value = given;
  wanted = true;
  connect();
}
