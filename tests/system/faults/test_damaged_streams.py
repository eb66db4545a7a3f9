"""The short form of benchmarks.studies.damaged_streams.run: cameras that break in every way, against the line."""

import pytest

from benchmarks.studies.damaged_streams import run

SECONDS = 14


@pytest.mark.parametrize("camera", ["mjpeg", "rtsp"])
def test_no_broken_or_old_picture_is_judged_and_every_whole_one_is_accounted_for(camera, tmp_path):
    if camera == "rtsp" and (missing := run.gstreamer_missing()):
        pytest.skip(missing)
    outcome = run.run(camera, SECONDS, seed=1, share=0.1, damages="transport", folder=tmp_path)
    figures = outcome.figures
    assert outcome.faults == []
    # in so short a run FFmpeg may still hold a few at its end
    assert figures["whole_not_accounted_for"] <= (0 if camera == "mjpeg" else 5)
    assert figures["judged"] >= 5 and figures["invalid_by_reason"]["undecodable"] >= 3, figures
