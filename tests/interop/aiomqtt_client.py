"""aiomqtt through what its users do, in both versions. Run by tests/interop.sh."""

import asyncio
import os

import aiomqtt

HOST, PORT = os.environ["MQTT_HOST"], int(os.environ["MQTT_PORT"])
DEVICE, TOKEN = os.environ["DEVICE_ID"], os.environ["DEVICE_TOKEN"]
V311, V5 = aiomqtt.ProtocolVersion.V311, aiomqtt.ProtocolVersion.V5
PATIENCE = 20


def client(version, client_id, username=DEVICE, password=TOKEN, **options):
    return aiomqtt.Client(
        HOST, PORT, username=username, password=password, identifier=client_id, protocol=version, **options
    )


async def receive(subscriber):
    return await asyncio.wait_for(anext(aiter(subscriber.messages)), PATIENCE)


async def every_qos(version):
    async with client(version, "aio-p") as publisher:
        for wanted in (0, 1, 2):
            async with client(version, f"aio-s{wanted}") as subscriber:
                await subscriber.subscribe("aio/t", qos=wanted)
                for qos in (0, 1, 2):
                    await publisher.publish("aio/t", '{"celsius":21.5}', qos=qos)
                    message = await receive(subscriber)
                    assert (message.payload, message.qos) == (b'{"celsius":21.5}', min(qos, wanted)), message


async def token_in_any_form(version):
    for username, password in ((TOKEN, None), (TOKEN, ""), (DEVICE, f" {TOKEN}")):
        async with client(version, "aio-t", username, password) as me:
            await me.subscribe("aio/me", qos=1)
            await me.publish("aio/me", "ON", qos=1)
            assert (await receive(me)).payload == b"ON"


async def retained_and_will(version):
    will = aiomqtt.Will("aio/state", "offline", qos=1, retain=True)
    async with client(version, "aio-s") as subscriber:
        await subscriber.subscribe("aio/state", qos=1)
        try:
            async with client(version, "aio-d", will=will) as dying:
                await dying.publish("aio/state", "online", qos=1, retain=True)
                assert (await receive(subscriber)).payload == b"online"
                dying._client._sock_close()
                raise ConnectionAbortedError
        except (ConnectionAbortedError, aiomqtt.MqttError):
            pass
        assert (await receive(subscriber)).payload == b"offline"
    async with client(version, "aio-l") as late:
        await late.subscribe("aio/state", qos=1)
        message = await receive(late)
        assert (message.payload, message.retain) == (b"offline", True)
        await late.publish("aio/state", b"", qos=1, retain=True)


async def wrong_password(version):
    try:
        async with client(version, "aio-x", password="wrong"):
            raise AssertionError("a wrong password got in")
    except aiomqtt.MqttError:
        pass


async def main():
    for version, name in ((V311, "3.1.1"), (V5, "5.0")):
        for test in (every_qos, token_in_any_form, retained_and_will, wrong_password):
            await test(version)
            print(f"aiomqtt {name}: {test.__name__}", flush=True)


asyncio.run(main())
