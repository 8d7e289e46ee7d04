"""ThingsBoard's client for Python, which logs in by a token and sends arrays. Run by tests/interop.sh."""

import json
import os
import time
import urllib.request

from tb_device_mqtt import TBDeviceMqttClient

HOST, PORT = os.environ["MQTT_HOST"], int(os.environ["MQTT_PORT"])
DEVICE, TOKEN = os.environ["DEVICE_ID"], os.environ["DEVICE_TOKEN"]
API, BEARER = os.environ["API_URL"], os.environ["API_TOKEN"]
PATIENCE = 20


def get(path):
    request = urllib.request.Request(f"{API}/api/v1/{path}", headers={"Authorization": f"Bearer {BEARER}"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return json.load(answer)


def wait_for(what, is_so):
    until = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < until, f"{what} did not come"
        time.sleep(0.05)


def main():
    client = TBDeviceMqttClient(HOST, PORT, TOKEN)
    client.connect(timeout=PATIENCE)
    wait_for("the connection", client.is_connected)
    print("thingsboard: connect", flush=True)

    now = int(time.time() * 1000)
    readings = [
        {"tb_temperature": 21.5, "tb_on": True},
        {"ts": now - 2000, "values": {"tb_humidity": 60}},
        [{"ts": now - 1000, "values": {"tb_humidity": 61}}, {"ts": now, "values": {"tb_humidity": 62}}],
    ]
    for reading in readings:
        assert client.send_telemetry(reading).get() == 0, reading
    assert client.send_attributes({"tb_firmware": "1.0"}).get() == 0

    def has_all():
        values = {entry["key"]: entry["value"] for entry in get(f"devices/{DEVICE}/latest")["data"]}
        wanted = {"tb_temperature": 21.5, "tb_on": True, "tb_humidity": 62, "tb_firmware": "1.0"}
        return all(values.get(key) == value for key, value in wanted.items())

    wait_for("what was sent, among the last values", has_all)
    query = f"telemetry/aggregate?deviceId={DEVICE}&key=tb_humidity&interval=1h&agg=count&from={now - 60000}&to={now + 60000}"
    count = sum(bucket["value"] for series in get(query)["data"] for bucket in series["buckets"])
    assert count == 3, count
    print("thingsboard: telemetry and attributes", flush=True)
    client.disconnect()


if __name__ == "__main__":
    main()
    # The client's threads must not keep a passed run alive.
    os._exit(0)
