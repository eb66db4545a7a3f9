"""What other clients may do to the server in a line's process: nothing."""

import contextlib
import gc
import random
import socket
import struct
import threading
import time

import pytest

from edge.plant.plc.register_map import INPUTS
from tests.fakes import WAIT_S, eventually

pytest.importorskip("pymodbus", reason="the extra `plc` is not installed")


def test_who_is_not_allowed_is_turned_away_and_named(line, caplog):
    running = line(allow=["192.0.2.7", "10.0.0.0/8"])
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", running.link.port)) as stranger:
            stranger.settimeout(5)
            with contextlib.suppress(ConnectionResetError):
                assert stranger.recv(1) == b""
    assert caplog.text.count("127.0.0.1 is not in plc.allow and was refused (1 times so far)") == 1
    assert caplog.text.count("refused") == 1


def test_a_hundred_connections_leave_the_plc_its_place(line, plc):
    running = line()
    ours = plc(running)
    assert ours.inspect(1).passes(1)
    others = [socket.create_connection(("127.0.0.1", running.link.port)) for _ in range(100)]
    assert ours.inspect(2).passes(2)
    late = plc(running)
    assert late.read().version == 1, "who comes now gets a place, too"
    assert len(running.link._server._clients) <= 16
    for each in others:
        each.close()
    assert ours.inspect(3).passes(3)


def test_a_client_that_floods_is_left_at_once(line, plc):
    running = line()
    ours = plc(running)
    ask = struct.pack(">HHHBBHH", 1, 0, 6, 1, 4, 0, INPUTS)
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", running.link.port)) as flood:
            flood.settimeout(WAIT_S)
            # more than the kernel holds of what nobody reads
            with pytest.raises(ConnectionError):
                for _ in range(2000):
                    flood.sendall(ask * 1000)
    before = running.verdicts
    for part in range(1, 11):
        assert ours.inspect(part).passes(part)
    assert running.verdicts > before


def test_clients_that_ask_without_a_pause_are_slowed_and_the_plc_is_not(line, plc, monkeypatch):
    monkeypatch.setattr("edge.plant.plc.server._OF_OTHERS", 20)
    running = line()
    ours, watching = plc(running), plc(running)
    assert ours.inspect(1).passes(1)
    began_s = time.monotonic()
    # a burst goes through, then 20 a second
    for _ in range(40):
        watching.read()
    assert time.monotonic() - began_s > 0.4
    for part in range(2, 12):
        assert ours.inspect(part).passes(part)


def frames(rng, count):
    """Requests that are good, mutated, cut, joined, or noise."""
    words = [0, 1, 2, 15, 16, 100, 101, 111, 112, 125, 126, 0x7FFF, 0xFFFF]
    for _ in range(count):
        function = rng.choice([1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 15, 16, 17, 20, 21, 22, 23, 24, 43, rng.getrandbits(8)])
        if rng.random() < 0.5:
            data = struct.pack(">HH", rng.choice(words), rng.choice(words))
            if function in (15, 16, 23):
                data += bytes([rng.choice([0, 2, 4, 24, 255])]) + rng.randbytes(rng.choice([0, 1, 2, 4, 24, 60]))
        else:
            data = rng.randbytes(rng.randrange(0, 260))
        body = bytes([rng.getrandbits(8), function]) + data
        length = len(body) if rng.random() < 0.8 else rng.choice([0, 1, 2, 255, 0xFFFF, len(body) + 1])
        protocol = 0 if rng.random() < 0.95 else rng.getrandbits(16)
        frame = bytearray(struct.pack(">HHH", rng.getrandbits(16), protocol, length) + body)
        if rng.random() < 0.3:
            frame[rng.randrange(len(frame))] ^= 1 << rng.randrange(8)
        if rng.random() < 0.1:
            del frame[rng.randrange(len(frame)) :]
        yield bytes(frame) if rng.random() < 0.98 else rng.randbytes(rng.randrange(1, 2000))


def test_ten_thousand_frames_of_noise_change_nothing_for_loop_and_plc(line, plc, monkeypatch, caplog):
    # so that every frame reaches the parser in seconds
    monkeypatch.setattr("edge.plant.plc.server._OF_OTHERS", 10**6)
    monkeypatch.setattr("edge.plant.plc.server._OF_PLC", 10**6)
    running, rng, answered, parts = line(), random.Random(4), 0, 0
    noise, before = None, running.verdicts
    for number, data in enumerate(frames(rng, 10_000)):
        if number % 20 == 0:
            # a half frame swallows those after it, so each connection gets a few
            noise = None
        try:
            if noise is None:
                noise = socket.create_connection(("127.0.0.1", running.link.port))
            noise.sendall(data)
            if number % 4 == 0:
                noise.settimeout(0.002)
                answer = noise.recv(4096)
                answered += bool(answer)
                noise = noise if answer else None
        except TimeoutError:
            pass
        except OSError:
            noise = None
        if number % 2500 == 2499:
            # the noise may have taken the PLC's place: it comes again, as it does after every break
            ours, parts = plc(running), parts + 1
            assert ours.inspect(parts).passes(parts)
            ours.close()
            assert running.verdicts > before
            before = running.verdicts
    assert answered > 200
    assert not running.counters.alarms.standing()
    assert "Traceback" not in caplog.text and "failed" not in caplog.text
    assert sum("asyncio" in record.name for record in caplog.records) == 0


def test_a_server_that_ends_while_it_is_asked_leaves_nothing_behind(line, caplog):
    halt, asked = threading.Event(), []

    def ask(port):
        # requests without a pause, and without waiting for an answer; in a new connection when it is left for that
        while not halt.is_set():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as asking:
                while not halt.is_set():
                    asking.sendall(struct.pack(">HHHBBHH", 1, 0, 6, 1, 4, 0, INPUTS))
                    asked.append(port)

    for _ in range(10):
        running = line()
        count = len(asked)
        thread = threading.Thread(target=ask, args=(running.link.port,))
        thread.start()
        assert eventually(lambda before=count: len(asked) > before + 20)
        running.link.close()
        halt.set()
        thread.join()
        halt.clear()
    gc.collect()
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []
