"""Weights that belong to no network, or not exactly to one."""

import numpy as np
import pytest
from made_networks import random_arrays

from app.errors import ModelError
from app.tools.importing.architectures import matching_architecture, public_mobilefacenet, retinaface_on_mobilenet


@pytest.fixture
def arrays():
    return random_arrays(retinaface_on_mobilenet())


def test_counters_and_the_classifier_of_the_pretraining_do_no_harm(tmp_path, arrays):
    arrays["body.stage1.0.1.num_batches_tracked"] = np.array(9)
    arrays["body.fc.weight"] = np.zeros((1000, 256), np.float32)
    assert matching_architecture(tmp_path, arrays).name == "retinaface_mnet025"


def test_what_is_missing_and_what_is_too_much_is_named(tmp_path, arrays):
    del arrays["fpn.merge1.0.weight"]
    arrays["ssh1.attention.weight"] = np.zeros(3, np.float32)
    with pytest.raises(ModelError, match=r"missing: fpn\.merge1\.0\.weight.*not expected: ssh1\.attention\.weight"):
        matching_architecture(tmp_path, arrays)


def test_a_weight_of_another_size_is_named(tmp_path, arrays):
    arrays["ClassHead.0.conv1x1.bias"] = np.zeros(6, np.float32)
    with pytest.raises(ModelError, match=r"ClassHead\.0\.conv1x1\.bias with 6 values instead of 4"):
        matching_architecture(tmp_path, arrays)


def test_values_that_are_no_numbers_are_refused(tmp_path, arrays):
    arrays["fpn.output1.1.bias"][3] = np.nan
    with pytest.raises(ModelError, match=r"fpn\.output1\.1\.bias"):
        matching_architecture(tmp_path, arrays)


def test_unknown_weights_are_told_with_the_nearest_network(tmp_path):
    arrays = random_arrays(public_mobilefacenet())
    unknown = {name: array for name, array in arrays.items() if not name.startswith("linear7")}
    with pytest.raises(ModelError, match=r"nearest: mobilefacenet[\s\S]*linear7\.conv"):
        matching_architecture(tmp_path / "net.pth", unknown)


def test_weights_that_resemble_nothing_are_told_without_a_guess(tmp_path):
    with pytest.raises(ModelError, match=r"found: a\.weight") as refusal:
        matching_architecture(tmp_path / "net.pth", {"a.weight": np.zeros(3, np.float32)})
    assert "nearest" not in str(refusal.value)
