// The dashboard: asks for the statistics every second, and draws the last five minutes.
"use strict";

const at = (id) => document.getElementById(id);
const SAMPLES = 300;
/** Of a page that was opened just before, a minute's width is drawn. */
const FEWEST = 60;
/** How far apart in milliseconds two times are that may be the same one. */
const SAME = 500;
/** Of one node: behind a proxy, each answer may be of another one. */
const samples = [];
let charted = null;
/** What each node said last, and before, and when. */
const said = new Map();
/** Of all nodes. */
const TILES = [
  ["connections", (s) => sum(s, (node) => node.connections)],
  ["users", (s) => s.users_of_all_nodes],
  ["rooms", (s) => s.rooms],
  ["memory", (s) => `${mebibytes(sum(s, (node) => node.memory_bytes))} MiB`],
  ["messages stored", (s) => sum(s, (node) => node.messages.stored)],
  ["messages lost", (s) => sum(s, (node) => node.messages.lost)],
  ["up", (s) => duration(Math.max(...s.by_node.map((node) => node.uptime_seconds)))],
];
const CHARTS = [
  ["Connections", (now) => now.connections],
  ["Received, messages a second", (now, before) => rate(now, before, (s) => s.messages.received)],
  ["Delivered, messages a second", (now, before) => rate(now, before, (s) => s.messages.delivered)],
  ["Storing a message, ms", (now, before) => storing(now, before)],
  ["Delivering 99 of 100, ms", (now) => now.messages.delivery_milliseconds?.p99 ?? NaN],
  ["Memory, MiB", (now) => now.memory_bytes / 2 ** 20],
];
/** Whoever started the hub has the token from it: a fragment is sent to nobody. */
const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) history.replaceState(null, "", location.pathname);
let token = given ?? sessionStorage.getItem("token"), timer = null;

for (const [title] of CHARTS) {
  const card = element("section", "card", element("h2", "", title), element("canvas"));
  card.querySelector("canvas").setAttribute("aria-label", title);
  at("charts").append(card);
}
at("enter").onsubmit = (event) => { event.preventDefault(); token = at("token").value.trim(); watch(); };
if (token) watch();

async function watch() {
  clearTimeout(timer);
  try {
    const stats = await ask("/ws/stats");
    stats.at = Date.now();
    hear(stats);
    const { rooms } = await ask("/ws/rooms?limit=20");
    sessionStorage.setItem("token", token);
    at("enter").hidden = true;
    state("live", "good");
    draw(stats, rooms);
  } catch (error) {
    state(error.message, "bad");
    if (error.refused) {
      sessionStorage.removeItem("token");
      at("enter").hidden = false;
      return;
    }
  }
  timer = setTimeout(watch, 1000);
}

async function ask(path) {
  const response = await fetch(path, { headers: { Authorization: `Bearer ${token}` }, cache: "no-store" });
  if (response.ok) return response.json();
  throw Object.assign(new Error(response.status === 401 ? "this is not the token" : `the hub answered ${response.status}`), { refused: response.status === 401 });
}

/** Takes what the nodes have said since, and a sample of the one that is charted. */
function hear(stats) {
  const there = new Set(stats.by_node.map(({ node }) => node));
  for (const node of said.keys()) if (!there.has(node)) said.delete(node);
  for (const now of stats.by_node) {
    now.at = stats.at - now.seconds_ago * 1000;
    const last = said.get(now.node)?.now;
    // Said again, by another node, it is as old as before, within what clocks and ways differ.
    if (!last || now.at - last.at > SAME) said.set(now.node, { now, before: last });
  }
  if (!there.has(charted)) {
    charted = stats.node;
    samples.length = 0;
  }
  if (stats.node !== charted) return;
  samples.push(stats);
  samples.splice(0, samples.length - SAMPLES);
}

function draw(stats, rooms) {
  const isAlone = stats.nodes === 1;
  at("nodes").hidden = at("charted").hidden = isAlone;
  at("charted").textContent = `Of node ${short(charted)}`;
  at("nodes").querySelector("tbody").replaceChildren(...stats.by_node.map(({ node }) => {
    const { now, before } = said.get(node);
    const cells = [short(node), now.connections, now.rooms, perSecond(rate(now, before, (s) => s.messages.received)), perSecond(rate(now, before, (s) => s.messages.delivered)), mebibytes(now.memory_bytes), duration(now.uptime_seconds)];
    return element("tr", "", ...cells.map((cell) => element("td", "", String(cell))));
  }));
  at("tiles").replaceChildren(...TILES.map(([name, value]) => element("div", "card", element("strong", "", String(value(stats))), element("span", "", name))));
  const ended = Object.entries(samples.at(-1).ended).filter(([, count]) => count > 0).sort((a, b) => b[1] - a[1]);
  const most = Math.max(1, ...ended.map(([, count]) => count));
  at("ended").replaceChildren(...ended.map(([reason, count]) => {
    const bar = element("div", "bar");
    bar.style.width = `${(100 * count) / most}%`;
    return element("tr", "", element("td", "", reason.replace("_", " ")), element("td", "wide", bar), element("td", "", String(count)));
  }));
  rows("rooms", rooms.map(({ room, users }) => [room, users]));
  document.querySelectorAll("#charts canvas").forEach((canvas, number) => {
    chart(canvas, samples.map((now, place) => CHARTS[number][1](now, samples[place - 1])).filter(Number.isFinite));
  });
}

function chart(canvas, values) {
  const ratio = devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const context = canvas.getContext("2d"), style = getComputedStyle(document.body);
  context.scale(ratio, ratio);
  const most = Math.max(1e-9, ...values) * 1.1, shown = Math.min(SAMPLES, Math.max(FEWEST, values.length)), step = width / (shown - 1), first = shown - values.length;
  const x = (place) => (first + place) * step, y = (value) => height - 2 - (value / most) * (height - 18);
  context.strokeStyle = style.getPropertyValue("--accent");
  context.lineWidth = 1.5;
  context.beginPath();
  values.forEach((value, place) => context[place ? "lineTo" : "moveTo"](x(place), y(value)));
  context.stroke();
  context.lineTo(x(values.length - 1), height);
  context.lineTo(x(0), height);
  context.fillStyle = style.getPropertyValue("--accent");
  context.globalAlpha = 0.12;
  context.fill();
  context.globalAlpha = 1;
  context.fillStyle = style.getPropertyValue("--soft");
  context.font = "12px system-ui, sans-serif";
  context.fillText(`${(values.at(-1) ?? 0).toFixed(1)}   most ${(Math.max(0, ...values)).toFixed(1)}`, 0, 12);
}

/** Of those between two samples; without any, nothing is drawn. */
function storing({ messages: now }, before) {
  const count = before ? now.stored + now.duplicate - before.messages.stored - before.messages.duplicate : 0;
  return count > 0 ? (now.storing_microseconds - before.messages.storing_microseconds) / count / 1000 : NaN;
}

function rate(now, before, count) { return before ? Math.max(0, (count(now) - count(before)) / ((now.at - before.at) / 1000)) : NaN; }
function sum(stats, value) { return stats.by_node.reduce((all, node) => all + value(node), 0); }
function perSecond(rate) { return Number.isNaN(rate) ? "–" : rate.toFixed(rate < 10 ? 1 : 0); }
function mebibytes(bytes) { return (bytes / 2 ** 20).toFixed(1); }
/** Names begin with the time: those of nodes that were started together differ at their end. */
function short(node) { return node.slice(-6); }
function state(text, kind) { at("state").textContent = text; at("state").className = `state ${kind}`; }
function rows(id, pairs) { at(id).replaceChildren(...pairs.map(([name, value]) => element("tr", "", element("td", "", name), element("td", "", String(value))))); }
function duration(seconds) { return seconds < 120 ? `${seconds} s` : seconds < 7200 ? `${Math.floor(seconds / 60)} min` : `${Math.floor(seconds / 3600)} h`; }
function element(tag, kind = "", ...content) { const made = document.createElement(tag); made.className = kind; made.append(...content); return made; }
