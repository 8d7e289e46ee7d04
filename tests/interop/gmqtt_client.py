"""gmqtt through what its users do, in both versions. Run by tests/interop.sh."""

import asyncio
import os

import gmqtt
from gmqtt.mqtt.constants import MQTTv50, MQTTv311

HOST, PORT = os.environ["MQTT_HOST"], int(os.environ["MQTT_PORT"])
DEVICE, TOKEN = os.environ["DEVICE_ID"], os.environ["DEVICE_TOKEN"]
PATIENCE = 20


class Client:
    """A client whose events can be waited for."""

    @classmethod
    async def connect(cls, version, client_id, user=DEVICE, password=TOKEN, will=None, clean=True, **properties):
        self = cls()
        self.messages, self.subscribed = asyncio.Queue(), asyncio.Queue()
        self.client = gmqtt.Client(client_id, clean_session=clean, will_message=will, **properties)
        self.client.set_config({"reconnect_retries": 0})
        self.client.set_auth_credentials(user, password)
        self.client.on_message = self.on_message
        self.client.on_subscribe = lambda *told: self.subscribed.put_nowait(told)
        await asyncio.wait_for(self.client.connect(HOST, PORT, keepalive=30, version=version), PATIENCE)
        return self

    async def on_message(self, _client, topic, payload, qos, properties):
        await self.messages.put((topic, payload, qos, properties))
        return 0

    async def subscribe(self, topic, qos):
        self.client.subscribe(topic, qos=qos)
        await asyncio.wait_for(self.subscribed.get(), PATIENCE)

    async def receive(self):
        return await asyncio.wait_for(self.messages.get(), PATIENCE)

    async def disconnect(self):
        await asyncio.wait_for(self.client.disconnect(), PATIENCE)


async def every_qos(version):
    publisher = await Client.connect(version, "gmqtt-p")
    for wanted in (0, 1, 2):
        subscriber = await Client.connect(version, f"gmqtt-s{wanted}")
        await subscriber.subscribe("gmqtt/t", wanted)
        for qos in (0, 1, 2):
            publisher.client.publish("gmqtt/t", {"celsius": 21.5}, qos=qos)
            topic, payload, got, _ = await subscriber.receive()
            assert (topic, payload, got) == ("gmqtt/t", b'{"celsius": 21.5}', min(qos, wanted))
        await subscriber.disconnect()
    await publisher.disconnect()


async def token_in_any_form(version):
    for user, password in ((TOKEN, None), (TOKEN, ""), (DEVICE, TOKEN + "\n"), (DEVICE, TOKEN.upper())):
        client = await Client.connect(version, "gmqtt-t", user, password)
        await client.subscribe("gmqtt/me", 1)
        client.client.publish("gmqtt/me", "1", qos=1)
        assert (await client.receive())[1] == b"1"
        await client.disconnect()


async def retained(version):
    client = await Client.connect(version, "gmqtt-r")
    client.client.publish("gmqtt/state", "online", qos=1, retain=True)
    late = None
    while late is None:
        subscriber = await Client.connect(version, "gmqtt-l")
        await subscriber.subscribe("gmqtt/state", 1)
        late = (await subscriber.receive())[1]
        await subscriber.disconnect()
    assert late == b"online", late
    client.client.publish("gmqtt/state", "", qos=1, retain=True)
    await client.disconnect()


async def will(version):
    subscriber = await Client.connect(version, "gmqtt-s")
    await subscriber.subscribe("gmqtt/gone", 1)
    dying = await Client.connect(version, "gmqtt-d", will=gmqtt.Message("gmqtt/gone", "offline", qos=1))
    dying.client._connection._transport.abort()
    assert (await subscriber.receive())[:2] == ("gmqtt/gone", b"offline")
    await subscriber.disconnect()


async def properties_of_5_0(version):
    subscriber = await Client.connect(version, "gmqtt-s")
    await subscriber.subscribe("gmqtt/p", 1)
    publisher = await Client.connect(version, "gmqtt-p")
    publisher.client.publish(
        "gmqtt/p", "1", qos=1, content_type="text", response_topic="answers", correlation_data=b"\x00\xff",
        user_property=[("b", "1"), ("a", "2")], message_expiry_interval=60,
    )
    _, payload, _, told = await subscriber.receive()
    assert payload == b"1"
    assert told["content_type"] == ["text"] and told["response_topic"] == ["answers"], told
    assert told["user_property"] == [("b", "1"), ("a", "2")], told
    await publisher.disconnect()
    await subscriber.disconnect()


async def main():
    both = [every_qos, token_in_any_form, retained, will]
    for version, name, tests in ((MQTTv311, "3.1.1", both), (MQTTv50, "5.0", [*both, properties_of_5_0])):
        for test in tests:
            await test(version)
            print(f"gmqtt {name}: {test.__name__}", flush=True)
    # The client that was cut off tries to connect again, and complains when it is stopped.
    os._exit(0)


asyncio.run(main())
