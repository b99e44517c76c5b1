"""Several mistakes are reported together, one as it is."""

import pytest

from app.errors import AppError, CombinedError, ModelError, check_all


def fails():
    raise ModelError("no model")


def fails_too():
    raise AppError("no camera")


def test_one_error_stays_what_it_is():
    with pytest.raises(ModelError, match=r"^no model$"):
        check_all(lambda: None, fails)


def test_several_are_reported_together():
    with pytest.raises(CombinedError, match=r"^2 errors\n- no model\n- no camera$"):
        check_all(fails, fails_too)


def test_groups_of_errors_are_flattened():
    with pytest.raises(CombinedError) as several:
        check_all(fails, lambda: check_all(fails, fails_too))
    assert [str(error) for error in several.value.errors] == ["no model", "no model", "no camera"]


def test_what_is_no_mistake_of_the_users_ends_the_checks():
    with pytest.raises(ZeroDivisionError):
        check_all(fails, lambda: 1 / 0)
