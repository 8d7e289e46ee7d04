// MQTT.js through all that it can do, in both versions. Run by tests/interop.sh.

import assert from "node:assert/strict";
import { once } from "node:events";
import mqtt from "mqtt";

const { MQTT_HOST, MQTT_PORT, DEVICE_ID, DEVICE_TOKEN } = process.env;
const PATIENCE = 20_000;

/** Rejects when something does not come in time. */
function soon(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not come`)), PATIENCE);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** A client whose messages can be waited for. */
class Client {
  static async connect(version, clientId, options = {}) {
    const client = new Client();
    client.client = mqtt.connect({
      host: MQTT_HOST,
      port: Number(MQTT_PORT),
      protocolVersion: version,
      clientId,
      username: DEVICE_ID,
      password: DEVICE_TOKEN,
      clean: true,
      reconnectPeriod: 0,
      ...options,
    });
    client.messages = [];
    client.waiting = [];
    client.client.on("message", (topic, payload, packet) => {
      const waiting = client.waiting.shift();
      if (waiting) waiting(packet);
      else client.messages.push(packet);
    });
    client.client.on("error", () => {});
    const [connack] = await soon(
      Promise.race([
        once(client.client, "connect"),
        new Promise((_, reject) => client.client.once("error", reject)),
      ]),
      "CONNACK",
    );
    client.connack = connack;
    return client;
  }

  subscribe(filter, options) {
    return soon(this.client.subscribeAsync(filter, options), "SUBACK");
  }

  publish(topic, payload, options = { qos: 1 }) {
    return soon(this.client.publishAsync(topic, payload, options), "the acknowledgement");
  }

  receive() {
    if (this.messages.length > 0) return this.messages.shift();
    return soon(new Promise((resolve) => this.waiting.push(resolve)), "a message");
  }

  end() {
    return soon(this.client.endAsync(), "the end");
  }

  /** Ends the connection as a broken network does. */
  async breakOff() {
    const closed = once(this.client, "close");
    this.client.stream.destroy();
    await soon(closed, "the end");
    await this.client.endAsync(true);
  }
}

async function everyQos(version) {
  const publisher = await Client.connect(version, "js-p");
  for (const wanted of [0, 1, 2]) {
    const subscriber = await Client.connect(version, `js-s${wanted}`);
    const [granted] = await subscriber.subscribe("js/t", { qos: wanted });
    assert.equal(granted.qos, wanted);
    for (const qos of [0, 1, 2]) {
      await publisher.publish("js/t", '{"celsius":21.5}', { qos });
      const message = await subscriber.receive();
      assert.equal(message.qos, Math.min(qos, wanted));
      assert.equal(message.payload.toString(), '{"celsius":21.5}');
    }
    await subscriber.end();
  }
  await publisher.end();
}

async function manyAtQos2(version) {
  const subscriber = await Client.connect(version, "js-s");
  await subscriber.subscribe("js/many", { qos: 2 });
  const publisher = await Client.connect(version, "js-p");
  const numbers = Array.from({ length: 300 }, (_, number) => String(number));
  await Promise.all(numbers.map((number) => publisher.publish("js/many", number, { qos: 2 })));
  const received = [];
  for (const _ of numbers) received.push((await subscriber.receive()).payload.toString());
  assert.deepEqual(received, numbers);
  await subscriber.end();
  await publisher.end();
}

async function retained(version) {
  const client = await Client.connect(version, "js-r");
  await client.publish("js/state", "1", { qos: 1, retain: true });
  await client.subscribe("js/state", { qos: 1 });
  assert.equal((await client.receive()).retain, true);
  await client.publish("js/state", "", { qos: 1, retain: true });
  assert.equal((await client.receive()).payload.length, 0);
  const late = await Client.connect(version, "js-l");
  await late.subscribe("js/state", { qos: 1 });
  await late.publish("js/state", "2");
  const message = await late.receive();
  assert.deepEqual([message.payload.toString(), message.retain], ["2", false]);
  await client.end();
  await late.end();
}

async function will(version) {
  const subscriber = await Client.connect(version, "js-s");
  await subscriber.subscribe("js/gone/#", { qos: 1 });
  for (const name of ["polite", "broken"]) {
    const will = { topic: `js/gone/${name}`, payload: Buffer.from("true"), qos: 1, retain: false };
    const client = await Client.connect(version, `js-${name}`, { will });
    await (name === "polite" ? client.end() : client.breakOff());
  }
  assert.equal((await subscriber.receive()).topic, "js/gone/broken");
  await subscriber.end();
}

async function session(version) {
  const kept = { clean: false, ...(version === 5 && { properties: { sessionExpiryInterval: 60 } }) };
  const name = `js-kept-${version}`;
  const first = await Client.connect(version, name, kept);
  assert.equal(first.connack.sessionPresent, false);
  await first.subscribe("js/kept", { qos: 2 });
  await first.breakOff();
  const publisher = await Client.connect(version, "js-p");
  for (const qos of [0, 1, 2]) await publisher.publish("js/kept", String(qos), { qos });
  const second = await Client.connect(version, name, kept);
  assert.equal(second.connack.sessionPresent, true);
  for (const payload of ["1", "2"]) assert.equal((await second.receive()).payload.toString(), payload);
  await second.end();
  await (await Client.connect(version, name)).end();
  const third = await Client.connect(version, name, kept);
  assert.equal(third.connack.sessionPresent, false);
  await third.end();
  await publisher.end();
}

async function shared(version) {
  const members = [await Client.connect(version, "js-m0"), await Client.connect(version, "js-m1")];
  for (const member of members) await member.subscribe("$share/group/js/shared", { qos: 1 });
  const publisher = await Client.connect(version, "js-p");
  for (const number of ["0", "1", "2", "3"]) await publisher.publish("js/shared", number);
  const got = [];
  for (const member of members) {
    for (let count = 0; count < 2; count += 1) got.push((await member.receive()).payload.toString());
  }
  assert.deepEqual(got.sort(), ["0", "1", "2", "3"]);
  for (const client of [...members, publisher]) await client.end();
}

async function wrongPassword(version) {
  await assert.rejects(Client.connect(version, "js-x", { password: "wrong" }), (error) => {
    assert.equal(error.code, version === 5 ? 0x86 : 4);
    return true;
  });
}

async function propertiesOf5(version) {
  const subscriber = await Client.connect(version, "js-s", {
    properties: { topicAliasMaximum: 4, receiveMaximum: 5 },
  });
  const { receiveMaximum, topicAliasMaximum } = subscriber.connack.properties;
  assert.deepEqual([receiveMaximum, topicAliasMaximum], [1024, 64]);
  await subscriber.subscribe("js/p", { qos: 1, nl: true, properties: { subscriptionIdentifier: 300 } });
  await subscriber.publish("js/p", "0");
  const sent = {
    payloadFormatIndicator: true,
    messageExpiryInterval: 3600,
    contentType: "application/json",
    responseTopic: "answers",
    correlationData: Buffer.from([0, 255]),
    userProperties: { b: "1", a: ["2", "3"] },
  };
  const publisher = await Client.connect(version, "js-p", { autoAssignTopicAlias: true, autoUseTopicAlias: true });
  for (const payload of ["1", "2"]) {
    await publisher.publish("js/p", payload, { qos: 1, properties: { ...sent } });
    const message = await subscriber.receive();
    assert.equal(message.payload.toString(), payload);
    const { contentType, responseTopic, correlationData, userProperties, subscriptionIdentifier } = message.properties;
    assert.deepEqual([contentType, responseTopic], [sent.contentType, sent.responseTopic]);
    assert.deepEqual([...correlationData], [0, 255]);
    assert.deepEqual({ ...userProperties }, sent.userProperties);
    assert.equal(subscriptionIdentifier, 300);
  }
  await publisher.end();
  await subscriber.end();
}

async function refusedPayload(version) {
  const client = await Client.connect(version, "js-x");
  await assert.rejects(client.publish("js/t", "{no json}"), { code: 0x99 });
  await client.end();
}

const both = [everyQos, manyAtQos2, retained, will, session, shared, wrongPassword];
for (const [version, name, tests] of [
  [4, "3.1.1", both],
  [5, "5.0", [...both, propertiesOf5, refusedPayload]],
]) {
  for (const test of tests) {
    const begin = performance.now();
    await test(version);
    console.log(`mqtt.js ${name}: ${test.name} (${((performance.now() - begin) / 1000).toFixed(1)} s)`);
  }
}
process.exit(0);
