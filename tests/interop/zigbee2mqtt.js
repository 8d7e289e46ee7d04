// What zigbee2mqtt sends as it starts, by MQTT.js with the options it has: its state as a will and retained, the retained lists of
// its bridge, which are large, the entities for Home Assistant, and readings. Run by tests/interop.sh.

import assert from "node:assert/strict";
import { once } from "node:events";
import mqtt from "mqtt";

const { MQTT_HOST, MQTT_PORT, DEVICE_ID, DEVICE_TOKEN, API_URL, API_TOKEN } = process.env;
const PATIENCE = 20_000;
const STATE = "zigbee2mqtt/bridge/state";
/** A list of 184,380 bytes: a hundred devices with what each of them exposes. */
const DEVICES = JSON.stringify(
  Array.from({ length: 100 }, (_, number) => ({ friendly_name: `lamp ${number}`, definition: "x".repeat(1_790) })),
).padEnd(184_380, " ");

function connect(version, clientId, options = {}) {
  return mqtt.connect({
    host: MQTT_HOST,
    port: Number(MQTT_PORT),
    protocolVersion: version,
    clientId,
    username: DEVICE_ID,
    password: DEVICE_TOKEN,
    keepalive: 60,
    reconnectPeriod: 1_000,
    ...options,
  });
}

async function soon(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not come`)), PATIENCE);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function start(version) {
  const offline = Buffer.from('{"state":"offline"}');
  const will = { topic: STATE, payload: offline, qos: 1, retain: true };
  const bridge = connect(version, `z2m-${version}`, { will });
  let closed = 0;
  bridge.on("close", () => (closed += 1));
  await soon(once(bridge, "connect"), "CONNACK");
  const publish = (topic, payload, options) => soon(bridge.publishAsync(topic, payload, options), topic);
  await soon(bridge.subscribeAsync("zigbee2mqtt/#"), "SUBACK");
  await publish(STATE, '{"state":"online"}', { qos: 1, retain: true });
  await publish("zigbee2mqtt/bridge/info", JSON.stringify({ version: "2.1.0", config: {} }), { qos: 0, retain: true });
  for (const qos of [0, 1]) await publish("zigbee2mqtt/bridge/devices", DEVICES, { qos, retain: true });
  for (let number = 0; number < 200; number += 1) {
    const config = JSON.stringify({ name: `lamp ${number}`, state_topic: `zigbee2mqtt/lamp ${number}`, unique_id: number });
    await publish(`homeassistant/light/0x${number.toString(16)}/light/config`, config, { qos: 1, retain: true });
  }
  await publish("zigbee2mqtt/kitchen", '{"temperature":21,"linkquality":120}', { qos: 1, retain: false });

  // Home Assistant comes later, and finds all of it.
  const late = connect(version, `ha-${version}`);
  const found = new Map();
  late.on("message", (topic, payload, packet) => found.set(topic, { payload: payload.toString(), retain: packet.retain }));
  await soon(once(late, "connect"), "CONNACK");
  await soon(late.subscribeAsync(["zigbee2mqtt/bridge/#", "homeassistant/#"]), "SUBACK");
  const all = async () => {
    while (found.size < 203) await once(late, "message");
  };
  await soon(all(), "all that is retained");
  assert.equal(found.get(STATE).payload, '{"state":"online"}');
  assert.equal(found.get("zigbee2mqtt/bridge/devices").payload, DEVICES);
  assert.equal(closed, 0, "the bridge was cut off");

  // Its birth is not JSON, and goes to all who wait for it.
  const birth = once(bridge, "message");
  await soon(bridge.subscribeAsync("homeassistant/status"), "SUBACK");
  await soon(late.publishAsync("homeassistant/status", "online", { qos: 1 }), "PUBACK");
  await soon(birth, "the birth of Home Assistant");

  const answer = await fetch(`${API_URL}/api/v1/devices/${DEVICE_ID}/latest?topic=zigbee2mqtt/kitchen`, {
    headers: { authorization: `Bearer ${API_TOKEN}` },
  });
  const { data } = await answer.json();
  assert.equal(data.find((entry) => entry.key === "temperature")?.value, 21);
  for (const topic of found.keys()) await soon(late.publishAsync(topic, "", { qos: 1, retain: true }), "PUBACK");
  await soon(late.endAsync(), "the end");
  await soon(bridge.endAsync(), "the end");
}

for (const [version, name] of [
  [4, "3.1.1"],
  [5, "5.0"],
]) {
  await start(version);
  console.log(`zigbee2mqtt ${name}: start`);
}
process.exit(0);
