"""The built-in networks for gender, age and masks, on the two portraits of the demo."""

import numpy as np
import pytest
from shipped import CATALOG

pytest.importorskip("skimage")
pytest.importorskip("matplotlib")

from app.models.loading import ModelLoader
from app.settings import AttributeSettings, ModelSettings, Settings
from app.tools.demo.portraits import load_portraits
from app.types import NO_ATTRIBUTES, Gender
from training.drawn_masks import FaceAxes, below_nose, worn


@pytest.fixture(scope="module")
def people():
    """By name: a portrait and the face in it."""
    loader = ModelLoader(Settings(models=ModelSettings(catalog=CATALOG, backend="onnx")))
    detector = loader.open_detector()
    collins, hopper, _ = load_portraits()
    squares = {person.name: person.image[:512, :512] for person in (collins, hopper)}
    found = {name: (image, detector.detect([image])[0][[0]]) for name, image in squares.items()}
    detector.close()
    return found


def predicted(image, faces, **attributes):
    settings = Settings(
        models=ModelSettings(catalog=CATALOG, backend="onnx"), attributes=AttributeSettings(**attributes)
    )
    models = ModelLoader(settings).open_attributes()
    (found,) = models.predict(image, faces, [0], [NO_ATTRIBUTES])
    models.close()
    return found


def test_gender_and_age_are_those_of_the_people(people):
    collins, hopper = (predicted(*people[name], gender_age="genderage_utk") for name in people)
    assert (collins.gender, hopper.gender) == (Gender.FEMALE, Gender.FEMALE)
    assert 28 < collins.age < 55  # She was 42.
    assert hopper.age > collins.age + 10  # She was 77.


@pytest.mark.parametrize("name", ["Eileen Collins", "Grace Hopper"])
def test_a_mask_counts_where_it_covers_nose_and_mouth(people, name):
    image, faces = people[name]
    axes = FaceAxes(faces.landmarks[0].astype(np.float64))
    assert predicted(image, faces, mask="mask_drawn").mask is False
    for seed in range(3):
        masked = worn(image, axes, np.random.default_rng(seed))
        found = predicted(masked, faces, mask="mask_drawn")
        assert found.mask is True and found.mask_probability + found.no_mask_probability == pytest.approx(1, abs=1e-4)
        lowered = below_nose(image, axes, np.random.default_rng(seed))
        assert predicted(lowered, faces, mask="mask_drawn").mask is False
