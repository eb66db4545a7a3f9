"""Rounds of self-training: what they learn from weak parts and rules, and when they are left out or taken back."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: nothing can be trained")

from edge.metrics import image_auroc, pixel_average_precision  # noqa: E402
from tests.training.rules.plates import bad_plate, good_plate  # noqa: E402
from training.fit import pictures_from_fields  # noqa: E402
from training.methods.base import Batch, Design, Stage, TrainingData  # noqa: E402
from training.methods.kist import Kist, KistLearner  # noqa: E402
from training.methods.kist_labels import WeakLabels  # noqa: E402
from training.optimisation.stages import BatchSource, Training  # noqa: E402
from training.run.run_files import Resumable  # noqa: E402

# scratches are defects, glints are not: the residual cannot tell, the rules can
RIGHT = """rules:
  scratch: if darker is high then anomalous with 0.9
  glint: if brighter is high then normal with 0.9
"""
INVERTED = RIGHT.replace("darker", "held").replace("brighter", "darker").replace("held", "brighter")
WEAK = 6
BAD = [bad_plate(seed) for seed in range(WEAK + 8)]
PLATES = pictures_from_fields(np.stack([good_plate(seed) for seed in range(26)]))
WEAK_PLATES, TEST_PLATES = (
    pictures_from_fields(np.stack([picture for picture, _ in plates])) for plates in (BAD[:WEAK], BAD[WEAK:])
)
TEST_MASKS = [mask for _, mask in BAD[WEAK:]]


class Convolutions(torch.nn.Module):
    """No bottleneck. Unless it copies from the start, it first learns what plates look like."""

    def __init__(self, copies):
        super().__init__()
        self.copies = copies
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(3, 12, 3, padding=1, bias=False), torch.nn.BatchNorm2d(12), torch.nn.ReLU(),
            torch.nn.Conv2d(12, 12, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(12, 3, 3, padding=1),
        )  # fmt: skip
        if copies:
            torch.nn.init.zeros_(self.layers[-1].weight)
            torch.nn.init.zeros_(self.layers[-1].bias)

    def forward(self, image):
        changes = self.layers(image)
        return {"recon": image + changes if self.copies else changes}


def stages(first, each, rounds=2):
    """Round 0 without artificial defects, then rounds; short ones are not averaged."""
    trained = [
        Stage(f"round {number}", each, 6, 1e-3, preset="self_training", averaged=each > 10)
        for number in range(1, rounds + 1)
    ]
    return (Stage("reconstruction", first, 8, 3e-3, preset=None), *trained)


def run(folder, plan, rules=None, ablations=(), weak=WEAK_PLATES, copies=False):
    """A learner with its data and its training, not started; what it says is in `notices`."""
    torch.manual_seed(0)
    design = Design("smoke", "free", frozenset(ablations))
    learner = KistLearner(Convolutions(copies), design, replace(Kist.variants["smoke"], stages=plan))
    learner = learner.to(memory_format=torch.channels_last)
    batches = BatchSource(PLATES[:18], None, 0.0, "free", 0, None)
    file = None
    if rules is not None:
        file = folder / "rules.yaml"
        file.write_text(rules)
    notices = []
    learner.attach(
        TrainingData(
            normals=batches.normals, held_out=PLATES[18:], weak=weak, kinds=("scratch",) * len(weak), roi=None,
            rules=file, random=batches.random, vary=batches.vary, set_bank=batches.set_bank, draws=batches.apart,
            run_directory=folder, notice=notices.append, crop=batches.crop,
        )
    )  # fmt: skip
    training = Training(learner, plan, batches, PLATES[18:], lambda *a: None, notices.append)
    return SimpleNamespace(learner=learner, training=training, batches=batches, notices=notices)


def errors(learner, pictures):
    """(n, s, s): mean absolute difference of each picture to its reconstruction."""
    learner.eval()
    with torch.no_grad():
        return (learner._reconstructed(pictures) - pictures).abs().mean(1).numpy()


def weights(learner):
    return torch.cat([value.detach().flatten() for value in learner.network.state_dict().values()])


class Watched:
    """What stands after each stage, by name."""

    def __init__(self, learner, measure):
        self.after = {}
        finish = learner.finish

        def watched(stage):
            self.after[stage.name] = measure()
            finish(stage)

        learner.finish = watched


def measured(learner):
    found = errors(learner, TEST_PLATES)
    scores = [np.partition(e.ravel(), -50)[-50:].mean() for e in (*errors(learner, PLATES[18:]), *found)]
    return SimpleNamespace(
        pixel_ap=pixel_average_precision(TEST_MASKS, list(found)),
        image_auroc=image_auroc(np.repeat([0, 1], [8, len(found)]), np.array(scores)),
    )


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    torch.set_num_threads(1)
    made = run(tmp_path_factory.mktemp("taught"), stages(40, 25), RIGHT)
    made.after = Watched(made.learner, lambda: measured(made.learner)).after
    made.training.run(lambda: None)
    return made


def test_rounds_with_rules_find_defects_on_parts_they_have_not_seen(taught):
    assert measured(taught.learner).pixel_ap > taught.after["reconstruction"].pixel_ap + 0.1


def test_every_round_leaves_a_sheet_of_its_labels_and_says_what_it_labelled(taught):
    folder = taught.learner.data.run_directory
    assert sorted(path.name for path in folder.glob("labels-*")) == ["labels-round-1.png", "labels-round-2.png"]
    assert "weak parts are labelled anomalous, on 6 of them; see labels-round-1.png" in taught.notices[0]


def test_rules_turned_round_do_not_make_defects_invisible(tmp_path):
    made = run(tmp_path, stages(30, 12, rounds=1), INVERTED)
    after = Watched(made.learner, lambda: measured(made.learner)).after
    made.training.run(lambda: None)
    assert measured(made.learner).image_auroc >= after["reconstruction"].image_auroc - 0.03


def given_labels(learner):
    """The true masks as labels, a gap of ignored pixels around each, as if a teacher had found them."""
    masks = torch.from_numpy(np.stack([mask for _, mask in BAD[:WEAK]]))[:, None].float()
    near = torch.nn.functional.max_pool2d(masks, 7, 1, 3)
    state = torch.where(masks > 0, 1, torch.where(near > 0, -1, 0)).to(torch.int8)
    labels = {"pi": masks, "state": state}
    learner.set_extra_state({"stopped": False, "labels": labels, "before": {}, "standing": None})


@pytest.mark.parametrize(("ablations", "unlearns"), [((), True), (("suppress", "transplant"), False)])
def test_a_network_that_copies_defects_unlearns_it_and_still_knows_good_parts(ablations, unlearns, tmp_path):
    made = run(tmp_path, stages(1, 25, rounds=1)[1:], ablations=ablations, copies=True)
    given_labels(made.learner)
    scratches = np.stack(TEST_MASKS)
    assert errors(made.learner, TEST_PLATES)[scratches].mean() < 0.01
    made.training.run(lambda: None)
    assert (errors(made.learner, TEST_PLATES)[scratches].mean() > 0.03) == unlearns
    assert errors(made.learner, PLATES[18:]).mean() < 0.02


# --- labels


def labelled(learner, sheet):
    teacher = learner._rounds._teacher
    return teacher.label(teacher.residual_maps(), sheet)


def test_without_rules_with_an_empty_book_and_with_rules_left_out_the_residual_alone_decides(tmp_path):
    plain, empty, without, ruled = (
        run(tmp_path, stages(1, 1), rules, ablations).learner
        for rules, ablations in ((None, ()), ("rules:\n", ()), (RIGHT, ("rules",)), (RIGHT, ()))
    )
    labels = [labelled(made, tmp_path / "sheet.png") for made in
              (plain, empty, without, ruled)]  # fmt: skip
    assert all(torch.equal(labels[0].pi, other.pi) for other in labels[1:3])
    assert all(torch.equal(labels[0].state, other.state) for other in labels[1:3])
    assert not torch.equal(labels[0].pi, labels[3].pi)


def test_the_same_network_gives_the_same_labels(tmp_path):
    first, again = (run(tmp_path, stages(1, 1), RIGHT).learner for _ in range(2))
    one, other = (labelled(made, tmp_path / "s.png") for made in (first, again))
    assert torch.equal(one.pi, other.pi)
    assert torch.equal(one.state, other.state)


def labels_of(*rows):
    state = torch.tensor(rows, dtype=torch.int8).view(len(rows), 1, 1, -1)
    return WeakLabels(state.float().clamp(min=0), state)


def test_overlap_is_of_anomalous_pixels_alone_and_full_where_there_are_none():
    assert labels_of([1, 1, 0, -1]).overlap(labels_of([1, 0, -1, 0])) == pytest.approx(0.5)
    assert labels_of([1, 0], [0, -1]).overlap(labels_of([0, 1], [-1, 0])) == pytest.approx(0.5)


def test_rounds_end_when_labels_stay_the_same(tmp_path):
    made = run(tmp_path, stages(1, 1, rounds=3), RIGHT)
    for stage in made.training.stages[:2]:
        made.learner.finish(stage)
    assert made.notices[1] == "labels stay as they are (mean overlap 1.00): no further round"
    assert [made.learner.applies(stage) for stage in made.training.stages] == [True, False, False, False]


# --- rounds that are left out, taken back, cut off


def test_without_weak_parts_there_is_round_0_alone(tmp_path):
    made = run(tmp_path, stages(3, 3), RIGHT, weak=WEAK_PLATES[:0])
    made.training.run(lambda: None)
    assert made.training.steps == 3
    assert set(made.training.curves.values) == {"reconstruction"}
    assert made.notices == []


def test_rounds_can_be_left_out(tmp_path):
    made = run(tmp_path, stages(3, 3), RIGHT, ablations=("rounds",))
    made.training.run(lambda: None)
    assert made.training.steps == 3


def test_a_round_that_spoils_good_parts_is_taken_back(tmp_path):
    made = run(tmp_path, stages(1, 1), copies=True)
    first, second, _ = made.training.stages
    made.learner.finish(first)
    before = weights(made.learner)
    torch.nn.init.constant_(made.learner.network.layers[-1].bias, 0.5)
    made.learner.finish(second)
    assert torch.equal(weights(made.learner), before)
    assert "round 1 is taken back: the residual of good parts held out rose" in made.notices[-1]
    assert not made.learner.applies(made.training.stages[2])


class Hiding(torch.nn.Module):
    """Copies, and so hides every defect; or shows the picture without what differs from grey."""

    def __init__(self):
        super().__init__()
        self.copied = torch.nn.Parameter(torch.zeros(()))

    def forward(self, image):
        return {"recon": torch.lerp(torch.full_like(image, 0.02), image, self.copied)}


def test_a_round_that_hides_weak_parts_is_taken_back(tmp_path):
    made = run(tmp_path, stages(1, 1))
    made.learner.network = made.learner._rounds._network = Hiding()
    made.learner.finish(made.training.stages[0])
    torch.nn.init.constant_(made.learner.network.copied, 1.0)
    made.learner.finish(made.training.stages[1])
    assert "weak parts are told from good ones held out less well" in made.notices[-1]
    assert made.learner.network.copied.item() == 0


class _PulledPlug(Exception):
    pass


@pytest.mark.parametrize("cut", [4, 6])
def test_a_run_cut_off_in_a_round_goes_on_to_the_same_weights(cut, tmp_path):
    plan = stages(4, 3)
    whole = run(tmp_path, plan, RIGHT)
    whole.training.run(lambda: None)
    first = run(tmp_path, plan, RIGHT)
    keeper = Resumable(tmp_path, {}, clock=iter(map(float, range(0, 10_000, 100))).__next__)
    steps = 0

    def save():
        nonlocal steps
        steps += 1
        keeper.save(first.training)
        if steps == cut:
            raise _PulledPlug

    with pytest.raises(_PulledPlug):
        first.training.run(save)
    second = run(tmp_path, plan, RIGHT)
    torch.nn.init.zeros_(second.learner.network.layers[0].weight)
    assert Resumable(tmp_path, {}).restore(second.training)
    second.training.run(lambda: None)
    assert torch.equal(weights(second.learner), weights(whole.learner))
    assert second.training.curves.values == whole.training.curves.values


# --- the loss of a round


def test_found_defects_are_pasted_onto_good_parts_unless_that_is_left_out(tmp_path):
    for ablations, pasted in (((), 1), (("transplant",), 0)):
        made = run(tmp_path, stages(1, 1), ablations=ablations)
        given_labels(made.learner)
        banks = []
        made.learner._rounds._data = replace(made.learner.data, set_bank=lambda *bank, banks=banks: banks.append(bank))
        made.learner.set_up(made.training.stages[1])
        assert len(banks) == pasted
    made.learner.set_up(made.training.stages[0])
    assert len(banks) == 0


def test_suppression_grows_over_the_first_fifth_of_a_round(tmp_path):
    made = run(tmp_path, stages(1, 1), copies=True)
    given_labels(made.learner)
    clean = PLATES[:6]
    noisy = clean + 0.01 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    batch = Batch(noisy, clean, torch.zeros_like(clean[:, :1]))
    for share, weight in [(0.0, 0.0), (0.1, 0.05), (0.2, 0.1), (1.0, 0.1)]:
        losses = made.learner.losses(Stage("round 1", 10, 6, 1e-3), batch, share)
        rest = losses["promote"] + weight * losses["suppress"]
        # what is left is the gradient term of good parts
        assert 0 <= float((losses["total"] - rest).detach()) < 1.0, share
        assert float(losses["suppress"].detach()) > 0.1, share
