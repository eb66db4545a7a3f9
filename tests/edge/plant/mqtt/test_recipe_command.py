"""A recipe over MQTT: a real line, a real broker, the publisher between them."""

import json
import queue
import signal
from contextlib import suppress

import pytest
import yaml

from edge.plant.status_file import is_live, read_status
from tests.edge.plant.mqtt.mosquitto import PASSWORD, USER, WAIT_S, Mosquitto
from tests.edge.records.records_fakes import wait_for
from tests.recipe_line import write_recipes
from tests.system.command_line import running
from tests.system.conftest import parts_in

pytestmark = pytest.mark.mosquitto
pytest.importorskip("paho.mqtt.client", reason="the extra `mqtt` is not installed")

LINE = "edge-inspect/hall/left"


class Plant:
    """What a plant's control does: it sends to cmd/recipe, and hears the answers."""

    def __init__(self, broker):
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        self._answers, subscribed = queue.SimpleQueue(), queue.SimpleQueue()
        self._client = Client(CallbackAPIVersion.VERSION2, client_id="plant")
        self._client.username_pw_set(USER, PASSWORD)
        self._client.on_connect = lambda client, *rest: client.subscribe(f"{LINE}/recipe", qos=1)
        self._client.on_subscribe = lambda *rest: subscribed.put(True)
        self._client.on_message = lambda client, data, message: self._answers.put(json.loads(message.payload))
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()
        subscribed.get(timeout=WAIT_S)

    def send(self, payload, retain=False):
        self._client.publish(f"{LINE}/cmd/recipe", payload, qos=1, retain=retain).wait_for_publish(WAIT_S)

    def ask(self, payload):
        self.send(payload)
        return self._answers.get(timeout=WAIT_S)

    def heard(self, payload):
        """The answer to what is sent each second: the publisher says that it publishes before it is subscribed."""
        answers, tries = [], 0
        while not answers or not self._answers.empty():
            assert (tries := tries + 1) < WAIT_S, f"nobody answers {payload!r}"
            if not answers:
                self.send(payload)
            with suppress(queue.Empty):
                answers.append(self._answers.get(timeout=1))
        return answers[0]

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def plant(tmp_path):
    broker = Mosquitto(tmp_path / "broker")
    plant = Plant(broker)
    plant.port = broker.port
    yield plant
    plant.close()
    broker.kill()


def write_settings(folder, plant, bundle_path, accept):
    (folder / "password").write_text(PASSWORD + "\n")
    (folder / "password").chmod(0o640)
    settings = {
        "line": {"name": "left", "run_directory": "run"},
        "camera": {"fps": 20},
        "recipes": {"file": str(write_recipes(folder, a={"bundle": str(bundle_path)}, b={"bundle": str(bundle_path)}))},
        "mqtt": {
            "host": "127.0.0.1", "port": plant.port, "site": "hall", "user": USER, "password_file": "password",
            "accept_recipe": accept,
        },
    }  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))


def test_a_recipe_is_changed_over_mqtt_and_the_answer_published(plant, bundle_path, tmp_path):
    write_settings(tmp_path, plant, bundle_path, accept=True)
    # one that the broker kept, from before: nobody asks for it now
    plant.send("b", retain=True)
    parts = parts_in(tmp_path / "parts", 40, digits=3)
    with running("run", "--camera", parts, "--watch", cwd=tmp_path), running("publish", cwd=tmp_path) as publisher:
        wait_for(lambda: is_live(read_status(tmp_path / "run")), WAIT_S)
        wait_for(lambda: "publishing" in publisher.errors, WAIT_S)
        assert plant.heard("c")["text"].endswith("no recipe 'c'")
        assert read_status(tmp_path / "run")["recipe"]["name"] == "a"
        answer = plant.ask(" 2 ")
        assert (answer["recipe"], answer["changed"]) == ("b", True)
        assert answer["text"].startswith("changed in ")
        wait_for(lambda: read_status(tmp_path / "run")["recipe"]["name"] == "b", WAIT_S)
        assert not plant.ask("x" * 100)["changed"]
        publisher.signal(signal.SIGTERM)
        assert publisher.ended() == 130
    assert "Traceback" not in publisher.errors


def test_without_accept_recipe_nothing_is_taken(plant, bundle_path, tmp_path):
    write_settings(tmp_path, plant, bundle_path, accept=False)
    parts = parts_in(tmp_path / "parts", 10, digits=3)
    with running("run", "--camera", parts, "--watch", cwd=tmp_path), running("publish", cwd=tmp_path) as publisher:
        wait_for(lambda: is_live(read_status(tmp_path / "run")), WAIT_S)
        wait_for(lambda: "publishing" in publisher.errors, WAIT_S)
        with pytest.raises(queue.Empty):
            plant.send("b")
            plant._answers.get(timeout=1.0)
        assert read_status(tmp_path / "run")["recipe"]["name"] == "a"
