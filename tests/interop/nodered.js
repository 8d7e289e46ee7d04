// A flow of Node-RED with its own MQTT nodes: it takes what a device publishes, and publishes what it makes of it. Run by
// tests/interop.sh.

import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";

const require = createRequire(import.meta.url);
const RED = require("node-red");
const mqtt = require("mqtt");

const { MQTT_HOST, MQTT_PORT, DEVICE_ID, DEVICE_TOKEN } = process.env;
const PATIENCE = 30_000;
const client = { host: MQTT_HOST, port: Number(MQTT_PORT), username: DEVICE_ID, password: DEVICE_TOKEN };

function flow(version) {
  const broker = {
    id: "broker",
    type: "mqtt-broker",
    broker: MQTT_HOST,
    port: MQTT_PORT,
    clientid: `nodered-${version}`,
    autoConnect: true,
    usetls: false,
    protocolVersion: String(version),
    keepalive: "60",
    cleansession: true,
    birthTopic: "nodered/state",
    birthQos: "1",
    birthRetain: "true",
    birthPayload: "online",
    closeTopic: "nodered/state",
    closeQos: "1",
    closeRetain: "true",
    closePayload: "offline",
    willTopic: "nodered/state",
    willQos: "1",
    willRetain: "true",
    willPayload: "lost",
  };
  const made = { id: "made", type: "change", z: "tab", wires: [["out"]] };
  made.rules = [
    { t: "set", p: "payload", pt: "msg", to: '{"fahrenheit": payload.celsius * 1.8 + 32}', tot: "jsonata" },
    { t: "set", p: "topic", pt: "msg", to: "nodered/out", tot: "str" },
  ];
  return [
    { id: "tab", type: "tab", label: "interop" },
    broker,
    { id: "in", type: "mqtt in", z: "tab", topic: "nodered/in", qos: "2", datatype: "json", broker: "broker", wires: [["made"]] },
    made,
    { id: "out", type: "mqtt out", z: "tab", topic: "", qos: "2", retain: "true", broker: "broker", wires: [] },
  ];
}

async function soon(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not come`)), PATIENCE);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** The next message on a topic with this payload. */
async function receive(device, topic, payload) {
  const wanted = async () => {
    for (;;) {
      const [from, bytes] = await once(device, "message");
      if (from === topic && bytes.toString() === payload) return;
    }
  };
  return soon(wanted(), `${payload} on ${topic}`);
}

async function runs(version) {
  const device = mqtt.connect({ ...client, clientId: "nodered-d", protocolVersion: version, reconnectPeriod: 0 });
  await soon(once(device, "connect"), "CONNACK");
  const online = receive(device, "nodered/state", "online");
  await device.subscribeAsync("nodered/#", { qos: 1 });
  await RED.runtime.flows.setFlows({
    flows: { flows: flow(version), credentials: { broker: { user: DEVICE_ID, password: DEVICE_TOKEN } } },
    deploymentType: "full",
  });
  await online;
  // The node subscribes after its birth: until it has, messages go past it.
  const answered = receive(device, "nodered/out", '{"fahrenheit":70.7}');
  const publishing = setInterval(() => device.publish("nodered/in", '{"celsius":21.5}', { qos: 1 }), 200);
  await answered.finally(() => clearInterval(publishing));
  const offline = receive(device, "nodered/state", "offline");
  await RED.runtime.flows.setFlows({ flows: { flows: [] }, deploymentType: "full" });
  await offline;
  for (const topic of ["nodered/state", "nodered/out"]) await device.publishAsync(topic, "", { qos: 1, retain: true });
  await device.endAsync();
}

const userDir = await mkdtemp(join(tmpdir(), "nodered-"));
await writeFile(join(userDir, "package.json"), "{}");
const server = createServer();
RED.init(server, {
  userDir,
  httpAdminRoot: false,
  httpNodeRoot: false,
  credentialSecret: false,
  logging: { console: { level: "error" } },
});
await soon(RED.start(), "Node-RED");
for (const [version, name] of [
  [4, "3.1.1"],
  [5, "5.0"],
]) {
  await runs(version);
  console.log(`node-red ${name}: a flow`);
}
await RED.stop();
await rm(userDir, { recursive: true, force: true });
process.exit(0);
