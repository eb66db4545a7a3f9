"""From pictures in train/weak/ to a bundle: its memory has a head, and a later calibration judges good parts fairly."""

import cv2
import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed: no memory can be written")
pytest.importorskip("torch", reason="torch is not installed: pictures of defective parts are read by training")

from calibration.memory.designs import MemoryDesign
from calibration.memory.fitting import fit_memories, graphs_of
from calibration.memory.fold_heads import KEY, heads_of
from calibration.memory.weak_fitting import fit_weak
from calibration.memory.weak_parts import WeakParts
from calibration.pipeline.memory_folds import folds_of, weak_parts, with_memory
from calibration.pipeline.sample_cache import normal_samples
from edge.bundles.bundle import ModelBundle
from edge.bundles.versions import write_bundle
from edge.core.manifest import InputSpec, ScoreSpec
from export.memory_graph import memories_of, with_memories
from tests.calibration.memory.test_fitting import distances, parts
from tests.export.tap_graphs import HEIGHT, WIDTH, tapped_network
from tests.small_bundle import manifest

LOCAL = MemoryDesign("fine", ("tap2", "tap4"), axes=6, centres=16, block=2)
GOOD, WEAK = 30, 24


def speckled(count, seed, *, defective):
    """Every part has grey specks anywhere, as unusual as the green ones that only defective parts have."""
    random, fields = np.random.default_rng(seed), parts(count, seed)
    for field in fields:
        for number in range(3):
            row, column = random.integers(2, HEIGHT - 8), random.integers(2, WIDTH - 8)
            green = defective and number < 2
            field[row : row + 6, column : column + 6] = (20, 235, 20) if green else random.choice([10, 245])
    return fields


@pytest.fixture(scope="module")
def learned():
    model, good = tapped_network(), speckled(GOOD, 0, defective=False)
    fit = fit_memories(model, good, "aligned", [LOCAL])
    weak = WeakParts(speckled(WEAK, 1, defective=True), tuple(map(str, range(WEAK))))
    return model, good, fit, fit_weak(with_memories(model, fit.memories), fit, weak, "aligned")


def test_a_head_raises_what_the_memory_finds_on_parts_that_neither_has_seen(learned):
    model, _, fit, found = learned
    assert found.verdict.pays, found.text
    good, bad = speckled(30, 7, defective=False), speckled(30, 8, defective=True)
    figures = []
    for memories in (fit.memories, found.fit.memories):
        graph = with_memories(model, memories)
        scores = [np.array([distances(graph, field).max() for field in fields]) for fields in (good, bad)]
        figures.append(float((scores[1][None] > scores[0][:, None]).mean()))
    assert figures[1] > figures[0]


def test_what_is_held_out_is_what_the_graph_of_the_fold_gives_head_and_all(learned):
    model, good, _, found = learned
    graphs = graphs_of(model, found.fit)
    for number in (0, 7, 29):
        given = distances(graphs.folds[found.fit.fold_of[number]], good[number])
        assert given == pytest.approx(found.fit.held_out[number], abs=0.1)


def test_with_few_defective_parts_the_memory_stays_as_it_was(learned):
    model, _, fit, _ = learned
    # many pictures of few parts are few parts
    weak = WeakParts(speckled(WEAK, 1, defective=True), ("one",) * WEAK)
    found = fit_weak(with_memories(model, fit.memories), fit, weak, "aligned")
    assert found.fit is fit
    assert found.text == (
        "parts known to be defective: 24 pictures, 1 different: set aside, a head is judged by 6 at least"
    )


@pytest.fixture
def data(tmp_path):
    for folder, fields in (
        ("train/good", speckled(GOOD, 0, defective=False)),
        ("train/weak/speck", speckled(WEAK, 1, defective=True)),
    ):
        root = tmp_path / "data" / folder
        root.mkdir(parents=True)
        for number, field in enumerate(fields):
            cv2.imwrite(str(root / f"{number:02}.png"), field)
    return tmp_path / "data"


def test_a_later_calibration_judges_parts_by_the_heads_that_have_not_seen_them(data, tmp_path):
    empty = manifest(input=InputSpec(height=HEIGHT, width=WIDTH), outputs=("seg_logit", "emb_dist"), score=ScoreSpec())
    samples = normal_samples(ModelBundle(tmp_path / "made", empty, ""), data)
    model, folds = with_memory(tapped_network(), samples, 1, weak_parts(data, samples))
    assert memories_of(model)[0].head is not None
    assert "the head is used" in folds.weak
    remembered = empty.model_copy(update={"memory_on": tuple(part.sha256 for part in samples.all)})
    bundle = write_bundle(tmp_path / "made", remembered, {"model_fp32": ("model_fp32.onnx", model), **folds.files})
    assert len(heads_of(bundle).heads) == 5

    (data / "train" / "good" / "05.png").unlink()
    later = normal_samples(bundle, data)
    again = folds_of(bundle, later, 1)
    for part, field in zip(later.all, later.stacked(later.all), strict=True):
        fold = folds.fold_of[part.sha256]
        assert again.fold_of[part.sha256] == fold
        head, kept = again.memories[fold][0].head, folds.memories[fold][0].head
        assert np.array_equal(head.hidden, kept.hidden)
        given = distances(again.graph(model, fold), field), distances(folds.graph(model, fold), field)
        # the memory is one part poorer, the head is the same
        assert np.median(np.abs(given[0] - given[1])) < 0.5


def test_a_bundle_without_defective_parts_keeps_no_heads(data, tmp_path):
    empty = manifest(input=InputSpec(height=HEIGHT, width=WIDTH), outputs=("seg_logit", "emb_dist"), score=ScoreSpec())
    samples = normal_samples(ModelBundle(tmp_path / "made", empty, ""), data)
    _, folds = with_memory(tapped_network(), samples, 1)
    assert KEY not in folds.files
    assert folds.weak == ""
