"""Eclipse Paho for Python through all that it can do, in both versions. Run by tests/interop.sh."""

import os
import queue
import socket
import sys
import time

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

HOST = os.environ["MQTT_HOST"]
PORT = int(os.environ["MQTT_PORT"])
DEVICE = os.environ["DEVICE_ID"]
TOKEN = os.environ["DEVICE_TOKEN"]
PATIENCE = 20
V3, V5 = mqtt.MQTTv311, mqtt.MQTTv5


class Client:
    """A client whose events can be waited for."""

    def __init__(self, version, client_id, clean=True, expiry=0, password=TOKEN, will=None, properties=None):
        self.version = version
        options = {"clean_session": clean} if version == V3 else {}
        self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id=client_id, protocol=version, **options
        )
        self.client.username_pw_set(DEVICE, password)
        if will:
            self.client.will_set(**will)
        self.messages, self.connected, self.subscribed = queue.Queue(), queue.Queue(), queue.Queue()
        self.client.on_message = lambda _c, _u, message: self.messages.put(message)
        self.client.on_connect = lambda _c, _u, flags, reason, props: self.connected.put((flags, reason, props))
        self.client.on_subscribe = lambda _c, _u, _mid, reasons, _p: self.subscribed.put(reasons)
        self.clean, self.expiry, self.properties = clean, expiry, properties

    def connect(self):
        more = {}
        if self.version == V5:
            properties = self.properties or Properties(PacketTypes.CONNECT)
            if self.expiry:
                properties.SessionExpiryInterval = self.expiry
            more = {"clean_start": self.clean, "properties": properties}
        self.client.connect(HOST, PORT, keepalive=30, **more)
        self.client.loop_start()
        flags, reason, properties = self.connected.get(timeout=PATIENCE)
        self.session_present, self.reason, self.told = flags.session_present, reason, properties
        return self

    def subscribe(self, *args, **options):
        self.client.subscribe(*args, **options)
        return self.subscribed.get(timeout=PATIENCE)

    def publish(self, topic, payload, qos=1, retain=False, properties=None):
        info = self.client.publish(topic, payload, qos, retain, properties)
        info.wait_for_publish(PATIENCE)
        assert info.is_published(), f"{topic} was not acknowledged"

    def receive(self):
        return self.messages.get(timeout=PATIENCE)

    def disconnect(self):
        self.client.disconnect()
        self.client.loop_stop()

    def break_off(self):
        """Ends the connection as a broken network does."""
        self.client.loop_stop()
        self.client.socket().shutdown(socket.SHUT_RDWR)
        self.client.socket().close()


def every_qos(version):
    publisher = Client(version, "paho-p").connect()
    for wanted in (0, 1, 2):
        subscriber = Client(version, f"paho-s{wanted}").connect()
        assert [reason.value for reason in subscriber.subscribe("paho/t", wanted)] == [wanted]
        for qos in (0, 1, 2):
            publisher.publish("paho/t", b'{"celsius":21.5}', qos)
            message = subscriber.receive()
            assert (message.qos, message.payload) == (min(qos, wanted), b'{"celsius":21.5}'), message
        subscriber.disconnect()
    publisher.disconnect()


def many_at_qos_2(version):
    subscriber = Client(version, "paho-s").connect()
    subscriber.subscribe("paho/many", 2)
    publisher = Client(version, "paho-p").connect()
    infos = [publisher.client.publish("paho/many", str(number), 2) for number in range(300)]
    for info in infos:
        info.wait_for_publish(PATIENCE)
    assert [subscriber.receive().payload for _ in infos] == [str(number).encode() for number in range(300)]
    subscriber.disconnect()
    publisher.disconnect()


def retained(version):
    client = Client(version, "paho-r").connect()
    client.publish("paho/state", b"1", 1, True)
    client.subscribe("paho/state", 1)
    assert client.receive().retain
    client.publish("paho/state", b"", 1, True)
    assert client.receive().payload == b""
    late = Client(version, "paho-l").connect()
    late.subscribe("paho/state", 1)
    late.publish("paho/state", b"2")
    message = late.receive()
    assert (message.payload, message.retain) == (b"2", False)
    client.disconnect()
    late.disconnect()


def will(version):
    subscriber = Client(version, "paho-s").connect()
    subscriber.subscribe("paho/gone/#", 1)
    for name in ("polite", "broken"):
        client = Client(version, "paho-" + name, will={"topic": "paho/gone/" + name, "payload": b"true", "qos": 1})
        client.connect()
        if name == "polite":
            client.disconnect()
        else:
            client.break_off()
    assert subscriber.receive().topic == "paho/gone/broken"
    subscriber.disconnect()


def session(version):
    name = f"paho-kept-{version}"
    first = Client(version, name, clean=False, expiry=60).connect()
    assert not first.session_present
    first.subscribe("paho/kept", 2)
    first.break_off()
    publisher = Client(version, "paho-p").connect()
    for qos in (0, 1, 2):
        publisher.publish("paho/kept", str(qos), qos)
    second = Client(version, name, clean=False, expiry=60).connect()
    assert second.session_present
    assert [second.receive().payload for _ in range(2)] == [b"1", b"2"]
    second.disconnect()
    # A clean start ends it.
    Client(version, name).connect().disconnect()
    third = Client(version, name, clean=False, expiry=1).connect()
    assert not third.session_present
    third.disconnect()
    publisher.disconnect()


def shared(version):
    members = [Client(version, f"paho-m{number}").connect() for number in range(2)]
    for member in members:
        member.subscribe("$share/group/paho/shared", 1)
    publisher = Client(version, "paho-p").connect()
    for number in range(4):
        publisher.publish("paho/shared", str(number))
    got = [member.receive().payload for member in members for _ in range(2)]
    assert sorted(got) == [b"0", b"1", b"2", b"3"], got
    for client in (*members, publisher):
        client.disconnect()


def wrong_password(version):
    client = Client(version, "paho-x", password="wrong").connect()
    assert client.reason.is_failure and client.reason.value == 134, client.reason
    client.client.loop_stop()


def properties_of_5_0(version):
    wanted = Properties(PacketTypes.CONNECT)
    wanted.TopicAliasMaximum = 4
    wanted.ReceiveMaximum = 5
    subscriber = Client(version, "paho-s", properties=wanted).connect()
    assert (subscriber.told.ReceiveMaximum, subscriber.told.TopicAliasMaximum) == (1024, 64)
    identifier = Properties(PacketTypes.SUBSCRIBE)
    identifier.SubscriptionIdentifier = 300
    subscriber.subscribe("paho/p", options=SubscribeOptions(qos=1, noLocal=True), properties=identifier)
    subscriber.publish("paho/p", b"0")
    sent = Properties(PacketTypes.PUBLISH)
    sent.PayloadFormatIndicator = 1
    sent.MessageExpiryInterval = 3600
    sent.ContentType = "application/json"
    sent.ResponseTopic = "answers"
    sent.CorrelationData = b"\x00\xff"
    sent.UserProperty = [("b", "1"), ("a", "2")]
    publisher = Client(version, "paho-p").connect()
    publisher.publish("paho/p", b"1", 1, False, sent)
    got = subscriber.receive()
    assert got.payload == b"1"
    got = got.properties
    assert (got.ContentType, got.ResponseTopic, got.CorrelationData) == ("application/json", "answers", b"\x00\xff")
    assert (got.UserProperty, got.SubscriptionIdentifier) == ([("b", "1"), ("a", "2")], [300])
    assert (got.PayloadFormatIndicator, got.MessageExpiryInterval <= 3600) == (1, True)
    reasons = publisher.subscribe([("$SYS/x", SubscribeOptions(qos=1))])
    assert reasons[0].value == 0x87, reasons
    publisher.disconnect()
    subscriber.disconnect()


def refused_payload(version):
    reasons = queue.Queue()
    client = Client(version, "paho-x").connect()
    client.client.on_publish = lambda _c, _u, _mid, reason, _p: reasons.put(reason)
    client.publish("paho/t", b"{no json}")
    assert reasons.get(timeout=PATIENCE).value == 0x99
    client.disconnect()


def main():
    both = [every_qos, many_at_qos_2, retained, will, session, shared, wrong_password]
    for version, name, tests in ((V3, "3.1.1", both), (V5, "5.0", [*both, properties_of_5_0, refused_payload])):
        for test in tests:
            begin = time.monotonic()
            test(version)
            print(f"paho {name}: {test.__name__} ({time.monotonic() - begin:.1f} s)", flush=True)


if __name__ == "__main__":
    main()
    # Threads of clients that were cut off must not keep a passed run alive.
    sys.stdout.flush()
    os._exit(0)
