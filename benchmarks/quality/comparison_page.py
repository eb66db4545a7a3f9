"""A comparison as one HTML file that needs nothing else, and as a table for a terminal."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import datetime, timezone
from html import escape

from benchmarks.quality.comparison import NETWORK, TRIVIAL, Contender, Recommendation
from benchmarks.quality.comparison_plots import latency_png, map_png, picture_png, roc_png, truth_png
from benchmarks.quality.labelled import EVALUATION_SIDE, LabelledPicture
from edge import __version__
from edge.core.hardware import read_processor

_SHOWN_PICTURES = 6
# heading, key, digits, whether more is better; rates are shown in percent
_COLUMNS = (
    ("image AUROC", "image_auroc", 3, True),
    ("image AP", "image_ap", 3, True),
    ("pixel AUROC", "pixel_auroc", 3, True),
    ("pixel AP", "pixel_ap", 3, True),
    ("AUPRO 0.3", "aupro_30", 3, True),
    ("AUPRO 0.05", "aupro_05", 3, True),
    ("false rejects at 95 % recall", "fpr_at_95", 1, False),
    ("false rejects at 99 % recall", "fpr_at_99", 1, False),
    ("found at the threshold", "recall", 1, True),
    ("good parts rejected", "false_reject_rate", 1, False),
    ("ms per picture", "score_ms_p50", 1, False),
)
_RATES = {"fpr_at_95", "fpr_at_99", "recall", "false_reject_rate"}
_GROUPS = {NETWORK: "trained networks, INT8", "network-free": "without a network", TRIVIAL: "one number per picture"}

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, "DejaVu Sans", sans-serif; color: #1d2327; background: #fff; margin: 0 auto;
  max-width: 1240px; padding: 28px 24px 60px; }
h1 { font-size: 25px; margin: 0 0 2px; } h2 { font-size: 18px; margin: 36px 0 8px; }
.quiet { color: #5c666e; font-size: 13px; }
.verdict { border-left: 5px solid #0b6e8e; background: #eef5f8; padding: 12px 18px; margin: 20px 0; }
.verdict.none { border-color: #c2571a; background: #fbf2ec; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; }
th { font-weight: 600; text-align: right; vertical-align: bottom; padding: 4px 8px; border-bottom: 1.5px solid #1d2327;
  max-width: 82px; }
td { text-align: right; padding: 4px 8px; border-bottom: 1px solid #e6e9eb; font-variant-numeric: tabular-nums;
  white-space: nowrap; }
th:first-child, td:first-child { text-align: left; max-width: none; }
tr.group td { text-align: left; color: #5c666e; padding-top: 12px; border-bottom-color: #b8c0c5; }
tr.chosen td:first-child { font-weight: 700; } td.best { font-weight: 700; color: #0b5a75; }
td small { display: block; color: #5c666e; font-size: 11px; }
.charts { display: flex; flex-wrap: wrap; gap: 20px; margin-top: 20px; }
.charts figure { flex: 1 1 440px; max-width: 580px; }
figure { margin: 0; } figure img { max-width: 100%; height: auto; }
.maps td { text-align: center; border: 0; padding: 3px 4px; vertical-align: top; }
.maps td:first-child { text-align: left; vertical-align: middle; padding-right: 12px; }
.maps th { text-align: center; border: 0; max-width: none; }
.maps img { display: block; margin: 0 auto; } .ng { color: #b3261e; font-weight: 600; } .ok { color: #2c6e2f; }
"""


def comparison_page(data: str, variant: str, contenders: Sequence[Contender], advice: Recommendation) -> str:
    """The whole page; all pictures are inside it."""
    observed = contenders[0].observed
    networks = [contender for contender in contenders if contender.group == NETWORK]
    n_bad = int(observed.labels.sum())
    processor = read_processor()
    when = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    seeds = len(networks[0].figures)
    head = (
        f"{len(observed.pictures) - n_bad} good and {n_bad} defective test pictures"
        f"{f', {observed.n_left_out} left out because training saw them' if observed.n_left_out else ''}; "
        f"variant {variant}, {seeds} {'seed' if seeds == 1 else 'seeds'}; edge-inspect {__version__} on "
        f"{processor.name}, {processor.cores} cores; {when}"
    )
    drawn = [*networks, *_best_others(contenders)]
    verdict = "verdict none" if advice.lead is None else "verdict"
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>edge-inspect compare: {escape(data)}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head><body>
<h1>{escape(data)}: which detector</h1>
<p class="quiet">{escape(head)}</p>
<p class="{verdict}">{escape(advice.text)}</p>
<h2>Figures</h2>
<div class="wide">{_table(_shown(contenders), advice)}</div>
<p class="quiet">{"Means, ± standard deviation over seeds. " if seeds > 1 else ""}In brackets: 95 % bootstrap interval
 over test pictures, first seed. Bold: best of its column. “Artificial”: image AUROC of artificial defects on held-out
 good parts. It ranks the networks, as test pictures must not choose what they are then said to measure; they only
 exclude a network that does not beat the best detector without one. Of a single number the better direction is shown.
 Pixel figures at {EVALUATION_SIDE} × {EVALUATION_SIDE} px; a dash: does not exist (no masks, no map, no threshold).
 Artificial defects are not the real ones: a method that trains on them is at home there.</p>
<div class="charts">
<figure>{_image(roc_png(drawn), "ROC curves")}<figcaption class="quiet">ROC, first seed; dashed: without a network.
</figcaption></figure>
<figure>{_image(latency_png(drawn), "latency against image AUROC")}<figcaption class="quiet">Above and to the left is
 better; open circles: without a network.</figcaption></figure>
</div>
<h2>Maps</h2>
<p class="quiet">Pictures from the middle of each kind's list, not chosen by result. Each detector has one colour scale
 for all pictures, from its median to its 99.9 % value. Below: image score, and what the detector's threshold says.</p>
<div class="wide">{_maps(drawn)}</div>
</body></html>
"""


def comparison_text(contenders: Sequence[Contender], advice: Recommendation) -> str:
    """The main columns and the recommendation, for a terminal."""
    columns = [column for column in _COLUMNS if column[1] in ("image_auroc", "aupro_30", "fpr_at_95", "score_ms_p50")]
    contenders = _shown(contenders)
    width = max(len(contender.name) for contender in contenders)
    lines = [" " * width + "".join(f"{heading:>30}" for heading, *_ in columns)]
    for contender in contenders:
        cells = [_number(contender.mean(key), key, digits) for _, key, digits, _ in columns]
        lines.append(contender.name.ljust(width) + "".join(f"{cell:>30}" for cell in cells))
    return "\n".join([*lines, "", advice.text])


def shown_pictures(pictures: Sequence[LabelledPicture]) -> list[int]:
    """Indexes of up to six: the middle picture of every kind, good parts first, then more from the largest kinds."""
    kinds: dict[str, list[int]] = {}
    for index, picture in enumerate(pictures):
        kinds.setdefault(picture.kind, []).append(index)
    order = sorted(kinds, key=lambda kind: (kind != "good", kind))
    chosen = [kinds[kind][len(kinds[kind]) // 2] for kind in order][:_SHOWN_PICTURES]
    defective = sorted((kind for kind in order if kind != "good"), key=lambda kind: -len(kinds[kind]))
    for share in (1 / 6, 5 / 6, 1 / 3, 2 / 3):
        for kind in defective:
            index = kinds[kind][int(len(kinds[kind]) * share)]
            if len(chosen) < _SHOWN_PICTURES and index not in chosen:
                chosen.append(index)
    return sorted(chosen, key=lambda index: (pictures[index].defective, pictures[index].kind, index))


def _shown(contenders: Sequence[Contender]) -> list[Contender]:
    """Of the directions of one number only the best: the others are the same number upside down."""
    best: dict[str, Contender] = {}
    for contender in contenders:
        key = contender.name.split(" ", 1)[1] if contender.group == TRIVIAL else contender.name
        if key not in best or contender.auroc > best[key].auroc:
            best[key] = contender
    return list(best.values())


def _best_others(contenders: Sequence[Contender]) -> list[Contender]:
    """Detectors without a network, and of the trivial ones only the best: more lines would hide each other."""
    others = [contender for contender in contenders if contender.group == "network-free"]
    trivial = [contender for contender in contenders if contender.group == TRIVIAL]
    return [*others, *sorted(trivial, key=lambda contender: -contender.auroc)[:1]]


def _table(contenders: Sequence[Contender], advice: Recommendation) -> str:
    heads = "".join(f"<th>{escape(heading)}</th>" for heading, *_ in _COLUMNS)
    rows = [f"<tr><th>detector</th><th>artificial</th>{heads}</tr>"]
    best = {key: _best(contenders, key, more) for _, key, _, more in _COLUMNS}
    for group, title in _GROUPS.items():
        members = [contender for contender in contenders if contender.group == group]
        if members:
            rows.append(f'<tr class="group"><td colspan="{len(_COLUMNS) + 2}">{escape(title)}</td></tr>')
        rows += [_row(contender, best, chosen=contender.name == advice.name) for contender in members]
    return f"<table>{''.join(rows)}</table>"


def _best(contenders: Sequence[Contender], key: str, more: bool) -> float | None:
    values = [value for contender in contenders if (value := contender.mean(key)) is not None]
    if not values:
        return None
    return max(values) if more else min(values)


def _row(contender: Contender, best: dict[str, float | None], *, chosen: bool) -> str:
    artificial = f"{contender.artificial:.3f}" if contender.artificial_auroc else "–"
    cells = [f"<td>{escape(contender.name)}{' ✓' if chosen else ''}</td><td>{artificial}</td>"]
    for _, key, digits, _ in _COLUMNS:
        value, spread = contender.mean(key), contender.deviation(key)
        text = _number(value, key, digits)
        if value is not None and spread is not None:
            text += f" <small>± {_number(spread, key, digits)}</small>"
        if key == "image_auroc":
            low, high = contender.figures[0]["image_auroc_interval_95"]
            text += f" <small>[{low:.2f}, {high:.2f}]</small>"
        # the fastest is always a single number: no achievement
        mark = ' class="best"' if value is not None and value == best[key] and key != "score_ms_p50" else ""
        cells.append(f"<td{mark}>{text}</td>")
    return f"<tr{' class=chosen' if chosen else ''}>{''.join(cells)}</tr>"


def _number(value: float | None, key: str, digits: int) -> str:
    if value is None:
        return "–"
    return f"{value:.{digits}%}" if key in _RATES else f"{value:.{digits}f}"


def _maps(contenders: Sequence[Contender]) -> str:
    """A row for each picture: the picture, where the defect is, and every map."""
    mapped = [contender for contender in contenders if contender.observed.maps[0] is not None]
    pictures = contenders[0].observed.pictures
    shown = shown_pictures(pictures)
    has_truth = any(pictures[index].defective and contenders[0].observed.truths[index] for index in shown)
    heads = ["", "picture", *(["truth"] if has_truth else []), *(contender.name for contender in mapped)]
    rows = ["<tr>" + "".join(f"<th>{escape(head)}</th>" for head in heads) + "</tr>"]
    for index in shown:
        picture = pictures[index]
        cells = [f"<td>{escape(picture.kind)}<br><span class=quiet>{escape(picture.path.name)}</span></td>"]
        cells.append(f"<td>{_image(picture_png(picture), picture.path.name)}</td>")
        if has_truth:
            cells.append(f"<td>{_image(truth_png(contenders[0], index), 'where the defect is')}</td>")
        for contender in mapped:
            drawn = _image(map_png(contender, index), f"map of {contender.name}")
            cells.append(f"<td>{drawn}{_judgement(contender, index)}</td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return f'<table class="maps">{"".join(rows)}</table>'


def _judgement(contender: Contender, index: int) -> str:
    score, threshold = contender.observed.scores[index], contender.figures[0]["threshold"]
    if threshold is None:
        return f"{score:.3f}"
    return f"{score:.3f} " + ("<span class=ng>NG</span>" if score > threshold else "<span class=ok>OK</span>")


def _image(png: bytes | None, text: str) -> str:
    if png is None:
        return "–"
    return f'<img alt="{escape(text, quote=True)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
