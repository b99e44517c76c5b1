"""Several mistakes are told together, one as it is."""

import pytest

from app.errors import AppError, ModelError, check_all


def fails():
    raise ModelError("no model")


def fails_too():
    raise AppError("no camera")


def test_one_error_stays_what_it_is():
    with pytest.raises(ModelError, match=r"^no model$"):
        check_all(lambda: None, fails)


def test_several_are_told_together():
    with pytest.raises(AppError, match=r"^2 things are wrong\n- no model\n- no camera$"):
        check_all(fails, fails_too)


def test_what_is_no_mistake_of_the_users_ends_the_checks():
    with pytest.raises(ZeroDivisionError):
        check_all(fails, lambda: 1 / 0)
