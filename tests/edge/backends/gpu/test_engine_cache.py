"""Engines on disk: found only when everything they depend on is the same, never half, never built twice at once."""

import dataclasses
import logging
import multiprocessing

import pytest

from edge.backends.gpu.engine_cache import CachedEngine, EngineCache, EngineKey
from edge.core.errors import EngineError

KEY = EngineKey(
    product="tensorrt", version="10.3.0.30", precision="int8", model_sha256="ab" * 32, gpu="Orin",
    compute_capability="8.7", driver="540.4.0", cuda="12.6", shapes="batch 1..1..1", flags="strongly_typed",
)  # fmt: skip


def never():
    raise AssertionError("built again")


@pytest.fixture
def cache(tmp_path):
    return EngineCache(tmp_path / "engines")


def test_a_built_engine_is_found_again_with_its_hash(cache):
    built = cache.obtain(KEY, lambda: b"plan\nof lines\n")
    found = cache.obtain(KEY, never)
    assert (built.built, found.built) == (True, False)
    assert found.plan == b"plan\nof lines\n"
    assert found.sha256 == built.sha256


def test_a_difference_in_anything_it_depends_on_builds_it_again_and_says_so(cache, caplog):
    caplog.set_level(logging.INFO)
    for field in [field.name for field in dataclasses.fields(EngineKey)]:
        cache.obtain(KEY, lambda: b"old")
        other = dataclasses.replace(KEY, **{field: "cd" * 32})
        caplog.clear()
        assert cache.obtain(other, lambda: b"new").plan == b"new", field
        # what names the file makes a file of its own; all else replaces the engine, and is told
        separate = field in ("product", "precision", "model_sha256")
        assert ("not built yet" if separate else f"{field} {getattr(KEY, field)} → cdcd") in caplog.text, field
        assert (cache.find(KEY) is not None) == separate, field


def test_a_damaged_file_is_detected_and_built_again(cache, caplog, subtests):
    for damage, words in [
        (lambda data: data[:-1], "is damaged: 3 of 4 bytes"),
        (lambda data: data[:-1] + b"X", "is damaged: 4 of 4 bytes, and another hash"),
        (lambda data: b"x" + data[1:], "its header cannot be read"),
        (lambda data: data[:30], "its header cannot be read"),
        (lambda data: b"", "its header cannot be read"),
        (lambda data: data.split(b"\n")[0] + b"\n[]\n", "its header cannot be read"),
        (lambda data: data.split(b"\n")[0] + b"\n" + b"[" * 60000, "its header cannot be read"),
    ]:
        with subtests.test(words=words):
            path = cache.obtain(KEY, lambda: b"plan").path
            caplog.clear()
            path.write_bytes(damage(path.read_bytes()))
            assert cache.find(KEY) is None
            assert words in caplog.text
            assert cache.obtain(KEY, lambda: b"plan").built


def test_a_build_that_fails_leaves_the_old_engine_and_the_lock_free(cache):
    cache.obtain(KEY, lambda: b"old")
    with pytest.raises(EngineError):
        cache.obtain(dataclasses.replace(KEY, driver="550"), lambda: (_ for _ in ()).throw(EngineError("no", fix="x")))
    assert cache.find(KEY).plan == b"old"


def _obtain(directory, start, builds, results):
    def build():
        with builds.get_lock():
            builds.value += 1
        start.wait(0.3)
        return b"plan"

    results.put(EngineCache(directory).obtain(KEY, build).plan)


def test_processes_that_want_the_same_engine_build_it_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    start, builds, results = context.Event(), context.Value("i", 0), context.Queue()
    others = [context.Process(target=_obtain, args=(tmp_path, start, builds, results)) for _ in range(3)]
    for other in others:
        other.start()
    assert [results.get(timeout=60) for _ in others] == [b"plan"] * 3
    for other in others:
        other.join(20)
    assert builds.value == 1


def test_what_rtx_compiled_is_kept_for_its_engine_alone(cache, caplog):
    engine = cache.obtain(KEY, lambda: b"plan")
    assert cache.find_compiled(engine) is None
    assert caplog.records[1:] == []
    cache.keep_compiled(engine, b"kernels")
    assert cache.find_compiled(engine) == b"kernels"
    assert cache.find_compiled(CachedEngine(b"other", "ef" * 32, engine.path, built=False)) is None
    assert "is another engine" in caplog.text


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(EngineError, match="file") as refusal:
        EngineCache(tmp_path / "file").obtain(KEY, lambda: b"plan")
    assert "--engines" in refusal.value.fix


def test_finding_nothing_writes_nothing(cache, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    assert cache.find(KEY) is None
    assert list(tmp_path.iterdir()) == []
